"""What stands in the rows themselves that makes errors, or hides them: equal rows, and inputs that tell the target."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.copies import copies_of_target, follows_row_order
from profuse.data.dataset import Dataset
from profuse.data.leaks import copy_notes
from profuse.data.table.repeats import rows_by_content
from profuse.inspect._words import plain
from profuse.kinds import kind_named
from profuse.predictor import Predictor

__all__ = ["Leaks"]

_FEWEST_ROWS = 30
_SHARE = 0.95  # of the errors of guessing that words of a text take away
_LISTED = 20


@dataclass(frozen=True, eq=False)
class Leaks:
    """Equal rows, and what tells the target.

    Attributes:
        n_equal: Rows that are equal to another in all modalities that the predictor uses.
        contradictions: Sets of equal rows whose targets differ, the first 20.
        n_contradictions: How many such sets there are.
        notes: On inputs that tell the target, and on the order of rows.
    """

    n_equal: int
    contradictions: list[list[int]]
    n_contradictions: int
    notes: list[str]

    @classmethod
    def of(cls, predictor: Predictor, dataset: Dataset) -> Leaks:
        """Returns those of rows with a target, in the order in which they came."""
        names = list(predictor.modalities)
        if not names:
            return cls(0, [], 0, [])
        part = dataset.select(names)
        there = np.any([data.present for data in part.modalities.values()], axis=0)
        some = np.flatnonzero(there)
        sets = [some[rows] for rows in _equal(rows_by_content(part.rows(some)))]
        target = np.asarray(dataset.target)
        differ = [rows.tolist() for rows in sets if any(not np.array_equal(target[r], target[rows[0]]) for r in rows)]
        notes = [*copy_notes(part), *_numbered(part), *_in_texts(part)]
        order = follows_row_order(part)
        if order:
            notes.append(f"The target follows the order of the rows: {order}. See that no input tells the order.")
        return cls(sum(map(len, sets)), differ[:_LISTED], len(differ), notes)

    def told(self, dataset: Dataset) -> list[dict[str, Any]]:
        """Returns the contradictions as plain values: ids and targets."""
        ids = np.arange(len(dataset)) if dataset.ids is None else dataset.ids
        target = np.asarray(dataset.target)
        return [
            {"ids": [plain(ids[r]) for r in rows], "targets": [plain(target[r]) for r in rows]}
            for rows in self.contradictions
        ]


def _equal(numbers: np.ndarray) -> list[np.ndarray]:
    """Returns the sets of rows that have one number, of two rows at least."""
    order = np.argsort(numbers, kind="stable")
    sets = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    return sorted((rows for rows in sets if len(rows) > 1), key=lambda rows: int(rows[0]))


def _numbered(dataset: Dataset) -> Iterator[str]:
    """Tells inputs that number the rows."""
    numbers = np.arange(len(dataset), dtype=np.float64)
    counted = replace(dataset, target=numbers, task="regression", target_names=("the row number",))
    columns = [c for c in copies_of_target(counted, np.arange(len(dataset))) if "correlation" in c.evidence]
    if columns:
        listed = "; ".join(f"{c.column} ({c.evidence})" for c in columns[:4])
        yield (
            f"Inputs that follow the order of the rows: {listed}. If one only numbers rows, it is an identifier and "
            "should be no input: new rows have other numbers."
        )


def _in_texts(dataset: Dataset) -> Iterator[str]:
    """Tells texts that name the target."""
    for name, data in dataset.modalities.items():
        if not kind_named(data.kind).is_words or dataset.task == "multilabel":
            continue
        texts = [str(v) if p else "" for v, p in zip(data.values, data.present, strict=True)]
        target = np.asarray(dataset.target)
        if dataset.task != "regression":
            n, right = _named(texts, target)
        elif target.ndim == 1 or target.shape[1] == 1:
            n, right = _written(texts, target.reshape(-1).astype(np.float64))
        else:
            continue
        if n >= _FEWEST_ROWS and right:
            yield (
                f"The target stands in {name!r}: {n} texts name it, and {right:.0%} of them rightly. If it is written "
                "there because it is known, scores will not hold for texts that are written before."
            )


def _named(texts: list[str], target: np.ndarray) -> tuple[int, float]:
    """Returns how many texts name one class only, and the share of these that name their own; 0 if that is chance."""
    own = pd.Series(target).astype(str).str.lower()
    classes = sorted({c for c in own if len(c) > 1})
    if not classes:
        return 0, 0.0
    names = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(classes, key=len, reverse=True)))})(?!\w)")
    found = [{*names.findall(text.lower())} for text in texts]
    rows = [i for i, f in enumerate(found) if len(f) == 1]
    if not rows:
        return 0, 0.0
    right = float(np.mean([own.iloc[i] in found[i] for i in rows]))
    guessed = float(own.iloc[rows].value_counts(normalize=True).iloc[0])
    return len(rows), right if 1 - right <= (1 - _SHARE) * (1 - guessed) else 0.0


def _written(texts: list[str], target: np.ndarray) -> tuple[int, float]:
    """Returns how many texts hold a number, and the share that hold their target; 0 if other targets are held too."""
    numbers = [{float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", text)} for text in texts]
    rows = np.array([i for i, n in enumerate(numbers) if n], dtype=int)
    if len(rows) < _FEWEST_ROWS:
        return 0, 0.0
    right = float(np.mean([target[i] in numbers[i] for i in rows]))
    other = float(np.mean([target[j] in numbers[i] for i, j in zip(rows, np.roll(rows, len(rows) // 2), strict=True)]))
    return len(rows), right if right >= 0.5 and other <= right / 5 else 0.0
