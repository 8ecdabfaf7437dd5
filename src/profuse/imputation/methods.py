"""Ways to fill what is missing: what each of them answers, and draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from profuse.imputation.blocks import Features, Inputs
from profuse.imputation.coding import Part, Target
from profuse.imputation.streams import Streams

__all__ = ["N_MEASURED", "Answer", "Drawn", "MeanMethod", "Method", "NearestMethod", "chosen"]

N_MEASURED = 99
"""Draws a row for measuring: the 5th smallest and the 5th largest of them enclose 90 % of what is drawn alike."""
_CHUNK = 2_000_000  # distances at a time


@dataclass(frozen=True, eq=False)
class Answer:
    """The best single answer for some rows.

    Attributes:
        point: `[row, number]`: the mean of a number; how probable each word is.
        deviation: `[row, number]`: standard deviation of a number around it.
        donors: For each column that is copied, the training row that it is a copy of, `[row]`.
    """

    point: np.ndarray
    deviation: np.ndarray
    donors: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws for some rows.

    Attributes:
        samples: `[sample, row, number]`; a category has the numbers of one of its words, or it is the largest.
        donors: For each column that is copied, the training row that each sample is a copy of, `[sample, row]`.
        are_all: Whether no other draw is possible; else they are a sample of what is.
    """

    samples: np.ndarray
    donors: Mapping[str, np.ndarray] = field(default_factory=dict)
    are_all: bool = False


class Method(ABC):
    """Learns a modality from what rows hold beside it, and fills it in other rows.

    Rows of `target` may hold a part of it: that stays, and counts as an input where the method says so.
    """

    def __init__(self, inputs: Inputs, target: Target) -> None:
        self.inputs, self.target = inputs, target

    @property
    def n_measured(self) -> int:
        """Draws of a row by which the method is measured."""
        return N_MEASURED

    @abstractmethod
    def answer(self, inputs: Inputs, target: Target, streams: Streams) -> Answer:
        """Returns what is best for the rows, by each row alone; `streams` are for rows of which nothing is known."""

    @abstractmethod
    def draw(self, inputs: Inputs, target: Target, streams: Streams, n_samples: int, *, purpose: int = 0) -> Drawn:
        """Returns `n_samples` draws for each row, by the row and its stream alone.

        Args:
            inputs: What the rows hold beside.
            target: What they hold of the modality itself.
            streams: Their random numbers.
            n_samples: How many.
            purpose: Another one, other draws.
        """

    def complete(self, inputs: Inputs, target: Target, streams: Streams, *, purpose: int) -> Drawn:
        """Returns one draw for each row, for a table without gaps."""
        return self.draw(inputs, target, streams, 1, purpose=purpose)


class MeanMethod(Method):
    """The mean of the training rows, whatever else a row holds; the samples are training rows at random."""

    def answer(self, inputs: Inputs, target: Target, streams: Streams) -> Answer:
        mean = np.nanmean(self.target.numbers, axis=0)
        deviation = np.nanstd(self.target.numbers, axis=0)
        shape = (len(target), len(mean))
        return Answer(np.tile(mean, (shape[0], 1)), np.tile(deviation, (shape[0], 1)))

    def draw(self, inputs: Inputs, target: Target, streams: Streams, n_samples: int, *, purpose: int = 0) -> Drawn:
        at = streams.uniform(n_samples, purpose=purpose)
        donors = []
        for there, parts in _alike(self.target):
            donors.append((chosen(at, np.flatnonzero(there)), parts))
        return _copied(self.target, donors)


