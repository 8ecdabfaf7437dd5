"""How long the fits of a portfolio still take: those of one model are alike, and a first look tells of the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from profuse.portfolio.fitted import Fitted

__all__ = ["seconds_left"]


def seconds_left(
    members: Sequence[str],
    n_folds: int,
    n_jobs: int,
    fitted: Mapping[str, Fitted],
    over: frozenset[str],
    looked: Mapping[str, float],
) -> float | None:
    """Returns the seconds until each member is fitted to each fold; None where nothing tells of one.

    Args:
        members: By name.
        n_folds: That each is fitted to.
        n_jobs: Fits at a time, of one member.
        fitted: What is done of those that have begun.
        over: Those that will not be fitted further.
        looked: Seconds of a fit by a first look, where there was one.
    """
    left = 0.0
    for name in members:
        if name in over:
            continue
        begun = fitted.get(name)
        n_done = 0 if begun is None else len(begun.done)
        a_fit = begun.a_fit if begun is not None and n_done else looked.get(name)
        if a_fit is None:
            return None
        left += a_fit * math.ceil((n_folds - n_done) / n_jobs)
    return left
