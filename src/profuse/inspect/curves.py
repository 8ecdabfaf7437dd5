"""One number for a curve f(p), the score under noise of level p."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from profuse.errors import DataError

__all__ = ["effective", "relative"]


def relative(levels: Sequence[float] | np.ndarray, scores: Sequence[float] | np.ndarray) -> float:
    """The area under the curve, `integral of f(p) dp`, by trapezoids between the levels.

    Over levels from 0 to 1 it is the mean score, in the score's units. Of an error, as of the error itself, less is
    better.

    Args:
        levels: p, ascending.
        scores: f(p), `[level]`.

    Raises:
        DataError: Fewer than two levels, levels that do not ascend, or scores that do not fit or are not finite.

    Reference:
        Liang et al. 2021, MultiBench (relative robustness).

    *Differs from the paper*: the area is not rescaled to 0..1 over the methods that are compared, which would make
    each method's number depend on the others.
    """
    p, f = _checked("relative", levels, scores)
    return _area(p, f)


def effective(
    levels: Sequence[float] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    reference_scores: Sequence[float] | np.ndarray,
    *,
    higher_is_better: bool,
) -> float:
    """Area between a curve f and a reference's g moved to f's start: `+-integral of f(p) - (g(p) + f(0) - g(0)) dp`.

    Above 0: with growing noise the method loses less than the reference does, whatever their clean scores. Late fusion
    is the customary reference.

    Args:
        levels: p, ascending from 0.
        scores: f(p), `[level]`.
        reference_scores: g(p), `[level]`, under the same noise.
        higher_is_better: Whether that holds of the score; if not (an error), the sign of the area is changed.

    Raises:
        DataError: As in `relative`, or the first level is not 0.

    Reference:
        Liang et al. 2021, MultiBench (effective robustness), after Taori et al. 2020, Measuring robustness to natural
        distribution shifts in image classification.

    *Differs from the paper*: an area, where MultiBench's code takes the sum over levels, about 10 times as much; not
    rescaled over the methods that are compared; the direction of the score is told, not read off a task's name.
    """
    p, f = _checked("effective", levels, scores)
    _, g = _checked("effective", levels, reference_scores)
    if p[0] != 0:
        raise DataError(f"effective: the first level must be 0, the clean score; got levels[0]={p[0]}. Score it too.")
    area = _area(p, (f - f[0]) - (g - g[0]))
    return area if higher_is_better else -area


def _area(p: np.ndarray, f: np.ndarray) -> float:
    return float((np.diff(p) * (f[1:] + f[:-1]) / 2).sum())


def _checked(
    where: str, levels: Sequence[float] | np.ndarray, scores: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    p, f = np.asarray(levels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if p.ndim != 1 or len(p) < 2 or not np.all(np.diff(p) > 0):
        raise DataError(f"{where}: levels must be two or more, ascending; got levels={p.tolist()}.")
    if f.shape != p.shape or not np.isfinite(f).all():
        raise DataError(f"{where}: scores must be one finite number for each of {len(p)} levels; got {f.tolist()}.")
    return p, f
