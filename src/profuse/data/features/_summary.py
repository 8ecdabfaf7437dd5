"""Series of any length -> a fixed number of summaries a channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["summarise"]

_BLOCK = 512  # rows padded together


def summarise(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Returns `[row, 1 + channel * (13 + shape)]`: the length, then by channel

    mean, standard deviation, minimum, quartiles, maximum, first, last, least-squares slope over the relative time
    0..1, mean absolute difference, lag-1 autocorrelation, share of missing numbers, and the series at up to 16 evenly
    spaced times (fewer with more than 32 channels).

    Args:
        rows: Float `[time, channel]`, NaN = a missing number; no step = the whole row is missing, NaN in the result.
    """
    n_channels = rows[0].shape[1] if len(rows) else 0
    n_shape = int(np.clip(512 // max(1, n_channels), 2, 16))
    out = np.full((len(rows), 1 + n_channels * (13 + n_shape)), np.nan)
    order = [i for i in np.argsort([len(row) for row in rows], kind="stable") if len(rows[i])]
    for start in range(0, len(order), _BLOCK):  # rows of like length together: little padding
        block = order[start : start + _BLOCK]
        lengths = np.array([len(rows[i]) for i in block])
        inside = np.arange(lengths.max()) < lengths[:, None]
        values = np.full((*inside.shape, n_channels), np.nan)
        values[inside] = np.concatenate([rows[i] for i in block])
        columns = _summaries(values, lengths) + _shape(values, lengths, n_shape)
        out[block] = np.concatenate([lengths[:, None], np.stack(columns, axis=-1).reshape(len(block), -1)], axis=1)
    return out


def _ratio(a: np.ndarray, b: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """Returns `a / b`, `empty` where `b` is 0."""
    return np.asarray(np.divide(a, b, out=np.full(a.shape, empty), where=b > 0))


def _summaries(x: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """`x[row, time, channel]`, NaN = missing or padding -> statistics `[row, channel]`; NaN where nothing is known."""
    known = ~np.isnan(x)
    n = known.sum(1)
    mean = _ratio(np.where(known, x, 0.0).sum(1), n)
    centered = np.where(known, x - mean[:, None], 0.0)
    variance = _ratio(np.square(centered).sum(1), n)

    ranked = np.sort(x, axis=1)  # NaN last
    quantiles = []
    for q in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = q * np.maximum(n - 1, 0)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(n - 1, 0))
        a, b = (np.take_along_axis(ranked, i[:, None], axis=1)[:, 0] for i in (low, high))
        quantiles.append(a + (at - low) * (b - a))

    first, last = known.argmax(1), x.shape[1] - 1 - known[:, ::-1].argmax(1)
    ends = [np.take_along_axis(x, i[:, None], axis=1)[:, 0] for i in (first, last)]

    time = (np.arange(x.shape[1]) / np.maximum(lengths - 1, 1)[:, None])[..., None]
    time_off = np.where(known, time - _ratio(np.where(known, time, 0.0).sum(1), n)[:, None], 0.0)
    slope = _ratio((time_off * centered).sum(1), np.square(time_off).sum(1), 0.0)
    pairs = known[:, 1:] & known[:, :-1]
    step = _ratio(np.where(pairs, np.abs(np.diff(x, axis=1)), 0.0).sum(1), pairs.sum(1), 0.0)
    lag = _ratio((centered[:, 1:] * centered[:, :-1]).sum(1), np.square(centered).sum(1), 0.0)
    slope, step, lag = (np.where(n > 0, s, np.nan) for s in (slope, step, lag))
    return [mean, np.sqrt(variance), *quantiles, *ends, slope, step, lag, 1.0 - n / lengths[:, None]]


def _shape(x: np.ndarray, lengths: np.ndarray, n_points: int) -> list[np.ndarray]:
    """Linear interpolation at `n_points` evenly spaced times of each row; NaN where a neighbour is missing."""
    points = []
    for fraction in np.linspace(0.0, 1.0, n_points):
        at = fraction * (lengths - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, lengths - 1)
        row = np.arange(len(x))
        points.append(x[row, low] + (at - low)[:, None] * (x[row, high] - x[row, low]))
    return points
