"""`predictions.csv`: what each method has predicted for each test row, from which the scores can be computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known_answers import make_product
from sklearn import metrics as oracle

from profuse.comparison.engine import compare_dataset
from profuse.comparison.jobs import JobResult
from profuse.comparison.options import CompareOptions
from profuse.comparison.predictions import write_predictions
from profuse.comparison.recommended import shown_method
from profuse.comparison.results import Results
from profuse.comparison.summary import summarise
from profuse.data.dataset import Dataset
from profuse.models.options import ModelOptions
from profuse.training.options import TrainOptions

Wanted = dict[str, Callable[[pd.DataFrame], float]]

pytestmark = pytest.mark.usefixtures("few_classical")

SMALL = CompareOptions(
    rounds=(),
    singles=(),
    seeds=1,
    retrain_without=False,
    model=ModelOptions(width=8, members=1),
    train=TrainOptions(epochs=1, batch_size=64, refit=False),
)


def compared(dataset: Dataset, out: Path, **options: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the predictions and the scores of the test rows, as the files hold them."""
    compare_dataset(dataset, SMALL.model_copy(update=options), out, n_jobs=1)
    scores = pd.read_csv(out / "results.csv")
    return pd.read_csv(out / "predictions.csv"), scores[scores["split"] == "test"]


def check_scores(said: pd.DataFrame, scores: pd.DataFrame, wanted: Wanted) -> None:
    """Checks that scikit-learn's functions of the rows of each fit are the scores."""
    fits = set(zip(scores["method"], scores["seed"], strict=True))
    by_fit: dict[Any, pd.DataFrame] = dict(iter(said.groupby(["method", "seed"], sort=False)))
    assert set(by_fit) == fits
    told: dict[Any, float] = scores.set_index(["method", "seed", "metric"])["value"].to_dict()
    for fit, rows in by_fit.items():
        for metric, computed in wanted.items():
            value = computed(rows)
            assert math.isclose(value, told[(*fit, metric)], rel_tol=1e-4, abs_tol=1e-6), (fit, metric)


def check_outputs(out: Path, said: pd.DataFrame, columns: list[str]) -> None:
    """Checks that what a report draws is what the file says of one method, which is told, at every seed."""
    results = Results.read(out)
    (method,) = {m for rows in results.rows.values() for m in rows.outputs}
    assert method == shown_method(results, summarise(results))
    for seed, rows in results.rows.items():
        of = said[(said["method"] == method) & (said["seed"] == seed)]
        assert len(of) == len(rows.ids) > 0
        assert of["row"].tolist() == rows.ids.tolist()
        kept = np.atleast_2d(rows.outputs[method].said.T).T
        np.testing.assert_allclose(of[columns].to_numpy(), kept, rtol=1e-6)
        true = of[[c.replace("prediction", "true") if "prediction" in c else "true" for c in columns]].to_numpy()
        if true.dtype == object:
            true = np.searchsorted(results.dataset.classes, true.astype(str))
        np.testing.assert_allclose(np.atleast_2d(rows.outputs[method].true.T).T, true, rtol=1e-12)


@pytest.mark.slow
def test_scores_of_classes_follow_from_the_file_and_a_second_run_adds_its_rows(tmp_path: Path) -> None:
    data = make_product(100)
    ids = np.array([f"r{i}" for i in range(100)], dtype=object)
    data = replace(data, ids=ids)
    wanted: Wanted = {
        "accuracy": lambda r: oracle.accuracy_score(r["true"], r["prediction"]),
        "auroc": lambda r: oracle.roc_auc_score(r["true"] == "same", r["prob_same"]),
        "log_loss": lambda r: oracle.log_loss(r["true"], r[["prob_other", "prob_same"]].to_numpy(np.float32)),
    }
    first, scores = compared(data, tmp_path)
    assert list(first.columns) == [
        "method", "seed", "row", "id", "true", "prediction", "prob_other", "prob_same",
    ]  # fmt: skip
    check_scores(first, scores, wanted)
    # the second run goes on: another seed, the best fusion without each modality, and what there was
    again, scores = compared(data, tmp_path, seeds=2, retrain_without=True)
    check_scores(again, scores, wanted)
    both = again[again["seed"] == 0]
    both = both[both["method"].isin(set(first["method"]))]
    pd.testing.assert_frame_equal(both.reset_index(drop=True), first)
    assert any(" without a" in m for m in again["method"])
    assert (again["id"] == ids[again["row"]]).all()
    assert data.target is not None
    assert (again["true"] == data.target[again["row"]]).all()
    check_outputs(tmp_path, again, ["prob_same"])
    assert again.groupby("seed")["row"].unique().map(sorted).map(tuple).nunique() == 2


def test_scores_of_labels_follow_from_the_file(tmp_path: Path) -> None:
    data = make_product(100, task="multilabel")
    said, scores = compared(data, tmp_path)
    labels = ["same", "positive"]
    assert list(said.columns) == [
        "method", "seed", "row", *(f"true_{x}" for x in labels), *(f"prob_{x}" for x in labels),
    ]  # fmt: skip

    def true(r: pd.DataFrame) -> np.ndarray:
        return r[[f"true_{x}" for x in labels]].to_numpy()

    def prob(r: pd.DataFrame) -> np.ndarray:
        return r[[f"prob_{x}" for x in labels]].to_numpy()

    check_scores(said, scores, {
        "macro_f1": lambda r: oracle.f1_score(true(r), prob(r) >= 0.5, average="macro", zero_division=0),
        "exact_match": lambda r: oracle.accuracy_score(true(r), prob(r) >= 0.5),
    })  # fmt: skip
    assert data.target is not None
    assert (true(said) == data.target[said["row"]]).all()


@pytest.mark.parametrize("n_targets", [1, 2])
def test_scores_of_numbers_follow_from_the_file(n_targets: int, tmp_path: Path) -> None:
    data = make_product(100, task="regression")
    y = np.asarray(data.target, dtype=float)
    if n_targets == 2:
        data = replace(data, target=np.stack([y, 100 - 5 * y], axis=1), target_names=("up", "row"))
    said, scores = compared(data, tmp_path)
    true, prediction = (
        (["true"], ["prediction"])
        if n_targets == 1
        else [[f"{w}_{n}" for n in ("up", "row")] for w in ("true", "prediction")]
    )
    assert list(said.columns) == ["method", "seed", "row", *true, *prediction]
    check_scores(said, scores, {
        "r2": lambda r: oracle.r2_score(r[true], r[prediction]),
        "mae": lambda r: oracle.mean_absolute_error(r[true], r[prediction]),
    })  # fmt: skip
    check_outputs(tmp_path, said, list(prediction))
    assert data.target is not None
    np.testing.assert_allclose(said[true].to_numpy(), data.target[said["row"]].reshape(-1, n_targets), rtol=1e-14)


def test_a_lone_carriage_return_in_an_id_ends_no_line(tmp_path: Path) -> None:
    data = replace(make_product(40), ids=np.array([f"a\r{i}" for i in range(40)], dtype=object))
    fit = JobResult(
        {"test_rows": [5, 2], "classes": ["other", "same"]}, np.array([[0.4, 0.6], [0.9, 0.1]]), np.array([0, 1])
    )
    write_predictions(tmp_path / "p.csv", {"concat": {0: fit}}, ["concat"], data)
    said = pd.read_csv(tmp_path / "p.csv")
    assert said["id"].tolist() == ["a\r5", "a\r2"]
    assert said["true"].tolist() == ["other", "same"]
    assert said["prediction"].tolist() == ["same", "other"]
