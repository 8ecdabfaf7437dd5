"""AdamW, with a learning rate that rises and then falls along a cosine."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["adamw"]


def adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    warmup_fraction: float,
    n_steps: int,
    fused: bool = True,
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Returns the optimizer of `model` and the schedule of its rate.

    Args:
        model: What is trained.
        learning_rate: The highest.
        weight_decay: Decoupled, of what has two axes or more, but for tables of embeddings.
        warmup_fraction: Fraction of the steps in which the rate rises.
        n_steps: In all.
        fused: One kernel for all parameters, four times as fast on a CPU; it cannot go with a loss scaler and clipping.
    """
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) for p in m.parameters()}
    decayed = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in tables]
    others = [p for p in model.parameters() if p.ndim < 2 or id(p) in tables]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=fused)
    rise = max(1, round(warmup_fraction * n_steps))

    def rate(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, n_steps - rise))))

    return optimizer, LambdaLR(optimizer, rate)