class NearestMethod(Method):
    """The training rows that are nearest in what a row holds: sample i is the i-th nearest; the answer is their mean.

    The squared distance is the mean over the modalities that a row has, the one that is filled too where a part of it
    is known, of the mean squared difference of the features that the row has. Where a training row lacks a feature x,
    the difference is taken as it is expected, x^2 + 1. A cell is copied from the nearest rows that have it. A row that
    holds nothing gets training rows at random.

    Args:
        inputs: What the training rows hold beside.
        target: What they hold of the modality.
        n_neighbours: How many nearest rows make the answer.
    """

    def __init__(self, inputs: Inputs, target: Target, *, n_neighbours: int) -> None:
        super().__init__(inputs, target)
        self.n_neighbours = n_neighbours

    @property
    def n_measured(self) -> int:
        return self.n_neighbours

    def answer(self, inputs: Inputs, target: Target, streams: Streams) -> Answer:
        drawn = self.draw(inputs, target, streams, self.n_neighbours)
        point, deviation = drawn.samples.mean(0), drawn.samples.std(axis=0, ddof=1)
        return Answer(point, deviation, {name: rows[0] for name, rows in drawn.donors.items()})

    def draw(self, inputs: Inputs, target: Target, streams: Streams, n_samples: int, *, purpose: int = 0) -> Drawn:
        places = [np.flatnonzero(there) for there, _ in _alike(self.target)]
        results = [np.empty((n_samples, len(inputs)), dtype=np.int64) for _ in places]
        step = max(1, _CHUNK // len(self.inputs))
        for first in range(0, len(inputs), step):
            rows = np.arange(first, min(len(inputs), first + step))
            distance = self._distance(inputs.rows(rows), target.rows(rows))
            lost = np.flatnonzero(np.isnan(distance).any(1))
            if len(lost):
                distance[lost] = streams.rows(rows[lost]).uniform(len(self.inputs), purpose=purpose).T
            for place, donors in zip(places, results, strict=True):
                order = np.argsort(distance[:, place], axis=1, kind="stable")
                # fewer donors than samples: they come again
                donors[:, rows] = place[order[:, np.arange(n_samples) % len(place)]].T
        donors_of = [(rows, parts) for rows, (_, parts) in zip(results, _alike(self.target), strict=True)]
        return replace(_copied(self.target, donors_of), are_all=True)

    def complete(self, inputs: Inputs, target: Target, streams: Streams, *, purpose: int) -> Drawn:
        drawn = self.draw(inputs, target, streams, self.n_neighbours)
        which = chosen(streams.uniform(1, purpose=purpose), np.arange(self.n_neighbours))
        donors = {name: np.take_along_axis(rows, which, axis=0) for name, rows in drawn.donors.items()}
        return Drawn(np.take_along_axis(drawn.samples, which[..., None], axis=0), donors)

    def _distance(self, inputs: Inputs, target: Target) -> np.ndarray:
        """Returns `[row, training row]`: squared distances, NaN for a row that holds nothing."""
        pairs = [(f.values, f.known, self.inputs.features[n]) for n, f in inputs.features.items()]
        pairs.append((*_zeroed(target), Features(*_zeroed(self.target), np.zeros(0, dtype=np.int64))))
        total, count = np.zeros((len(inputs), len(self.inputs))), np.zeros((len(inputs), 1))
        for x, known, theirs in pairs:
            # y is 0 where it is not known: (x - y)^2 is x^2 there
            square = known @ (theirs.values**2 + ~theirs.known).T - 2 * x @ theirs.values.T
            n_known = known.sum(1, keepdims=True)
            total += (square + (x**2).sum(1, keepdims=True)) / np.maximum(1, n_known)
            count += n_known > 0
        # rounded: the last digits hang on how many rows are computed at once, and would part rows that are equally near
        return np.where(count > 0, np.round(total / np.maximum(1, count), 9), np.nan)


def _zeroed(target: Target) -> tuple[np.ndarray, np.ndarray]:
    return np.where(target.known_numbers, target.numbers, 0.0), target.known_numbers


def _alike(target: Target) -> list[tuple[np.ndarray, list[Part]]]:
    """Returns the columns that the same rows hold, together, and which rows these are, bool `[row]`."""
    patterns, which = np.unique(target.known, axis=1, return_inverse=True)
    return [
        (pattern, [part for part, w in zip(target.parts, which.ravel(), strict=True) if w == i])
        for i, pattern in enumerate(patterns.T)
    ]


def chosen(shares: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the values at numbers 0..1 of their length."""
    return np.asarray(values[np.minimum((shares * len(values)).astype(np.int64), len(values) - 1)])


def _copied(target: Target, donors: list[tuple[np.ndarray, list[Part]]]) -> Drawn:
    """Returns the cells of the rows `donors[sample, row]` of some columns each."""
    samples = np.zeros((*donors[0][0].shape, target.numbers.shape[1]))
    by_column = {}
    for rows, parts in donors:
        for part in parts:
            samples[..., part.numbers] = target.numbers[rows, part.numbers]
            by_column[part.column] = rows
    return Drawn(samples, by_column)
