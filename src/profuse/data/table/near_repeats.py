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

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.table.repeats import content, repeated_rows
from profuse.data.table.spellings import plain_spelling
from profuse.data.table.values import words
from profuse.data.wording import tell_rows

__all__ = ["near_repeats", "repeat_notes"]

_NEAR = 0.05
_MOST_KNOWN, _MOST_NEW = 5_000, 1_000
_SIDE, _STEPS = 16, 32
_HOW_NEAR = " (words but for case, blanks and signs, numbers within a twentieth of their spread)"
_SIGNS = re.compile(r"[\W_]+")


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
        has_text = has_text or data.kind == "text"
        for column in _keys(both):
            key = pd.factorize(key * (column.max() + 2) + column + 1)[0]
        block = _scaled(np.concatenate([_numbers(part, like=both[0]) for part in both]))
        if block.shape[1]:
            blocks.append(block / np.sqrt(block.shape[1]))
    if not blocks:
        distinct = pd.Series(key[:n_known]).value_counts()
        collisions = float((distinct**2).sum() / n_known)  # rows of `known` that share a row's words, on the average
        found = np.isin(key[n_known:], key[:n_known]) if has_text and collisions <= 10 else np.zeros(len(new), bool)
        return np.asarray(second[found])
    return np.asarray(second[_near_rows(blocks, key, n_known)])


def repeat_notes(known: Dataset, new: Dataset) -> list[str]:
    """Returns notes on the rows of `new` that equal a row of `known`, or nearly, in every modality."""
    repeated = repeated_rows(known, new)
    near = np.setdiff1d(near_repeats(known, new), repeated)
    found = (("equal", "", repeated), ("nearly equal", _HOW_NEAR, near))
    return [
        f"{how} to a training row in every modality{more}: {tell_rows(rows)} of {len(new)}. A model may know them by "
        "heart; take them out unless they are cases of their own."
        for how, more, rows in found
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
    present = np.concatenate([data.present for data in both])
    found: list[np.ndarray] = [present.astype(np.int64)]
    kind = both[0].kind

    def coded(column: Callable[..., list[object]]) -> np.ndarray:
        cells = [cell for data in both for cell in column(data)]
        return np.asarray(pd.factorize(pd.Series(cells, dtype=object))[0], dtype=np.int64)

    if kind == "table":
        for name in both[0].values:
            if _is_number(both[0].values[name]):
                empty = np.concatenate([data.values[name].isna().to_numpy() for data in both])
                found.append(empty.astype(np.int64))
            else:
                found.append(coded(lambda d, name=name: [_plain(w) for w in words(d.values[name])]))
    elif kind in ("text", "audio"):
        read: Callable[[Any], object] = _plain if kind == "text" else content
        found.append(coded(lambda d: [read(v) if p else None for v, p in zip(d.values, d.present, strict=True)]))
    elif kind == "vector":
        empty = np.concatenate([np.isnan(np.asarray(data.values, dtype=np.float64)) for data in both])
        found.append(np.unique(empty, axis=0, return_inverse=True)[1].astype(np.int64))
    return found


def _plain(text: object) -> object:
    if text is None:
        return None
    plain = plain_spelling(str(text))
    return _SIGNS.sub(" ", plain).strip() or plain


def _is_number(cells: pd.Series) -> bool:
    types = pd.api.types
    is_time = types.is_datetime64_any_dtype(cells.dtype) or types.is_timedelta64_dtype(cells.dtype)
    return is_time or (types.is_numeric_dtype(cells.dtype) and not types.is_bool_dtype(cells.dtype))


def _numbers(data: ModalityData, *, like: ModalityData) -> np.ndarray:
    """Returns `[row, number]`, 0 where nothing is known."""
    n_rows = len(data)
    if data.kind == "table":
        columns = [data.values[c] for c in like.values if _is_number(like.values[c])]
        made = [
            c.to_numpy(dtype=np.float64, na_value=np.nan)
            if pd.api.types.is_numeric_dtype(c.dtype)
            else np.where(c.isna(), np.nan, c.astype("int64").to_numpy(np.float64))
            for c in columns
        ]
        out = np.stack(made, axis=1) if made else np.zeros((n_rows, 0))
    elif data.kind == "vector":
        out = np.asarray(data.values, dtype=np.float64).reshape(n_rows, -1)
    elif data.kind == "image":
        out = _rows(data, _thumbnail, _SIDE * _SIDE)
    elif data.kind == "series":
        width = next((v.shape[1] for v, p in zip(like.values, like.present, strict=True) if p), 1)
        out = _rows(data, _steps, _STEPS * width)
    else:
        out = np.zeros((n_rows, 0))
    return np.nan_to_num(np.where(data.present[:, None], out, 0.0), nan=0.0, posinf=0.0, neginf=0.0)


def _rows(data: ModalityData, read: Callable[[np.ndarray], np.ndarray], width: int) -> np.ndarray:
    out = np.zeros((len(data), width))
    for i in np.flatnonzero(data.present):
        made = read(np.asarray(data.values[i]))
        out[i, : len(made)] = made[:width]
    return out


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    grey = picture.astype(np.float64).mean(axis=-1) if picture.ndim == 3 else picture.astype(np.float64)
    for axis in (0, 1):
        places = np.minimum(np.arange(grey.shape[axis]) * _SIDE // grey.shape[axis], _SIDE - 1)
        starts = np.searchsorted(places, np.arange(_SIDE))
        if grey.shape[axis] < _SIDE:
            grey = np.take(grey, np.arange(_SIDE) * grey.shape[axis] // _SIDE, axis=axis)
        else:
            grey = np.add.reduceat(grey, starts, axis=axis) / np.bincount(places).reshape(-1, *[1] * (1 - axis))
    return grey.ravel()


def _steps(series: np.ndarray) -> np.ndarray:
    at = np.linspace(0, len(series) - 1, _STEPS)
    filled = np.nan_to_num(series.reshape(len(series), -1).astype(np.float64))
    return np.stack([np.interp(at, np.arange(len(series)), column) for column in filled.T], axis=1).ravel()


def _scaled(values: np.ndarray) -> np.ndarray:
    """Returns columns in standard deviations, those that vary."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.clip(values, -1e150, 1e150) - np.clip(values, -1e150, 1e150).mean(0)
        spread = values.std(0)
    vary = spread > 0
    return np.asarray(values[:, vary] / spread[vary])
