"""Cepstral coefficients of log-mel frames: of a recording's mean, and of the course about it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LEAST_VARIANCE", "Cepstra"]

LEAST_VARIANCE = 0.05
"""Variance, as a part of the training frames', added to a recording's own: what hardly varies is not blown up."""
_N_MEANS = 20
_N_CEPSTRAL = 13
_N_SEGMENTS = 10
_N_POINTS = 4
_LAG = 4  # frames, 40 ms


class Cepstra(nn.Module):
    """Log-mel frames of any number -> the numbers of `LogMelFeatures`, in torch, and deltas; nothing is learned.

    From each frame the recording's mean is taken, and the rest divided by the recording's deviation. Of both the
    orthonormal cosine transform over the bands is taken. In order: 20 coefficients of the mean; the logarithm of the
    deviation; of 13 coefficients of the rest, the means of each tenth of the recording's time (4 points each, between
    frames linearly), then their deviations; the logarithm of the number of frames. Time is that of real frames alone.
    Last, of the 13 coefficients, the root mean squares of their deltas, the differences of frames 40 ms apart.

    Args:
        n_bands: Mel bands.

    Attributes:
        n_outputs: 20 + 1 + 10 * 13 + 13 + 1 + 13, fewer where there are fewer bands.

    Shape:
        `frames[batch, frame, mel]`, `mask[batch, frame]` to `[batch, n_outputs]`; 0 in rows without a frame.

    Reference:
        See `LogMelFeatures`; Furui, "Speaker-independent isolated word recognition using dynamic features of speech
        spectrum" (1986). *Differs from the paper*: differences of two frames, of a whole recording.
    """

    cosines: Tensor

    def __init__(self, n_bands: int) -> None:
        super().__init__()
        self.register_buffer("cosines", _cosines(n_bands), persistent=False)
        self.n_means, self.n_cepstral = min(_N_MEANS, n_bands), min(_N_CEPSTRAL, n_bands)
        self.n_outputs = self.n_means + (_N_SEGMENTS + 2) * self.n_cepstral + 2

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        real = mask[..., None]
        frames = frames.masked_fill(~real, 0.0)
        n_real = mask.sum(1, keepdim=True).clamp(min=1).to(frames.dtype)
        mean = frames.sum(1) / n_real
        rest = (frames - mean[:, None]).masked_fill(~real, 0.0)
        variance = rest.square().sum((1, 2)) / (n_real[:, 0] * frames.shape[2])
        deviation = (variance + LEAST_VARIANCE).sqrt()
        course = rest @ self.cosines[:, : self.n_cepstral] / deviation[:, None, None]
        segments = _between(mask, n_real).to(frames.dtype) @ course
        spread = (course.square().sum(1) / n_real).sqrt()  # the course's mean is 0
        numbers = [mean @ self.cosines[:, : self.n_means], deviation.log()[:, None], segments.flatten(1), spread]
        both = (mask[:, _LAG:] & mask[:, :-_LAG]).to(frames.dtype)
        deltas = (course[:, _LAG:] - course[:, :-_LAG]).square() * both[..., None]
        deltas = (deltas.sum(1) / both.sum(1, keepdim=True).clamp(min=1)).sqrt()
        return torch.cat([*numbers, n_real.log(), deltas], dim=1).masked_fill(~mask.any(1, keepdim=True), 0.0)


def _between(mask: Tensor, n_real: Tensor) -> Tensor:
    """Returns `[batch, segment, frame]`: how much of each frame the mean of a segment's points has."""
    place = (mask.cumsum(1) - 1).to(n_real.dtype)
    points = torch.linspace(0, 1, _N_SEGMENTS * _N_POINTS, dtype=n_real.dtype, device=mask.device) * (n_real - 1)
    weights = (1 - (place[:, None] - points[..., None]).abs()).clamp(min=0).masked_fill(~mask[:, None], 0.0)
    return torch.unflatten(weights, 1, (_N_SEGMENTS, _N_POINTS)).mean(2)


def _cosines(n: int) -> Tensor:
    """Returns the orthonormal cosine transform (DCT-II), `[value, coefficient]`."""
    k = torch.arange(n, dtype=torch.float64)
    waves: Tensor = torch.cos(math.pi / n * (k[:, None] + 0.5) * k) * (2 / n) ** 0.5
    waves[:, 0] /= 2**0.5
    return waves.float()
