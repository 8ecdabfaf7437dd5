"""Methods around a ridge regression: its held-back errors drawn again, or a network that learns them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from profuse.imputation.blocks import Inputs
from profuse.imputation.coding import Coding, Part, Target
from profuse.imputation.methods import Answer, Drawn, Method, chosen
from profuse.imputation.residuals import Residuals
from profuse.imputation.ridge import Ridge, folds_of
from profuse.imputation.streams import Streams
from profuse.imputation.training import train
from profuse.imputation.words import Words, drawn_words, ranks_of
from profuse.layers.generators import (
    DiffusionGenerator,
    FlowGenerator,
    GanGenerator,
    Generator,
    RegressionGenerator,
)
from profuse.training.callbacks import Callers
from profuse.training.options import TrainOptions

__all__ = ["NETWORKS", "NetworkMethod", "RidgeMethod"]

_CHUNK = 3_000  # draws of a network at a time: what they hold beside stays in the cache of a core
_MOST_NUMBERS = 4_000_000  # drawn at a time for the mean of them
_N_PAIRS = 32  # of starts (z, -z), from which a network's mean and spread are taken


NETWORKS: dict[str, Callable[[int, int, int], Generator]] = {
    "regression": RegressionGenerator,
    "flow": FlowGenerator,
    "diffusion": DiffusionGenerator,
    "gan": partial(GanGenerator, diversity=1.0),  # without it all draws are nearly the same
}
"""By name; each is made of sizes: condition, target, hidden channels."""


class _Regression(Method):
    """A ridge regression of the modality on all else, and the errors that it makes on rows held back.

    Where a part of the modality is known, the errors there tell of the errors elsewhere (`Residuals`). A row that holds
    nothing else gets the mean and the draws of training rows at random, given the part that is known.
    """

    def __init__(
        self, inputs: Inputs, target: Target, coding: Coding, *, seed: int, groups: np.ndarray | None = None
    ) -> None:
        super().__init__(inputs, target)
        self._coding = coding
        self.ridge = Ridge(inputs.matrix(), target.numbers, folds_of(len(target), groups, seed))
        self._errors = Residuals(target.numbers - self.ridge.held_out)
        self._mean = np.nanmean(target.numbers, axis=0)
        self._apart = Residuals(target.numbers - self._mean)

    def answer(self, inputs: Inputs, target: Target, streams: Streams) -> Answer:
        point, deviation = np.empty(target.numbers.shape), np.empty(target.numbers.shape)
        there, alone = np.flatnonzero(inputs.anything), np.flatnonzero(~inputs.anything)
        if len(there):
            point[there], deviation[there] = self._answer(inputs.rows(there), target.numbers[there])
        if len(alone):
            mean, deviation[alone] = self._apart.moments(target.numbers[alone] - self._mean)
            point[alone] = self._mean + mean
        return Answer(point, deviation)

    def draw(self, inputs: Inputs, target: Target, streams: Streams, n_samples: int, *, purpose: int = 0) -> Drawn:
        samples = np.empty((n_samples, *target.numbers.shape))
        there, alone = np.flatnonzero(inputs.anything), np.flatnonzero(~inputs.anything)
        if len(there):
            random = streams.rows(there)
            samples[:, there] = self._draw(inputs.rows(there), target.numbers[there], random, n_samples, purpose)
        if len(alone):
            donors = chosen(streams.rows(alone).uniform(n_samples, purpose=purpose), np.arange(len(self.target)))
            known = target.numbers[alone] - self._mean
            samples[:, alone] = self._mean + self._apart.given(self._apart.rows[donors], known)
        return Drawn(samples)

    @abstractmethod
    def _answer(self, inputs: Inputs, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and standard deviation for rows that hold something else; `known[row, number]`."""

    @abstractmethod
    def _draw(self, inputs: Inputs, known: np.ndarray, streams: Streams, n_samples: int, purpose: int) -> np.ndarray:
        """Returns `[sample, row, number]` for such rows."""


