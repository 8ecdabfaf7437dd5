"""A linear model beside a network: ridge regression, solved and not trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LinearPath"]

_LARGEST = 20_000_000  # numbers of a matrix that is solved; rows beyond are left out evenly
_LEAST_SPREAD = 0.2  # in units of preprocessing: a rare level of a category is not blown up
_PENALTIES = torch.logspace(-6, 2, 33, dtype=torch.float64)  # per row
_SCALES = torch.logspace(-1, 2, 31, dtype=torch.float64)


class LinearPath(nn.Module):
    """y = b + sum_m (x_m - c_m) W_m over the parts m that are present: 0 until `fit` has solved for W.

    W is the ridge regression of the target's columns on the standardised inputs. Its penalty has the smallest squared
    error of leave-one-out predictions, which a ridge has in closed form. For classes and labels y are logits: those
    of the prior plus a multiple of what the regression of 0 and 1 predicts, the one with the smallest log loss of those
    same predictions. So y is as sure of itself as it may be on new rows, however few there are. Where rows are
    not independent, leave-one-out is too hopeful: then given rows choose both.

    Args:
        sizes: Numbers of each part.
        n_outputs: Classes, labels or values.
        link: How y becomes a prediction.

    Shape:
        `{part: ([batch, number], present [batch])}` to `[batch, n_outputs]`.

    Reference:
        Allen, "The relationship between variable selection and data augmentation and a method for prediction" (1974),
        PRESS; Suykens, Vandewalle, "Least squares support vector machine classifiers" (1999); the scale after Platt
        (1999).
    """

    center: Tensor
    weight: Tensor
    bias: Tensor
    chosen: Tensor

    def __init__(
        self, sizes: Mapping[str, int], n_outputs: int, *, link: Literal["softmax", "sigmoid", "identity"]
    ) -> None:
        super().__init__()
        self.sizes, self.link = dict(sizes), link
        self.register_buffer("center", torch.zeros(sum(sizes.values())))
        self.register_buffer("weight", torch.zeros(sum(sizes.values()), n_outputs))
        self.register_buffer("bias", torch.zeros(n_outputs))
        self.register_buffer("chosen", torch.zeros(2))  # penalty, scale

    def forward(self, parts: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        return (self._matrix(parts) - self.center * self._present(parts)) @ self.weight + self.bias

    def _matrix(self, parts: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Returns all parts beside each other, 0 where one is missing."""
        x = [parts[n][0].masked_fill(~parts[n][1][:, None], 0.0) for n in self.sizes]
        return torch.cat(x, dim=1).to(self.weight.dtype)

    def _present(self, parts: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        return torch.cat([parts[n][1][:, None].expand(-1, size) for n, size in self.sizes.items()], dim=1)

    @torch.no_grad()
    def fit(
        self,
        parts: Mapping[str, tuple[Tensor, Tensor]],
        target: Tensor,
        *,
        held: tuple[Mapping[str, tuple[Tensor, Tensor]], Tensor] | None = None,
        like: LinearPath | None = None,
    ) -> None:
        """Solves for W on the CPU.

        Args:
            parts: Of the rows to learn from.
            target: `[row, n_outputs]`: 0 and 1, or values.
            held: Other rows and their target, that choose penalty and scale; leave-one-out if None.
            like: A path whose penalty and scale are taken.
        """
        step = -(-len(target) * len(self.center) // _LARGEST)
        x, real, y = (t[::step].double() for t in (self._matrix(parts), self._present(parts), target))
        center = x.sum(0) / real.sum(0).clamp(min=1)
        z = x - center * real
        spread = (z.square().sum(0) / real.sum(0).clamp(min=1)).sqrt().clamp(min=_LEAST_SPREAD) * z.shape[1] ** 0.5
        z, mean = z / spread, y.mean(0)
        u, energy = _left_vectors(z)
        along = u.T @ (y - mean)
        penalties = len(y) * (_PENALTIES if like is None else like.chosen[:1].double())
        shrunk = energy / (energy + penalties[:, None])  # [penalty, direction]

        def weights(shrink: Tensor) -> Tensor:
            solved: Tensor = z.T @ (u @ (shrink[:, None] / energy[:, None] * along))
            return solved

        if like is not None:
            best, scores, goal = 0, None, y
        elif held is None:
            leverage = (u.square() @ shrunk.T + 1 / len(y)).clamp(max=1 - 1e-8)
            left_out = [
                y - mean - (y - mean - u @ (s[:, None] * along)) / (1 - leverage[:, i, None])
                for i, s in enumerate(shrunk)
            ]
            best = int(torch.stack([(y - mean - p).square().mean() for p in left_out]).argmin())
            scores, goal = left_out[best], y
        else:
            given, goal = held[0], held[1].double()
            new = (self._matrix(given).double() - center * self._present(given)) / spread
            predicted = [new @ weights(s) for s in shrunk]
            best = int(torch.stack([(goal - mean - p).square().mean() for p in predicted]).argmin())
            scores = predicted[best]
        prior, scale = self._link(mean), 1.0
        if scores is not None and self.link != "identity":
            losses = [self._loss(prior + scale * scores, goal) for scale in _SCALES]
            scale = float(_SCALES[int(torch.stack(losses).argmin())])
        elif like is not None:
            scale = float(like.chosen[1])
        self.center.copy_(center)
        self.weight.copy_(scale * weights(shrunk[best]) / spread[:, None])
        self.bias.copy_(prior)
        self.chosen.copy_(torch.tensor([float(penalties[best]) / len(y), scale]))

    def _link(self, mean: Tensor) -> Tensor:
        """Returns the outputs that predict the target's mean."""
        if self.link == "identity":
            return mean
        mean = mean.clamp(1e-4, 1 - 1e-4)
        return mean.log() if self.link == "softmax" else mean.logit()

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        if self.link == "softmax":
            return F.cross_entropy(logits, y)
        return F.binary_cross_entropy_with_logits(logits, y)


def _left_vectors(z: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the left singular vectors of `z` and the squares of its singular values, of those above 0."""
    if z.shape[0] <= z.shape[1]:
        energy, u = torch.linalg.eigh(z @ z.T)
        kept = energy > 1e-10 * energy.max().clamp(min=1e-300)
        return u[:, kept], energy[kept]
    energy, v = torch.linalg.eigh(z.T @ z)
    kept = energy > 1e-10 * energy.max().clamp(min=1e-300)
    return z @ v[:, kept] / energy[kept].sqrt(), energy[kept]
