"""MMPareto: joint and own gradients are combined so that a step serves both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.models.fusion_model import FusionModel
from profuse.progressive import ProgressiveFusion
from profuse.training.balance._base import Balance

__all__ = ["MMPareto", "pareto_weight"]


def pareto_weight(joint: Tensor, own: Tensor) -> Tensor:
    """Returns a in [0, 1] for which a joint + (1 - a) own is shortest; 1/2 where they agree (joint . own > 0)
    or one is 0.

    Args:
        joint: Gradient of the joint loss, flat.
        own: Gradient of the own loss, flat.
    """
    difference = joint - own
    best = (own @ -difference) / (difference @ difference).clamp(min=torch.finfo(joint.dtype).tiny)
    alone = (joint.norm() == 0) | (own.norm() == 0)
    return torch.where((joint @ own > 0) | alone, torch.full_like(best, 0.5), best.clamp(0, 1))


class MMPareto(Balance):
    """g_m <- gamma max(|d|, |joint_m + own_m|) d / |d|, d = 2 (a joint_m + (1 - a) own_m), for every encoder m.

    a is 1/2 where the gradient of the joint loss and that of the modality's own loss agree; where they conflict it is
    the weight of the shortest combination, whose direction lowers both losses. Its length is then restored, as short
    steps generalise worse. What is not an encoder gets the sum of all gradients. M more backward passes a step.

    Note that AdamW divides a gradient by its recent size: a steady `gamma` cancels, the change of direction does not.

    Args:
        model: What is trained.
        gamma: Factor of the restored length, above 0.

    Raises:
        ConfigError: `gamma` is not above 0, or the modalities have no losses of their own.

    Reference:
        Wei, Hu, MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance, ICML 2024, algorithm 1.
        *Differs from the paper*: the whole encoder is one block.
    """

    reference: ClassVar[str] = "Wei, Hu 2024, algorithm 1"

    def __init__(self, model: FusionModel | ProgressiveFusion, *, gamma: float = 1.5) -> None:
        super().__init__(model)
        if not 0 < gamma < float("inf"):
            raise ConfigError(f"MMPareto: gamma must be above 0; got gamma={gamma}.")
        self.gamma = gamma

    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        encoders = self.encoders
        mine = {id(p) for parameters in encoders.values() for p in parameters}
        shared = [p for p in self.whole.parameters() if p.requires_grad and id(p) not in mine]
        everywhere = iter(_gradients(joint, [*shared, *(p for each in encoders.values() for p in each)]))
        for parameter in shared:
            parameter.grad = next(everywhere)
        for name, parameters in encoders.items():
            together = [next(everywhere) for _ in parameters]
            result = _gradients(own[name], [*shared, *parameters])
            for parameter, gradient in zip(shared, result, strict=False):
                parameter.grad = parameter.grad + gradient  # type: ignore[operator]
            alone = result[len(shared) :]
            a = pareto_weight(_flat(together), _flat(alone))
            combined = [2 * (a * t + (1 - a) * s) for t, s in zip(together, alone, strict=True)]
            length = _flat(combined).norm()
            wanted = torch.maximum(length, (_flat(together) + _flat(alone)).norm())
            # where the two are opposite no step serves both, and what is left of d is rounding
            serves = length > 1e-6 * (_flat(together).norm() + _flat(alone).norm())
            scale = torch.where(serves, self.gamma * wanted / length, 0.0)
            for parameter, gradient in zip(parameters, combined, strict=True):
                parameter.grad = scale * gradient


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    if not loss.requires_grad or not parameters:
        return [torch.zeros_like(p) for p in parameters]
    result = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, result, strict=True)]


def _flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients]) if gradients else torch.zeros(1)
