"""Whether a linear path should read numbers in bins too: asked of ridge regressions that leave each row out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from profuse.encoders._base import Encoder, Rows, Suited
from profuse.layers.landmarks import Landmarks
from profuse.layers.ridge import Ridge

__all__ = ["bins_suited"]

_LEAST_ROWS, _MAX_ROWS = 20, 500
_PENALTIES = torch.logspace(-5, 1, 13, dtype=torch.float64, device="cpu")  # per row


@torch.no_grad()
def bins_suited(encoder: Encoder, train: Rows) -> Suited | None:
    """Returns that bins are left out where training rows are predicted better without them; else None.

    Where columns change smoothly together (a spectrum) or rows are few for many columns, bins only add noise. What is
    asked is what the linear path does: the better of a ridge regression as numbers stand and those with Gaussian
    kernels, by the squared error of each row left out. Rows that belong together make that error too small, with bins
    and without.

    Args:
        encoder: Has the option `n_linear_bins`.
        train: Rows that are learned from; 500 of them are looked at.
    """
    bare = encoder.with_options({"n_linear_bins": 0})
    if encoder.n_linear in (0, bare.n_linear) or len(train) < _LEAST_ROWS:
        return None
    raw, target = train.draw(_MAX_ROWS)
    goal = target.double() if target.is_floating_point() else F.one_hot(target).double()
    goal = goal.reshape(len(goal), -1)
    binned, plain = (_error(e.linear(raw), goal) for e in (encoder, bare))
    if binned <= plain:
        return None
    return Suited("numbers are read without bins, beside the network", {"n_linear_bins": 0})


def _error(x: Tensor, goal: Tensor) -> float:
    """Returns the smallest mean squared error of rows left out, of all ways to read them."""
    part, present = Landmarks(x.shape[1], len(x)), torch.ones(len(x), dtype=torch.bool)
    errors = []
    for way in part.candidates:
        read = part.settle(x, present, way, len(x))
        errors.append(Ridge.solve([read(x, present)], goal, _PENALTIES).error)
    return min(errors)
