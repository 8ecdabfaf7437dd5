"""Two views of a series' steps: in units of their own row, and by how they change."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["resampled", "row_views", "step_changes"]


def step_changes(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Returns `x_t - x_{t-1}`, 0 unless both steps are real, `[row, time, channel]`, and 1 where both are, else 0.

    Args:
        x: `[row, time, channel]`, 0 where masked.
        mask: `[row, time]` bool.
    """
    real = mask[..., None].to(x.dtype)
    pair = real * F.pad(real, (0, 0, 1, 0))[:, :-1]
    return (x - F.pad(x, (0, 0, 1, 0))[:, :-1]) * pair, pair


def row_views(x: Tensor, mask: Tensor, *, is_path: bool = False) -> tuple[Tensor, Tensor]:
    """Returns `[(x_t - m) / s, (x_t - x_{t-1}) / r]` and the row's own `[m, log s, log r]`.

    `m` and `s` are mean and deviation of a channel in its row, `r` the root mean square of its changes. What a sensor's
    gain and offset do to a row stands in the row's own numbers alone. The first two channels of a path share `s` and
    `r`: its second view is then the direction in which the pen goes.

    Args:
        x: `[row, time, channel]`, 0 where masked.
        mask: `[row, time]` bool.
        is_path: Whether the first two channels are a position.

    Returns:
        `[row, time, 2 channel]`, 0 where masked, and `[row, 3 channel]`.
    """
    real = mask[..., None].to(x.dtype)
    change, pair = step_changes(x, mask)
    n, n_pairs = (part.sum(1, keepdim=True).clamp(min=1) for part in (real, pair))
    mean = x.sum(1, keepdim=True) / n
    centered = (x - mean) * real
    variance, square = centered.square().sum(1, keepdim=True) / n, change.square().sum(1, keepdim=True) / n_pairs
    own = torch.cat([mean, 0.5 * (variance + _SMALL).log(), 0.5 * (square + _SMALL).log()], dim=2)[:, 0]
    if is_path:
        variance, square = (_shared(part) for part in (variance, square))
    views = [centered / (variance + _SMALL).sqrt(), change / (square + _SMALL).sqrt()]
    return torch.cat(views, dim=2), own


_SMALL = 1e-6  # of a number's unit, squared


def _shared(square: Tensor) -> Tensor:
    return torch.cat([square[..., :2].mean(2, keepdim=True).expand(-1, -1, 2), square[..., 2:]], dim=2)


def resampled(x: Tensor, mask: Tensor, n_points: int) -> Tensor:
    """Returns `[row, n_points, channel]`: linear interpolation from a row's first step to its last real one."""
    place = torch.arange(mask.shape[1], device=x.device)
    last = (place * mask).amax(1, keepdim=True).to(x.dtype)
    at = torch.linspace(0, 1, n_points, device=x.device, dtype=x.dtype) * last
    low = at.floor().long()
    high = torch.minimum(low + 1, last.long())
    share = (at - low)[..., None]

    def taken(index: Tensor) -> Tensor:
        return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))

    return torch.lerp(taken(low), taken(high), share)
