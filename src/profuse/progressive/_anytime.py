"""Predictions of every round, and when a row's has settled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.progressive.rounds import is_whole

__all__ = ["Anytime", "Settling", "in_evaluation"]


@dataclass(frozen=True, eq=False)
class Anytime:
    """What every round predicts.

    Attributes:
        predictions: Probabilities or values after each round, `[round, batch, n_outputs]`; a row that has settled keeps
            its own. Around a module of someone else's, `[round, batch, ...]` as it predicts.
        rounds: How many rounds each row has used, `[batch]`.
    """

    predictions: Tensor
    rounds: Tensor


class Settling:
    """Collects rounds' predictions; a row is settled once the change from one round to the next is within `tolerance`.

    Args:
        tolerance: Largest change of any number that a row predicts, at least 0; None: no row ever settles.
        rounds: How many there are to be, at least 1.
        where: Who predicts, for messages.

    Raises:
        ConfigError: No round, or a tolerance below 0.
    """

    def __init__(self, tolerance: float | None, rounds: int, *, where: str) -> None:
        if not is_whole(rounds) or rounds < 1 or (tolerance is not None and not tolerance >= 0):
            raise ConfigError(
                f"{where}: rounds must be at least 1 and tolerance at least 0; "
                f"got rounds={rounds!r}, tolerance={tolerance}."
            )
        self.tolerance = tolerance
        self.predictions: list[Tensor] = []
        self.rounds = torch.zeros(0, dtype=torch.long)
        self.open = torch.zeros(0, dtype=torch.long)
        """Indices of the rows that have not settled."""

    def add(self, predictions: Tensor) -> Tensor:
        """Takes a round's predictions of the open rows, `[open row, ...]`; in the first all are open.

        Returns:
            `[open row]` bool: which of them go on.
        """
        if not self.predictions:
            self.open = torch.arange(len(predictions), device=predictions.device)
            self.rounds = torch.ones_like(self.open)
            self.predictions.append(predictions)
            return torch.ones_like(self.open, dtype=torch.bool)
        before = self.predictions[-1]
        self.predictions.append(before.index_copy(0, self.open, predictions))
        self.rounds[self.open] += 1
        if self.tolerance is None:
            return torch.ones_like(self.open, dtype=torch.bool)
        moves = (predictions - before[self.open]).abs().reshape(len(predictions), -1).amax(1) > self.tolerance
        self.open = self.open[moves]
        return moves

    def result(self) -> Anytime:
        """Returns what was collected."""
        return Anytime(torch.stack(self.predictions), self.rounds)


@contextmanager
def in_evaluation(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients; afterwards each layer's mode is as before."""
    modes = {layer: layer.training for layer in module.modules()}
    try:
        for layer in modes:  # not module.eval(), which layers may have made their own
            layer.training = False
        with torch.no_grad():
            yield
    finally:
        for layer, mode in modes.items():
            layer.training = mode
