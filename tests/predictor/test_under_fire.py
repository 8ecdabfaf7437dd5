"""Rows as no one wishes them: a prediction is finite, or one error names the row. Nothing is repaired unseen."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from few_trees import few_trees
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profuse.data.dataset import Dataset
from profuse.data.split import Split
from profuse.data.tensors import from_tensors
from profuse.errors import ProfuseError
from profuse.models.options import ModelOptions
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import Member
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import ClassicalPredictor, Predictor
from profuse.training.classical_fits import best_fit
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

N = 60
WORDS = ["red", "green", "blue", "cold", "warm"]
NAMES = ("audio", "image", "series", "table", "text", "vector")
PREDICTORS = ("network", "progressive network", "linear", "gradient_boosting", "extra_trees", "portfolio")
TASKS = ("multiclass", "regression")
HUGE = [1e20, 1e38, -1e38, 3.5e38, 1e99]
TINY = [0.0, -0.0, 1e-38, 1e-300, 5e-324]
NUMBERS = [*HUGE, *TINY, 1e300, -1e300]
CELLS: dict[str, list[Any]] = {
    "table": [
        *({"size": v} for v in NUMBERS),
        *({"colour": v} for v in ("", " ", "never seen", "x" * 5_000, None)),
        *({"day": pd.Timestamp(v)} for v in ("1700-01-01", "2200-01-01", "NaT")),
        *({"count": v} for v in (2.0**62, -(2.0**62), np.nan)),
    ],
    "text": ["", " ", "\x00", "x" * 100_000, "red " * 20_000, "\ud800", "\U0001f600" * 1_000, "1e999", "nan"],
    "image": [np.full((3, h, w), v, np.uint8) for h, w in ((12, 12), (1, 1), (1, 300), (300, 1)) for v in (0, 255)],
    "audio": [*(np.zeros(n) for n in (0, 1, 2, 50_000)), *(np.full(1_600, v) for v in (*NUMBERS, 99.0, np.nan))],
    "series": [
        *(np.zeros((n, 2)) for n in (0, 1, 5_000)),
        *(np.full((3, 2), v) for v in (*NUMBERS, np.nan)),
        np.array([[1e300, -1e300], [-1e300, 1e300], [0.0, 0.0]]),
    ],
    "vector": [np.full(4, v) for v in (*NUMBERS, np.nan)],
}


def rows_of_all_kinds(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "table": pd.DataFrame(
            {
                "size": rng.normal(size=n),
                "colour": rng.choice(WORDS, n).astype(object),
                "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
                "count": rng.integers(0, 5, n).astype(float),
            }
        ),
        "text": [" ".join(rng.choice(WORDS, rng.integers(1, 6))) for _ in range(n)],
        "image": list(rng.integers(0, 256, (n, 3, 12, 12)).astype(np.uint8)),
        "audio": [rng.uniform(-1, 1, 1_500 + int(rng.integers(0, 500))) for _ in range(n)],
        "series": [rng.normal(size=(3 + int(rng.integers(0, 9)), 2)) for _ in range(n)],
        "vector": rng.normal(size=(n, 4)),
    }


def read(values: dict[str, Any], target: Any = None, presence: Any = None) -> Dataset:
    given = {**values, "series": ("series", values["series"]), "audio": ("audio", values["audio"])}
    return from_tensors(given, target, presence=presence, rates={"audio": 8_000})


@lru_cache
def prepared(task: str) -> Prepared:
    values = rows_of_all_kinds(N, 0)
    known = values["table"]["size"].to_numpy() + values["vector"][:, 0]
    target = known if task == "regression" else np.digitize(known, [-0.5, 0.5])
    rows = np.arange(N)
    return Prepared.make(read(values, target), Split(rows[:40], rows[40:50], rows[50:]))


@lru_cache
def predictor(name: str, task: str) -> Predictor:
    ready, train = prepared(task), TrainOptions(epochs=1)
    if name == "network":
        return fit_model(ready, ModelOptions(width=8, members=2), train)
    if name == "progressive network":
        return fit_model(ready, ModelOptions(fusion="token_transformer", width=8, members=1, rounds=2), train)
    with few_trees():
        if name == "portfolio":
            several = (
                Member("linear", NAMES, "linear"),
                Member("trees", NAMES, "extra_trees"),
                Member("network", NAMES, model=ModelOptions(width=8, members=1)),
            )
            return fit_portfolio(ready.dataset, PortfolioOptions(folds=2), train=train, members=several)
        best = best_fit(name, NAMES, ready, train, trials=1, seed=0, brief=True)
    return ClassicalPredictor(
        pipeline=ready.pipeline,
        codec=ready.codec,
        features=best.features,
        name=name,
        model=best.fit.model,
        modalities=NAMES,
    )


def asked(values: dict[str, Any], presence: Any, name: str, task: str) -> np.ndarray | None:
    """Returns the prediction, None where a row was refused; what comes must be sound."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="profuse|predict", category=UserWarning)
        try:
            model = predictor(name, task)
            rows = model.read(values, presence=presence)
            said = model.predict_encoded(model.encode(rows))
        except ProfuseError as error:
            told = str(error)
        else:
            told = ""
    if told:
        assert re.search(r"row 0|row \(0;", told), told  # the one that was spoiled
        return None
    assert len(said) == len(rows)
    assert np.isfinite(said).all()
    if task == "regression":
        train = np.asarray(prepared(task).dataset.target, dtype=float)
        assert np.abs(said).max() <= 100 * np.abs(train).max(), "one cell moves a prediction beyond all bounds"
    else:
        np.testing.assert_allclose(said.sum(1), 1, atol=1e-4)
        assert (said >= 0).all()
    return said


