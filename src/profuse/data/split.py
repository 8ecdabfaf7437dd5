"""Rows -> train, valid and test, and folds of the training rows: groups stay whole, time runs forward.

Every method works on *units*: a row, or all rows of a group. So rows of one group never straddle a split,
whatever the method.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import ConfigError, DataError
from profuse.schema import SplitOptions

__all__ = ["Split", "check_parts", "folds", "make_split", "split_off"]

_PARTS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the three parts: ascending, disjoint, none empty.

    Attributes:
        train: Rows to learn from.
        valid: Rows for early stopping and choices.
        test: Rows that only the final figures see.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def make_split(dataset: Dataset, options: SplitOptions, *, seed: int) -> Split:
    """Divides the rows of `dataset` into train, valid and test; together they hold every row once.

    | method | how |
    |---|---|
    | auto | `dataset.split` where it is given (its test stays fixed; valid is cut from its train, by the first of the following that applies, if it names none); else time if the data set has `times`; else group if it has `groups`; else stratified for classes, labels and subgroups; else random |
    | random | any rows |
    | stratified | each class in every part, in proportion: one with two rows is in train and test, one with a single row in train only; labels likewise, rarest first (Sechidis et al. 2011) |
    | group | whole groups, stratified as far as possible: each class that occurs in three groups is in every part |
    | time | the earliest rows are train, the latest test; equal times are never parted |

    Groups of the data set stay whole under every method. A method other than auto replaces an official split.

    Args:
        dataset: The rows; `groups`, `times`, `split` and `target` are read.
        options: Method and sizes (`column` has been read into `groups` or `times` already).
        seed: Of the shuffle; the same seed gives the same parts.

    Raises:
        ConfigError: The method needs groups, times or classes that the data set does not have.
        DataError: A part would be empty, groups or times are missing, or groups contradict the time order or
            the official split.
    """  # noqa: E501 (a table row cannot be broken)
    rng = np.random.default_rng(seed)
    rows = np.arange(len(dataset))
    if options.method == "auto" and dataset.split is not None:
        return _official(dataset, options, rng)
    method = _method(dataset, options)
    rest, test = _cut(dataset, rows, method, options.test_size, rng, part="test")
    train, valid = _cut(dataset, rest, method, options.valid_size, rng, part="valid")
    return Split(train, valid, test)


def check_parts(dataset: Dataset, split: Split) -> None:
    """Checks that train can be learned from, and that valid and test can be scored: before hours of fits.

    Raises:
        DataError: A class stands in valid or test only, a label in none of a part's rows, or a target does not
            vary in a part (then R2 is not defined).
    """
    target = dataset.target
    if target is None:
        return
    advice = "Give more rows, or divide them otherwise (--split, --test-size)."
    for part in _PARTS:
        rows = getattr(split, part)
        values = np.asarray(target)[rows]
        if dataset.task in ("binary", "multiclass"):
            known = pd.unique(np.asarray(target)[split.train])
            unseen = np.flatnonzero(~pd.Series(values).isin(known))
            if len(unseen):
                raise DataError(
                    f"split: every class must have rows in train; {part} has {tell_values(pd.unique(values[unseen]))} "
                    f"in {tell_rows(rows[unseen])}, train none. {advice}"
                )
            if part == "train" and len(known) < 2:
                raise DataError(f"split: train must hold two classes or more; got {tell_values(known)}. {advice}")
            continue
        columns = values.reshape(len(rows), -1).astype(np.float64)
        if dataset.task == "multilabel" and part != "train" and not columns.any():
            raise DataError(f"split: {part} must hold a row with a label; none of its {len(rows)} has one. {advice}")
        if dataset.task == "regression" and (columns == columns[0]).all(axis=0).any():
            raise DataError(
                f"split: the target must vary within {part}; it does not in its {tell_rows(rows)}. {advice}"
            )


def split_off(
    dataset: Dataset, fraction: float, *, seed: int, options: SplitOptions | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Takes a `fraction` of all rows away and returns `(rows that stay, rows that are taken)`.

    The method is that of `make_split` (auto, without `options`; an official split is not read). Groups stay whole.

    Args:
        dataset: The rows; `groups`, `times` and `target` are read.
        fraction: Of the rows (of the groups), above 0 and below 1.
        seed: Of the shuffle.
        options: Only `method` is read.

    Raises:
        ConfigError: `fraction` is out of range, or the method needs what the data set does not have.
        DataError: A part would be empty, or groups or times are missing.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"split_off: fraction must be above 0 and below 1; got fraction={fraction}. Use 0.2.")
    method = _method(dataset, options or SplitOptions())
    return _cut(dataset, np.arange(len(dataset)), method, fraction, np.random.default_rng(seed), part="valid")


def folds(
    dataset: Dataset, rows: np.ndarray, k: int, seed: int, *, options: SplitOptions | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divides `rows` into `k` folds and returns `(rows to fit on, rows held out)` for each.

    The method is that of `make_split` (auto, without `options`). By time the folds run forward: the rows are
    cut into k + 1 blocks and each block but the first is held out once, predicted from the blocks before it;
    otherwise every row is held out exactly once. Groups stay whole.

    Args:
        dataset: All rows; the numbers in `rows` count in it.
        rows: The rows to divide, usually `Split.train`.
        k: Number of folds, at least 2.
        seed: Of the shuffle.
        options: Only `method` is read.

    Raises:
        ConfigError: `k` is below 2, or the method needs what the data set does not have.
        DataError: There are fewer rows, groups or cuts in time than folds.
    """
    if k < 2:
        raise ConfigError(f"folds: k must be at least 2; got k={k}. Use 5.")
    rows = np.sort(np.asarray(rows, dtype=np.int64))
    method = _method(dataset, options or SplitOptions())
    if method == "time":
        return _forward_folds(dataset, rows, k)
    units, n_units = _units(dataset, rows)
    if n_units < k:
        what = "rows" if dataset.groups is None else "groups"
        raise DataError(f"folds: there must be at least k={k} {what}; got {n_units}. Use fewer folds or more data.")
    fold = _deal(_labels(dataset, rows, units, n_units, method), k, np.random.default_rng(seed))[units]
    return [(rows[fold != i], rows[fold == i]) for i in range(k)]


