"""Conformal scores of calibration rows, by the modalities that a row has: as they are, and with others hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from profuse.data.dataset import Dataset
from profuse.data.split import folds
from profuse.inspect.conformal_scores import Said, fewest_rows, finite_from, quantile
from profuse.predictor import Part, Predictor
from profuse.schema import SplitOptions

__all__ = [
    "MOST_TOLD",
    "Chosen",
    "PatternScores",
    "choices_told",
    "infinite_told",
    "parts_of",
    "pattern_name",
    "presence",
    "said",
]

_MOST_HIDDEN = 5  # times the rows that are enough: the coverage then varies by .013 where .1 is not to be covered
_AT_ONCE = 20_000  # rows, hidden for several patterns: a call of a portfolio takes long, whatever its rows

MOST_TOLD = 8
"""Patterns that an answer tells of one by one."""


def said(predictor: Predictor, inputs: Mapping[str, Part]) -> Said:
    """Returns what is predicted for encoded rows."""
    outputs = predictor.predict_encoded(inputs)
    if predictor.task != "regression":
        return Said.of(predictor.codec, outputs, None)
    return Said.of(predictor.codec, outputs, predictor.spread(inputs), predictor.band(inputs))


def presence(inputs: Mapping[str, Part], names: tuple[str, ...]) -> np.ndarray:
    """Returns which of the modalities `names` each row has, bool `[row, modality]`."""
    n_rows = len(next(iter(inputs.values())))
    return np.stack([inputs[name].present.numpy() for name in names], axis=1) if names else np.ones((n_rows, 0), bool)


def pattern_name(pattern: np.ndarray, names: tuple[str, ...]) -> str:
    """Returns what a reader calls a pattern, bool `[modality]`."""
    if pattern.all():
        return "complete"
    return f"without {' + '.join(n for n, has in zip(names, pattern, strict=True) if not has)}"


@dataclass(frozen=True)
class Chosen:
    """The quantile of a pattern.

    Attributes:
        quantile: The score up to which targets are in a set.
        n: Rows behind it.
        of: "own": rows with the pattern; "hidden": rows with more, which was hidden; "all": all, as they are.
    """

    quantile: float
    n: int
    of: Literal["own", "hidden", "all"]


@dataclass(frozen=True, eq=False)
class PatternScores:
    """Rows with a target, scored; the order of rows must not depend on how they came.

    Attributes:
        predictor: What has not learned from them.
        coverage: Asked for.
        inputs: Encoded.
        true: Class numbers `[row]`, or values `[row, target]`.
        names: The modalities whose presence makes a pattern, sorted.
        present: `[row, modality]`.
        said: Of the rows as they are.
        scores: `[row]`, likewise.
    """

    predictor: Predictor
    coverage: float
    inputs: Mapping[str, Any]
    true: np.ndarray
    names: tuple[str, ...]
    present: np.ndarray
    said: Said
    scores: np.ndarray
    _hidden: dict[bytes, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls, predictor: Predictor, inputs: Mapping[str, Any], true: np.ndarray, *, coverage: float, by_pattern: bool
    ) -> PatternScores:
        """Scores rows; without `by_pattern` all are of one pattern."""
        names = tuple(n for n in sorted(inputs) if n in predictor.modalities) if by_pattern else ()
        given = said(predictor, inputs)
        return cls(predictor, coverage, inputs, true, names, presence(inputs, names), given, given.scores(true))

    @property
    def fewest(self) -> int:
        """How many rows a pattern's quantile needs: `fewest_rows`, or half of all, with which all vary as little."""
        half = -(-len(self.scores) // 2)
        return min(fewest_rows(self.coverage), max(half, finite_from(self.coverage)))

    def chosen(self, pattern: np.ndarray, rows: np.ndarray | None = None) -> Chosen:
        """Returns the quantile of a pattern, bool `[modality]`: of its rows if they are enough, else of more.

        Args:
            pattern: Which modalities a row has.
            rows: Bool `[row]`: those that calibrate, a random part of all; all if None. A part needs fewer.
        """
        part = np.ones(len(self.scores), dtype=bool) if rows is None else rows
        fewest = self.fewest * part.mean()
        own = self.scores[part & (self.present == pattern).all(1)]
        if len(own) >= fewest:
            return Chosen(quantile(own, self.coverage), len(own), "own")
        index = self._rows_with(pattern)
        if part[index].sum() >= fewest:
            self._hide([pattern])
            made = self._hidden[pattern.tobytes()][part[index]]
            return Chosen(quantile(made, self.coverage), len(made), "hidden")
        return Chosen(quantile(self.scores[part], self.coverage), int(part.sum()), "all")

    def quantiles(self, patterns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Returns the quantile of each row, `[row]`, of `patterns`, bool `[row, modality]`."""
        kinds, which = np.unique(patterns, axis=0, return_inverse=True)
        few = [k for k in kinds if (self.present == k).all(1).sum() < self.fewest <= len(self._rows_with(k))]
        self._hide(few)
        return np.array([self.chosen(kind, rows).quantile for kind in kinds])[which.reshape(-1)]

    def crossed(self, patterns: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Returns the quantile that the other rows give to each, `[row]`; NaN for one that is in no part.

        Args:
            patterns: Bool `[row, modality]`, of these very rows.
            parts: Rows that calibrate and rows that are measured.
        """
        result = np.full(len(self.scores), np.nan)
        for calibrating, held in parts:
            rows = np.zeros(len(self.scores), dtype=bool)
            rows[calibrating] = True
            result[held] = self.quantiles(patterns[held], rows)
        return result

    def _rows_with(self, pattern: np.ndarray) -> np.ndarray:
        """Returns rows that have all of a pattern: as many as are needed, evenly from all."""
        index = np.flatnonzero((self.present | ~pattern).all(1))
        most = max(_MOST_HIDDEN * self.fewest, 1)
        return index if len(index) <= most else index[np.linspace(0, len(index) - 1, most).astype(int)]

    def _hide(self, patterns: Sequence[np.ndarray]) -> None:
        """Scores the rows of `_rows_with` with all else hidden, where that has not been done."""
        new = [(p, self._rows_with(p)) for p in patterns if p.tobytes() not in self._hidden]
        while new:
            n_at_once = max(1, int((np.cumsum([len(index) for _, index in new]) <= _AT_ONCE).sum()))
            batch, new = new[:n_at_once], new[n_at_once:]
            index = np.concatenate([index for _, index in batch])
            gone = ~np.concatenate([np.tile(pattern, (len(index), 1)) for pattern, index in batch])
            inputs = {n: part.rows(torch.as_tensor(index)) for n, part in self.inputs.items()}
            for i, name in enumerate(self.names):
                inputs[name] = inputs[name].without(torch.as_tensor(gone[:, i]))
            scores = said(self.predictor, inputs).scores(self.true[index])
            for (pattern, _), some in zip(batch, np.split(scores, np.cumsum([len(i) for _, i in batch])), strict=False):
                self._hidden[pattern.tobytes()] = some


def parts_of(dataset: Dataset, *, seed: int, k: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns rows that calibrate and rows that are measured: by time or at random, with whole groups."""
    method = "random" if dataset.times is None else "time"
    return folds(dataset, np.arange(len(dataset)), k, seed, options=SplitOptions(method=method))


def listed_patterns(patterns: list[tuple[int, str]]) -> str:
    """Returns rows and names of patterns, the most frequent first, as a reader sees them."""
    ordered = sorted(patterns, key=lambda p: (-p[0], p[1]))
    rest = ordered[MOST_TOLD:]
    more = [f"{len(rest)} others ({sum(n for n, _ in rest)})"] if rest else []
    return ", ".join([*(f"{name} ({n})" for n, name in ordered[:MOST_TOLD]), *more])


def choices_told(rows: PatternScores, patterns: np.ndarray | None = None) -> list[str]:
    """Returns what a reader must know of the quantiles of `patterns` `[row, modality]`, or of the rows' own."""
    told: dict[str, list[tuple[int, str]]] = {"own": [], "hidden": [], "all": []}
    kinds, counts = np.unique(rows.present if patterns is None else patterns, axis=0, return_counts=True)
    for kind, count in zip(kinds, counts, strict=True):
        told[rows.chosen(kind).of].append((int(count), pattern_name(kind, rows.names)))
    fewest, of = rows.fewest, "rows" if patterns is None else "new rows"
    notes = []
    if told["own"] and rows.names:
        notes.append(f"With a quantile of their own ({of}): {listed_patterns(told['own'])}.")
    if told["hidden"]:
        notes.append(
            f"With fewer than {fewest} calibration rows ({of}): {listed_patterns(told['hidden'])}. Their quantiles "
            "are of rows that have more, with that hidden: they hold as far as rows lack modalities at random."
        )
    if told["all"]:
        notes.append(
            f"Pooled ({of}): {listed_patterns(told['all'])}. Fewer than {fewest} calibration rows have these "
            "modalities; their quantile is that of all rows as they are: it promises nothing for these alone, and is "
            "mostly too large, as they have more than others."
        )
    return notes


def infinite_told(rows: PatternScores, quantiles: np.ndarray) -> list[str]:
    """Returns what a reader must know where quantiles are infinite."""
    infinite = int(np.isinf(quantiles).sum())
    why = f"at least {finite_from(rows.coverage)} rows must calibrate for a coverage of {rows.coverage:g}."
    return [f"{infinite} rows have sets of all classes, or intervals without ends: {why}"] if infinite else []
