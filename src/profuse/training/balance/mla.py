"""MLA: modalities are learned in turn, so that none can lean on another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.models.fusion_model import FusionModel
from profuse.progressive import ProgressiveFusion
from profuse.tokens import Raw
from profuse.training.balance._base import Balance

__all__ = ["MLA", "shrink"]


def shrink(projection: Tensor, direction: Tensor, alpha: float) -> Tensor:
    """Returns P - P h h^T P / (alpha + h^T P h): what P lets through, less of the direction h.

    Args:
        projection: P, symmetric, `[width, width]`.
        direction: h, `[width]`.
        alpha: How much of h stays, above 0; near 0, nothing.
    """
    seen = projection @ direction
    return projection - torch.outer(seen, seen) / (alpha + direction @ seen)


class MLA(Balance):
    """For each m in turn, a step with m alone: W <- W + step_m P; P <- P - P h_m h_m^T P / (alpha + h_m^T P h_m).

    In the step of m all other modalities are missing, so its encoder cannot leave the work to another one. What a
    step changes of the head's weights, which all share, is kept off the directions h (mean inputs of the head) that
    the steps before have used, so that one modality does not overwrite what another has learned. A last step sees
    all modalities. M + 1 steps a batch. At the decision level no head is shared: there the steps in turn are all.
    The paper's rule for prediction, weights by exp(-entropy), is the operator `confidence`.

    Args:
        model: What is trained.
        alpha: How much of a used direction stays open, above 0.

    Raises:
        ConfigError: `alpha` is not above 0, or the modalities have no losses of their own.

    Reference:
        Zhang, Yoon, Bansal, Yao, Multimodal Representation Learning by Alternating Unimodal Adaptation, CVPR
        2024, eq. 4 to 8. *Differs from the paper*: the optimizer's step is projected, not its gradient, which
        is the same for gradient descent and holds for AdamW too, whose steps do not lie along gradients; a
        joint step, which operators on features need; P begins anew with each batch, since without it the head
        would stop to learn.
    """

    reference: ClassVar[str] = "Zhang et al. 2024, eq. 4 to 8"

    def __init__(self, model: FusionModel | ProgressiveFusion, *, alpha: float = 1.0) -> None:
        super().__init__(model)
        if not 0 < alpha < float("inf"):
            raise ConfigError(f"MLA: alpha must be above 0; got alpha={alpha}.")
        self.alpha = alpha
        self._projection: Tensor | None = None
        self._alone = False
        self._direction: Tensor | None = None
        self._before = self.model.head.linear.weight.detach()
        self._hook = self.model.head.linear.register_forward_pre_hook(self._look)

    def close(self) -> None:
        self._hook.remove()

    def _look(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:
            self._direction = inputs[0].detach().mean(0)

    def passes(self, batch: dict[str, Raw]) -> Iterator[tuple[dict[str, Raw], Tensor | None]]:
        width = self.model.head.width
        self._projection = torch.eye(width)
        for name in self.model.names:
            rows = batch[name].present.nonzero()[:, 0]
            if len(rows) > 0:
                here = {n: raw.rows(rows) for n, raw in batch.items()}
                gone = torch.ones(len(rows), dtype=torch.bool)
                self._alone = True
                yield {n: raw if n == name else raw.without(gone) for n, raw in here.items()}, rows
        self._alone = False
        yield batch, None

    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        self.model.blended(joint, own).backward()  # type: ignore[no-untyped-call]
        self._before = self.model.head.linear.weight.detach().clone()

    def after_step(self) -> None:
        weight = self.model.head.linear.weight
        if not self._alone or weight.grad is None or self._direction is None or self._projection is None:
            return
        projection = self._projection.to(weight)
        with torch.no_grad():
            weight.copy_(self._before + (weight - self._before) @ projection)
        self._projection = shrink(projection, self._direction.to(weight), self.alpha)
