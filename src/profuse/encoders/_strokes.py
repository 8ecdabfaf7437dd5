"""Random changes of pen paths in training: what another hand would have done."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["redrawn"]

_TURN, _STRETCH, _SLANT, _BEND = 0.2, 0.15, 0.2, 0.12
_N_WAVES = 3


def redrawn(path: Tensor, mask: Tensor, strength: float) -> Tensor:
    """Returns each path turned, stretched, slanted and bent about its centre, by normally distributed amounts.

    With strength 1 the deviations are 0.2 (turn, radians), 0.15 (logarithm of width and of height), 0.2 (slant), and
    0.12 of the path's size for the first of three slow waves along it, which move strokes and change their lengths.

    Args:
        path: `[row, time, 2]`, in one unit.
        mask: `[row, time]` bool.
        strength: Factor of all deviations.
    """
    n_rows, n_steps = mask.shape
    real = mask[..., None].to(path.dtype)
    n = real.sum(1, keepdim=True).clamp(min=1)
    center = (path * real).sum(1, keepdim=True) / n
    x = (path - center) * real

    def draw(*shape: int) -> Tensor:
        return strength * torch.randn(n_rows, *shape, device=path.device, dtype=path.dtype)

    turn, slant, stretch = _TURN * draw(), _SLANT * draw(), (_STRETCH * draw(2)).exp()
    cos, sin = turn.cos(), turn.sin()
    map_ = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], dim=1)
    tilt = torch.diag_embed(stretch)
    tilt = torch.stack([torch.stack([tilt[:, 0, 0], slant], 1), tilt[:, 1]], dim=1)
    size = ((x.square().sum((1, 2)) / n[:, 0, 0]).sqrt())[:, None, None]
    along = torch.arange(n_steps, device=path.device, dtype=path.dtype) / n[:, 0]
    waves = torch.arange(1, _N_WAVES + 1, device=path.device, dtype=path.dtype)
    phase = 2 * math.pi * torch.rand(n_rows, 1, _N_WAVES, 2, device=path.device, dtype=path.dtype)
    wave = torch.sin(math.pi * along[..., None, None] * waves[:, None] + phase) / waves[:, None]
    bend = (_BEND * size[..., None] * draw(1, _N_WAVES, 2) * wave).sum(2)
    return (torch.einsum("rij,rtj->rti", map_ @ tilt, x) + bend + center) * real
