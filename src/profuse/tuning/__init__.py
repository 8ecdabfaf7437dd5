"""Tuning: the options of one network per fusion, searched with Optuna on validation rows alone.

Names are imported when they are first used, so that its options alone load no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from profuse._lookup import lazily

if TYPE_CHECKING:
    from profuse.tuning.door import tune
    from profuse.tuning.options import TuneOptions
    from profuse.tuning.page import tuning_html
    from profuse.tuning.result import Tuning

__all__ = ["TuneOptions", "Tuning", "tune", "tuning_html"]

__getattr__ = lazily(__name__, {"TuneOptions": "options", "Tuning": "result", "tune": "door", "tuning_html": "page"})
