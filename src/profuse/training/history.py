"""What happened in training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Epoch", "History"]


@dataclass(frozen=True)
class Epoch:
    """What happened in an epoch: `valid_score` is in the model's unit; the smallest `valid_error` is chosen by default.

    Epoch 0 is the untrained model, which has a `train_loss` of NaN. That is the mean of the epoch's steps, with
    dropout, noise and penalties. `train_eval_loss` is measured as `valid_loss` is, on a sample of training rows: in
    about twenty epochs, else it is NaN.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    valid_score: float
    valid_error: float
    train_eval_loss: float = math.nan

    def to_json(self) -> dict[str, float | None]:
        """Returns the fields by name; None for NaN, which JSON has not."""
        return {name: value if math.isfinite(value) else None for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, fields: Mapping[str, float | None]) -> Epoch:
        """Returns the epoch whose `to_json` this is."""
        known: dict[str, Any] = {name: math.nan if value is None else value for name, value in fields.items()}
        return cls(**known)


@dataclass(frozen=True)
class History:
    """All epochs, which one's weights were kept, and how long it took.

    Attributes:
        n_parameters: Numbers that training has changed.
        balance_weights: What the balancing method, with what it had learned from validation rows, used in each epoch
            up to the best one.
        chosen_by: The metric that chose the best epoch; "": the smallest validation error.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    n_train_rows: int
    fit_seconds: float
    n_parameters: int = 0
    balance_weights: tuple[Mapping[str, float], ...] = ()
    chosen_by: str = ""

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return next(epoch for epoch in self.epochs if epoch.epoch == self.best_epoch)
