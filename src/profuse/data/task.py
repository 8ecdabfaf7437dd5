"""The target as it was given: which task it is, and whether it can be learned at all."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, get_args

import numpy as np
import pandas as pd

from profuse.data.table.lists import ShortenedListError, is_list_text, parse_list
from profuse.data.table.values import is_missing, match, plain_objects, word
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import ConfigError, DataError
from profuse.schema import Task

__all__ = ["check_target", "class_task", "infer_task", "no_missing", "not_constant", "plain_target", "read_target"]

_MOST_CLASSES = 20
_ROWS_PER_CLASS = 3
_LARGEST = 1e100  # squares of numbers, and their sums, end at 1e308
_PLAIN = ("string", "bytes", "boolean", "integer", "floating", "mixed-integer-float", "decimal", "empty")
"""What pandas calls cells that can be a target; a `Dataset` tells bytes itself."""


def read_target(
    target: pd.DataFrame | pd.Series | np.ndarray,
    task: Task | None = None,
    *,
    labels: Sequence[str] | None = None,
    fitting: bool = True,
) -> tuple[np.ndarray, Task, tuple[str, ...]]:
    """Returns the target as a `Dataset` holds it, its task, and one name a target column.

    A list column (lists, or their text in a CSV file) is multilabel: lists of labels become one 0/1 column
    a label, in sorted order; lists of 0 and 1 of one length are taken as they are.

    Args:
        target: One column, or a table of several.
        task: What it is; inferred by `infer_task` when None.
        labels: The labels of a list column, where they are known already (a test file).
        fitting: Whether it is learned from: then it may not be constant, and no class may have a single row.

    Raises:
        DataError: See `check_target`; or the target cannot be what `task` says.
    """
    if task not in (None, *get_args(Task)):
        raise ConfigError(f"target: task must be one of {', '.join(get_args(Task))}; got task={task!r}.")
    target = _one_axis(target)
    if len(target) == 0:
        raise DataError("target: at least one row must be given; got none. Check the file.")
    names = _names(target)
    no_missing(target)
    lists = _lists(target)
    if lists is not None:
        if task not in (None, "multilabel"):
            raise DataError(
                f"target {names[0]!r}: a list column is a multilabel target; got task={task!r}. Use task='multilabel'."
            )
        values, names = _binarise(lists, names[0], labels)
        task = "multilabel"
    else:
        task = task or infer_task(target)
        values = plain_target(target)
    if task in ("regression", "multilabel"):
        values = _numbers(values, names, task)
    if task == "multilabel" and values.ndim == 1:
        values = values[:, None]
    if fitting:
        check_target(values, task, names=names)
    return values, task, names


def infer_task(target: pd.DataFrame | pd.Series | np.ndarray) -> Task:
    """Returns the task that the values suggest.

    | target | task |
    |---|---|
    | a list column; several columns of 0 and 1 (or booleans) | multilabel |
    | several columns of other numbers | regression |
    | booleans, words, categories; any two distinct whole numbers | binary (two distinct values) or multiclass |
    | whole numbers, 3 to 20 distinct, three rows or more for each on average | multiclass |
    | other numbers | regression |

    Numbers with decimals in their type (1.0, 2.0, 3.0) are regression unless there are only two of them.

    Raises:
        DataError: See `plain_target`.
    """
    target = _one_axis(target)
    if target.ndim == 2:
        columns = [pd.Series(c) for _, c in pd.DataFrame(target).items()]
        if not all(pd.api.types.is_numeric_dtype(c) or pd.api.types.is_bool_dtype(c) for c in columns):
            raise DataError(
                f"target {tell_values(_names(target))}: several target columns must be numbers; got words. "
                "Name one target column, or make them 0 and 1."
            )
        return "multilabel" if all(c.dropna().isin([0, 1]).all() for c in columns) else "regression"
    if _lists(target) is not None:
        return "multilabel"
    values = pd.Series(plain_target(target)).dropna()
    is_category = isinstance(target, pd.Series) and isinstance(target.dtype, pd.CategoricalDtype)
    if is_category or not pd.api.types.is_numeric_dtype(values):
        return "binary" if values.nunique() == 2 else "multiclass"
    n_distinct = values.nunique()
    whole = pd.api.types.is_bool_dtype(values) or bool((values == np.floor(values)).all())
    if n_distinct == 2 and whole:
        return "binary"
    is_integer = pd.api.types.is_integer_dtype(values)
    few = n_distinct <= _MOST_CLASSES and len(values) >= _ROWS_PER_CLASS * n_distinct
    return "multiclass" if is_integer and few else "regression"


def class_task(target: pd.DataFrame | pd.Series | np.ndarray) -> Task:
    """Returns the task of values that are meant as classes: regression where decimals show that they are none.

    Raises:
        DataError: A value is missing; or see `plain_target`.
    """
    target = _one_axis(target)
    if target.ndim == 2 or _lists(target) is not None:
        return "multilabel"
    no_missing(target)
    values = pd.Series(plain_target(target))
    if pd.api.types.is_float_dtype(values) and not (values == np.floor(values)).all():
        return "regression"
    return "binary" if values.nunique() == 2 else "multiclass"


def check_target(target: np.ndarray, task: Task, *, names: Sequence[str] = ("target",)) -> None:
    """Checks that `target` (as a `Dataset` holds it) can be learned as `task`.

    Raises:
        DataError: It is missing or infinite somewhere, constant, has one row in a class, or another number of
            classes than the task allows.
    """
    where = f"target {names[0]!r}" if len(names) == 1 else "target"
    no_missing(target)
    if task in ("binary", "multiclass"):
        if target.ndim != 1:
            raise DataError(
                f"{where}: a {task} target must be one column; got {target.shape[1]}. Use task='multilabel'."
            )
        _finite(where, target)
        counts = pd.Series(target).value_counts(sort=False)
        not_constant(where, len(counts), counts.index[0])
        if task == "binary" and len(counts) > 2:
            raise DataError(
                f"{where}: a binary target must have two values; got {len(counts)}: {tell_values(counts.index)}. "
                "Use task='multiclass', or correct the values."
            )
        alone = counts.index[counts == 1]
        if len(alone):
            rows = np.flatnonzero(pd.Series(target).isin(alone))
            raise DataError(
                f"{where}: every class must have at least two rows; {len(alone)} of {len(counts)} classes have one: "
                f"{tell_values(alone)} in {tell_rows(rows)}. Merge or drop them; or, if they are numbers, "
                "counts for example, use task='regression' (--task regression)."
            )
        return
    columns = target.reshape(len(target), -1).astype(np.float64)
    for j in range(columns.shape[1]):
        label = f"target {names[j]!r}" if j < len(names) else f"target column {j}"
        _finite(label, columns[:, j])
        huge = np.flatnonzero(np.abs(columns[:, j]) > _LARGEST)
        if len(huge):
            raise DataError(
                f"{label}: numbers must be at most {_LARGEST:g} in size, or their squares overflow; got "
                f"{columns[huge[0], j]:g} in {tell_rows(huge)}. Give the target another unit, or correct these rows."
            )
        if task == "multilabel" and not np.isin(columns[:, j], (0, 1)).all():
            wrong = np.flatnonzero(~np.isin(columns[:, j], (0, 1)))
            raise DataError(
                f"{label}: a multilabel target must be 0 or 1; got {columns[wrong[0], j]:g} in {tell_rows(wrong)}. "
                "Use task='regression', or correct the values."
            )
        not_constant(label, 1 if (columns[:, j] == columns[0, j]).all() else 2, columns[0, j])


def _one_axis(target: pd.DataFrame | pd.Series | np.ndarray) -> pd.DataFrame | pd.Series | np.ndarray:
    """Returns a table of one column as that column."""
    if target.ndim == 2 and target.shape[1] == 1:
        return target.iloc[:, 0] if isinstance(target, pd.DataFrame) else target[:, 0]
    return target


def _names(target: pd.DataFrame | pd.Series | np.ndarray) -> tuple[str, ...]:
    if isinstance(target, pd.DataFrame):
        return tuple(map(str, target.columns))
    if isinstance(target, pd.Series):
        return ("target" if target.name is None else str(target.name),)
    return ("target",) if target.ndim == 1 else tuple(f"target_{j}" for j in range(target.shape[1]))


def plain_target(target: pd.DataFrame | pd.Series | np.ndarray) -> np.ndarray:
    """Returns plain NumPy: words as objects, objects as the numbers they are, if they are.

    Raises:
        DataError: Values that are neither words, booleans nor real numbers, or words and numbers in one column.
    """
    if isinstance(target, np.ndarray) and target.dtype.kind in "biuf":
        return target
    names = _names(target)
    if target.ndim == 2:
        for name, (_, column) in zip(names, pd.DataFrame(target).items(), strict=True):
            _plain(column, name)
        return np.asarray(target)
    return _plain(pd.Series(target), names[0])


def _plain(cells: pd.Series, name: str) -> np.ndarray:
    types = pd.api.types
    if types.is_object_dtype(cells) or isinstance(cells.dtype, pd.CategoricalDtype):
        cells = pd.Series(cells.to_numpy(dtype=object)).infer_objects()
        if not any(isinstance(v, bytes) for v in cells):  # a model must answer in the labels it was given
            cells = plain_objects(cells)
    kind = types.infer_dtype(cells, skipna=False)
    if kind.startswith("mixed"):
        _no_mixture(cells, name)
        kind = next((type(v).__name__ for v in cells if not isinstance(v, Real | np.bool_ | Decimal)), "integer")
        cells = cells.astype(np.float64) if kind == "integer" and any(isinstance(v, Decimal) for v in cells) else cells
    if kind not in _PLAIN:
        message = "time stamps" if kind.startswith("date") else kind
        raise DataError(f"target {name!r}: must be words or numbers; got {message}. Convert them to one or the other.")
    if types.is_bool_dtype(cells):
        return cells.to_numpy(dtype=bool)
    if types.is_integer_dtype(cells):
        return cells.to_numpy(dtype=np.int64)
    if types.is_float_dtype(cells) or kind == "decimal":
        return cells.to_numpy(dtype=np.float64)
    return cells.to_numpy(dtype=object)


def _finite(where: str, values: np.ndarray) -> None:
    infinite = np.flatnonzero(np.isinf(values)) if values.dtype.kind == "f" else ()
    if len(infinite):
        raise DataError(f"{where}: must be finite; infinite in {tell_rows(infinite)}. Correct or drop these rows.")


def no_missing(target: pd.DataFrame | pd.Series | np.ndarray) -> None:
    table = pd.DataFrame(target)
    missing = table.isna().to_numpy(copy=True)
    for j in range(table.shape[1]):  # an empty word is no label
        column = table.iloc[:, j]
        if not pd.api.types.is_numeric_dtype(column):
            missing[:, j] |= [is_missing(v) for v in column]
    rows = np.flatnonzero(missing.any(1))
    if len(rows):
        names = _names(target)
        what = repr(names[0]) if len(names) == 1 else tell_values(names)
        raise DataError(
            f"target {what}: must be known in every row; missing in {tell_rows(rows)} of {len(missing)}. "
            "Fill in or drop these rows."
        )


def _no_mixture(values: pd.Series, name: str) -> None:
    is_word = values.map(lambda v: isinstance(v, str)).to_numpy(dtype=bool)
    if is_word.any() and not is_word.all():
        rows = np.flatnonzero(is_word if is_word.mean() < 0.5 else ~is_word)
        raise DataError(
            f"target {name!r}: values must be all numbers or all words; got both, the rarer in {tell_rows(rows)}: "
            f"{tell_values(values.iloc[rows[:3]])}. Correct them, or convert the column to words."
        )


def not_constant(where: str, n_distinct: int, value: object) -> None:
    if n_distinct < 2:
        raise DataError(
            f"{where}: must have at least two different values; got {tell_values([value])} in every row. "
            "There is nothing to learn: name another target."
        )


def _lists(target: pd.DataFrame | pd.Series | np.ndarray) -> list[list[Any]] | None:
    """Returns the lists of a list column (or of their text), None if it is something else."""
    if target.ndim != 1:
        return None
    values = list(target)
    if all(isinstance(v, (list, tuple, set, frozenset, np.ndarray)) for v in values):
        return [sorted(v, key=str) if isinstance(v, (set, frozenset)) else list(v) for v in values]
    if all(isinstance(v, str) and is_list_text(v) for v in values):
        try:
            return [parse_list(v) for v in values]
        except ShortenedListError as error:
            raise DataError(f"target {_names(target)[0]!r}: {error}.") from error
        except DataError:  # words in brackets are classes
            return None
    return None


def _binarise(lists: list[list[Any]], name: str, known: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    nested = [i for i, v in enumerate(lists) if any(isinstance(x, list | tuple | dict | np.ndarray) for x in v)]
    if nested:
        raise DataError(
            f"target {name!r}: the lists must hold labels; got lists within lists in {tell_rows(nested)}. Make one "
            "list of labels a row, or a column a number."
        )
    width = len(lists[0])
    if width > 1 and all(len(v) == width and all(x in (0, 1) for x in v) for v in lists):
        return np.array(lists, dtype=np.int64), tuple(f"{name}_{j}" for j in range(width))
    lists = [[str(word(x)) for x in v] for v in lists]
    labels = sorted({x for v in lists for x in v})
    if not labels and known is None:
        raise DataError(f"target {name!r}: at least one row must have a label; every list is empty. Check the column.")
    place = dict(zip(labels, match(labels, list(labels if known is None else known)), strict=True))
    if known is not None:
        unseen = [x for x in labels if place[x] < 0]
        if unseen:
            rows = [i for i, v in enumerate(lists) if not set(v).isdisjoint(unseen)]
            raise DataError(
                f"target {name!r}: every label must occur in the training rows; got {tell_values(unseen)} in "
                f"{tell_rows(rows)}. Known: {tell_values(known, n=20)}. Correct the labels or drop the rows."
            )
        labels = list(known)
    values = np.zeros((len(lists), len(labels)), dtype=np.int64)
    for i, row in enumerate(lists):
        values[i, [place[x] for x in row]] = 1
    return values, tuple(labels)


def _numbers(values: np.ndarray, names: Sequence[str], task: Task) -> np.ndarray:
    if values.dtype.kind in "biuf":
        return values.astype(np.int64) if values.dtype.kind == "b" else values
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        cells = pd.DataFrame(values.reshape(len(values), -1))
        wrong = np.flatnonzero(cells.apply(pd.to_numeric, errors="coerce").isna().any(axis=1))
        raise DataError(
            f"target {tell_values(names)}: a {task} target must be numbers; got words in {tell_rows(wrong)}: "
            f"{tell_values(cells.iloc[wrong[:3], 0])}. Correct them, or use task='multiclass'. Numbers as people write "
            "them (1.250,50 EUR) are read where the target is a column of the table, named in the schema."
        ) from error
    return numbers
