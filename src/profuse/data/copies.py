"""Inputs that give the target away by themselves: copies of it, codes of it, columns filled for one class only.

Each column is held against the target alone, as an ordered one and as one of codes:

- *classes*: sorted by the column, rows of one class stand together; or rows of one code are of one class. Told if that
  takes 95 % of the errors away that guessing the commonest class makes.
- *numbers*: the rank correlation is 0.99 in size or more, or the correlation if the ranks agree by and large (a skewed
  target that is rounded); or the rows before and after in the column's order, or the
  others of the same code, explain 98 % of the target's variance.

A column may be that good by right. So it is told, not refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset
from profuse.data.table.repeats import distinct_rows
from profuse.data.table.values import words
from profuse.kinds import kind_named

__all__ = ["Copy", "copies_of_target", "follows_row_order"]

_FEWEST_ROWS = 30
_FEWEST_ERRORS = 8
_MOST_ROWS = 2000
_ROWS_PER_CODE = 4  # with fewer, numbers that stand twice are no codes
_CLASSES, _RANKS, _VARIANCE = 0.95, 0.99, 0.98
_FILLED = 0.2  # of the rows; a price that is known once it is sold stands in few
_RANKS_OF_A_LINE = 0.8  # one far point in both makes a correlation, but no order


@dataclass(frozen=True)
class Copy:
    """A column that gives the target away.

    Attributes:
        column: How it is told: "'log_price'", "whether 'died_on' is filled".
        target: The name of the target, or label.
        evidence: "rank correlation 0.998", say.
    """

    column: str
    target: str
    evidence: str


def copies_of_target(dataset: Dataset, rows: np.ndarray) -> list[Copy]:
    """Returns the inputs that give a target away on the rows `rows` (2,000 of them at most), those of training."""
    if dataset.target is None or len(rows) < _FEWEST_ROWS:
        return []
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, _MOST_ROWS, replace=False))
    part = dataset.rows(rows)
    part = part.rows(distinct_rows(part))  # of copies of a row each tells the other's target
    if len(part) < _FEWEST_ROWS:
        return []
    results: list[Copy] = []
    for target, numbers, codes in _targets(part):
        for column, values, is_code in _columns(part):
            told = _evidence(values, numbers, codes, is_code=is_code)
            if told:
                results.append(Copy(column, target, told))
    return results


def follows_row_order(dataset: Dataset) -> str:
    """Returns how the target follows the order of rows ("" if it does not): sorted, or alike in neighbours."""
    n_rows = len(dataset)
    if dataset.target is None or n_rows < _FEWEST_ROWS:
        return ""
    order = np.arange(n_rows, dtype=np.float64)
    for _, numbers, codes in _targets(dataset):
        if codes is not None:
            shares = np.bincount(codes) / n_rows
            expected = n_rows * (1.0 - float((shares**2).sum()))
            changes = int((np.diff(codes) != 0).sum())
            if expected >= 2 * _FEWEST_ERRORS and changes <= 0.2 * expected:
                return f"it changes {changes} times from row to row, where {expected:.0f} would be chance"
        elif numbers is not None:
            rank = _rank_correlation(order, numbers)
            if abs(rank) >= _RANKS:
                return f"rank correlation {rank:.3f} with the row number"
            near = _explained(_neighbours(order, numbers), numbers)
            if near >= 0.9:
                return f"the rows before and after explain {near:.0%} of its variance"
    return ""


def _targets(dataset: Dataset) -> Iterator[tuple[str, np.ndarray | None, np.ndarray | None]]:
    """Yields for each target its name, and its numbers or the codes of its classes."""
    target = np.asarray(dataset.target)
    if dataset.task in ("binary", "multiclass"):
        yield str(dataset.target_names[0]), None, pd.factorize(words(target))[0].astype(np.int64)
        return
    columns = target.reshape(len(target), -1).astype(np.float64)
    for name, column in zip(dataset.target_names, columns.T, strict=False):
        if dataset.task == "multilabel":
            yield str(name), None, column.astype(np.int64)
        else:
            yield str(name), column, None


def _columns(dataset: Dataset) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Yields columns as numbers (NaN = missing), or as codes (missing is one too), and which of these they are."""
    for name, data in dataset.modalities.items():
        yield from kind_named(data.kind).number_columns(name, data)
        if 0 < data.present.sum() < len(data) and data.frame is None:  # columns of a frame tell what is empty
            yield f"whether {name!r} is there", data.present.astype(np.float64), True


