"""A balancing method."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.models.fusion_model import FusionModel
from profuse.progressive import ProgressiveFusion
from profuse.training.balance import Balance

__all__ = ["OwnFirst"]


class OwnFirst(Balance):
    """loss = joint + factor x sum over m of own_m.

    Args:
        model: What is trained.
        factor: Weight of the modalities' own losses, at least 0.

    Raises:
        ConfigError: A factor below 0.
    """

    reference = "none"

    def __init__(self, model: FusionModel | ProgressiveFusion, *, factor: float = 2.0) -> None:
        super().__init__(model)
        if not 0 <= factor < float("inf"):
            raise ConfigError(f"OwnFirst: factor must be at least 0; got factor={factor}.")
        self.factor = factor

    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        (joint + self.factor * torch.stack([*own.values()]).sum()).backward()
