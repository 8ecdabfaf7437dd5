"""Where a modality is absent altogether: what no score can tell then is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset
from profuse.data.split import Split

__all__ = ["shares_of_test", "tell_absent"]

_MEANING = {
    "valid": "epochs and choices are made without it",
    "test": "no score tells what it is worth, and a method that has nothing else answers without data",
}
_CHANCE = 0.01
"""That a class has a modality in none of its rows: what is likelier is not told."""


def shares_of_test(dataset: Dataset, splits: Sequence[Split]) -> dict[str, float]:
    """Returns the share of test rows that have each modality, the mean over seeds."""
    return {
        name: float(np.mean([data.present[s.test].mean() for s in splits])) for name, data in dataset.modalities.items()
    }


def tell_absent(dataset: Dataset, splits: Mapping[int, Split]) -> list[str]:
    """Returns notes on modalities that are in no validation or test row, or no row of a class.

    One that no training row has is an error where the inputs are prepared.

    Args:
        dataset: All rows.
        splits: Seed to its split.
    """
    notes = []
    for name, data in dataset.modalities.items():
        for part, meaning in _MEANING.items():
            lacking = [seed for seed, s in splits.items() if not data.present[getattr(s, part)].any()]
            if lacking:
                of = "" if len(lacking) == len(splits) else f" of seed {', '.join(map(str, lacking))}"
                n = len(getattr(splits[lacking[0]], part))
                what = {"valid": "validation", "test": "test"}[part]
                notes.append(f"{name!r} is in none of the {n:,} {what} rows{of}: {meaning}.")
        if dataset.target is not None and dataset.task in ("binary", "multiclass"):
            notes += _by_class(name, data.present, pd.Series(np.asarray(dataset.target).astype(str)))
    return notes


def _by_class(name: str, present: np.ndarray, classes: pd.Series) -> list[str]:
    counts = pd.DataFrame({"present": present}).groupby(classes.to_numpy())["present"].agg(["sum", "size"])
    notes = []
    for label, (n_present, n_rows) in counts.iterrows():
        others = (present.sum() - n_present) / max(len(present) - n_rows, 1)
        if n_present == 0 and (1 - others) ** n_rows < _CHANCE:
            notes.append(
                f"{name!r} is in none of the {n_rows:,} rows of {label!r} and in {100 * others:.0f} % of the others: "
                "that it is absent tells the class. Make sure that it does where the model will be used."
            )
    return notes