def _evidence(values: np.ndarray, numbers: np.ndarray | None, codes: np.ndarray | None, *, is_code: bool) -> str:
    known = ~np.isnan(values)
    if codes is not None:
        if is_code:
            share = _codes_explain(values, codes)
        elif known.sum() >= max(_FEWEST_ROWS, _FILLED * len(values)):
            share = _order_explains(values[known], codes[known])
            if len(np.unique(values[known])) <= known.sum() / _ROWS_PER_CODE:
                share = max(share, _codes_explain(values[known], codes[known]))
        else:
            return ""
        return f"{share:.0%} fewer errors than guessing" if share >= _CLASSES else ""
    assert numbers is not None
    if known.sum() < max(_FEWEST_ROWS, _FILLED * len(values)) or np.ptp(values[known]) == 0:
        return ""
    values, numbers = values[known], numbers[known]
    if not is_code:
        rank = _rank_correlation(values, numbers)
        if abs(rank) >= _RANKS:
            return f"rank correlation {rank:.3f}"
        straight = _correlation(values, numbers) if abs(rank) >= _RANKS_OF_A_LINE else 0.0
        if abs(straight) >= _RANKS:
            return f"correlation {straight:.3f}"
        near = _explained(_neighbours(values, numbers), numbers)
        if near >= _VARIANCE:
            return f"{near:.1%} of the variance"
        if len(np.unique(values)) > len(values) / _ROWS_PER_CODE:
            return ""
    same = _explained(_others_of_code(values, numbers), numbers)
    return f"{same:.1%} of the variance" if same >= _VARIANCE else ""


def _counts(values: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns rows by distinct value and class, and the errors of guessing the commonest class."""
    _, group = np.unique(values, return_inverse=True)
    n_classes = int(codes.max()) + 1
    counts = np.bincount(group * n_classes + codes, minlength=(int(group.max()) + 1) * n_classes)
    counts = counts.reshape(-1, n_classes)
    return counts, len(codes) - int(counts.sum(0).max())


def _order_explains(values: np.ndarray, codes: np.ndarray) -> float:
    """Returns the share of errors that go if each class is an interval of the column."""
    counts, errors = _counts(values, codes)
    if errors < _FEWEST_ERRORS:
        return 0.0
    changes = int((np.diff(counts.argmax(1)) != 0).sum())
    extra = max(0, changes - (int((counts.sum(0) > 0).sum()) - 1))
    return 1.0 - (len(codes) - int(counts.max(1).sum()) + extra / 2) / errors


def _codes_explain(values: np.ndarray, codes: np.ndarray) -> float:
    """Returns the share of errors that go if each row is of the commonest class of the other rows with its value."""
    counts, errors = _counts(values, codes)
    if errors < _FEWEST_ERRORS:
        return 0.0
    ordered = np.sort(counts, axis=1)
    most, second = ordered[:, -1], (ordered[:, -2] if counts.shape[1] > 1 else 0)
    right = np.where((most >= 2) & (most - 1 >= second), most, 0)
    return 1.0 - (len(codes) - int(right.sum())) / errors


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import rankdata

    first, second = rankdata(a), rankdata(b)
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    first, second = (v - v.mean() for v in (a / np.abs(a).max(), b / np.abs(b).max()))  # 1e300 has no square
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float(first @ second) / size if size > 0 else 0.0


def _neighbours(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Returns for each row the mean target of the rows before and after it in the order of `values`."""
    order = np.argsort(values, kind="stable")
    ordered = numbers[order]
    padded = np.concatenate([ordered[1:2], ordered, ordered[-2:-1]])
    out = np.empty_like(ordered)
    out[order] = (padded[:-2] + padded[2:]) / 2
    return out


def _others_of_code(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Returns for each row the mean target of the other rows with its value, the mean of all if there are none."""
    _, group = np.unique(values, return_inverse=True)
    n, total = np.bincount(group), np.bincount(group, weights=numbers)
    others = (n - 1)[group]
    mean = (total[group] - numbers) / np.maximum(others, 1)
    return np.asarray(np.where(others > 0, mean, numbers.mean()))


def _explained(guess: np.ndarray, numbers: np.ndarray) -> float:
    total = float(((numbers - numbers.mean()) ** 2).sum())
    return 0.0 if total == 0 else 1.0 - float(((guess - numbers) ** 2).sum()) / total
