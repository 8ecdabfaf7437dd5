"""The running mean of a model's weights: what is judged and kept in place of the weights of the last step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["WeightAverage"]


class WeightAverage:
    """`mean <- decay * mean + (1 - decay) * weights` after each step, `decay = 0.5 ** (1 / half_life)`.

    Weights jump about while the learning rate is high; their mean stands where they would settle (Polyak, Juditsky,
    Acceleration of Stochastic Approximation by Averaging, 1992). So an epoch is judged by what the model can do there,
    not by the chance of its last steps, and may be kept whatever the learning rate was.

    *Differs from the paper*: the mean forgets; in the first steps, whose weights are still those of chance, faster:
    decay is at most `(1 + step) / (10 + step)`.

    Args:
        model: What is trained, on its device. Buffers are not averaged.
        half_life: Steps after which a step's weights count half; 0: the mean is the weights of the last step.
    """

    def __init__(self, model: nn.Module, half_life: float) -> None:
        self._decay = 0.5 ** (1 / half_life) if half_life > 0 else 0.0
        self._weights = [p for p in model.parameters() if p.requires_grad] if half_life > 0 else []
        self._means = [p.detach().clone() for p in self._weights]
        self._n_steps = 0

    @property
    def means(self) -> Sequence[Tensor]:
        """Of the parameters that are trained, in their order; none if the mean is the weights of the last step."""
        return self._means

    @torch.no_grad()
    def restore(self, means: Sequence[Tensor], n_steps: int) -> None:
        """Takes the `means` that as many steps have left."""
        for mean, before in zip(self._means, means, strict=True):
            mean.copy_(before)
        self._n_steps = n_steps

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights that a step has left."""
        self._n_steps += 1
        decay = min(self._decay, (1 + self._n_steps) / (10 + self._n_steps))
        if self._means:
            get_ema_multi_avg_fn(decay)(self._means, self._weights, self._n_steps)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the model's weights and their mean; a second time: back."""
        for mean, weight in zip(self._means, self._weights, strict=True):
            kept = weight.clone()
            weight.copy_(mean)
            mean.copy_(kept)
