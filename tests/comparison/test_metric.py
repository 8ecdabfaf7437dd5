"""The metric that counts: by which methods are chosen, ranked and tested, and of which the report speaks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_answers import make_product
from sklearn.metrics import roc_auc_score

from profuse import from_tensors, register
from profuse.comparison.engine import Event, compare_dataset
from profuse.comparison.jobs import read_result
from profuse.comparison.metric import metric_of
from profuse.comparison.options import CompareOptions
from profuse.comparison.results import Results
from profuse.comparison.summary import Row, summarise
from profuse.data.dataset import Dataset
from profuse.errors import ConfigError, DataError, UnknownNameError
from profuse.metrics import Metric, metric, metric_named, metrics_for, primary_metric
from profuse.registry import table
from profuse.report import collect, figures, render_html, render_markdown
from profuse.report.collect import ROLES
from profuse.report.words import Words

pytestmark = pytest.mark.usefixtures("few_classical")
SMALL: dict[str, Any] = {
    "rounds": (),
    "seeds": 2,
    "model": {"width": 8, "members": 1},
    "train": {"epochs": 3, "refit": False},
}


def rare(n: int = 700) -> Dataset:
    """Two vectors that each say a little of a class of one row in seven, which is never the most probable."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))
    score = a[:, 0] + b[:, 0] + rng.normal(size=n)
    return from_tensors({"a": a, "b": b}, (score > np.quantile(score, 0.86)).astype(int))


def compared(out: Path, *, events: list[Event] | None = None, data: Dataset | None = None, **changes: Any) -> Results:
    options = CompareOptions.model_validate(SMALL | changes)
    tell = None if events is None else events.append
    return compare_dataset(data or rare(), options, out, n_jobs=1, on_event=tell)