def _method(dataset: Dataset, options: SplitOptions) -> str:
    has_classes = (dataset.target is not None and dataset.task != "regression") or dataset.subgroups is not None
    method = options.method
    if method == "auto":
        if dataset.times is not None:
            return "time"
        return "group" if dataset.groups is not None else "stratified" if has_classes else "random"
    needs = {"group": ("groups", dataset.groups is not None), "time": ("times", dataset.times is not None)}
    if method in needs and not needs[method][1]:
        raise ConfigError(
            f"split: method {method!r} needs {needs[method][0]}; data set {dataset.name!r} has none. "
            f"Name the {method} column in split.column (--split-column), or use method='random'."
        )
    if method == "stratified" and not has_classes:
        raise ConfigError(
            f"split: method 'stratified' needs classes; got task={dataset.task!r}. Use method='random' or 'group'."
        )
    return method


def _official(dataset: Dataset, options: SplitOptions, rng: np.random.Generator) -> Split:
    named = np.asarray(dataset.split).astype(str)
    unknown = sorted(set(named) - set(_PARTS))
    if unknown:
        raise DataError(
            f"split of {dataset.name!r}: each row must be 'train', 'valid' or 'test'; got {tell_values(unknown)}. "
            "Rename them."
        )
    train, valid, test = (np.flatnonzero(named == part) for part in _PARTS)
    for part, found in (("train", train), ("test", test)):
        if len(found) == 0:
            raise DataError(
                f"split of {dataset.name!r}: at least one row must be {part!r}; got none. "
                "Name some, or use a split method other than auto."
            )
    if dataset.groups is not None:
        codes = _codes(dataset.groups, "groups")
        seen = pd.DataFrame({"group": codes, "part": named}).drop_duplicates()
        straddling = np.unique(seen["group"][seen["group"].duplicated()].to_numpy())
        if len(straddling):
            first = [np.asarray(dataset.groups)[np.argmax(codes == c)] for c in straddling[:6]]
            raise DataError(
                f"split of {dataset.name!r}: rows of one group must be in one part; {len(straddling)} groups are in "
                f"several: {tell_values(first)}. Correct the official split, or use method='group'."
            )
    if len(valid) == 0:
        train, valid = _cut(dataset, train, _method(dataset, SplitOptions()), options.valid_size, rng, part="valid")
    return Split(train, valid, test)


