"""Series of any length as arrays, checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.errors import DataError

__all__ = ["at_even_steps", "series_rows"]

_LARGEST = 1e150  # squares of larger numbers overflow float64


def series_rows(data: ModalityData, n_channels: int | None, who: str) -> list[np.ndarray]:
    """Returns each row as float64 `[time, channel]`; an absent one, or one without a number, has no step.

    Args:
        data: Series; NaN = a missing number.
        n_channels: Of training; None in training.
        who: Begins messages.

    Raises:
        DataError: A row is no series of so many channels, or holds an infinite number; or none holds any in training.
    """
    if data.kind != "series":
        raise DataError(f"{who}: the modality's kind must be 'series'; got kind={data.kind!r}.")
    fitting = n_channels is None
    rows: list[np.ndarray | None] = []
    for i, (values, present) in enumerate(zip(data.values, data.present, strict=True)):
        row = np.asarray(values, dtype=np.float64) if present else None
        if row is not None:
            row = row[:, None] if row.ndim == 1 else row
            n_channels = row.shape[-1] if n_channels is None else n_channels
            if row.ndim != 2 or row.shape[1] != n_channels:
                raise DataError(
                    f"{who}: every series must be [time, {n_channels}]; got shape={row.shape} in row "
                    f"{i}. Give all series the same channels, NaN where a number is missing."
                )
            if np.isinf(row).any():
                raise DataError(
                    f"{who}: numbers must be finite; got {int(np.isinf(row).sum())} infinite in row "
                    f"{i}. Replace them by NaN to treat them as missing."
                )
            row = None if np.isnan(row).all() else np.clip(row, -_LARGEST, _LARGEST)
        rows.append(row)
    if n_channels is None or (fitting and all(row is None for row in rows)):
        raise DataError(f"{who}: at least one training row must hold a number; got none. Leave this modality out.")
    return [np.zeros((0, n_channels)) if row is None else row for row in rows]


def at_even_steps(rows: Sequence[np.ndarray], n_steps: int) -> np.ndarray:
    """Returns `[row, n_steps, channel]`: each series at even steps from its first to its last, by lines between.

    Missing numbers are bridged, and are 0 in a channel without any; a series without steps is 0.
    """
    n_channels = rows[0].shape[1] if len(rows) else 0
    out = np.zeros((len(rows), n_steps, n_channels))
    for i, row in enumerate(rows):
        if len(row):
            at, time = np.linspace(0, len(row) - 1, n_steps), np.arange(len(row))
            known = ~np.isnan(row)
            for c in np.flatnonzero(known.any(0)):
                out[i, :, c] = np.interp(at, time[known[:, c]], row[known[:, c], c])
    return out
