"""A conditional generator in the training loop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from profuse.layers.generators import Generator
from profuse.models.trainable import Trainable, Validation
from profuse.tokens import Raw
from profuse.training import loop
from profuse.training.callbacks import Callers
from profuse.training.optimizer import one_cycle
from profuse.training.options import TrainOptions

__all__ = ["Conditional", "train"]

_N_STEPS = 3000
_RECIPE = loop.Recipe(optimizer=one_cycle, reseeds=False, untrained_counts=True)
_RATES = {"learning_rate": 2e-3, "weight_decay": 0.05, "warmup_fraction": 0.1, "averaging": 0.0}


class Conditional(Trainable[Tensor]):
    """A generator as the loop takes it: of a batch it returns the condition, and learns the target by its own losses.

    Args:
        generator: What is trained.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    @property
    def unit(self) -> str:
        return "negative loss"

    def forward(self, inputs: Mapping[str, Raw]) -> Tensor:
        return inputs["condition"].values

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return torch.stack([of_rows.mean() for of_rows in self.generator.losses(output, target).values()]).sum()

    def validate(self, outputs: Sequence[Tensor], target: Tensor) -> Validation:
        condition = torch.cat(list(outputs))
        self.generator.eval()
        with torch.no_grad():
            error = float(self.generator.score(condition, target.to(condition.device)).mean())
        return Validation(error, -error, error)


def train(
    generator: Generator,
    condition: Tensor,
    target: Tensor,
    *,
    valid: np.ndarray,
    options: TrainOptions,
    callbacks: Callers = (),
) -> None:
    """Trains `generator` and leaves it in evaluation mode, as it was in its best epoch or before the first one.

    Order of rows and noise are drawn from the global random state.

    Args:
        generator: What is trained.
        condition: `[row, n_condition]`.
        target: `[row, n_target]`.
        valid: Bool `[row]`: rows that choose the epoch.
        options: Device, precision, threads, seed, and epochs: passes over the rows, at most; as many as make about
            3,000 steps if None. The rest is by the number of rows.
        callbacks: Called while it is trained.
    """
    learn, choose = (torch.from_numpy(np.flatnonzero(rows)) for rows in (~valid, valid))
    size = int(np.clip(len(learn) // 8, 16, 256))
    n_batches = math.ceil(len(learn) / size)
    n_epochs = options.epochs or int(np.clip(_N_STEPS // n_batches, 10, 300))
    by_rows = {"epochs": n_epochs, "max_steps": n_epochs * n_batches, "batch_size": size}
    options = options.model_copy(update={**_RATES, **by_rows, "patience": max(10, n_epochs // 4)})
    inputs = {"condition": Raw(condition, torch.ones(len(condition), dtype=torch.bool))}
    loop.train(Conditional(generator), inputs, target, learn, choose, options, callbacks=callbacks, recipe=_RECIPE)
