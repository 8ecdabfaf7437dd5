"""Whether a series' levels tell anything or are its sensor's own: asked of ridge regressions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from profuse.encoders._base import Rows, Suited
from profuse.encoders._views import resampled, row_views
from profuse.tokens import Raw

__all__ = ["levels_suited"]

_LEAST_ROWS, _MAX_ROWS, _MAX_JUDGES, _N_POINTS = 20, 1_000, 500, 32
_PENALTIES = (0.01, 0.1, 1.0)  # of the largest eigenvalue


def levels_suited(train: Rows, valid: Rows) -> Suited | None:
    """Returns whether the steps enter as they are, beside the views in units of their own row.

    Each validation row is predicted by a ridge regression on 32 of its steps as they are, and by one on the same steps
    of its views. The steps hold all that the views hold, and their levels. Where they make more mistakes all the same,
    by more than one standard error of the rows' differences, the levels lead astray, as those of a sensor that drifts
    do where validation rows are later or of another sensor.

    Args:
        train: Rows that are learned from; 1,000 of them are looked at.
        valid: Rows that decide; 500 of them.

    Returns:
        The option; None with fewer than 20 rows of either.
    """
    if min(len(train), len(valid)) < _LEAST_ROWS:
        return None
    (known, known_target), (asked, target) = train.draw(_MAX_ROWS), valid.draw(_MAX_JUDGES)
    goal = _numbers(known_target, known_target)
    (steps, views), (new_steps, new_views) = _descriptions(known), _descriptions(asked)
    answer = _numbers(target, known_target)
    worse = _mistakes(steps, new_steps, goal, answer) - _mistakes(views, new_views, goal, answer)
    levels = not bool(worse.mean() > worse.std() / len(worse) ** 0.5)
    words = "levels of a row are read" if levels else "levels of a row are left out, as rows of validation have others"
    return Suited(words, {"levels": levels})


def _numbers(target: Tensor, known: Tensor) -> Tensor:
    """Returns targets as `[row, output]`: a class is a 1 among zeros."""
    numbers = target if target.is_floating_point() else F.one_hot(target, int(max(known.max(), target.max())) + 1)
    return numbers.double().reshape(len(target), -1)


def _descriptions(raw: Raw) -> tuple[Tensor, Tensor]:
    x = raw.values.masked_fill(~raw.mask[..., None], 0.0).double()
    views, _ = row_views(x, raw.mask)
    steps, views = (resampled(part, raw.mask, _N_POINTS).flatten(1) for part in (x, views))
    return steps, views


def _mistakes(known: Tensor, asked: Tensor, goal: Tensor, answer: Tensor) -> Tensor:
    """Returns how wrong the best of three ridge regressions is about each row: 0 or 1, or a square."""
    mean, spread = known.mean(0), known.std(0) + 1e-6
    known, asked, center = (known - mean) / spread, (asked - mean) / spread, goal.mean(0)
    products = known @ known.T
    values, vectors = torch.linalg.eigh(products)
    turned, seen = vectors.T @ (goal - center), asked @ known.T @ vectors
    wrong = []
    for penalty in _PENALTIES:
        said = seen @ (turned / (values.clamp(min=0) + penalty * values[-1].clamp(min=1e-9))[:, None]) + center
        is_class = bool((goal.sum(1) == 1).all()) and goal.shape[1] > 1
        wrong.append((said.argmax(1) != answer.argmax(1)).double() if is_class else (said - answer).square().mean(1))
    best: Tensor = min(wrong, key=lambda w: float(w.mean()))
    return best
