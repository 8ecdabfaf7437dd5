"""Conformal scores of calibration rows, by the modalities that a row has: as they are, and with others hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from profuse.data.dataset import Dataset
from profuse.data.split import folds
from profuse.inspect.asked import hide
from profuse.inspect.conformal_scores import Said, fewest_rows, finite_from, quantile
from profuse.predictor import Part, Predictor
from profuse.schema import SplitOptions

__all__ = ["Chosen", "PatternScores", "choices_told", "parts_of", "pattern_name", "presence", "said"]

_MOST_HIDDEN = 2000  # rows: the coverage of their quantile varies by less than a hundredth


def said(predictor: Predictor, inputs: Mapping[str, Part]) -> Said:
    """Returns what is predicted for encoded rows."""
    outputs = predictor.predict_encoded(inputs)
    spread = predictor.spread(inputs) if predictor.task == "regression" else None
    return Said.of(predictor.codec, outputs, spread)


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
    _hidden: dict[bytes, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

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
        index, scores = self._with_hidden(pattern)
        made = scores[part[index]]
        if len(made) >= fewest:
            return Chosen(quantile(made, self.coverage), len(made), "hidden")
        return Chosen(quantile(self.scores[part], self.coverage), int(part.sum()), "all")

    def quantiles(self, patterns: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """Returns the quantile of each row, `[row]`, of `patterns`, bool `[row, modality]`."""
        kinds, which = np.unique(patterns, axis=0, return_inverse=True)
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

    def _with_hidden(self, pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns rows that have all of a pattern, and their scores with the rest hidden."""
        key = pattern.tobytes()
        if key not in self._hidden:
            index = np.flatnonzero((self.present | ~pattern).all(1))
            most = max(_MOST_HIDDEN, 4 * fewest_rows(self.coverage))
            if len(index) > most:
                index = index[np.linspace(0, len(index) - 1, most).astype(int)]
            scores = np.zeros(0)
            if len(index):
                gone = [n for n, has in zip(self.names, pattern, strict=True) if not has]
                some = {n: part.rows(torch.as_tensor(index)) for n, part in self.inputs.items()}
                scores = said(self.predictor, hide(some, gone)).scores(self.true[index])
            self._hidden[key] = index, scores
        return self._hidden[key]


def parts_of(dataset: Dataset, *, seed: int, k: int = 5) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns rows that calibrate and rows that are measured: by time or at random, with whole groups."""
    method = "random" if dataset.times is None else "time"
    return folds(dataset, np.arange(len(dataset)), k, seed, options=SplitOptions(method=method))


def choices_told(rows: PatternScores, patterns: np.ndarray | None = None) -> list[str]:
    """Returns what a reader must know of the quantiles of `patterns` `[row, modality]`, or of the rows' own."""
    told: dict[str, list[str]] = {"own": [], "hidden": [], "all": []}
    kinds, counts = np.unique(rows.present if patterns is None else patterns, axis=0, return_counts=True)
    for kind, count in zip(kinds, counts, strict=True):
        told[rows.chosen(kind).of].append(f"{pattern_name(kind, rows.names)} ({count})")
    fewest = rows.fewest
    notes = []
    if told["own"] and rows.names:
        notes.append(f"With a quantile of their own (rows): {', '.join(told['own'])}.")
    if told["hidden"]:
        notes.append(
            f"With fewer than {fewest} rows: {', '.join(told['hidden'])}. Their quantiles are of rows that have more, "
            "with that hidden: they hold as far as rows lack modalities at random."
        )
    if told["all"]:
        notes.append(
            f"Pooled: {', '.join(told['all'])}. Fewer than {fewest} rows have these modalities, so their quantile is "
            "that of all rows as they are: it promises nothing for these alone."
        )
    return notes
