"""One series from a file; each fault is a `DataError` without a place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from profuse.data.media.arrays import to_float32
from profuse.errors import DataError

__all__ = ["SERIES_SUFFIXES", "read_series"]

SERIES_SUFFIXES = (".npy", ".csv", ".tsv")


def read_series(path: Path) -> np.ndarray:
    """Returns float32 `[time, channel]` from a `.npy` file or a table of numbers (`.csv`, `.tsv`; a line of names
    is skipped). NaN = a missing number.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            raise DataError("the array is broken, or holds Python objects, which are not read") from error
        if not isinstance(values, np.ndarray):
            values.close()
            raise DataError("it is an archive of arrays, not one array")
        return _series(values)
    if suffix not in SERIES_SUFFIXES:
        raise DataError(f"a series file must be one of {', '.join(SERIES_SUFFIXES)}")
    import pandas as pd

    try:
        frame = pd.read_csv(path, header=None, sep="\t" if suffix == ".tsv" else ",", skip_blank_lines=True, dtype=str)
        cells = frame.to_numpy(dtype=object, na_value="nan")
        try:
            return _series(cells.astype(np.float64))
        except (TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            return _series(cells[1:].astype(np.float64))  # the first line names the channels
    except DataError:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"the series must be a table of numbers ({error})") from error


def _series(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        raise DataError(f"the series must hold numbers; got type {values.dtype}")
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.size == 0:
        raise DataError(f"the series must be [time] or [time, channel] and not empty; got shape {values.shape}")
    if np.isinf(values).any():
        raise DataError(
            f"the series must be finite; infinite at step {int(np.flatnonzero(np.isinf(values).any(1))[0])}"
        )
    return to_float32(values)