class RidgeMethod(_Regression):
    """Ridge regression; the draws add the errors of a training row at random, all numbers of one row.

    Errors are those of rows that were held back, so that they are as wide as errors on new rows are. The
    regression's scores of words are made probabilities on such rows too (`Words`), and a word is drawn where the
    training row's own word stood among them, so that it goes together with that row's errors in numbers.
    """

    def __init__(
        self, inputs: Inputs, target: Target, coding: Coding, *, seed: int, groups: np.ndarray | None = None
    ) -> None:
        super().__init__(inputs, target, coding, seed=seed, groups=groups)
        self._words: list[tuple[Part, Words, np.ndarray]] = []
        for part in target.categories:
            codes = target.numbers[:, part.numbers]
            words = np.where(np.isnan(codes).any(1), -1, np.nan_to_num(codes).argmax(1))
            scores = self.ridge.held_out[:, part.numbers]
            shares = Words(scores, words)
            self._words.append((part, shares, ranks_of(shares.shares(scores), words, seed)))

    def _answer(self, inputs: Inputs, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        centre = self.ridge.predict(inputs.matrix())
        mean, deviation = self._errors.moments(known - centre)
        point = centre + mean
        for part, words, _ in self._words:
            point[:, part.numbers] = words.shares(point[:, part.numbers]) @ self._coding.word_codes(part)
        return point, deviation

    def _draw(self, inputs: Inputs, known: np.ndarray, streams: Streams, n_samples: int, purpose: int) -> np.ndarray:
        centre = self.ridge.predict(inputs.matrix())
        donors = chosen(streams.uniform(n_samples, purpose=purpose), np.arange(len(self.target)))
        samples = centre + self._errors.given(self._errors.rows[donors], known - centre)
        if self._words:
            scores = centre + self._errors.moments(known - centre)[0]
        for part, words, ranks in self._words:
            drawn = drawn_words(words.shares(scores[:, part.numbers]), ranks[donors])
            samples[..., part.numbers] = self._coding.word_codes(part)[drawn]
        return np.asarray(samples)


class NetworkMethod(_Regression):
    """A ridge regression, and a conditional generator of what it leaves over.

    The regression is what few rows can support; the generator learns the rest, and how far to trust it: the errors
    that it learns are those on rows held back. Numbers that a training row lacks are drawn from the regression's
    errors, given those of the row. The answer is the mean over a fixed set of starts. What it adds to the regression is
    shrunk by the factor, 0 to 1, of least squares on the rows that chose the epoch, and the draws with it. Where a part
    of the modality is known, the draws are that mean and the regression's errors, given the part.

    Args:
        inputs: What the training rows hold beside.
        target: What they hold of the modality.
        coding: Of its cells.
        network: Name of the generator, one of `NETWORKS`.
        valid: Bool `[row]`: which rows choose the epoch.
        width: Channels of hidden layers.
        training: How it is trained; see `profuse.imputation.training.train`. The seed is of weights, order and noise.
        groups: `[row]`: rows of one group are kept together.
        callbacks: Called while it is trained.
    """

    def __init__(
        self,
        inputs: Inputs,
        target: Target,
        coding: Coding,
        *,
        network: str,
        valid: np.ndarray,
        width: int,
        training: TrainOptions,
        groups: np.ndarray | None = None,
        callbacks: Callers = (),
    ) -> None:
        super().__init__(inputs, target, coding, seed=training.seed, groups=groups)
        left = self._errors.rows
        self._reach = np.abs(left).max(0)
        deviation = left.std(0)
        self._unit = np.where(deviation > 1e-9, deviation, 1.0)
        condition = torch.from_numpy(inputs.matrix().astype(np.float32))
        learned = torch.from_numpy((left / self._unit).astype(np.float32))
        self.network, self.sizes = network, (condition.shape[1], learned.shape[1], width)
        with torch.random.fork_rng():
            torch.manual_seed(training.seed)
            self.generator = NETWORKS[network](*self.sizes)
            self.generator.begin_with_noise()  # the regression's errors, normal and alike everywhere
            train(self.generator, condition, learned, valid=valid, options=training, callbacks=callbacks)
        self._root: np.ndarray | None = None
        if isinstance(self.generator, RegressionGenerator):
            self.generator.calibrate(condition[valid], learned[valid])
            self._root = _root(self._errors.covariance)  # its errors alone would have nothing to do with each other
        self.generator.double()  # so that a row's draw does not hang on how many are drawn at once
        self._starts = _fixed_starts(self.generator.n_start, training.seed)
        # how much of its own mean is believed: least squares on the rows that chose the epoch
        judged = inputs.rows(np.flatnonzero(valid))
        own = self._errors_of(judged, self._fixed(np.arange(len(judged)))).mean(0)
        self._trust = float(np.clip((own * left[valid]).sum() / max((own**2).sum(), 1e-12), 0.0, 1.0))

    def _answer(self, inputs: Inputs, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        point, deviation = np.empty(known.shape), np.empty(known.shape)
        step = max(1, _MOST_NUMBERS // (len(self._starts) * known.shape[1]))
        for first in range(0, len(known), step):
            rows = np.arange(first, min(len(known), first + step))
            samples = self._around(inputs.rows(rows))
            point[rows], deviation[rows] = samples.mean(0), samples.std(axis=0, ddof=1)
            partly = np.flatnonzero(~np.isnan(known[rows]).all(1))
            if len(partly):
                given, centre = known[rows[partly]], point[rows[partly]]
                mean, deviation[rows[partly]] = self._errors.moments(given - centre)
                point[rows[partly]] = centre + mean
                donors = np.linspace(0, len(self.target) - 1, len(self._starts)).astype(np.int64)
                samples[:, partly] = self._given(centre, given, np.repeat(donors[:, None], len(partly), axis=1))
            for part in self.target.categories:
                words = self._coding.shares(part, samples).argmax(-1)
                shares = (words[..., None] == np.arange(len(part.words))).mean(0)
                point[np.ix_(rows, np.r_[part.numbers])] = shares @ self._coding.word_codes(part)
        return point, deviation

    def _draw(self, inputs: Inputs, known: np.ndarray, streams: Streams, n_samples: int, purpose: int) -> np.ndarray:
        samples = self._samples(inputs, streams.normal(n_samples, self.generator.n_start, purpose=purpose))
        partly = np.flatnonzero(~np.isnan(known).all(1))
        if len(partly):
            centre = self._answer(inputs.rows(partly), np.full((len(partly), known.shape[1]), np.nan))[0]
            donors = chosen(streams.rows(partly).uniform(n_samples, purpose=purpose), np.arange(len(self.target)))
            samples[:, partly] = self._given(centre, known[partly], donors)
        return samples

    def _given(self, centre: np.ndarray, known: np.ndarray, donors: np.ndarray) -> np.ndarray:
        """Returns `[sample, row, number]`: errors of `donors[sample, row]` around `centre`, given what is known."""
        return np.asarray(centre + self._errors.given(self._errors.rows[donors], known - centre))

    def _samples(self, inputs: Inputs, starts: np.ndarray) -> np.ndarray:
        """Returns `[sample, row, number]` for `starts[sample, row, channel]`, whatever is known of the rows."""
        errors = self._errors_of(inputs, starts)
        if self._trust < 1:
            step = max(1, _MOST_NUMBERS // (len(self._starts) * errors.shape[2]))
            for first in range(0, len(inputs), step):
                rows = np.arange(first, min(len(inputs), first + step))
                errors[:, rows] -= (1 - self._trust) * self._errors_of(inputs.rows(rows), self._fixed(rows)).mean(0)
        return np.asarray(self.ridge.predict(inputs.matrix()) + errors)

    def _around(self, inputs: Inputs) -> np.ndarray:
        """Returns the samples of the fixed starts."""
        errors = self._errors_of(inputs, self._fixed(np.arange(len(inputs))))
        errors -= (1 - self._trust) * errors.mean(0)
        return np.asarray(self.ridge.predict(inputs.matrix()) + errors)

    def _fixed(self, rows: np.ndarray) -> np.ndarray:
        return np.repeat(self._starts[:, None], len(rows), axis=1)

    def _errors_of(self, inputs: Inputs, starts: np.ndarray) -> np.ndarray:
        """Returns the generator's errors of the regression, `[sample, row, number]`."""
        if self._root is not None:
            starts = starts @ self._root.T
        errors = self._generated(torch.from_numpy(inputs.matrix()), torch.from_numpy(starts)) * self._unit
        # a wild draw must not rule a mean
        return np.asarray(np.clip(errors, -2 * self._reach, 2 * self._reach))

    def _generated(self, condition: Tensor, starts: Tensor) -> np.ndarray:
        drawn = np.empty((*starts.shape[:2], self.generator.n_target))
        step = max(1, _CHUNK // max(1, len(starts)))
        with torch.inference_mode():
            for first in range(0, len(condition), step):
                rows = slice(first, first + step)
                drawn[:, rows] = self.generator.transport(condition[rows], starts[:, rows]).numpy()
        return drawn


def _root(covariance: np.ndarray) -> np.ndarray:
    """Returns a square root of the correlations."""
    deviation = np.sqrt(np.diag(covariance))
    values, axes = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    return np.asarray(axes * np.sqrt(np.maximum(values, 0.0)))


def _fixed_starts(width: int, seed: int) -> np.ndarray:
    """Returns normal noise `[start, width]` in pairs (z, -z), with variance 1; channels not correlated if they are few.

    All rows share them, and so would share an error of their variance.
    """
    half = np.random.default_rng(seed).standard_normal((_N_PAIRS, width))
    half = np.linalg.qr(half)[0] if width <= _N_PAIRS else half / np.linalg.norm(half, axis=0)
    return np.asarray(np.concatenate([half, -half]) * np.sqrt(_N_PAIRS))