def finished(events: list[Event]) -> set[str]:
    return {e.finished["method"] for e in events if e.finished is not None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def results(folder: Path, few_classical: None) -> Results:
    return compared(folder, metric="roc_auc")


@pytest.fixture(scope="module")
def again(results: Results, folder: Path) -> tuple[Results, set[str]]:
    """The same comparison, gone on with by the Brier score, and what was fitted for it."""
    del results
    events: list[Event] = []
    return compared(folder, events=events, metric="neg_brier_score"), finished(events)


def values(results: Results, name: str, split: str) -> dict[str, float]:
    frame = results.frame().query("metric == @name and split == @split", local_dict={"name": name, "split": split})
    return {str(k): float(v) for k, v in frame.groupby("method")["value"].mean().items()}


def test_the_metric_is_kept_by_our_name(results: Results) -> None:
    assert results.config["metric"] == "auroc"
    assert metric_of(results).name == summarise(results).metric == "auroc"


def test_methods_are_ranked_by_it_and_their_estimates_are_the_means_of_their_scores(results: Results) -> None:
    scores = values(results, "auroc", "test")
    rows = summarise(results).rows
    ranked = [r.method.name for r in rows]
    assert ranked == sorted(ranked, key=lambda m: (-scores[m], m))
    for r in rows:
        assert r.estimate.value == pytest.approx(scores[r.method.name], abs=1e-6)  # rows are kept as float32


def test_scores_of_rows_are_of_the_metric(results: Results) -> None:
    frame = results.frame().query("metric == 'auroc' and split == 'test'")
    for seed, rows in results.rows.items():
        for name, scores in rows.scores.items():
            (value,) = frame[(frame.method == name) & (frame.seed == seed)].value
            assert scores.mean() == pytest.approx(value, abs=1e-5)


def test_the_trivial_answer_orders_nothing(results: Results) -> None:
    (trivial,) = (r for r in summarise(results).rows if r.method.role == "trivial")
    assert trivial.estimate.value == 0.5


def test_the_fusion_is_chosen_by_it_on_validation_rows(results: Results) -> None:
    valid = values(results, "auroc", "valid")
    fused = [m.name for m in results.methods if m.role in ("baseline", "fusion")]
    assert valid[summarise(results).verdict.fusion or ""] == max(valid[m] for m in fused)


def test_what_was_not_learned_in_accuracy_is_learned_in_it(results: Results, folder: Path) -> None:
    """Always answering the frequent class is as accurate as any model, and orders nothing."""
    assert summarise(results).verdict.learned
    words = Words(results, summarise(results))
    assert "Nothing was learned" not in words.headline()
    assert "AUROC" in words.lede()
    plain = values(results, "accuracy", "test")
    assert max(plain.values()) - plain["trivial"] < 0.06


def test_the_report_speaks_of_it(results: Results) -> None:
    collected = collect(results)
    assert collected["metric"]["name"] == "auroc"
    assert collected["metrics"]["heads"][0]["name"] == "auroc"
    assert collected["ablation"]["metric"] == "auroc"
    assert "| AUROC |" in render_markdown(collected)
    assert "<th>AUROC</th>" in render_html(collected)


def test_what_hiding_a_modality_costs_is_told_in_it(results: Results) -> None:
    assert {a.metric for a in results.ablation} == {"auroc"}
    full = {(a.method, a.seed): a.full for a in results.ablation}
    test = results.frame().query("metric == 'auroc' and split == 'test'").set_index(["method", "seed"])["value"]
    assert full == {k: test[k] for k in full}


def test_it_is_what_scikit_learn_measures_of_the_predictions_that_were_kept(folder: Path, results: Results) -> None:
    frame = results.frame().query("metric == 'auroc' and split == 'test'").set_index(["method", "seed"])["value"]
    folders = [p for p in (folder / "work").iterdir() if (p / "result.json").is_file()]
    assert len(folders) >= len(frame)
    for kept in map(read_result, folders):
        value = frame[kept.facts["method"], kept.facts["seed"]]
        assert value == pytest.approx(roc_auc_score(kept.true, kept.prediction[:, 1]))


def test_another_metric_fits_no_network_anew(again: tuple[Results, set[str]]) -> None:
    results, fitted = again
    best = summarise(results).verdict.fusion
    assert {m for m in fitted if "without" not in m} == {"a classical", "b classical"}
    assert {m for m in fitted if "without" in m} <= {f"{best} without a", f"{best} without b"}


@pytest.mark.slow
def test_a_comparison_that_goes_on_is_the_one_that_begins_so(again: tuple[Results, set[str]], tmp_path: Path) -> None:
    new = compared(tmp_path, metric="brier")
    assert [m.name for m in new.methods] == [m.name for m in again[0].methods]
    columns = ["method", "seed", "split", "metric", "value"]
    assert new.frame()[columns].equals(again[0].frame()[columns])
    assert summarise(new).verdict.fusion == summarise(again[0]).verdict.fusion


def test_a_lower_brier_score_is_better_and_a_gain_is_above_zero(again: tuple[Results, set[str]]) -> None:
    results, _ = again
    summary, scores = summarise(results), values(results, "brier", "test")
    ranked = [r.estimate.value for r in summary.rows]
    assert ranked == sorted(ranked)
    for c in summary.comparisons:
        assert c.estimate.value == pytest.approx(scores[c.against] - scores[c.method], abs=1e-6)
        assert c.estimate.low <= c.estimate.value <= c.estimate.high
    valid = values(results, "brier", "valid")
    fused = [m.name for m in results.methods if m.role in ("baseline", "fusion")]
    assert valid[summary.verdict.fusion or ""] == min(valid[m] for m in fused)


def test_the_report_says_that_lower_is_better(again: tuple[Results, set[str]]) -> None:
    collected = collect(again[0])
    assert collected["lede"].endswith("A lower Brier score is better; a gain is what it is lower by.")
    assert "with the sign changed: above 0 is better" in render_html(collected)


def test_what_nothing_cheaper_beats_falls_where_lower_is_better(again: tuple[Results, set[str]]) -> None:
    collected = collect(again[0])
    for row, seconds in zip(collected["table"], range(100, 0, -1), strict=False):  # the better, the dearer
        row["fit_seconds"] = float(seconds)
    drawn = figures.cost_plot(collected)
    assert drawn is not None
    best = [r["value"] for r in drawn["frontier"]]
    assert len(best) > 2
    assert best == sorted(best, reverse=True)
    scores = figures.score_plot(collected, ROLES)
    rows = [r for g in scores["groups"] for r in g["rows"] if r["role"] != "trivial"]
    assert not any(r["off"] for r in rows)


@pytest.mark.slow
@pytest.mark.usefixtures("few_classical")
def test_no_metric_is_the_primary_one_with_the_numbers_that_it_always_had(tmp_path: Path) -> None:
    one, two = compared(tmp_path / "a", seeds=1), compared(tmp_path / "b", seeds=1, metric="accuracy")
    assert one.config["metric"] is None
    assert metric_of(one).name == "accuracy"
    columns = ["method", "seed", "split", "metric", "value"]
    assert one.frame()[columns].equals(two.frame()[columns])

    def told(row: Row) -> tuple[Any, ...]:
        return row.method.name, row.estimate

    assert list(map(told, summarise(one).rows)) == list(map(told, summarise(two).rows))


class Caution(Metric):
    """The mean probability of the true class."""

    name = "caution"
    label = "mean probability"
    tasks = ("binary", "multiclass")

    def score(self, y: np.ndarray, p: np.ndarray) -> float:
        return float(self.row_scores(y, p).mean())

    def row_scores(self, y: np.ndarray, p: np.ndarray) -> np.ndarray:
        return np.asarray(p[np.arange(len(y)), y])


@pytest.fixture
def caution() -> Iterator[None]:
    register("metric", "caution", Caution)
    yield
    table("metric").registered.pop("caution")


@pytest.mark.usefixtures("caution", "few_classical")
def test_a_metric_of_the_users_own_counts_by_its_name(tmp_path: Path) -> None:
    results = compared(tmp_path, seeds=1, singles=("a",), metric="caution")
    summary, scores = summarise(results), values(results, "caution", "test")
    assert summary.metric == "caution"
    assert summary.rows[0].estimate.value == pytest.approx(max(scores.values()), abs=1e-6)


@pytest.mark.usefixtures("few_classical")
def test_a_note_names_the_class_that_f1_is_of(tmp_path: Path) -> None:
    results = compared(tmp_path, data=make_product(120), seeds=1, singles=("a",), metric="f1")
    assert "F1 of the second class is of 'same', the second of the classes 'other' and 'same'." in results.dataset.notes


@pytest.mark.parametrize(
    ("task", "name", "error", "message"),
    [
        (
            "binary",
            "roc_acu",
            UnknownNameError,
            "compare: metric must be a known name; got metric='roc_acu'. Did you mean 'roc_auc'.* A binary task has "
            "accuracy, .*; ece cannot be tested by rows.",
        ),
        ("binary", "r2", ConfigError, "must be one of a binary task; got metric='r2', which is of regression. A "),
        ("binary", "ece", ConfigError, "must tell what each row contributes, .* got metric='ece', which does not. A "),
        (
            "regression",
            "neg_root_mean_squared_error",
            ConfigError,
            "which does not. 'mse' ranks alike. A regression task has r2, mse, .*; rmse cannot be tested by rows.",
        ),
        ("regression", "rmsle", DataError, "compare: targets must be at least 0 for metric='rmsle'; got -"),
    ],
)
def test_a_name_that_will_not_do_is_told_before_anything_is_fitted(
    task: str, name: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        compared(tmp_path / "out", data=make_product(60, task=task), metric=name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("roc_auc", "auroc"), ("neg_log_loss", "log_loss"), ("f1_macro", "macro_f1"), ("pr_auc", "average_precision")],
)
def test_names_of_scikit_learn_are_known(theirs: str, ours: str) -> None:
    assert metric_named(theirs, "binary", who="x").name == ours


def test_every_name_of_scikit_learn_is_one_of_its_scorers() -> None:
    from sklearn.metrics import get_scorer_names

    from profuse.metrics._named import ALIASES

    assert set(ALIASES) - set(get_scorer_names()) == {"pr_auc"}
    assert all(metric(name) for name in ALIASES.values())


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_the_primary_metric_tells_of_rows_and_stays_the_first(task: Any) -> None:
    want = {"regression": "r2", "multilabel": "macro_f1"}.get(task, "accuracy")
    assert primary_metric(task).name == metrics_for(task)[0].name == want
    assert metric_named(None, task, who="x", by_rows=True).name == want
