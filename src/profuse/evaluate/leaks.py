"""Rows that stand on both sides of a split: told before anyone believes the scores."""

from __future__ import annotations

import numpy as np

from profuse.data._wording import tell_rows
from profuse.data.dataset import Dataset
from profuse.data.repeats import repeated_rows
from profuse.data.split import make_split
from profuse.schema import SplitOptions

__all__ = ["tell_leaks"]


def tell_leaks(dataset: Dataset, options: SplitOptions) -> list[str]:
    """Returns a note on the test rows of seed 0's split that equal another part's in every modality, if there are any.

    An official split is not ours to judge; a test file's rows were looked at when it was read.
    """
    if dataset.split is not None and options.method == "auto":
        return []
    test = make_split(dataset, options, seed=0).test
    rest = np.setdiff1d(np.arange(len(dataset)), test)
    repeated = repeated_rows(dataset.rows(rest), dataset.rows(test))
    if len(repeated) == 0:
        return []
    return [
        f"Of the {len(test):,} test rows of seed 0 these equal a training or validation row in every modality: "
        f"{tell_rows(test[repeated])}. A model may know them by heart: keep equal rows in one group (--split group) "
        "or drop them (drop_duplicates), unless they are cases of their own."
    ]
