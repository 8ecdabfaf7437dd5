"""Uniform losses: the joint one and every modality's own count the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from profuse.training.balance._base import Balance

__all__ = ["Uniform"]


class Uniform(Balance):
    """loss = joint + sum over m of own_m: whatever `unimodal_loss_weight` says, every loss has weight 1.

    The simple method that the others have to beat.

    Args:
        model: What is trained.

    Reference:
        The multi-loss baseline of Wang, Tran, Feiszli, What Makes Training Multi-Modal Classification Networks Hard?,
        CVPR 2020.
    """

    reference: ClassVar[str] = "Wang et al. 2020, baseline"

    def backward(self, joint: Tensor, own: Mapping[str, Tensor], unimodal_confidence: Mapping[str, Tensor]) -> None:
        torch.stack([joint, *own.values()]).sum().backward()  # type: ignore[no-untyped-call]
