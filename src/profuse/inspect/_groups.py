"""The groups that an audit compares: cells of columns, or given values, as words, one a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from profuse._lookup import resolve
from profuse.errors import ConfigError, DataError

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset
    from profuse.predictor import Predictor

__all__ = ["PATTERN", "Grouping", "columns_of", "groupings", "named", "words_of"]

PATTERN = "modalities"
_MOST_VALUES = 10  # of a column of numbers that is not cut
_MOST_DEFAULT = 3  # columns that are looked at where none is named
_MOST_WORDS = 20  # of a category that is looked at unasked
_LONGEST = 24


@dataclass(frozen=True, eq=False)
class Grouping:
    """Rows by group.

    Attributes:
        name: Of the column, or of those that are crossed.
        columns: Which columns these are.
        groups: By name ("sex=f"): bool `[row]`.
        notes: What was cut and pooled.
    """

    name: str
    columns: tuple[str, ...]
    groups: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()

    @property
    def halves(self) -> bool:
        """Whether there are two groups and no other row: what one is less, the other is more."""
        masks = list(self.groups.values())
        return len(masks) == 2 and bool((masks[0] ^ masks[1]).all())


def named(group: Any) -> tuple[str, ...] | None:
    """Returns the names of columns that `group` holds; None if it holds values.

    Raises:
        ConfigError: It is empty, or a name occurs twice.
    """
    if isinstance(group, str):
        group = (group,)
    if isinstance(group, np.ndarray | pd.Series | pd.DataFrame | Mapping):
        return None
    if not isinstance(group, list | tuple) or not group or not all(isinstance(g, str) for g in group):
        raise ConfigError(
            f"audit: group must be the name of a column, several of them, or an array with a value for each row; got "
            f"group={group!r}."
        )
    if len(set(group)) < len(group):
        raise ConfigError(f"audit: group must name each column once; got group={list(group)}.")
    return tuple(group)


def columns_of(group: Any, predictor: Predictor, dataset: Dataset, source: Any) -> pd.DataFrame:
    """Returns the cells that say of which group each row of `dataset` is, a column each.

    Args:
        group: Names of columns, or values by row; None: the categories of the tables that the predictor reads.
        predictor: Its schema says which words mean missing.
        dataset: The rows as they came.
        source: The table that they were read from, where there is one: for columns that are no features.

    Raises:
        ConfigError: A column is the target.
        UnknownNameError: There is no such column.
        DataError: There are not as many values as rows.
    """
    if group is None:
        read = [name for name in predictor.modalities if name in dataset.modalities]
        return _usual(dataset.select(read or list(dataset.modalities)))
    names = named(group)
    if names is None:
        return _given(group, len(dataset))
    features: dict[str, pd.Series] = {
        str(c): data.frame[c] for data in dataset.modalities.values() if data.frame is not None for c in data.frame
    }
    beside: pd.DataFrame | None = None
    if not set(names) <= set(features) and isinstance(source, str | Path | pd.DataFrame):
        beside = _beside(source, predictor)
        if len(beside) != len(dataset):
            raise DataError(
                f"audit: the table with the groups must have the rows that are asked about; got {len(beside)} and "
                f"{len(dataset)} rows. Give the groups as an array."
            )
    target = () if predictor.schema is None else predictor.schema.target_columns
    outside: dict[str, pd.Series] = {} if beside is None else {str(c): beside[c] for c in beside}
    known = {**outside, **features}
    for name in names:
        if name in target:
            raise ConfigError(f"audit: group must not be the target; got group={name!r}. Name another column.")
    known = {name: cells for name, cells in known.items() if name not in target}
    found = {name: resolve(name, known, where="audit", what="group") for name in names}
    return pd.DataFrame({name: cells.reset_index(drop=True) for name, cells in found.items()})


def _beside(source: Any, predictor: Predictor) -> pd.DataFrame:
    from profuse.data.table.infer import plain_names
    from profuse.data.table.missing import without_missing
    from profuse.data.table.read import read_table

    frame = plain_names(source if isinstance(source, pd.DataFrame) else read_table(source))
    return frame if predictor.schema is None else without_missing(frame, predictor.schema)


def _given(group: Any, n_rows: int) -> pd.DataFrame:
    if isinstance(group, np.ndarray | pd.Series):
        group = {str(getattr(group, "name", None) or "group"): group}
    made = {str(name): np.asarray(group[name]) for name in group}
    wrong = [f"{name!r}: {values.shape}" for name, values in made.items() if values.shape != (n_rows,)]
    if wrong or not made:
        raise DataError(
            f"audit: group must have one value for each of the {n_rows} rows; got {', '.join(wrong) or 'none'}. Give "
            "arrays [row]."
        )
    return pd.DataFrame({name: pd.Series(values).infer_objects() for name, values in made.items()})


def _usual(dataset: Dataset) -> pd.DataFrame:
    """Returns the columns of words of all tables."""
    words = {
        c: data.frame[c]
        for data in dataset.modalities.values()
        if data.frame is not None
        for c in data.frame
        if not (pd.api.types.is_numeric_dtype(data.frame[c]) or pd.api.types.is_datetime64_any_dtype(data.frame[c]))
    }
    return pd.DataFrame({str(c): cells.reset_index(drop=True) for c, cells in words.items()}, index=range(len(dataset)))


def groupings(cells: pd.DataFrame, *, least: int, crossed: bool) -> list[Grouping]:
    """Returns the groups of each column, and those of all of them together where `crossed`; only of two groups or more.

    Args:
        cells: What `columns_of` returned.
        least: Groups of fewer rows are pooled.
        crossed: Whether to look at every two columns and at all of them together too.
    """
    words, notes = {}, {}
    for name in cells:
        words[str(name)], notes[str(name)] = words_of(cells[name])
    made = [_grouping((name,), said, notes[name], least) for name, said in words.items()]
    if crossed and len(words) > 1:
        for columns in dict.fromkeys([*combinations(words, 2), tuple(words)]):
            parts = np.stack([_prefixed(c, words[c]) for c in columns], axis=1)
            said = np.array([" & ".join(row) for row in parts], dtype=object)
            made.append(_grouping(columns, said, (), least))
    return made


def usual_groupings(cells: pd.DataFrame, presence: Mapping[str, np.ndarray], *, least: int) -> list[Grouping]:
    """Returns what is looked at where no group is named: categories, else which modalities rows have."""
    made = [g for g in groupings(cells, least=least, crossed=False) if len(g.groups) > 1 and _few(cells[g.name])]
    if made:
        left = [g.name for g in made[_MOST_DEFAULT:]]
        told = f" Not looked at: {', '.join(left)}." if left else ""
        note = f"No group is named: these are the categories that the model reads. Name others by group=.{told}"
        made = made[:_MOST_DEFAULT]
        return [replace(g, notes=(note, *g.notes) if g is made[0] else g.notes) for g in made]
    names = tuple(presence)
    have = np.stack([presence[n] for n in names], axis=1)
    gone = [" + ".join(n for n, has in zip(names, row, strict=True) if not has) for row in have]
    said = np.array([f"without {g}" if g else "complete" for g in gone], dtype=object)
    note = "No group is named, and no category has two large groups: these are the modalities that rows have."
    pattern = _grouping((PATTERN,), said, (note,), least)
    return [pattern] if len(pattern.groups) > 1 else []


def _few(cells: pd.Series) -> bool:
    return cells.nunique() <= _MOST_WORDS


def words_of(cells: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns what each cell is called, "missing" where there is none, and what was cut."""
    notes: tuple[str, ...] = ()
    gone = cells.isna().to_numpy()
    is_time = pd.api.types.is_datetime64_any_dtype(cells)
    numeric = pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)
    said = np.empty(len(cells), dtype=object)
    if (numeric or is_time) and cells.nunique() > _MOST_VALUES:
        codes, edges = pd.qcut(cells, 4, labels=False, retbins=True, duplicates="drop")
        told = [f"{e:%Y-%m-%d}" if is_time else f"{e:.4g}" for e in edges]
        labels = [f"{a} to {b}" for a, b in pairwise(told)]
        said[~gone] = [labels[int(c)] for c in codes[~gone]]
        notes = (f"{cells.name} is cut at its quartiles: {', '.join(told[1:-1])}; an upper end belongs to its group.",)
    elif numeric:
        said[~gone] = [f"{float(v):g}" for v in cells[~gone]]
    else:
        said[~gone] = [" ".join(str(v).split()) or "(blank)" for v in cells[~gone]]
    said[gone] = "missing" if "missing" not in set(said[~gone]) else "missing (no value)"
    return _shortened(said), notes


