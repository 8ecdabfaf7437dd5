"""Gradient blending: losses are weighed by how well they generalise against how much they overfit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.models.fusion_model import FusionModel
from profuse.progressive import ProgressiveFusion
from profuse.training.balance._base import Balance, Losses

__all__ = ["GradientBlending", "blend"]

_JOINT = "(all)"


def blend(
    before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]], *, floor: float = 1e-2
) -> dict[str, float]:
    """Returns w_k proportional to G_k / O_k^2, which sum to 1.

    G is by how much the validation loss fell, O the change of the gap between validation and training loss. O counts by
    its size, whether the gap grew or shrank, as in the paper. A loss that did not fall gets 0; all get the same where
    none fell.

    Args:
        before: Training and validation loss, by name, at the start of a span of epochs.
        after: The same at its end.
        floor: The least size of O that is divided by: a gap that did not change would have infinite weight.
    """
    raw = {}
    for name, (train, valid) in after.items():
        gain = max(0.0, before[name][1] - valid)
        overfitting = max(floor, abs((valid - train) - (before[name][1] - before[name][0])))
        raw[name] = gain / overfitting**2
    total = sum(raw.values())
    return {name: value / total if total > 0 else 1 / len(raw) for name, value in raw.items()}


class GradientBlending(Balance):
    """loss = w_0 joint + sum over m of w_m own_m, w proportional to G / O^2, found anew every `span` epochs.

    G is how much the validation loss fell in the span, O by how much overfitting changed: see `blend`. The weights
    are equal in the first span. Where a model is trained anew on all rows, the weights found before are used again.

    Args:
        model: What is trained.
        span: Epochs after which the weights are found anew, at least 1.

    Raises:
        ConfigError: `span` is below 1, or the modalities have no losses of their own.

    Reference:
        Wang, Tran, Feiszli, What Makes Training Multi-Modal Classification Networks Hard?, CVPR 2020, eq. 2 to 5,
        online version. *Differs from the paper*: the losses are read off the model itself while it trains, not off
        copies that are trained for each modality; the size of O has a floor; a loss that rose gets 0, where the paper's
        weight would be negative.
    """

    reference: ClassVar[str] = "Wang et al. 2020, online version"

    def __init__(self, model: FusionModel | ProgressiveFusion, *, span: int = 3) -> None:
        super().__init__(model)
        if span < 1:
            raise ConfigError(f"GradientBlending: span must be at least 1; got span={span}.")
        self.span = span
        self._weights: dict[str, float] = {}
        self._before: dict[str, tuple[float, float]] | None = None
        self._n_epochs = 0

    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        named = {_JOINT: joint, **own}
        even = 1 / len(named)
        torch.stack([self._weights.get(k, even) * v for k, v in named.items()]).sum().backward()  # type: ignore[no-untyped-call]

    def after_epoch(self, losses: Callable[[], tuple[Losses, Losses]]) -> None:
        self._n_epochs += 1
        if self._n_epochs > 1 and self._n_epochs % self.span:
            return
        train, valid = losses()
        now = {_JOINT: (float(train[0]), float(valid[0]))}
        now |= {name: (float(train[1][name]), float(valid[1][name])) for name in train[1]}
        if self._before is not None:
            self._weights = blend(self._before, now)
        self._before = now

    def weights(self) -> dict[str, float]:
        return dict(self._weights)

    def repeat(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)
