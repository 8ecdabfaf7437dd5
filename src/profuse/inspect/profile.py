"""`profile`: the data as plain data of moderate size: what was read, how it is spread, what is missing, a few rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from profuse._escape import visible
from profuse._html import html_table
from profuse._machine import Plain
from profuse.data.dataset import Dataset
from profuse.data.split import Split
from profuse.data.table.values import words
from profuse.inspect.contents import Part, contents
from profuse.kinds import ModalityData, kind_named

__all__ = [
    "HEADS",
    "Column",
    "Count",
    "Example",
    "Modality",
    "Pattern",
    "Profile",
    "Size",
    "Spread",
    "TargetPart",
    "profile",
]

_MOST_COLUMNS = 60
_MOST_SIZED = 2_000  # rows
_BINS = 16
_FAR = 0.5  # of the range of the middle 95 %, which the rest may lie beside it and be drawn
_TOP, _CLASSES, _PATTERNS = 5, 30, 12
_SIDE, _STEPS, _LINES = 96, 120, 6  # of an example's picture or lines
_CHARACTERS = 60
_NO_INPUT = ("id", "split", "weight", "subgroup", "unused")


class Count(Plain):
    """How many rows have a value."""

    label: str
    n: int


class Spread(Plain):
    """How numbers or times are spread: counts in equal bins from the least drawn to the greatest drawn."""

    counts: list[int]
    low: str
    median: str
    high: str
    below: int = Field(0, description="Far values that are not drawn.")
    above: int = 0


class Column(Plain):
    """Cells of one column."""

    name: str
    kind: str = Field(description='"numbers", "times" or "categories".')
    missing: int
    reason: str = Field("", description="Why it was read so.")
    spread: Spread | None = None
    distinct: int = Field(0, description="Values that differ.")
    top: list[Count] = Field([], description="The most frequent categories.")


class Size(Plain):
    """How large rows of a modality are."""

    name: str
    spread: Spread


class Modality(Plain):
    """All rows of one modality."""

    name: str
    kind: str
    n_present: int
    reason: str = ""
    columns: list[Column] = []
    more_columns: int = 0
    n_cells: int = Field(0, description="Of all columns.")
    missing_cells: int = 0
    sizes: list[Size] = []


class NoInput(Plain):
    """A column that is no input."""

    column: str
    kind: str
    reason: str


class Pattern(Plain):
    """Rows in which the same modalities are there."""

    present: list[str]
    n: int


class TargetPart(Plain):
    """A target, or a label, by part of the split."""

    name: str
    spread: Spread | None = None
    by_part: dict[str, list[int]] = Field(description="By part: a count for each class, or for each bin of `spread`.")
    classes: list[str] = []
    more_classes: int = 0


class Example(Plain):
    """One row, from those that are learned from where a split is known."""

    id: str
    target: str
    parts: list[Part]


class Profile(Plain):
    """What the data hold."""

    n_rows: int
    n_sized: int = Field(description="Rows of which sizes were taken.")
    parts: dict[str, int] = Field({}, description="Rows of each part of the first seed's split.")
    modalities: list[Modality]
    no_input: list[NoInput] = []
    patterns: list[Pattern] = Field([], description="Most frequent first; empty where nothing is missing.")
    more_patterns: int = 0
    target: list[TargetPart] = []
    examples: list[Example] = []

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Returns a row for each column and each size: modality, column, what it holds, missing, and its values."""
        made = []
        for m in self.modalities:
            gone = _share(self.n_rows - m.n_present, self.n_rows)
            if not m.columns and not m.sizes:
                made.append((m.name, "", m.kind, gone, ""))
            for c in m.columns:
                top = ", ".join(f"{t.label} ({t.n:,})" for t in c.top[:3])
                others = f", and {c.distinct - 3:,} more" if c.distinct > 3 else ""
                values = _told(c.spread) if c.spread else top + others * bool(top)
                made.append((m.name, c.name, c.kind, _share(c.missing, self.n_rows), values))
            made += [(m.name, s.name, m.kind, gone, _told(s.spread)) for s in m.sizes]
        return made

    def _repr_html_(self) -> str:
        """Returns the profile for notebooks, as one table."""
        head = f"<p><b>{self.n_rows:,} rows</b></p>"
        return f"<div>{head}{html_table(HEADS, self.rows(), n_words=5)}</div>"


HEADS = ("modality", "column", "holds", "missing", "values")
"""Of `Profile.rows`."""


def _share(n: int, n_rows: int) -> str:
    return f"{n:,} ({100 * n / n_rows:.1f} %)" if n else "0"


def _told(spread: Spread) -> str:
    if spread.low == spread.high:
        return f"always {spread.low}"
    return f"{spread.low} to {spread.high}, median {spread.median}"


