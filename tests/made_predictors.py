"""Predictors of every kind and task, fitted once on a small table, and its rows by every door."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from few_trees import few_trees

from profuse.classical import CLASSICAL, classical, feature_sets_for, fit_classical, fittable_to
from profuse.data.dataset import Dataset
from profuse.data.feature_pipeline import FeaturePipeline
from profuse.data.split import Split
from profuse.inputs import open_data
from profuse.models.options import ModelOptions
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import Member
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import ClassicalPredictor, NetworkPredictor, Predictor
from profuse.schema import Schema
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

TARGETS: dict[str, tuple[str, ...]] = {
    "binary": ("size",),
    "multiclass": ("grade",),
    "multilabel": ("warm", "loud"),
    "regression": ("price",),
    "two numbers": ("price", "weight"),
}
NETWORKS: dict[str, Any] = {"network": 1, "progressive network": 2}
PORTFOLIO = "portfolio"
KINDS = [*NETWORKS, *(name for name in fittable_to("binary")[0] if name in CLASSICAL.builtin), PORTFOLIO]
"""Of all tasks."""
MADE = [
    *((kind, task) for kind in KINDS for task in TARGETS),
    *(("support_vectors", t) for t in ("regression", "two numbers")),
]
N = 150


def frame(n: int = N, seed: int = 0) -> pd.DataFrame:
    """Numbers, categories and texts, each with cells that are missing, and a target of every task."""
    rng = np.random.default_rng(seed)
    x, colour = rng.normal(size=n).round(4), rng.choice(["red", "blue", "green"], n)
    score = np.nan_to_num(x) + (colour == "red") + 0.3 * rng.normal(size=n)
    words = np.where(score > 0.3, "alpha beta", "delta epsilon")
    made = pd.DataFrame(
        {
            "x": np.where(rng.random(n) < 0.1, np.nan, x),
            "colour": pd.Series(colour, dtype=object).mask(rng.random(n) < 0.1, None),
            "note": [f"{w} {rng.choice(['one', 'two'])} n{i}" for i, w in enumerate(words)],
            "size": np.where(score > 0.2, "big", "small"),
            "grade": np.digitize(score, [-0.3, 0.7]),
            "warm": (score > 0).astype(int),
            "loud": (x > 0.5).astype(int),
            "price": (score * 100 + 1000).round(3),
            "weight": (x * 3).round(3),
        }
    )
    made.loc[::9, "note"] = None
    return made


def inputs(n: int = N, seed: int = 0) -> pd.DataFrame:
    return frame(n, seed)[["x", "colour", "note"]]


def labelled(task: str, n: int = N, seed: int = 0) -> pd.DataFrame:
    return frame(n, seed)[["x", "colour", "note", *TARGETS[task]]]


@lru_cache
def data(task: str) -> tuple[Dataset, Schema]:
    schema = {"columns": {"note": "text", "x": "numeric", "colour": "category"}}
    opened = open_data(labelled(task), list(TARGETS[task]), schema=schema)
    assert opened.schema is not None
    return opened.dataset, opened.schema


@lru_cache
def prepared(task: str) -> Prepared:
    rows = np.arange(N)
    return Prepared.make(data(task)[0], Split(rows[:90], rows[90:120], rows[120:]))


@lru_cache
def predictor(kind: str, task: str) -> Predictor:
    """Of few trees, where there are any."""
    with few_trees():
        return whole_predictor(kind, task)


def whole_predictor(kind: str, task: str) -> Predictor:
    ready, schema = prepared(task), data(task)[1]
    if kind in NETWORKS:
        options = ModelOptions(fusion="concat", width=8, members=2, rounds=NETWORKS[kind])
        fitted = fit_model(ready, options, TrainOptions(epochs=2))
        assert isinstance(fitted, NetworkPredictor)
        return NetworkPredictor(**{**vars(fitted), "schema": schema})
    if kind == PORTFOLIO:
        options = ModelOptions(fusion="concat", width=8, members=1)
        several = (Member("boosted", tuple(ready.inputs), "gradient_boosting"), Member("net", ("note",), model=options))
        rows = ready.dataset.rows(np.concatenate([ready.split.train, ready.split.valid]))
        return fit_portfolio(
            rows, PortfolioOptions(folds=2), train=TrainOptions(epochs=1), members=several, schema=schema
        )
    names = () if kind == "trivial" else tuple(sorted(ready.inputs))
    split = ready.split
    sets: dict[str, Any] = dict.fromkeys(names)
    if classical(kind).role == "classical":
        sets = feature_sets_for(kind, {m: ready.dataset.modalities[m].kind for m in names})[0]
    features = FeaturePipeline.fit(ready.dataset, split.train, sets)
    x = features.transform(ready.dataset)
    fit = fit_classical(
        kind, x, ready.target.numpy(), split.train, split.valid, ready.task, ready.codec.n_outputs,
        refit=True, categories=features.categories, zero=ready.codec.zero,
    )  # fmt: skip
    return ClassicalPredictor(
        pipeline=ready.pipeline,
        codec=ready.codec,
        features=features,
        name=kind,
        model=fit.model,
        modalities=names,
        schema=schema,
        threads=1,  # more would wait for each other where other tests run beside
    )


def by_door(door: str, rows: pd.DataFrame, asked: Predictor, folder: Path) -> Any:
    """Returns the rows as a path, a frame, a dict of modalities or a data set."""
    if door == "path":
        rows.to_csv(folder / "rows.csv", index=False)
        return folder / "rows.csv"
    if door == "frame":
        return rows
    dataset = asked.read(rows)
    if door == "dict":
        values = {name: data.values for name, data in dataset.modalities.items()}
        assert set(values) == {"note", "table"}
        return values
    return dataset
