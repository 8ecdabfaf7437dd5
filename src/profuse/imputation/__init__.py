"""Fills what rows of a table lack of a modality, with samples, their spread, and how good that is on hidden rows."""

from __future__ import annotations

from profuse.imputation.choice import Choice
from profuse.imputation.imputer import Filled, Imputer
from profuse.imputation.making import METHODS
from profuse.imputation.pooling import Pooled, pool
from profuse.imputation.quality import Quality

__all__ = ["METHODS", "Choice", "Filled", "Imputer", "Pooled", "Quality", "pool"]
