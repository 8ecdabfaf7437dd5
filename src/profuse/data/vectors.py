"""Vectors as an array, checked."""

from __future__ import annotations

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.errors import DataError

__all__ = ["vector_rows"]

_LARGEST = 1e150  # squares of larger numbers overflow float64


def vector_rows(data: ModalityData, n_channels: int | None, who: str) -> np.ndarray:
    """Returns the present rows as float64 `[row, channel]`; NaN = a missing number.

    Args:
        data: Vectors.
        n_channels: Of training; None in training. Where no row is present, nothing else tells how many.
        who: Begins messages.

    Raises:
        DataError: They are no vectors of so many channels, or a number is infinite.
    """
    values = data.values
    if data.kind != "vector" or not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] == 0:
        raise DataError(
            f"{who}: values must be an array [row, channel] with at least one channel; got kind={data.kind!r}, "
            f"values={type(values).__name__}{list(getattr(values, 'shape', ()))}."
        )
    try:
        x = values[data.present].astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{who}: values must be numbers; got dtype={values.dtype} ({error}).") from None
    if np.isinf(x).any():
        row, channel = np.argwhere(np.isinf(x))[0]
        raise DataError(
            f"{who}: numbers must be finite; got {x[row, channel]} in row {np.flatnonzero(data.present)[row]}, "
            f"channel {channel} ({int(np.isinf(x).sum())} such numbers). Make them NaN if they mean 'missing'."
        )
    if n_channels is not None:
        if not len(x):
            return np.empty((0, n_channels))
        if x.shape[1] != n_channels:
            raise DataError(
                f"{who}: the vectors must have the channels of train; got {x.shape[1]} channels for {n_channels}."
            )
    held: np.ndarray = np.clip(x, -_LARGEST, _LARGEST)
    return held
