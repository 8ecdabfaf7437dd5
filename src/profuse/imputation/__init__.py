"""Fills what rows of a table lack of a modality, with samples, their spread, and how good that is on hidden rows.

Names are imported when they are first used, so that its options alone load no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from profuse._lookup import lazily

if TYPE_CHECKING:
    from profuse.imputation.choice import Choice
    from profuse.imputation.filling import Filled
    from profuse.imputation.imputer import Imputer
    from profuse.imputation.options import METHODS
    from profuse.imputation.pooling import Pooled, pool
    from profuse.imputation.quality import Quality

__all__ = ["METHODS", "Choice", "Filled", "Imputer", "Pooled", "Quality", "pool"]

__getattr__ = lazily(
    __name__,
    {
        "METHODS": "options",
        "Choice": "choice",
        "Filled": "filling",
        "Imputer": "imputer",
        "Pooled": "pooling",
        "Quality": "quality",
        "pool": "pooling",
    },
)
