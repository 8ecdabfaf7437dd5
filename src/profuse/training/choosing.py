"""Which epoch is kept: that of the smallest loss of validation rows, or of a metric that the loss does not tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from profuse.data.target import TargetCodec
from profuse.errors import DataError
from profuse.heads import Head
from profuse.metrics import Metric
from profuse.training.history import Epoch

__all__ = ["BestEpoch", "Worth", "worth_by"]

Worth = Callable[[Sequence[Any]], float]
"""Outputs of the validation rows, by batch -> how good they are; larger is better."""


class BestEpoch:
    """The best of the epochs so far, with its weights.

    By the error of each, the smallest; or by what each is worth: the largest mean of an epoch and its two neighbours,
    and of equal ones the smaller error. A metric of few rows jumps from epoch to epoch, hence the mean.

    Args:
        model: Whose weights are kept.
        by_worth: Whether epochs have a worth.
    """

    def __init__(self, model: nn.Module, *, by_worth: bool) -> None:
        self.epochs: list[Epoch] = []
        self.weights: Mapping[str, Tensor] = {}
        self._model, self._by_worth = model, by_worth
        self._worths: list[float] = []
        self._best, self._key = 0, (-np.inf, -np.inf)
        self._latest: Mapping[str, Tensor] = {}

    @property
    def best(self) -> int:
        """The number of the best epoch, 0 before there is one; by worth, of those whose successor is known."""
        return self.epochs[self._best].epoch if self.epochs else 0

    def add(self, epoch: Epoch, worth: float = 0.0) -> None:
        """Takes the epoch that the model has just done."""
        self.epochs.append(epoch)
        self._worths.append(worth)
        if self._by_worth and len(self.epochs) > 1:
            self._compare(len(self.epochs) - 2, self._latest)
        self._latest = {}
        if self._by_worth or -epoch.valid_error > self._key[1]:
            self._latest = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
        if not self._by_worth:
            self._compare(len(self.epochs) - 1, self._latest)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Returns what is known so far: facts that JSON takes, and tensors."""
        facts = {"epochs": [epoch.to_json() for epoch in self.epochs], "worths": list(self._worths)}
        named = {"best": self.weights, "latest": self._latest if self._by_worth else {}}
        return facts, {f"{at}.{name}": value for at, kept in named.items() for name, value in kept.items()}

    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Takes what `state` has returned."""
        self.epochs, self._worths = [Epoch.from_json(fields) for fields in facts["epochs"]], list(facts["worths"])
        known = {
            at: {name.removeprefix(f"{at}."): value for name, value in tensors.items() if name.startswith(f"{at}.")}
            for at in ("best", "latest")
        }
        for i in range(len(self.epochs) - self._by_worth):
            self._compare(i, known["best"])
        self.weights, self._latest = known["best"], known["latest"]

    def finish(self) -> None:
        """Has the last epoch compared too, which has no successor."""
        if self._by_worth:
            self._compare(len(self.epochs) - 1, self._latest)

    def _compare(self, i: int, weights: Mapping[str, Tensor]) -> None:
        worth = float(np.mean(self._worths[max(0, i - 1) : i + 2])) if self._by_worth else 0.0
        key = worth, -self.epochs[i].valid_error
        if key > self._key:
            self._best, self._key, self.weights = i, key, weights


def worth_by(metric: Metric, head: Head, codec: TargetCodec, true: np.ndarray) -> Worth:
    """Returns what the metric says of validation rows; where it is not defined, all are worth the same.

    Args:
        metric: Each row counts once.
        head: Makes predictions of outputs.
        codec: Of the target.
        true: Targets of the rows, as metrics take them.
    """

    def worth(outputs: Sequence[Any]) -> float:
        said = head.predict(torch.cat([output.outputs.float().cpu() for output in outputs])).double()
        try:
            value = metric(true, codec.in_units(said.numpy()))
        except DataError:
            return -np.inf
        if not np.isfinite(value):
            return -np.inf
        return value if metric.higher_is_better else -value

    return worth
