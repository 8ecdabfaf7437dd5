"""Ways to draw what is missing: copied from donors (mean, nearest), or made by a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

from profuse.fusion.generative._generators import (
    DiffusionGenerator,
    FlowGenerator,
    GanGenerator,
    Generator,
    RegressionGenerator,
)
from profuse.imputation.blocks import Told
from profuse.imputation.training import Progress, train

__all__ = ["METHODS", "Drawn", "MeanMethod", "Method", "NearestMethod", "NetworkMethod", "make_method"]

_N_FOLDS = 5
_CHUNK = 200_000  # numbers of distances, or rows of a network, at a time


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is drawn for some rows.

    Attributes:
        samples: `[sample, row, number]`.
        point: `[row, number]`: one answer a row.
        donors: `[sample, row]`: the training row that each sample is a copy of; None where it is none.
    """

    samples: np.ndarray
    point: np.ndarray
    donors: np.ndarray | None = None


class Method(ABC):
    """Learns `numbers[row, number]` from what rows hold beside, and draws them for other rows."""

    def __init__(self, told: Told, numbers: np.ndarray) -> None:
        self.told, self.numbers = told, numbers

    @abstractmethod
    def draw(self, told: Told, n_samples: int, *, seed: int) -> Drawn:
        """Returns `n_samples` draws for each row of `told`; the same for the same seed and rows."""


class MeanMethod(Method):
    """The mean of the training rows, whatever else a row holds; the samples are training rows at random."""

    def draw(self, told: Told, n_samples: int, *, seed: int) -> Drawn:
        n_rows = len(told.anything)
        donors = np.random.default_rng(seed).integers(0, len(self.numbers), (n_samples, n_rows))
        point = np.broadcast_to(self.numbers.mean(0), (n_rows, self.numbers.shape[1]))
        return Drawn(self.numbers[donors], point, donors)