def _shortened(said: np.ndarray) -> np.ndarray:
    """Returns long words cut, where they stay different."""
    whole = sorted(set(said))
    short = [w if len(w) <= _LONGEST else f"{w[: _LONGEST // 2]}…{w[1 - _LONGEST // 2 :]}" for w in whole]
    by = dict(zip(whole, short if len(set(short)) == len(short) else whole, strict=True))
    return np.array([by[w] for w in said], dtype=object)


def _prefixed(column: str, said: np.ndarray) -> np.ndarray:
    return np.array([f"{column}={word}" for word in said], dtype=object)


def _grouping(columns: Sequence[str], said: np.ndarray, notes: Sequence[str], least: int) -> Grouping:
    """Returns the groups of at least `least` rows; smaller ones are one group, if that has as many."""
    name = " x ".join(columns)
    values, codes, counts = np.unique(said.astype(str), return_inverse=True, return_counts=True)
    called = [f"{name}={v}" if len(columns) == 1 else v for v in values]
    groups = {called[i]: codes == i for i in range(len(values)) if counts[i] >= least}
    small, told = counts < least, list(notes)
    if small.any():
        pool, n = small[codes], int(small.sum())
        words = "1 small group" if n == 1 else f"{n} small groups"
        if pool.sum() >= least:
            groups[f"{name}: {words}"] = pool
        which = f"{name}: {words} of fewer than {least} rows ({int(pool.sum())} together)"
        told.append(f"{which} are one group." if pool.sum() >= least else f"{which} are only among the others.")
    return Grouping(name, tuple(columns), groups, tuple(told))
