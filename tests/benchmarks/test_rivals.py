"""The study of rivals: their rows are the portfolio's, each is tuned by folds, and the table says what is gained."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from profuse.data.dataset import Dataset, ModalityData

study: Any = importlib.import_module("rivals")
portfolios: Any = importlib.import_module("portfolios")


def test_the_best_setting_by_folds_predicts_the_same_test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(portfolios.TASKS, "synthetic", 100)
    monkeypatch.setattr(study, "N_SETTINGS", 3)
    made = study.measure_rivals("synthetic", 0, seconds=60.0)
    assert set(made.scores) == set(made.folds) == {"linear", "svm", "extra trees", "boosting"}
    assert set(made.tried.values()) == {3}
    assert {len(rows) for rows in made.rows.values()} == {len(portfolios.rows_of("synthetic", 0)[2])}
    for name, rows in made.rows.items():
        assert np.mean(rows) == pytest.approx(made.scores[name])
    assert max(made.scores.values()) > 0.3  # sixteen classes


def test_no_more_settings_are_tried_than_the_seconds_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(portfolios.TASKS, "synthetic", 60)
    assert set(study.measure_rivals("synthetic", 0, seconds=0.0).tried.values()) == {1}


def test_the_setting_is_the_one_that_folds_find_best(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    def make(*, learns: bool) -> Any:
        return LogisticRegression() if learns else DummyClassifier()

    monkeypatch.setitem(portfolios.TASKS, "synthetic", 200)
    settings = [{"learns": False}, {"learns": True}, {"learns": False}]
    monkeypatch.setattr(study, "_models", lambda task, seed: iter([("one", make, settings, False)]))
    made = study.measure_rivals("synthetic", 0, seconds=60.0)
    assert made.folds["one"] > 0.2  # the dummy has a sixteenth
    assert made.scores["one"] > 0.2


def test_few_groups_are_as_many_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, known, test = portfolios.rows_of("synthetic", 0)
    grouped = replace(dataset, groups=np.arange(len(dataset)) % 3)
    met: list[set[int]] = []

    def folds(learn: Dataset, rows: np.ndarray, k: int, seed: int) -> Any:
        made = split_folds(learn, rows, k, seed)
        assert np.array_equal(np.asarray(learn.groups), np.asarray(grouped.groups)[known[:90]])
        met.extend(set(learn.groups[fit]) & set(learn.groups[held]) for fit, held in made)  # type: ignore[index]
        return made

    split_folds = study.folds
    monkeypatch.setattr(study, "folds", folds)
    monkeypatch.setattr(portfolios, "rows_of", lambda name, seed: (grouped, known[:90], test[:90]))
    study.measure_rivals("synthetic", 0, seconds=0.0)
    assert met == [set(), set(), set()]


@pytest.mark.parametrize("model", ["extra_trees", "linear"])
def test_nothing_of_test_rows_is_in_the_features_of_the_others(model: str) -> None:
    texts = np.array(["red car", "blue car", "red house", "blue house"] * 10, dtype=object)
    number = np.arange(40.0)[:, None]
    known, test = np.arange(30), np.arange(30, 40)
    there = np.ones(40, dtype=bool)
    some = there.copy()
    some[:5] = False  # filled by the mean of known rows

    def features(new: str, value: float) -> np.ndarray:
        modalities = {
            "text": ModalityData("text", np.where(np.arange(40) < 30, texts, new), there),
            "number": ModalityData("vector", np.where(np.arange(40)[:, None] < 30, number, value), some),
        }
        made = Dataset("made", modalities, np.arange(40) % 2, "binary")
        x = study._features(made, known, test, model)
        return np.asarray(x if isinstance(x, np.ndarray) else x.toarray())[known]

    assert np.array_equal(features("red car", 1.0), features("green boat and red boat", 1e3))


def test_the_table_tells_the_gain_on_the_model_that_folds_found_best_and_on_autogluon() -> None:
    def rows(right: float) -> list[float]:
        return [1.0, right, 1.0, 0.0] * 20

    ours = portfolios.Measured(
        data="made", seed=0, n_rows=50, metric="accuracy", scores={"portfolio": 0.75}, weights={}, best="linear",
        rows={"portfolio": rows(1.0)}, test_rows=list(range(80)), clusters=[str(i) for i in range(80)], seconds=2.0,
    )  # fmt: skip
    theirs = study.Rivals(
        data="made", seed=0, folds={"linear": 0.6, "svm": 0.7}, scores={"linear": 0.75, "svm": 0.5, "autogluon": 0.75},
        tried={"linear": 20, "svm": 8, "autogluon": 1}, seconds={},
        rows={"linear": rows(1.0), "svm": rows(0.0), "autogluon": rows(1.0)},
    )  # fmt: skip
    cells = [cell.strip() for cell in study.page([theirs], [ours]).splitlines()[2].strip("|").split("|")]
    assert cells[:6] == ["made", "1", "accuracy", "0.750", "0.500 (svm)", "8 to 20"]
    assert cells[6].startswith("+0.250 (")
    assert cells[7] == "0.750"
    assert cells[8].startswith("+0.000 (")