def profile(dataset: Dataset, split: Split | None = None, *, n_examples: int = 4, seed: int = 0) -> Profile:
    """Returns what the data hold: kinds, missing cells, distributions, the target by part of a split, a few rows.

    Args:
        dataset: All rows.
        split: Whose parts the target is counted in; rows are shown from its training part. None: there is none.
        n_examples: Rows that are shown.
        seed: Of the choice of rows.
    """
    draw = np.random.default_rng(seed)
    sized = np.arange(len(dataset))
    if len(sized) > _MOST_SIZED:
        sized = np.sort(draw.choice(sized, _MOST_SIZED, replace=False))
    parts = {} if split is None else {"train": split.train, "valid": split.valid, "test": split.test}
    patterns = _patterns(dataset)
    return Profile(
        n_rows=len(dataset),
        n_sized=len(sized),
        parts={name: len(rows) for name, rows in parts.items()},
        modalities=[_modality(name, data, sized, dataset.reasons) for name, data in dataset.modalities.items()],
        no_input=[
            NoInput(column=column, kind=kind, reason=reason)
            for column, (kind, reason) in dataset.reasons.items()
            if kind in _NO_INPUT
        ],
        patterns=patterns[:_PATTERNS],
        more_patterns=max(0, len(patterns) - _PATTERNS),
        target=_target(dataset, parts or {"all": np.arange(len(dataset))}),
        examples=_examples(dataset, parts.get("train", np.arange(len(dataset))), n_examples, draw),
    )


def _modality(name: str, data: ModalityData, sized: np.ndarray, reasons: Mapping[str, tuple[str, str]]) -> Modality:
    kind = kind_named(data.kind)
    cells = kind.cells(data)
    columns: list[Column] = []
    empty = np.zeros(0, dtype=np.int64)
    if cells is not None:
        empty = cells.isna().sum().to_numpy()
        shown = [str(c) for c in cells][:_MOST_COLUMNS]
        columns = [_column(c, cells.iloc[:, j], reasons.get(c, ("", ""))[1]) for j, c in enumerate(shown)]
    rows = sized[data.present[sized]]
    sizes = kind.sizes(data, rows) if len(rows) else {}
    return Modality(
        name=name,
        kind=data.kind,
        n_present=int(data.present.sum()),
        reason=reasons.get(name, ("", ""))[1],
        columns=columns,
        more_columns=len(empty) - len(columns),
        n_cells=len(empty) * len(data),
        missing_cells=int(empty.sum()),
        sizes=[Size(name=n, spread=made) for n, v in sizes.items() if (made := _spread(pd.Series(v))) is not None],
    )


def _column(name: str, cells: pd.Series, reason: str) -> Column:
    kinds, missing = pd.api.types, int(cells.isna().sum())
    times = kinds.is_datetime64_any_dtype(cells.dtype) or kinds.is_timedelta64_dtype(cells.dtype)
    if times or (kinds.is_numeric_dtype(cells.dtype) and not kinds.is_bool_dtype(cells.dtype)):
        return Column(
            name=name, kind="times" if times else "numbers", missing=missing, reason=reason, spread=_spread(cells),
            distinct=int(cells.nunique()),
        )  # fmt: skip
    counts = pd.Series(words(cells)).value_counts()
    top = [Count(label=_short(label), n=int(n)) for label, n in counts.iloc[:_TOP].items()]
    return Column(name=name, kind="categories", missing=missing, reason=reason, distinct=len(counts), top=top)


