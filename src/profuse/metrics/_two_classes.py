"""What a reader of two classes' scores must know: an answer that is never given, and a class of few rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from profuse.metrics._base import Array

__all__ = ["FEW", "notes_of_two_classes", "tell_few", "tell_never"]

FEW = 10
"""Rows of the rarer class, below which its scores hang on single rows."""


def tell_never(
    who: str, never: str, n_rows: int, n_never: int, *, several: bool = False, at: str = "At the threshold .5"
) -> str:
    """Says that `at` the threshold `who` never answers a class, and what to do."""
    answers = "answer" if several else "answers"
    return (
        f"{at} {who} never {answers} {never!r}: in none of {n_rows:,} rows, of which {n_never:,} are "
        f"{never!r}. Have another threshold chosen, by threshold='balanced_accuracy' of fit or by scikit-learn's "
        "TunedThresholdClassifierCV, or train with class_weight='balanced'."
    )


def tell_few(label: str, name: str, n: int, n_rows: int) -> str:
    """Says that scores of the kind of `label` hang on few rows."""
    return (
        f"{n} of {n_rows:,} rows {'is' if n == 1 else 'are'} {name!r}, fewer than {FEW}: {label} hangs on them, and "
        "its interval holds less often than it says (with ten such rows in 87 to 93 % of simulations, not 95 %). Get "
        "more test rows of that class."
    )


def notes_of_two_classes(
    y: Array, answers: Array, classes: Sequence[object], *, at: str = "At the threshold .5"
) -> list[str]:
    """Returns what is to be told of answers to rows, class codes both, `[row]`; `at` says how they were decided."""
    true, said = (np.bincount(codes, minlength=2) for codes in (y, answers))
    notes = [
        tell_never("the model", str(classes[k]), len(y), int(true[k]), at=at)
        for k in np.flatnonzero((said == 0) & (true > 0)).tolist()
    ]
    rarer = int(true.argmin())
    if 0 < true[rarer] < FEW:
        notes.append(tell_few("all that is measured of it", str(classes[rarer]), int(true[rarer]), len(y)))
    return notes
