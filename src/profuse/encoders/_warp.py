"""Random changes of a recording's frames: another voice, another pace."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["spec_warp"]


def spec_warp(frames: Tensor, mask: Tensor, *, max_pitch: float = 0.2, max_pace: float = 0.3) -> tuple[Tensor, Tensor]:
    """Returns each row's frames with its bands and its time stretched about the beginning of both, and their mask.

    Band `m` becomes what stood at `f m` and frame `t` what stood at `t / g`, between bands and frames linearly; `f` is
    uniform in `1 -+ max_pitch` and `g` in `1 -+ max_pace`, one of each a row. Beyond the last band it repeats; a row
    that would outgrow the frames of its batch fills them.

    Args:
        frames: `[row, frame, mel]`; real frames come first.
        mask: `[row, frame]` bool, real frames.
        max_pitch: Largest change of the bands' scale: as of the length of a vocal tract.
        max_pace: Largest change of the time's scale.

    Shape:
        Returns `[row, frame, mel]`, 0 outside the mask, and `[row, frame]`.

    Reference:
        Jaitly and Hinton 2013, Vocal tract length perturbation improves speech recognition; Ko et al. 2015, Audio
        augmentation for speech recognition (speed perturbation).
    """
    n_rows, n_frames, n_mels = frames.shape
    n_real = mask.sum(1)
    draw = 2 * torch.rand(2, n_rows, 1, dtype=frames.dtype, device=frames.device) - 1
    pitch, pace = 1 + max_pitch * draw[0], 1 + max_pace * draw[1]
    real = n_real[:, None].to(frames.dtype)
    pace = torch.minimum(pace, n_frames / real.clamp(min=1))
    at_frame = (torch.arange(n_frames, device=frames.device) / pace).clamp(max=(real - 1).clamp(min=0))
    at_band = (torch.arange(n_mels, device=frames.device) * pitch).clamp(max=n_mels - 1)
    places = torch.stack([
        (2 * at_band / max(1, n_mels - 1) - 1)[:, None, :].expand(frames.shape),
        (2 * at_frame / max(1, n_frames - 1) - 1)[:, :, None].expand(frames.shape),
    ], dim=3)  # fmt: skip
    warped = F.grid_sample(frames[:, None], places, align_corners=True, padding_mode="border")[:, 0]
    kept = torch.arange(n_frames, device=frames.device) < (real * pace).round().clamp(min=1)
    kept &= (n_real > 0)[:, None]
    return warped * kept[..., None], kept