def spoiled(n: int, modality: str, cell: Any) -> dict[str, Any]:
    values = rows_of_all_kinds(n, 1)
    if modality == "table":
        for column, value in cell.items():
            values["table"].loc[0, column] = value
    else:
        values[modality][0] = cell
    return values


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", PREDICTORS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(st.lists(st.booleans(), min_size=len(NAMES), max_size=len(NAMES)), min_size=1, max_size=4))
def test_any_presence_pattern_gives_a_sound_prediction(name: str, task: str, present: list[list[bool]]) -> None:
    presence = dict(zip(NAMES, np.array(present).T, strict=True))
    assert asked(rows_of_all_kinds(len(present), 2), presence, name, task) is not None


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", PREDICTORS)
def test_everything_missing_gives_the_same_prediction_for_every_row(name: str, task: str) -> None:
    nothing = {n: np.zeros(3, dtype=bool) for n in NAMES}
    said = asked(rows_of_all_kinds(3, 3), nothing, name, task)
    assert said is not None
    np.testing.assert_allclose(said, np.broadcast_to(said[:1], said.shape), atol=1e-6)


@lru_cache
def unspoiled(n: int, name: str, task: str) -> np.ndarray | None:
    return asked(rows_of_all_kinds(n, 1), None, name, task)


@pytest.mark.slow
@pytest.mark.parametrize("name", PREDICTORS)
@pytest.mark.parametrize("modality", NAMES)
def test_a_row_beyond_all_bounds_is_predicted_or_refused_by_its_number(modality: str, name: str) -> None:
    task = TASKS[(NAMES.index(modality) + PREDICTORS.index(name)) % 2]  # each predictor meets half of it by each task
    whole = {n: unspoiled(n, name, task) for n in (1, 4)}
    for cell in CELLS[modality]:
        for n, before in whole.items():
            said = asked(spoiled(n, modality, cell), None, name, task)
            assert before is not None
            if said is not None:  # and other rows do not notice
                np.testing.assert_allclose(said[1:], before[1:], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("modality", NAMES)
def test_a_portfolio_predicts_a_row_beyond_all_bounds_or_refuses_it_by_its_number(modality: str) -> None:
    for cell in CELLS[modality]:
        asked(spoiled(2, modality, cell), None, "portfolio", "regression")


def test_what_no_kind_can_read_is_refused_and_not_repaired() -> None:
    for modality, cell in (
        ("audio", np.full(1_600, 1e20)),
        ("vector", np.full(4, np.inf)),
        ("series", np.ones(3) * 1j),
    ):
        assert asked(spoiled(2, modality, cell), None, "linear", "regression") is None