class NearestMethod(Method):
    """The training rows that are nearest in what both hold: sample i is the i-th nearest; the answer is their mean.

    The squared distance is the mean over the modalities that both rows have of the mean squared difference of their
    features. A row that holds nothing that a training row holds gets training rows at random.
    """

    def draw(self, told: Told, n_samples: int, *, seed: int) -> Drawn:
        n_rows, n = len(told.anything), len(self.numbers)
        rng = np.random.default_rng(seed)
        donors = np.empty((n_samples, n_rows), dtype=np.int64)
        step = max(1, _CHUNK // n)
        for first in range(0, n_rows, step):
            rows = np.arange(first, min(n_rows, first + step))
            distance = _distance(told.rows(rows), self.told)
            distance[~np.isfinite(distance)] = 1e9 + rng.random(int((~np.isfinite(distance)).sum()))
            order = np.argsort(distance, axis=1, kind="stable")[:, :n_samples]
            donors[: order.shape[1], rows] = order.T
        for i in range(n, n_samples):  # fewer donors than samples: they come again
            donors[i] = donors[i % n]
        return Drawn(self.numbers[donors], self.numbers[donors].mean(0), donors)


class NetworkMethod(Method):
    """A ridge regression, and a conditional generator of what it leaves over; the answer is the mean of the draws.

    The regression is what few rows can support; the generator learns the rest, and how far to trust it: the errors
    that it learns are those on rows that the regression had not seen (five folds). Rows that hold nothing else get
    training rows at random.
    """

    def __init__(
        self,
        told: Told,
        numbers: np.ndarray,
        *,
        make: Callable[[int, int, int], Generator],
        valid: np.ndarray,
        width: int,
        epochs: int | None,
        seed: int,
        groups: np.ndarray | None = None,
        on_epoch: Callable[[Progress], None] | None = None,
    ) -> None:
        super().__init__(told, numbers)
        matrix = told.matrix()
        self.ridge = _ridge().fit(matrix, numbers)
        unseen = cross_val_predict(_ridge(), matrix, numbers, cv=_folds(len(matrix), groups, seed))
        left = numbers - unseen.reshape(numbers.shape)
        self.reach = np.abs(left).max(0)
        deviation = left.std(0)
        self.unit = np.where(deviation > 1e-9, deviation, 1.0)
        condition, target = torch.from_numpy(matrix), torch.from_numpy((left / self.unit).astype(np.float32))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.generator = make(condition.shape[1], target.shape[1], width)
            self.generator.begin_with_noise()  # the regression's errors, normal and alike everywhere
            train(self.generator, condition, target, valid=valid, epochs=epochs, on_epoch=on_epoch)
        if isinstance(self.generator, RegressionGenerator):
            self.generator.calibrate(condition[valid], target[valid])

    def draw(self, told: Told, n_samples: int, *, seed: int) -> Drawn:
        noise = torch.Generator().manual_seed(seed)
        matrix = told.matrix()
        condition, n_rows = torch.from_numpy(matrix), len(matrix)
        samples = np.empty((n_samples, n_rows, self.numbers.shape[1]))
        with torch.inference_mode():
            for i in range(n_samples):
                for first in range(0, n_rows, _CHUNK):
                    rows = slice(first, first + _CHUNK)
                    samples[i, rows] = self.generator.sample(condition[rows], noise).numpy()
        if n_rows:
            samples = np.clip(samples * self.unit, -2 * self.reach, 2 * self.reach)  # a wild draw must not rule a mean
            samples += self.ridge.predict(matrix).reshape(samples.shape[1:])
        alone = np.flatnonzero(~told.anything)
        if len(alone):
            drawn = MeanMethod(self.told, self.numbers).draw(told.rows(alone), n_samples, seed=seed)
            samples[:, alone] = drawn.samples
        return Drawn(samples, samples.mean(0))


NETWORKS: dict[str, Callable[[int, int, int], Generator]] = {
    "regression": RegressionGenerator,
    "flow": FlowGenerator,
    "diffusion": DiffusionGenerator,
    "gan": partial(GanGenerator, diversity=1.0),  # without it all draws are nearly the same
}
DONORS: dict[str, type[Method]] = {"nearest": NearestMethod, "mean": MeanMethod}
METHODS = (*NETWORKS, *DONORS)


def make_method(
    name: str,
    told: Told,
    numbers: np.ndarray,
    *,
    valid: np.ndarray,
    width: int,
    epochs: int | None,
    seed: int,
    groups: np.ndarray | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
) -> Method:
    """Returns the method `name`, fitted.

    Args:
        name: One of `METHODS`.
        told: What the training rows hold beside.
        numbers: Their `[row, number]`.
        valid: Bool `[row]`: which of them choose the epoch of a network; donors come from all.
        width: Channels of a network's hidden layers.
        epochs: Passes over the rows, at most; by their number if None.
        seed: Of weights, order and noise.
        groups: `[row]`: rows of one group are kept together.
        on_epoch: Called after each epoch.
    """
    if name in DONORS:
        return DONORS[name](told, numbers)
    return NetworkMethod(
        told,
        numbers,
        make=NETWORKS[name],
        valid=valid,
        width=width,
        epochs=epochs,
        seed=seed,
        groups=groups,
        on_epoch=on_epoch,
    )


def _ridge() -> RidgeCV:
    return RidgeCV(np.logspace(-1, 5, 13), alpha_per_target=True)


def _folds(n_rows: int, groups: np.ndarray | None, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to learn from and to predict, five times, or once a group where there are fewer; a single group is cut."""
    n_groups = 0 if groups is None else len(np.unique(groups))
    rows = np.arange(n_rows)
    if n_groups > 1:
        return list(GroupKFold(min(_N_FOLDS, n_groups)).split(rows, groups=groups))
    return list(KFold(_N_FOLDS, shuffle=True, random_state=seed).split(rows))


def _distance(rows: Told, others: Told) -> np.ndarray:
    """Returns `[row, other]`: squared distances, infinite where no modality is in both."""
    total = np.zeros((len(rows.anything), len(others.anything)))
    count = np.zeros_like(total)
    for name, x in rows.blocks.items():
        y = others.blocks[name]
        square = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
        both = rows.present[name][:, None] & others.present[name][None]
        total += np.where(both, np.maximum(square, 0.0) / max(1, x.shape[1]), 0.0)
        count += both
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)
