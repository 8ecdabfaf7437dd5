"""Channels of a series that are seldom measured: the last value carried forward, and how long ago it was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["carried", "find_sparse", "log_ages"]

_SPARSE = 0.5  # of the steps of training: what lacks more is sparse


def find_sparse(numbers: np.ndarray) -> np.ndarray:
    """Returns the channels of `numbers[step, channel]` that lack more than half of their numbers, but not all."""
    share = np.isnan(numbers).mean(axis=0) if len(numbers) else np.zeros(numbers.shape[1])
    return np.flatnonzero((share > _SPARSE) & (share < 1))


def carried(row: np.ndarray, channels: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the last value of `channels` at each step, and the time since it was measured.

    Args:
        row: Float `[step, channel]`, NaN = not measured.
        channels: Those of interest.
        times: `[step]`, never falls.

    Returns:
        Both `[step, len(channels)]`; before the first value NaN, and infinite.
    """
    steps = np.arange(len(row))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(row[:, channels]), -1, steps), axis=0)
    ages = np.where(last >= 0, times[:, None] - times[np.maximum(last, 0)], np.inf)
    values = np.where(last >= 0, np.take_along_axis(row[:, channels], np.maximum(last, 0), axis=0), np.nan)
    return values, ages


def log_ages(ages: Sequence[np.ndarray], longest: float) -> np.ndarray:
    """Returns `log(1 + age)` of all rows, an age that is longer, or infinite, being `longest`."""
    return np.asarray(np.log1p(np.clip(np.concatenate(ages), 0.0, longest)))
