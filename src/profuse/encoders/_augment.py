"""Random changes of training inputs, on torch's own random numbers: what makes small data go further."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["jitter", "spec_mask", "spec_shift"]


def jitter(pictures: Tensor, max_shift: int) -> Tensor:
    """Returns each picture moved by up to `max_shift` whole pixels, down and across; the border is repeated.

    Whole pixels, for anything between blurs, and a sharp picture at prediction would then be a stranger.

    Args:
        pictures: `[row, channel, height, width]`.
        max_shift: Largest shift, pixels.
    """
    n_rows, _, height, width = pictures.shape
    device = pictures.device
    shift = torch.randint(-max_shift, max_shift + 1, (n_rows, 2), device=device)
    down = (torch.arange(height, device=device) + shift[:, :1]).clamp(0, height - 1)
    across = (torch.arange(width, device=device) + shift[:, 1:]).clamp(0, width - 1)
    rows = torch.arange(n_rows, device=device)[:, None, None]
    # indices around a slice put the sliced axis last
    return pictures[rows, :, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)


def spec_mask(frames: Tensor, mask: Tensor, *, max_time: float = 0.2, max_mel: float = 0.2) -> Tensor:
    """Returns the frames with one strip of time and one strip of mel bands set to 0 (the training mean).

    Args:
        frames: `[row, frame, mel]`.
        mask: `[row, frame]` bool, real frames.
        max_time: Largest part of a row's real frames in the strip.
        max_mel: Largest part of the bands in the strip.

    Reference:
        Park et al.: SpecAugment, Interspeech 2019, section 2.
    """
    n_rows, n_frames, n_mels = frames.shape
    draw = torch.rand(n_rows, 4, device=frames.device)
    keep = torch.ones(n_rows, n_frames, n_mels, dtype=torch.bool, device=frames.device)
    for axis, total, most, (length, place) in (
        (1, mask.sum(1).float(), max_time, draw[:, :2].T),
        (2, torch.full((n_rows,), float(n_mels), device=frames.device), max_mel, draw[:, 2:].T),
    ):
        strip = length * most * total
        start = place * (total - strip)
        at = torch.arange(frames.shape[axis], device=frames.device) + 0.5
        hidden = (at >= start[:, None]) & (at < (start + strip)[:, None])
        keep &= ~(hidden[:, :, None] if axis == 1 else hidden[:, None, :])
    return frames * keep


def spec_shift(frames: Tensor, *, max_mel: float = 0.06) -> Tensor:
    """Returns each row's frames moved up or down by up to `max_mel` of the bands, as another voice would be.

    Args:
        frames: `[row, frame, mel]`.
        max_mel: Largest shift as a part of the bands; the outermost band repeats.
    """
    n_rows, _, n_mels = frames.shape
    most = round(max_mel * n_mels)
    if most < 1:
        return frames
    shift = torch.randint(-most, most + 1, (n_rows, 1), device=frames.device)
    source = (torch.arange(n_mels, device=frames.device) + shift).clamp(0, n_mels - 1)
    return frames.gather(2, source[:, None, :].expand_as(frames))
