"""AdamW, with a learning rate that rises and then falls along a cosine: in two forms."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

__all__ = ["adamw", "one_cycle"]

_LEAST_STEPS = 11  # of one cycle: its rise, a tenth of them, must be longer than one step


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


def one_cycle(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    warmup_fraction: float,
    n_steps: int,
    fused: bool = True,
) -> tuple[torch.optim.AdamW, OneCycleLR]:
    """Returns the same for one cycle of rate and momentum (Smith, Topin, Super-Convergence, 2019); all is decayed.

    Args:
        model: What is trained.
        learning_rate: The highest.
        weight_decay: Decoupled, of all parameters.
        warmup_fraction: Fraction of the steps in which the rate rises.
        n_steps: In all.
        fused: As in `adamw`; not used.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    steps = max(n_steps, _LEAST_STEPS)
    return optimizer, OneCycleLR(optimizer, max_lr=learning_rate, total_steps=steps, pct_start=warmup_fraction)
