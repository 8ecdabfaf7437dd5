"""Features to mean 0 and spread 1, by what training has shown so far."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Standardise"]


class Standardise(nn.Module):
    """`y = clip((x - m) / sqrt(v + eps), -6, 6)`, `m` and `v` the mean and variance of all rows seen in training.

    Unlike batch normalisation a row never depends on the rows beside it in the batch but by what stays behind of
    them; before training `m = 0` and `v = 1`.

    Args:
        n_features: Features of a row.

    Shape:
        `[row, feature]`, `present[row]` -> `[row, feature]`. Rows that are not present teach nothing.

    Reference:
        Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance (the update).
    """

    _BOUND = 6.0
    _EPS = 1e-4

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("variance", torch.ones(n_features))
        self.register_buffer("n_seen", torch.zeros(()))
        self.mean: Tensor
        self.variance: Tensor
        self.n_seen: Tensor

    @torch.no_grad()
    def _see(self, x: Tensor, present: Tensor) -> None:
        share = present.to(x.dtype)[:, None] / present.sum().clamp(min=1)
        mean = (x * share).sum(0)
        variance = ((x - mean).square() * share).sum(0)
        old, new = self.n_seen, present.sum().to(self.n_seen)
        weight = new / (old + new).clamp(min=1)
        distance = mean - self.mean
        self.variance.lerp_(variance, weight).add_(weight * (1 - weight) * distance.square())
        self.mean.lerp_(mean, weight)
        self.n_seen.add_(new)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        if self.training:
            self._see(x.detach(), present)
        return ((x - self.mean) / (self.variance + self._EPS).sqrt()).clamp(-self._BOUND, self._BOUND)