def _spread(cells: pd.Series) -> Spread | None:
    """Returns how numbers or times are spread; those far from the middle 95 % are counted only."""
    known = cells[cells.notna()]
    if not len(known):
        return None
    if pd.api.types.is_numeric_dtype(known.dtype):
        numbers = known.to_numpy(dtype=np.float64)
        ends = [_number(v) for v in (numbers.min(), np.median(numbers), numbers.max())]
    else:
        numbers = known.astype("int64").to_numpy(dtype=np.float64)
        ordered = known.sort_values(ignore_index=True)
        ends = [_moment(ordered.iloc[k]) for k in (0, (len(ordered) - 1) // 2, -1)]
    edges = _edges(numbers)
    return Spread(
        counts=np.histogram(numbers, edges)[0].tolist(),
        low=ends[0], median=ends[1], high=ends[2],
        below=int((numbers < edges[0]).sum()), above=int((numbers > edges[-1]).sum()),
    )  # fmt: skip


def _edges(numbers: np.ndarray) -> np.ndarray:
    low, high = (float(v) for v in np.quantile(numbers, [0.025, 0.975]))
    aside = _FAR * (high - low) if high > low else np.inf
    near = numbers[(numbers >= low - aside) & (numbers <= high + aside)]
    low, high = float(near.min()), float(near.max())
    n = max(1, min(_BINS, len(np.unique(numbers))))
    edges = np.linspace(low, high, n + 1)
    if not (np.diff(edges) > 0).all():  # one value, or values that differ by rounding only
        return np.array([np.nextafter(low, -np.inf), np.nextafter(high, np.inf)])
    return edges


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 or value != round(value) or abs(value) >= 1e15 else f"{value:,.0f}"


def _moment(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return str(value.date() if value == value.normalize() else value.floor("s"))
    return str(value)


def _short(label: object) -> str:
    text = visible(str(label))
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}..."


def _patterns(dataset: Dataset) -> list[Pattern]:
    """Returns which modalities are there together, and in how many rows; none where all are there in all rows."""
    names = list(dataset.modalities)
    there = np.stack([dataset.modalities[n].present for n in names], axis=1)
    if there.all():
        return []
    distinct, counts = np.unique(there, axis=0, return_counts=True)
    order = np.lexsort((-distinct.sum(1), -counts))
    return [Pattern(present=[n for n, p in zip(names, distinct[k], strict=True) if p], n=int(counts[k])) for k in order]


def _target(dataset: Dataset, parts: Mapping[str, np.ndarray]) -> list[TargetPart]:
    if dataset.target is None:
        return []
    target, names = np.asarray(dataset.target), [str(n) for n in dataset.target_names]
    if dataset.task in ("binary", "multiclass"):
        labels = np.asarray(words(target.reshape(len(target))).tolist(), dtype=object)
        ranked = pd.Series(labels).value_counts()
        shown = [str(c) for c in ranked.index[:_CLASSES]]
        counts = {part: [int((labels[rows] == c).sum()) for c in shown] for part, rows in parts.items()}
        classes = [_short(c) for c in shown]
        return [TargetPart(name=names[0], by_part=counts, classes=classes, more_classes=len(ranked) - len(shown))]
    columns = target.reshape(len(target), -1).astype(np.float64)
    if dataset.task == "multilabel":
        order = np.argsort(-columns.sum(0), kind="stable")[:_CLASSES]
        counts = {part: [int((columns[rows, j] > 0.5).sum()) for j in order] for part, rows in parts.items()}
        shown = [_short(names[j]) for j in order]
        return [TargetPart(name="labels", by_part=counts, classes=shown, more_classes=len(names) - len(shown))]
    made = []
    for name, column in zip(names[:_CLASSES], columns.T, strict=False):
        spread = _spread(pd.Series(column))
        if spread is None:
            continue
        edges = _edges(column[np.isfinite(column)])
        by_part = {part: np.histogram(column[rows], edges)[0].tolist() for part, rows in parts.items()}
        made.append(TargetPart(name=name, spread=spread, by_part=by_part))
    return made


def _examples(dataset: Dataset, rows: np.ndarray, n: int, draw: np.random.Generator) -> list[Example]:
    """Returns rows that differ in their target, with as much in them as there is."""
    if not len(rows) or not n:
        return []
    filled = np.stack([data.present[rows] for data in dataset.modalities.values()]).sum(0)
    order = draw.permutation(len(rows))
    order = order[np.argsort(-filled[order], kind="stable")]
    chosen = [int(rows[k]) for k in order[_of_each(dataset, rows[order], n)]]
    ids = None if dataset.ids is None else np.asarray(dataset.ids)
    return [
        Example(
            id=str(row if ids is None else ids[row]),
            target=_said(dataset, row),
            parts=[_small(part) for part in contents(dataset.modalities, row, _SIDE)],
        )
        for row in chosen
    ]


def _of_each(dataset: Dataset, rows: np.ndarray, n: int) -> list[int]:
    """Returns places in `rows`: the first of each class, class after class; of numbers one of each quantile."""
    target = None if dataset.target is None else np.asarray(dataset.target)
    if target is None or dataset.task == "multilabel" or target.reshape(len(target), -1).shape[1] > 1:
        return list(range(min(n, len(rows))))
    values = target.reshape(len(target))[rows]
    if dataset.task == "regression":
        half = np.argsort(values[: max(n, len(rows) // 2)], kind="stable")  # those with most in them
        places = np.linspace(0, len(half) - 1, min(n, len(half))).round().astype(int)
        return [int(k) for k in half[places]]
    seen = pd.Series(words(values))
    turn = seen.groupby(seen).cumcount().to_numpy()
    common = seen.map(seen.value_counts()).to_numpy()
    return [int(k) for k in np.lexsort((np.arange(len(rows)), -common, turn))[:n]]


def _said(dataset: Dataset, row: int) -> str:
    if dataset.target is None:
        return ""
    value = np.asarray(dataset.target)[row]
    if dataset.task == "multilabel":
        labels = [str(n) for n, v in zip(dataset.target_names, value, strict=True) if v > 0.5]
        return _short(", ".join(labels) or "no label")
    if dataset.task == "regression":
        return ", ".join(f"{v:.5g}" for v in np.atleast_1d(value).astype(np.float64)[:5])
    return _short(np.atleast_1d(value)[0])


def _small(part: Part) -> Part:
    """Returns it with fewer steps and lines."""
    if not part.lines:
        return part
    steps = part.lines[:: max(1, -(-len(part.lines) // _STEPS))]
    return part.model_copy(update={"lines": [step[:_LINES] for step in steps]})
