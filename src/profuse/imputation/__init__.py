"""Fills a modality that rows of a table lack, with samples, their spread, and how good that is on hidden rows."""

from __future__ import annotations

from profuse.imputation.imputer import Filled, Imputer
from profuse.imputation.methods import METHODS
from profuse.imputation.quality import Quality
from profuse.imputation.training import Progress

__all__ = ["METHODS", "Filled", "Imputer", "Progress", "Quality"]
