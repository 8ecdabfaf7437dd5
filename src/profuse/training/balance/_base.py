"""What every balancing method is: it says how a batch's losses become gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.models.fusion_model import JOINT, FusionModel, Output
from profuse.models.trainable import Trainable
from profuse.progressive import ProgressiveFusion
from profuse.tokens import Raw

__all__ = ["Balance", "Losses", "unimodal_confidence"]

Losses = tuple[Tensor, Mapping[str, Tensor]]
"""The joint loss, and the modalities' own by name."""


class Balance(ABC):
    """How the losses of a batch become gradients, for one training run of one model.

    A subclass writes `backward`. The loop clips the gradients and steps afterwards.

    Args:
        model: What is trained.

    Attributes:
        reference: Paper and equation.

    Raises:
        ConfigError: The modalities of the model have no losses of their own.
    """

    reference: ClassVar[str] = ""

    def __init__(self, model: Trainable[Any]) -> None:
        if not isinstance(model, FusionModel | ProgressiveFusion):
            raise ConfigError(
                f"{type(self).__name__}: the model must be a FusionModel or a ProgressiveFusion, whose modalities have "
                f"losses of their own; got a {type(model).__name__}. Use balance=None."
            )
        self.whole: FusionModel | ProgressiveFusion = model
        self.model: FusionModel = model.plain
        operator = self.model.decider
        if len(self.model.own_heads) == 0 or (operator is not None and operator.owns_loss):
            raise ConfigError(
                f"{type(self).__name__}: every modality must have a loss of its own; got "
                f"unimodal_loss_weight={self.model.unimodal_loss_weight}, "
                f"{type(operator or self.model.fusion).__name__}. "
                "Set unimodal_loss_weight above 0, and use an operator that does not own its loss."
            )

    @property
    def encoders(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of each modality's encoder."""
        pairs = zip(self.model.names, self.model.encoders, strict=True)
        return {name: [p for p in encoder.parameters() if p.requires_grad] for name, encoder in pairs}

    def losses(self, output: Output, target: Tensor) -> Losses:
        """Returns the joint loss, with that of a hybrid's joint head, which is no modality; and the modalities' own."""
        joint, own = self.whole.losses(output, target)
        if JOINT in own:
            joint = joint + own.pop(JOINT)
        return joint, own

    def passes(self, batch: dict[str, Raw]) -> Iterator[tuple[dict[str, Raw], Tensor | None]]:
        """Yields what the model is run on for this batch, a gradient step each, and its rows (None: all of them)."""
        yield batch, None

    @abstractmethod
    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        """Leaves gradients at the parameters.

        Args:
            joint: The head's loss and the operator's penalties.
            own: The modalities' own losses.
            unimodal_confidence: For each modality, the mean over its rows of exp(-loss): of classes, the
                probability of the true one.
        """

    def after_step(self) -> None:  # noqa: B027  # most change gradients alone
        """Told when the optimizer has made a step."""

    def after_epoch(self, losses: Callable[[], tuple[Losses, Losses]]) -> None:  # noqa: B027  # most need nothing
        """Told at the end of an epoch; `losses()` returns those of training rows and of validation rows."""

    def weights(self) -> dict[str, float]:
        """Returns what was learned from validation rows so far and must be repeated where there are none."""
        return {}

    def repeat(self, weights: Mapping[str, float]) -> None:  # noqa: B027  # most learn nothing there
        """Uses what `weights` returned in an earlier run, before the same epoch."""

    def close(self) -> None:  # noqa: B027  # most leave nothing at the model
        """Takes away what it has left at the model; called when training is over."""


def unimodal_confidence(model: FusionModel | ProgressiveFusion, output: Output, target: Tensor) -> dict[str, Tensor]:
    """Returns how well each modality does by its own head: the mean over the rows that have it of exp(-loss).

    For classes that is the mean probability of the true one, without label smoothing.
    """
    results = {}
    with torch.no_grad():
        for name in model.names:
            rows = output.present[name]
            right = torch.exp(-model.head.row_losses(output.parts[name], target))
            results[name] = right.masked_fill(~rows, 0.0).sum() / rows.sum().clamp(min=1)
    return results
