"""How good a method is, on cells that were hidden on purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from profuse.imputation.blocks import Inputs
from profuse.imputation.coding import Coding, Target
from profuse.imputation.methods import Answer, Drawn, Method
from profuse.imputation.streams import Streams

__all__ = ["INTERVAL", "Quality", "Scores", "hidden_like", "quality_of", "score", "scores_of"]

INTERVAL = 0.9
_LEAST_DRAWS = 19  # the smallest and the largest of them enclose 90 %
_N_RESAMPLES = 1000
_MOST_NUMBERS = 20_000_000  # drawn at a time


@dataclass(frozen=True)
class Quality:
    """Figures of one method on `n_rows` rows with hidden cells; None where there is no number, or no category.

    Attributes:
        method: Its name.
        n_rows: Rows of which cells were hidden.
        error: Root mean square error of the answers, in standard deviations of the training rows; smaller is better,
            and 1 is about that of the mean.
        low: Lower end of its 95 % interval: rows (or groups of rows) drawn again.
        high: Upper end.
        crps: Continuous ranked probability score of what the samples are drawn from (of nearest: of the neighbours
            themselves), in the same unit: it judges their spread too; smaller is better.
        coverage: Share of the hidden numbers inside the middle 90 % of their samples: 0.9 is right for any number of
            them, less is too sure; None for fewer than 19 samples.
        wrong: Share of the categories that are answered wrongly; smaller is better.
        brier: Brier score of the categories' probabilities, 0 to 2; smaller is better.
    """

    method: str
    n_rows: int
    error: float | None
    low: float | None
    high: float | None
    crps: float | None
    coverage: float | None
    wrong: float | None
    brier: float | None


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of hidden cells, NaN where none was hidden: `[row, number]`, and `[row, category]`."""

    square: np.ndarray
    crps: np.ndarray
    inside: np.ndarray
    brier: np.ndarray
    wrong: np.ndarray

    @property
    def of_draws(self) -> np.ndarray:
        """`[row, number or category]`: the proper scores, of samples and of probabilities."""
        return np.concatenate([self.crps, self.brier], axis=1)

    @property
    def of_answers(self) -> np.ndarray:
        """`[row, number or category]`: squared errors of the answers."""
        return np.concatenate([self.square, self.brier], axis=1)


def hidden_like(target: Target, gaps: np.ndarray, seed: int) -> np.ndarray:
    """Returns which known numbers are hidden, bool `[row, number]`: those that another row lacks, chosen at random.

    Args:
        target: What the rows hold.
        gaps: Bool `[row with a gap, number]`: what those rows lack that are to be filled. All is hidden if there is no
            such row, or where the gap of the chosen one holds nothing that is known.
        seed: Of the choice.
    """
    known = target.known_numbers
    if not len(gaps):
        return known
    hidden = known & gaps[np.random.default_rng(seed).integers(0, len(gaps), len(target))]
    return np.asarray(np.where(hidden.any(1, keepdims=True), hidden, known))


def score(
    method: Method, inputs: Inputs, target: Target, hidden: np.ndarray, streams: Streams, coding: Coding
) -> Scores:
    """Returns the scores of a method that is given the rows without what is `hidden`, bool `[row, number]`."""
    step = max(1, _MOST_NUMBERS // max(1, method.n_measured * target.numbers.shape[1]))
    results = []
    for first in range(0, len(target), step):
        rows = np.arange(first, min(len(target), first + step))
        given, beside, random = target.rows(rows).without(hidden[rows]), inputs.rows(rows), streams.rows(rows)
        answer = method.answer(beside, given, random.alone())
        drawn = method.draw(beside, given, random, method.n_measured)
        results.append(scores_of(answer, drawn, target.rows(rows), hidden[rows], coding))
    names = ("square", "crps", "inside", "brier", "wrong")
    return Scores(*(np.concatenate([getattr(part, name) for part in results]) for name in names))


def scores_of(answer: Answer, drawn: Drawn, true: Target, hidden: np.ndarray, coding: Coding | None) -> Scores:
    """Returns the scores of an answer and its draws; `coding` is needed for categories."""
    numbers = ~true.is_category
    asked, y = hidden[:, numbers], true.numbers[:, numbers]
    x = np.sort(drawn.samples[..., numbers], axis=0)
    n = len(x)
    # E|X - X'| of sorted samples: 2 / n^2 sum_i (2 i - n + 1) x_i; of what they are a sample of: divided by n (n - 1)
    apart = 2 * np.tensordot(2 * np.arange(n) - n + 1, x, axes=1) / (n * (n if drawn.are_all else n - 1))
    values = {
        "square": (answer.point[:, numbers] - y) ** 2,
        "crps": np.abs(x - y).mean(0) - apart / 2,
        "inside": _inside(x, y) if n >= _LEAST_DRAWS else np.full(y.shape, np.nan),
    }
    brier, wrong = np.empty((len(true), len(true.categories))), np.empty((len(true), len(true.categories)))
    for i, part in enumerate(true.categories):
        assert coding is not None
        share, fact = coding.shares(part, answer.point), coding.shares(part, true.numbers)
        lost = ~hidden[:, part.numbers].any(1)
        brier[:, i] = np.where(lost, np.nan, ((share - fact) ** 2).sum(1))
        right = np.take_along_axis(fact, share.argmax(1)[:, None], axis=1)[:, 0] > 0.5
        wrong[:, i] = np.where(lost, np.nan, ~right)
    return Scores(**{name: np.where(asked, v, np.nan) for name, v in values.items()}, brier=brier, wrong=wrong)


def quality_of(method: str, scores: Scores, units: np.ndarray, seed: int) -> Quality:
    """Returns the figures.

    Args:
        method: Its name.
        scores: Of the hidden cells.
        units: `[row]`: rows of one group are drawn again together.
        seed: Of the rows drawn again.
    """
    error = low = high = None
    if scores.square.size and not np.isnan(scores.square).all():
        error = float(np.sqrt(np.nanmean(scores.square)))
        low, high = _interval(scores.square, units, seed)
    return Quality(
        method,
        len(scores.square),
        error,
        low,
        high,
        _mean(scores.crps),
        _mean(scores.inside),
        _mean(scores.wrong),
        _mean(scores.brier),
    )


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns whether `y[row, number]` is inside the middle of the sorted samples `x[sample, row, number]`.

    The k-th smallest and the k-th largest of n enclose 1 - 2 k / (n + 1) of what is drawn alike. The k at which that is
    `INTERVAL` may lie between two ranks; their answers are then averaged by its distance to them.
    """
    n = len(x)
    rest, k = np.modf(round((1 - INTERVAL) / 2 * (n + 1), 9))
    outer, inner = ((x[i - 1] <= y) & (y <= x[n - i]) for i in (int(k), int(k) + 1))
    return np.asarray((1 - rest) * outer + rest * inner)


def _interval(squares: np.ndarray, units: np.ndarray, seed: int) -> tuple[float, float]:
    _, unit = np.unique(units, return_inverse=True)
    total = np.bincount(unit, np.nansum(squares, axis=1))
    count = np.bincount(unit, (~np.isnan(squares)).sum(1))
    again = np.random.default_rng(seed).integers(0, len(total), (_N_RESAMPLES, len(total)))
    errors = np.sqrt(total[again].sum(1) / np.maximum(1, count[again].sum(1)))
    low, high = np.quantile(errors, (0.025, 0.975))
    return float(low), float(high)
