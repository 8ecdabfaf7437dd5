"""`TrainedOn`: what a model was fitted to, when and where, as a saved folder keeps it for its card."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from profuse._machine import Machine
from profuse.data.dataset import Dataset
from profuse.data.target import TargetCodec
from profuse.metrics import Metric

__all__ = ["TrainedOn", "ranges_of"]


class TrainedOn(BaseModel):
    """Counts of the rows that a model was fitted to, and how they were used.

    Attributes:
        date: Of the fit, `2026-01-31`, in UTC.
        machine: Where it was fitted, with versions of packages.
        data: The name of the data.
        n_rows: All rows that were used.
        n_validation: Of them, those that chose epochs or strengths; 0 if not cut so.
        n_folds: Folds that each held rows out; 0 if not cut so.
        present: Rows that have each modality.
        counts: Rows of each class (label), in the order of `Predictor.classes`.
        quantiles: Of each number that is predicted: the smallest, the quartiles, the largest.
        ranges: The smallest and the largest number of columns, by modality.
        n_groups: Groups of rows that stay together; None: rows have none.
        by_time: Whether rows have times.
        weighted: Whether rows or classes counted differently in learning.
        seed: Of all that was drawn at random.
        metric: The one by whose `quantile` numbers were learned; "" for their mean.
        quantile: Which one that is; None for the mean.
        options: That differ from the defaults, by what they are of.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    date: str
    machine: Machine
    data: str = ""
    n_rows: int = Field(ge=1)
    n_validation: int = Field(0, ge=0)
    n_folds: int = Field(0, ge=0)
    present: dict[str, int] = Field(default_factory=dict)
    counts: tuple[int, ...] = ()
    quantiles: tuple[tuple[float, ...], ...] = ()
    ranges: dict[str, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    n_groups: int | None = None
    by_time: bool = False
    weighted: bool = False
    seed: int | None = None
    metric: str = ""
    quantile: float | None = Field(None, ge=0, le=1)
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        codec: TargetCodec,
        *,
        seed: int,
        rows: np.ndarray | None = None,
        n_validation: int = 0,
        n_folds: int = 0,
        class_weight: object = None,
        metric: Metric | None = None,
        options: Mapping[str, BaseModel] | None = None,
    ) -> Self:
        """Counts rows of `dataset`, which has a target.

        Args:
            dataset: The data.
            codec: Of the target.
            seed: Of all that is drawn at random.
            rows: The ones that are used; all if None.
            n_validation: See the class.
            n_folds: See the class.
            class_weight: Weights of classes in learning, None if there are none.
            metric: That was asked for.
            options: Those that were asked for, by what they are of.
        """
        used = np.arange(len(dataset)) if rows is None else np.sort(rows)
        groups = None if dataset.groups is None else np.asarray(dataset.groups)[used].astype(str)
        frames = {name: data.frame.iloc[used] for name, data in dataset.modalities.items() if data.frame is not None}
        asked = {name: made.model_dump(mode="json", exclude_defaults=True) for name, made in (options or {}).items()}
        return cls(
            date=datetime.now(UTC).date().isoformat(),
            machine=Machine.here(),
            data=PurePath(dataset.name).name,
            n_rows=len(used),
            n_validation=n_validation,
            n_folds=n_folds,
            present={name: int(np.asarray(data.present)[used].sum()) for name, data in dataset.modalities.items()},
            counts=_counts(np.asarray(dataset.target)[used], codec),
            quantiles=_quantiles(np.asarray(dataset.target)[used], codec),
            ranges={name: found for name, frame in frames.items() if (found := ranges_of(frame))},
            n_groups=None if groups is None else len(np.unique(groups)),
            by_time=dataset.times is not None,
            weighted=dataset.weights is not None or class_weight is not None,
            seed=seed,
            metric="" if metric is None or metric.quantile is None else metric.name,
            quantile=None if metric is None else metric.quantile,
            options={name: changed for name, changed in asked.items() if changed},
        )


def ranges_of(frame: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Returns the smallest and the largest finite number of each column of numbers."""
    found = {}
    for name in frame.columns:
        cells = frame[name]
        if cells.dtype.kind not in "iuf":
            continue
        values = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        values = values[np.isfinite(values)]
        if len(values):
            found[str(name)] = float(values.min()), float(values.max())
    return found


def _counts(target: np.ndarray, codec: TargetCodec) -> tuple[int, ...]:
    if codec.task == "regression":
        return ()
    encoded = codec.encode(target)
    counts = encoded.sum(0) if codec.task == "multilabel" else np.bincount(encoded, minlength=codec.n_outputs)
    return tuple(int(n) for n in counts)


def _quantiles(target: np.ndarray, codec: TargetCodec) -> tuple[tuple[float, ...], ...]:
    if codec.task != "regression":
        return ()
    values = target.astype(np.float64).reshape(len(target), -1)
    return tuple(tuple(map(float, column)) for column in np.quantile(values, [0, 0.25, 0.5, 0.75, 1], axis=0).T)
