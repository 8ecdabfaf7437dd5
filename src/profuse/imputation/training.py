"""Trains a conditional generator: AdamW, the epoch that is best on rows that were not learned from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from profuse.layers.generators import Generator

__all__ = ["Progress", "train"]

_N_STEPS = 3000
_LEAST_STEPS = 11  # that the rate is planned for: its rise, a tenth of them, must be longer than one step
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 0.05


@dataclass(frozen=True)
class Progress:
    """Where training stands: epoch (from 1) of how many, loss on the rows learned from, score on the others."""

    epoch: int
    n_epochs: int
    train_loss: float
    valid_score: float


def train(
    generator: Generator,
    condition: Tensor,
    target: Tensor,
    *,
    valid: np.ndarray,
    epochs: int | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
) -> None:
    """Trains `generator` and leaves it in evaluation mode, as it was in its best epoch.

    Args:
        generator: What is trained.
        condition: `[row, n_condition]`.
        target: `[row, n_target]`.
        valid: Bool `[row]`: rows that choose the epoch.
        epochs: Passes over the rows, at most; as many as make about 3,000 steps if None.
        on_epoch: Called after each epoch.
    """
    learn, choose = (torch.from_numpy(np.flatnonzero(rows)) for rows in (~valid, valid))
    size = int(np.clip(len(learn) // 8, 16, 256))
    n_batches = -(-len(learn) // size)
    n_epochs = epochs or int(np.clip(_N_STEPS // n_batches, 10, 300))
    patience = max(10, n_epochs // 4)
    optimiser = torch.optim.AdamW(generator.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    n_steps = max(n_epochs * n_batches, _LEAST_STEPS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=_LEARNING_RATE, total_steps=n_steps, pct_start=0.1)
    best, best_epoch, state = (
        _score(generator, condition[choose], target[choose]),
        0,
        copy.deepcopy(generator.state_dict()),
    )
    for epoch in range(1, n_epochs + 1):
        generator.train()
        total = 0.0
        for rows in torch.split(torch.randperm(len(learn)), size):
            index = learn[rows]
            losses = generator.losses(condition[index], target[index])
            loss = torch.stack([of_rows.mean() for of_rows in losses.values()]).sum()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        score = _score(generator, condition[choose], target[choose])
        if score < best:
            best, best_epoch, state = score, epoch, copy.deepcopy(generator.state_dict())
        if on_epoch is not None:
            on_epoch(Progress(epoch, n_epochs, total / n_batches, score))
        if epoch - best_epoch >= patience:
            break
    generator.load_state_dict(state)
    generator.eval()


def _score(generator: Generator, condition: Tensor, target: Tensor) -> float:
    generator.eval()
    with torch.no_grad():
        return float(generator.score(condition, target).mean())
