"""Rows that stand in two tables in nearly the same words and numbers: a full stop more, rounded, saved anew.

Two rows nearly repeat each other if in every modality that they have

- words are the same but for case, blanks and signs;
- numbers, pictures (as 16 by 16 grey pixels) and series (as 32 steps) differ by a twentieth of a standard deviation on
  the average (root of the mean square), and the same ones are missing;
- sounds are equal.

In small or dense tables rows are that near by chance. How many, follows from the distances of the 5th and 10th nearest
rows: they tell how the number of neighbours grows with the distance. Only what is far more is counted.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.table.repeats import repeated_rows
from profuse.data.wording import tell_rows
from profuse.kinds import kind_named

__all__ = ["near_repeats", "repeat_notes"]

_NEAR = 0.05
_MOST_KNOWN, _MOST_NEW = 5_000, 1_000
_HOW_NEAR = " (words but for case, blanks and signs, numbers within a twentieth of their spread)"


def near_repeats(known: Dataset, new: Dataset) -> np.ndarray:
    """Returns the numbers of the rows of `new` that nearly repeat, or equal, a row of `known`; targets are not read.

    Of large tables 5,000 and 1,000 rows are looked at, by chance but always the same ones.
    """
    rng = np.random.default_rng(0)
    first, second = _some(len(known), _MOST_KNOWN, rng), _some(len(new), _MOST_NEW, rng)
    known, new = known.rows(first), new.rows(second)
    n_known = len(known)
    key = np.zeros(n_known + len(new), dtype=np.int64)
    blocks = []
    has_text = False
    for name, data in known.modalities.items():
        both = [data, new.modalities[name]]
        has_text = has_text or kind_named(data.kind).is_words
        for column in _keys(both):
            key = pd.factorize(key * (column.max() + 2) + column + 1)[0]
        block = _scaled(np.concatenate([_numbers(part, like=both[0]) for part in both]))
        if block.shape[1]:
            blocks.append(block / np.sqrt(block.shape[1]))
    if not blocks:
        distinct = pd.Series(key[:n_known]).value_counts()
        collisions = float((distinct**2).sum() / n_known)  # rows of `known` that share a row's words, on the average
        result = np.isin(key[n_known:], key[:n_known]) if has_text and collisions <= 10 else np.zeros(len(new), bool)
        return np.asarray(second[result])
    return np.asarray(second[_near_rows(blocks, key, n_known)])


def repeat_notes(known: Dataset, new: Dataset) -> list[str]:
    """Returns notes on the rows of `new` that equal a row of `known`, or nearly, in every modality."""
    repeated = repeated_rows(known, new)
    near = np.setdiff1d(near_repeats(known, new), repeated)
    results = (("equal", "", repeated), ("nearly equal", _HOW_NEAR, near))
    return [
        f"{how} to a training row in every modality{more}: {tell_rows(rows)} of {len(new)}. A model may know them by "
        "heart; take them out unless they are cases of their own."
        for how, more, rows in results
        if len(rows)
    ]


def _some(n_rows: int, most: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(n_rows) if n_rows <= most else np.sort(rng.choice(n_rows, most, replace=False))


def _near_rows(blocks: list[np.ndarray], key: np.ndarray, n_known: int) -> np.ndarray:
    """Returns the rows that are near one of the first `n_known` in every block, if they are more than chance."""
    values = np.concatenate(blocks, axis=1).astype(np.float32)
    a, b = values[:n_known], values[n_known:]
    squares = (a**2).sum(1)
    limit = _NEAR**2
    near = np.zeros(len(b), dtype=bool)
    fifth, tenth = [], []
    for start in range(0, len(b), 256):
        rows = b[start : start + 256]
        distance = squares + (rows**2).sum(1)[:, None] - 2.0 * rows @ a.T
        same = key[n_known + start : n_known + start + len(rows), None] == key[:n_known]
        for i, j in np.argwhere((distance <= len(blocks) * limit + 1e-4) & same):
            parts = (block[n_known + start + i] - block[j] for block in blocks)
            near[start + i] |= all(float((part**2).sum()) <= limit for part in parts)
        if n_known >= 20:
            nearest = np.sqrt(np.maximum(np.partition(distance, (4, 9), axis=1)[:, [4, 9]], 1e-12))
            fifth.append(nearest[:, 0])
            tenth.append(nearest[:, 1])
    if not near.any():
        return np.zeros(0, dtype=np.int64)
    if tenth:
        r5, r10 = np.concatenate(fifth), np.concatenate(tenth)
        dimension = np.log(2.0) / np.log(max(1.001, float(np.median(r10 / r5))))
        counts = np.bincount(key[:n_known], minlength=int(key.max()) + 1) / n_known
        by_chance = 10.0 * min(1.0, _NEAR * np.sqrt(len(blocks)) / float(np.median(r10))) ** dimension
        by_chance *= float(counts[key[n_known:]].mean())
        if near.mean() < 10.0 * min(1.0, by_chance):
            return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(near)


def _keys(both: list[ModalityData]) -> list[np.ndarray]:
    """Returns codes by row of what must be the same: words, what is missing, sounds; -1 is one of them."""
    columns = [kind_named(data.kind).equal_columns(data, both[0]) for data in both]
    codes = [pd.factorize(pd.Series(list(chain(*parts)), dtype=object))[0] for parts in zip(*columns, strict=True)]
    present = np.concatenate([data.present for data in both])
    return [present.astype(np.int64), *(np.asarray(column, dtype=np.int64) for column in codes)]


def _numbers(data: ModalityData, *, like: ModalityData) -> np.ndarray:
    """Returns `[row, number]`, 0 where nothing is known."""
    numbers = kind_named(data.kind).near_numbers(data, like)
    return np.nan_to_num(np.where(data.present[:, None], numbers, 0.0), nan=0.0, posinf=0.0, neginf=0.0)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Returns columns in standard deviations, those that vary."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.clip(values, -1e150, 1e150) - np.clip(values, -1e150, 1e150).mean(0)
        spread = values.std(0)
    vary = spread > 0
    return np.asarray(values[:, vary] / spread[vary])
