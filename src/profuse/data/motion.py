"""How the pictures of a video change from one to the next, in numbers. Nothing in it is learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["motion_numbers", "n_motion_numbers"]

_PLACES, _CELLS, _TIMES = 6, 3, 4
_SMALL = 1e-3  # of a squared gradient


def n_motion_numbers(image_size: tuple[int, int]) -> int:
    """Returns how many numbers `motion_numbers` gives."""
    n_places, n_cells = (min(image_size[0], most) * min(image_size[1], most) for most in (_PLACES, _CELLS))
    return 1 + _TIMES + n_places + 2 * _TIMES * n_cells


def motion_numbers(values: Tensor, mask: Tensor) -> Tensor:
    """Returns `[row, number]` of videos, 0 where there is no frame.

    The logarithm of the number of frames; the mean size of the changes between neighbouring frames in each of four
    parts of the time, and of the whole at 6 x 6 places; and the flow, down and to the right in shares of a side, at
    3 x 3 places in each of the four parts: what least squares make of gradients and changes there.

    Args:
        values: `[row, frame, channel, height, width]` of a `VideoPreprocessor`.
        mask: `[row, frame]` bool, real frames first.

    Reference:
        Lucas and Kanade 1981, An iterative image registration technique.
    """
    grey = values.mean(2)
    n_frames, height, width = grey.shape[1:]
    real = mask.to(values.dtype)
    pair = real[:, 1:] * real[:, :-1]
    step = (grey[:, 1:] - grey[:, :-1]) * pair[..., None, None]
    middle = (grey[:, 1:] + grey[:, :-1]) / 2 * pair[..., None, None]
    down = F.pad(middle[:, :, 2:] - middle[:, :, :-2], (0, 0, 1, 1)) / 2 if height > 2 else torch.zeros_like(middle)
    right = F.pad(middle[..., 2:] - middle[..., :-2], (1, 1)) / 2 if width > 2 else torch.zeros_like(middle)
    # pairs of the first quarter of the row's own time, of the second, ...
    place = torch.arange(n_frames - 1, device=mask.device)
    part = place * _TIMES // pair.sum(1, keepdim=True).clamp(min=1).long()
    of_part = (part[:, None] == torch.arange(_TIMES, device=mask.device)[:, None]).to(values.dtype) * pair[:, None]
    share = of_part / of_part.sum(2, keepdim=True).clamp(min=1)
    products = torch.stack([down * down, right * right, down * right, down * step, right * step, step.abs()], 2)
    by_part = torch.einsum("btfhw,bqt->bqfhw", products, share)
    size = by_part[:, :, 5]
    whole = (step.abs().sum(1) / pair.sum(1).clamp(min=1)[:, None, None])[:, None]
    cells = F.adaptive_avg_pool2d(by_part[:, :, :5].flatten(1, 2), (min(height, _CELLS), min(width, _CELLS)))
    a, b, c, d, e = torch.unflatten(cells, 1, (_TIMES, 5)).unbind(2)
    a, b = a + _SMALL, b + _SMALL
    determinant = a * b - c * c  # above 0: the matrix of gradients, and a little of the identity
    flow = torch.stack([(c * e - b * d) / height, (c * d - a * e) / width], 2) / determinant[:, :, None]
    places = F.adaptive_avg_pool2d(whole, (min(height, _PLACES), min(width, _PLACES)))
    numbers = [real.sum(1, keepdim=True).log1p(), size.mean((2, 3)), places.flatten(1), flow.flatten(1)]
    return torch.cat(numbers, 1) * (real.sum(1, keepdim=True) > 0)
