"""AdamW, with a learning rate that rises and then falls along a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

if TYPE_CHECKING:
    from profuse.train import TrainOptions

__all__ = ["adamw"]


def adamw(model: nn.Module, options: TrainOptions, *, n_steps: int) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Returns the optimizer of `model`, and the schedule of its rate over `n_steps`."""
    # one kernel for all parameters: four times as fast on a CPU; it cannot go with a loss scaler and clipping
    fused = options.precision != "16-mixed"
    optimizer = torch.optim.AdamW(_groups(model, options), lr=options.learning_rate, fused=fused)
    return optimizer, LambdaLR(optimizer, _rate(options, n_steps))


def _groups(model: nn.Module, options: TrainOptions) -> list[dict[str, object]]:
    embeddings = {
        id(p) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) for p in m.parameters()
    }
    decayed = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in model.parameters() if p.ndim < 2 or id(p) in embeddings]
    return [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _rate(options: TrainOptions, n_steps: int) -> Callable[[int], float]:
    rise = max(1, round(options.warmup * n_steps))

    def rate(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, n_steps - rise))))

    return rate
