"""Slices of rows that an error may be higher in: of columns, texts, gaps, classes, and clusters of a representation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.table.values import words
from profuse.inspect._words import short
from profuse.kinds import kind_named
from profuse.predictor import Predictor

__all__ = ["MOST_SLICES", "Clusters", "Slice", "slices_of"]

MOST_SLICES = 1000
_LEVELS = 20  # of a column
_FEW = 8  # numbers with at most so many values have a slice for each
_CLUSTERS = 6
_DIMENSIONS = 32  # of a representation that is clustered


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the rows.

    Attributes:
        name: As it is told: "city = Rome".
        feature: What it is cut by: two of one feature make no pair.
        rows: Bool `[row]`.
        modalities: It speaks of.
        paired: Whether it may be part of a pair. One of the truth may not: with what predicts, it says what is wrong;
            nor does it explain an error, as it is known after it.
    """

    name: str
    feature: str
    rows: np.ndarray
    modalities: tuple[str, ...] = ()
    paired: bool = True


def slices_of(
    predictor: Predictor, dataset: Dataset, outputs: np.ndarray, true: np.ndarray, clusters: Clusters, *, least: int
) -> list[Slice]:
    """Returns all single slices with at least `least` rows inside and outside; of equal ones the first.

    Args:
        predictor: Slices are of the modalities that it uses.
        dataset: The rows.
        outputs: What it predicts.
        true: Targets as metrics take them.
        clusters: Of the rows.
        least: At least 2.
    """
    results: list[Slice] = []
    seen: set[bytes] = set()
    for made in _every(predictor, dataset, outputs, true, clusters):
        key = np.packbits(made.rows).tobytes()
        if least <= made.rows.sum() <= len(dataset) - least and key not in seen:
            seen.add(key)
            results.append(made)
    return results


