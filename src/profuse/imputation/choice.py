"""`auto`: which method fills, decided on rows held back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from profuse.imputation.blocks import Inputs
from profuse.imputation.coding import Coding, Target
from profuse.imputation.methods import Method
from profuse.imputation.quality import Scores, hidden_like, score
from profuse.imputation.ridge import folds_of
from profuse.imputation.streams import Streams

__all__ = ["CANDIDATES", "LEAST_FOR_NETWORKS", "Choice", "choose", "gain", "units_of"]

CANDIDATES = ("mean", "ridge", "nearest", "regression", "flow")
"""From the plainest on: a later one must be better than the best before it."""
LEAST_FOR_NETWORKS = 200
_CLOSED = ("mean", "ridge", "nearest")  # these are fitted for each fold, networks for the first one only
_MOST_JUDGED = 1000  # rows a fold


@dataclass(frozen=True)
class Choice:
    """What `auto` decided.

    Attributes:
        method: The one that is best.
        of_draws: For each candidate its score of the draws on rows held back, in units of that of the mean.
        of_answers: For each the squared error of its answers, in units of that of the mean.
        n_rows: Rows that were held back in turn; of networks a fifth of them.
    """

    method: str
    of_draws: dict[str, float]
    of_answers: dict[str, float]
    n_rows: int

    @property
    def note(self) -> str:
        """The decision in a sentence."""
        listed = ", ".join(f"{name} {value:.3f}" for name, value in self.of_draws.items())
        return (
            f"Method {self.method!r} is chosen (auto): error of the draws on {self.n_rows} rows held back in turn, in "
            f"units of that of the mean: {listed}."
        )


def choose(
    inputs: Inputs,
    target: Target,
    streams: Streams,
    coding: Coding,
    *,
    make: Callable[[str, np.ndarray], Method],
    gaps: np.ndarray,
    groups: np.ndarray | None,
    seed: int,
) -> Choice:
    """Decides among `CANDIDATES`.

    Rows are held back in five folds (networks: in the first of them). A candidate takes the place of the best one
    before it if the score of its draws (CRPS of numbers in standard deviations, Brier score of categories, each in
    units of that of the mean) is lower by more than one standard error of the difference by row (by group), and the
    squared error of its answers is not higher by more than one.

    Args:
        inputs: What the training rows hold beside.
        target: What they hold of the modality.
        streams: Their random numbers.
        coding: Of the cells.
        make: Returns a method of a name, fitted to the rows of these numbers.
        gaps: See `hidden_like`.
        groups: `[row]`: rows of one group are held back together.
        seed: Of folds and of what is hidden.
    """
    n_rows = len(target)
    names = [name for name in CANDIDATES if name in _CLOSED or n_rows >= LEAST_FOR_NETWORKS]
    units = np.arange(n_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    hidden = hidden_like(target, gaps, seed)
    order = np.random.default_rng(seed).permutation(n_rows)
    results: dict[str, list[tuple[np.ndarray, Scores]]] = {name: [] for name in names}
    for i, (learn, held) in enumerate(folds_of(n_rows, groups, seed)):
        judged = order[np.isin(order, held)][:_MOST_JUDGED]
        for name in names:
            if i and name not in _CLOSED:
                continue
            method = make(name, learn)
            rows = (inputs.rows(judged), target.rows(judged), hidden[judged], streams.rows(judged))
            results[name].append((judged, score(method, *rows, coding)))
    by_row = {name: np.concatenate([rows for rows, _ in parts]) for name, parts in results.items()}
    draws = {n: np.concatenate([s.of_draws for _, s in parts]) for n, parts in results.items()}
    answers = {n: np.concatenate([s.of_answers for _, s in parts]) for n, parts in results.items()}
    n_numbers = results["mean"][0][1].crps.shape[1]
    of_draws, of_answers = (units_of(scores["mean"], n_numbers) for scores in (draws, answers))
    best = names[0]
    for name in names[1:]:
        n = min(len(by_row[name]), len(by_row[best]))  # the first fold comes first in all of them
        unit = units[by_row[name][:n]]
        better, error = gain(draws[best][:n], draws[name][:n], of_draws, unit)
        closer, margin = gain(answers[best][:n], answers[name][:n], of_answers, unit)
        if better > error and closer > -margin:
            best = name
    return Choice(
        best,
        {name: _relative(draws[name], draws["mean"], n_numbers) for name in names},
        {name: _relative(answers[name], answers["mean"], n_numbers) for name in names},
        len(by_row["mean"]),
    )


def units_of(mean: np.ndarray, n_numbers: int) -> np.ndarray:
    """Returns what scores `[row, column]` are measured in, `[column]`: the average score of the mean over all numbers,
    which stand first, and over all categories.

    Not column by column: one that is nearly always the same would rule.
    """
    average, units = _average(mean), np.empty(mean.shape[1])
    for columns in (slice(0, n_numbers), slice(n_numbers, None)):
        units[columns] = average[columns].mean() if len(average[columns]) else 0.0
    return units


def gain(old: np.ndarray, new: np.ndarray, measure: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """Returns by how much scores `[row, column]` are lower in `new`, and its standard error.

    Args:
        old: The one.
        new: The other; NaN in the same places.
        measure: Of each column; one of 0 does not count. Each row counts by the average of its columns.
        units: `[row]`: rows of one group do not count as many.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        cells = np.where(measure > 0, (old - new) / measure, np.nan)
    count = (~np.isnan(cells)).sum(1)
    rows = (np.nansum(cells, axis=1) / np.maximum(1, count))[count > 0]
    _, unit = np.unique(units[count > 0], return_inverse=True)
    n_units = len(np.bincount(unit))
    if n_units < 2:
        return 0.0, 0.0
    average = float(rows.mean())
    by_unit = np.bincount(unit, rows - average)
    return average, float(np.sqrt((by_unit**2).sum() * n_units / (n_units - 1)) / len(rows))


def _relative(scores: np.ndarray, mean: np.ndarray, n_numbers: int) -> float:
    """Returns the average score in units of that of the mean, on the same rows."""
    measure = units_of(mean[: len(scores)], n_numbers)
    kept = measure > 0
    return float((_average(scores)[kept] / measure[kept]).mean()) if kept.any() else 1.0


def _average(scores: np.ndarray) -> np.ndarray:
    known = ~np.isnan(scores)
    return np.asarray(np.where(known, scores, 0.0).sum(0) / np.maximum(1, known.sum(0)))
