"""One series from a file; each fault is a `DataError` without a place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from profuse.data.media.arrays import to_float32
from profuse.data.media.npy import read_npy
from profuse.data.media.series_text import parse_series
from profuse.data.media.source import Tell, read_bytes, warn
from profuse.errors import DataError

__all__ = ["SERIES_SUFFIXES", "read_named_series", "read_series"]

SERIES_SUFFIXES = (".npy", ".csv", ".tsv")


def read_series(path: Path, *, tell: Tell = warn) -> np.ndarray:
    """Returns float32 `[time, channel]` from a `.npy` file or a table of numbers (`.csv`, `.tsv`); NaN = missing.

    Args:
        path: An array, see `profuse.data.media.npy`, or a text, see `profuse.data.media.series_text`.
        tell: Called with what could be doubted: a header of numbers, an index that was left out.

    Raises:
        DataError: It is none, it is damaged or cut off, it takes too much memory, or a number is infinite.
    """
    return read_named_series(path, tell=tell)[0]


def read_named_series(path: Path, *, tell: Tell = warn) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Returns what `read_series` does, and the names of its channels where a text tells them."""
    suffix = path.suffix.lower()
    if suffix not in SERIES_SUFFIXES:
        raise DataError(f"a series file must be one of {', '.join(SERIES_SUFFIXES)}")
    data = read_bytes(path)
    if suffix == ".npy":
        return _series(read_npy(data, tell)), None
    values, names = parse_series(data, tabs=suffix == ".tsv", tell=tell)
    return _series(values), names


def _series(values: np.ndarray) -> np.ndarray:
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.size == 0:
        hint = ". If it is a picture, say kind image in the schema" if values.ndim == 3 and values.size else ""
        raise DataError(f"the series must be [time] or [time, channel] and not empty; got shape {values.shape}{hint}")
    if np.isinf(values).any():
        raise DataError(
            f"the series must be finite; infinite at step {int(np.flatnonzero(np.isinf(values).any(1))[0])}"
        )
    return to_float32(values)