@dataclass(frozen=True, eq=False)
class Clusters:
    """Rows that a predictor sees alike.

    Attributes:
        codes: `[row]`: the cluster of each; the largest is 0.
        distance: `[row]`: to the middle of its cluster.
    """

    codes: np.ndarray
    distance: np.ndarray

    @classmethod
    def of(cls, representation: np.ndarray, *, least: int, seed: int) -> Clusters:
        """Returns at most 6 clusters (k-means); one where rows are alike, or few.

        Args:
            representation: `[row, number]`.
            least: Rows that a cluster should have.
            seed: Of where it starts.
        """
        from sklearn.cluster import KMeans

        values = np.nan_to_num(np.asarray(representation, dtype=np.float64))
        values = values[:, values.std(0) > 1e-9]
        n = min(_CLUSTERS, len(values) // (2 * least), len(np.unique(values.round(9), axis=0)))
        if n < 2:
            return cls(np.zeros(len(values), dtype=int), np.zeros(len(values)))
        values = (values - values.mean(0)) / values.std(0)
        if values.shape[1] > _DIMENSIONS:
            values = values @ np.linalg.eigh(values.T @ values)[1][:, -_DIMENSIONS:]
        fitted = KMeans(n, n_init=3, random_state=seed).fit(values)
        rank = np.argsort(np.argsort(-np.bincount(fitted.labels_, minlength=n), kind="stable"))
        distance = np.linalg.norm(values - fitted.cluster_centers_[fitted.labels_], axis=1)
        return cls(np.asarray(rank[fitted.labels_]), np.asarray(distance))

    def middle(self, k: int, n: int) -> list[int]:
        """Returns the n rows of a cluster that are nearest to its middle."""
        rows = np.flatnonzero(self.codes == k)
        return [int(i) for i in rows[np.argsort(self.distance[rows], kind="stable")[:n]]]


def _every(
    predictor: Predictor, dataset: Dataset, outputs: np.ndarray, true: np.ndarray, clusters: Clusters
) -> Iterator[Slice]:
    used = {name: dataset.modalities[name] for name in sorted(predictor.modalities)}
    columns = [c for data in used.values() if data.frame is not None for c in data.values.columns]
    for name, data in used.items():
        yield from _of_modality(name, data, twice={c for c in columns if columns.count(c) > 1})
    yield from _of_presence(used)
    yield from _of_target(predictor, outputs, true)
    n = int(clusters.codes.max()) + 1
    for k in range(n if n > 1 else 0):
        yield Slice(f"cluster {k + 1} of {n}", "cluster", clusters.codes == k)


def _of_modality(name: str, data: ModalityData, *, twice: set[str]) -> Iterator[Slice]:
    if data.frame is not None:
        for column in data.values.columns:
            called = f"{column} of {name}" if column in twice else str(column)
            for text, rows in _of_column(called, data.values[column]):
                yield Slice(text, f"{name}/{column}", rows, (name,))
    elif kind_named(data.kind).is_words:
        counts = [float(len(str(v).split())) if p else np.nan for v, p in zip(data.values, data.present, strict=True)]
        for text, rows in _of_column(f"words of {name}", pd.Series(counts)):
            yield Slice(text, f"{name}/words", rows, (name,))
    else:
        for column, values, is_code in kind_named(data.kind).number_columns(name, data):
            if not is_code:
                for text, rows in _of_column(column.replace("'", ""), pd.Series(values)):
                    yield Slice(text, f"{name}/{column}", rows, (name,))


def _of_column(name: str, cells: pd.Series) -> Iterator[tuple[str, np.ndarray]]:
    """Yields slices of a column: levels of words and of few numbers, quartiles of other numbers and times; its gaps."""
    types, empty = pd.api.types, cells.isna().to_numpy(dtype=bool)
    numeric = types.is_numeric_dtype(cells.dtype) and not types.is_bool_dtype(cells.dtype)
    timed = types.is_datetime64_any_dtype(cells.dtype) or types.is_timedelta64_dtype(cells.dtype)
    if (numeric or timed) and cells.nunique() > _FEW:
        known = np.sort(cells[~empty].to_numpy())
        edges = pd.Series(known[[len(known) * k // 4 for k in (1, 2, 3)]]).drop_duplicates().to_list()
        if types.is_datetime64_any_dtype(cells.dtype) and cells.dt.tz is not None:
            edges = [pd.Timestamp(e).tz_convert(cells.dt.tz) for e in edges]
        bounds = [None, *edges, None]
        for low, high in pairwise(bounds):
            rows = ~empty
            if low is not None:
                rows = rows & (cells >= low).fillna(value=False).to_numpy(dtype=bool)
            if high is not None:
                rows = rows & (cells < high).fillna(value=False).to_numpy(dtype=bool)
            one = cells[rows].nunique() == 1
            yield f"{name} = {_said(low)}" if one and low is not None else f"{name} {_between(low, high)}", rows
    else:
        texts = cells.map(lambda v: f"{v:.6g}", na_action="ignore") if numeric else pd.Series(words(cells))
        for level in texts.value_counts().sort_index(key=lambda i: i.astype(str)).nlargest(_LEVELS, keep="first").index:
            yield f"{name} = {short(str(level))}", (texts == level).to_numpy(dtype=bool)
    yield f"{name} is missing", empty


def _between(low: Any, high: Any) -> str:
    if low is None:
        return f"below {_said(high)}"
    return f"at least {_said(low)}" if high is None else f"from {_said(low)} to below {_said(high)}"


def _said(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return str(value.date())
    return str(value) if isinstance(value, pd.Timedelta) else f"{value:.4g}"


def _of_presence(used: Mapping[str, ModalityData]) -> Iterator[Slice]:
    """Yields the rows without a modality, and those of each pattern of modalities."""
    for name, data in used.items():
        yield Slice(f"without {name}", "presence", ~data.present, (name,))
    if len(used) > 1:
        there = np.stack([data.present for data in used.values()], axis=1)
        for pattern in np.unique(there, axis=0)[::-1]:
            names = tuple(n for n, p in zip(used, pattern, strict=True) if p)
            called = "all modalities" if len(names) == len(used) else f"only {', '.join(names)}" if names else "none"
            yield Slice(f"with {called}", "presence", (there == pattern).all(1), names or tuple(used))


def _of_target(predictor: Predictor, outputs: np.ndarray, true: np.ndarray) -> Iterator[Slice]:
    if predictor.task == "regression":
        for j, name in enumerate(predictor.codec.names):
            for what, values in ((f"true {name}", true), (f"predicted {name}", outputs)):
                for text, rows in _of_column(what, pd.Series(np.asarray(values[:, j], dtype=np.float64))):
                    yield Slice(text, what, rows, paired=values is outputs)
        return
    if predictor.task == "multilabel":
        for j, label in enumerate(predictor.classes):
            yield Slice(f"truth has {label}", f"truth/{label}", true[:, j] > 0.5, paired=False)
            yield Slice(f"predicted has {label}", f"predicted/{label}", outputs[:, j] >= 0.5)
        return
    codes = predictor.decision.codes(outputs)
    for k, label in enumerate(predictor.classes):
        yield Slice(f"truth is {short(str(label))}", "truth", true == k, paired=False)
    for k, label in enumerate(predictor.classes):
        yield Slice(f"predicted is {short(str(label))}", "predicted", codes == k)
