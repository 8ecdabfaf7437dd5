"""Which rows are no news to each other, so that one is left out with the others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from profuse.data.dataset import Dataset
from profuse.data.split import Split

__all__ = ["rows_together"]

_N_STRETCHES = 10  # of time


def rows_together(dataset: Dataset, split: Split) -> Tensor | None:
    """Returns `[row]` numbers: rows of one group, or of one stretch of time, have one. None: each row is by itself.

    Stretches are ten, with as many of the rows that are not tested: neighbours in time are alike, and what is far is
    like what comes. Rows of one time stay together.
    """
    if dataset.groups is not None:
        return torch.as_tensor(pd.factorize(dataset.groups)[0])
    if dataset.times is None:
        return None
    moments = np.unique(dataset.times, return_inverse=True)[1]
    known = np.sort(moments[np.concatenate([split.train, split.valid])])
    starts = np.unique(known[np.arange(_N_STRETCHES) * len(known) // _N_STRETCHES])
    return torch.as_tensor(np.searchsorted(starts, moments, side="right"))