def _cut(
    dataset: Dataset, rows: np.ndarray, method: str, fraction: float, rng: np.random.Generator, *, part: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows that stay and the `fraction` that is taken."""
    units, n_units = _units(dataset, rows)
    if n_units < 2:
        what = "row is" if dataset.groups is None else "group is"
        raise DataError(
            f"split: train, valid and test need at least one {what.split()[0]} each; only {n_units} {what} left "
            f"to cut {part!r} from. Give more data, or another split."
        )
    if method == "time":
        taken = _late(dataset, rows, fraction, part)
    else:
        taken = _take(_labels(dataset, rows, units, n_units, method), fraction, rng)[units]
    return rows[~taken], rows[taken]


def _codes(values: np.ndarray, what: str) -> np.ndarray:
    codes = np.asarray(pd.factorize(np.asarray(values))[0], dtype=np.int64)
    if (codes < 0).any():
        raise DataError(
            f"split: {what} must be known in every row; missing in {tell_rows(np.flatnonzero(codes < 0))}. "
            "Fill or drop these rows, or use another split."
        )
    return codes


def _units(dataset: Dataset, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the unit of each of `rows`, numbered from 0, and how many there are."""
    if dataset.groups is None:
        return np.arange(len(rows)), len(rows)
    unique, units = np.unique(_codes(dataset.groups, "groups")[rows], return_inverse=True)
    return units, len(unique)


def _labels(dataset: Dataset, rows: np.ndarray, units: np.ndarray, n_units: int, method: str) -> list[np.ndarray]:
    """Returns, for each class or label, the units in which it occurs; [] where nothing is stratified."""
    if method not in ("stratified", "group"):
        return [np.arange(n_units)]
    named = None if dataset.subgroups is None else _codes(dataset.subgroups, "subgroups")[rows]
    if dataset.task == "regression" or dataset.target is None:
        return [np.arange(n_units)] if named is None else [np.unique(units[named == g]) for g in np.unique(named)]
    target = np.asarray(dataset.target)[rows]
    if dataset.task == "multilabel":
        has = target.reshape(len(rows), -1) > 0
        results = [np.unique(units[has[:, j]]) for j in range(has.shape[1])]
    else:
        codes = _codes(target, "classes")
        if named is not None:  # each group of each class in every part
            codes = codes * (named.max() + 1) + named
        order = np.argsort(codes, kind="stable")
        results = [np.unique(u) for u in np.split(units[order], np.flatnonzero(np.diff(codes[order])) + 1)]
    rest = np.setdiff1d(np.arange(n_units), np.concatenate(results))
    return [f for f in (*sorted(results, key=len), rest) if len(f)]


def _take(labels: list[np.ndarray], fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Returns bool `[unit]`: a `fraction` of every label, rarest first; each unit is decided by its rarest label.

    A label of two units or more is on both sides where the units decided before allow it. Rounding errors are
    carried from label to label so that the whole comes out at the fraction too.
    """
    n_units = int(max(f.max() for f in labels)) + 1
    state = np.zeros(n_units, dtype=np.int8)  # 0 undecided, 1 taken, -1 stays
    carry = 0.0
    for found in labels:
        free = found[state[found] == 0]
        taken, stays = int((state[found] == 1).sum()), int((state[found] == -1).sum())
        wish = fraction * len(found) - taken + carry
        low = 1 if taken == 0 and len(found) > 1 else 0
        high = len(free) - (1 if stays == 0 else 0)
        n_taken = max(0, min(max(round(wish), low), high))
        carry = float(np.clip(wish - n_taken, -1.0, 1.0))
        free = rng.permutation(free)
        state[free[:n_taken]] = 1
        state[free[n_taken:]] = -1
    taken_units = state == 1
    if not taken_units.any():  # only classes of one unit: one of them must go
        taken_units[rng.integers(n_units)] = True
    return np.asarray(taken_units)


def _deal(labels: list[np.ndarray], k: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the fold of each unit: labels rarest first, each unit to the fold that has fewest of its label."""
    n_units = int(max(f.max() for f in labels)) + 1
    fold = np.full(n_units, -1)
    for found in labels:
        free = rng.permutation(found[fold[found] < 0])
        have = np.bincount(fold[found][fold[found] >= 0], minlength=k)
        total = np.bincount(fold[fold >= 0], minlength=k)
        steps = np.arange(-(-len(free) // k) + int(have.max()) + 1)
        level = have[:, None] + steps  # slot (f, j) makes the count of fold f have + j + 1
        order = np.lexsort(((total[:, None] + steps).ravel(), level.ravel()))[: len(free)]
        fold[free] = order // len(steps)
    return fold


def _time_ranks(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    times = np.asarray(dataset.times)[rows]
    missing = np.asarray(pd.isna(times))
    if missing.any():
        raise DataError(
            f"split: times must be known in every row; missing in {tell_rows(rows[missing])}. "
            "Fill or drop these rows, or use another split."
        )
    try:
        return np.asarray(np.unique(times, return_inverse=True)[1])
    except TypeError as error:
        raise DataError("split: times must be sortable; got mixed types. Convert them to one type.") from error


def _cuts(dataset: Dataset, rows: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Returns how many earliest rows may stand before a cut: no tie and no group is parted there."""
    ordered = np.sort(ranks)
    counts = np.flatnonzero(np.diff(ordered)) + 1
    if dataset.groups is None:
        return counts
    units, n_units = _units(dataset, rows)
    first, last = np.full(n_units, ranks.max()), np.full(n_units, -1)
    np.minimum.at(first, units, ranks)
    np.maximum.at(last, units, ranks)
    # a group parts every cut after rank r with first <= r < last: running count of open groups
    opened = np.bincount(first, minlength=ranks.max() + 2) - np.bincount(last, minlength=ranks.max() + 2)
    return np.asarray(counts[np.cumsum(opened)[: ranks.max()] == 0])


def _no_cut(dataset: Dataset, n_needed: int, n_found: int, where: str) -> DataError:
    if dataset.groups is not None:
        why = "a moment at which no group is under way"
        advice = "Groups contradict the time order: use method='group', or leave the groups out."
    else:
        why = "rows with an earlier and a later time"
        advice = "Give finer times, or use another split."
    return DataError(f"{where}: a split by time needs {n_needed} cut(s), each {why}; got {n_found}. {advice}")


def _late(dataset: Dataset, rows: np.ndarray, fraction: float, part: str) -> np.ndarray:
    """Returns bool `[row]`: the latest `fraction` of `rows`, at the possible cut that is nearest to it."""
    ranks = _time_ranks(dataset, rows)
    cuts = _cuts(dataset, rows, ranks)
    n_needed = 2 if part == "test" else 1  # train and valid must still be parted after test
    if len(cuts) < n_needed:
        raise _no_cut(dataset, n_needed, len(cuts), "split")
    cuts = cuts[n_needed - 1 :]
    n_early = cuts[np.argmin(np.abs(cuts - (1 - fraction) * len(rows)))]
    late = np.asarray(ranks >= np.sort(ranks)[n_early])
    return late


def _forward_folds(dataset: Dataset, rows: np.ndarray, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    ranks = _time_ranks(dataset, rows)
    cuts = _cuts(dataset, rows, ranks)
    if len(cuts) < k:
        raise _no_cut(dataset, k, len(cuts), "folds")
    chosen: list[int] = []
    for i in range(k):  # nearest to equal blocks, leaving enough cuts for those that follow
        start = chosen[-1] + 1 if chosen else 0
        stop = len(cuts) - (k - i - 1)
        wish = len(rows) * (i + 1) / (k + 1)
        chosen.append(start + int(np.argmin(np.abs(cuts[start:stop] - wish))))
    ordered = np.sort(ranks)
    bounds = [*(ordered[cuts[c]] for c in chosen), ranks.max() + 1]
    return [(rows[ranks < low], rows[(ranks >= low) & (ranks < high)]) for low, high in pairwise(bounds)]
