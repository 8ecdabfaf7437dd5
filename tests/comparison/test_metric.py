"""The metric that counts: by which methods are chosen, ranked and tested, and of which the report speaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_answers import make_product
from not_none import not_none
from scipy import special, stats
from sklearn.metrics import roc_auc_score

from profuse import from_tensors, register
from profuse.comparison.cautions import _caution_of_class
from profuse.comparison.engine import Event, compare_dataset
from profuse.comparison.jobs import read_result
from profuse.comparison.metric import metric_of, metrics_beside, with_metric
from profuse.comparison.options import CompareOptions
from profuse.comparison.results import Confusion, DatasetFacts, MethodInfo, Results, Score
from profuse.comparison.summary import Evidence, Row, summarise
from profuse.data.dataset import Dataset
from profuse.errors import ConfigError, DataError, UnknownNameError
from profuse.metrics import Metric, measure, metric, metric_named, metrics_for, primary_metric, row_scores
from profuse.registry import table
from profuse.report import collect, figures, render_html, render_markdown
from profuse.report.collect import ROLES
from profuse.report.words import Words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_classical")]
SMALL: dict[str, Any] = {
    "rounds": (),
    "seeds": 2,
    "portfolio": "none",
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
    assert "Nothing here" not in words.headline()
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
def test_no_metric_is_auroc_of_two_classes_with_the_numbers_that_it_has_by_name(tmp_path: Path) -> None:
    small: dict[str, Any] = {"seeds": 1, "singles": (), "retrain_without": False}
    one, two = compared(tmp_path / "a", **small), compared(tmp_path / "b", **small, metric="roc_auc")
    assert one.config["metric"] == "auroc"
    columns = ["method", "seed", "split", "metric", "value"]
    assert one.frame()[columns].equals(two.frame()[columns])

    def told(row: Row) -> tuple[Any, ...]:
        return row.method.name, row.estimate

    assert list(map(told, summarise(one).rows)) == list(map(told, summarise(two).rows))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_where_none_is_named_two_classes_have_auroc_and_the_rest_its_primary_one(task: Any) -> None:
    options, notes = with_metric(CompareOptions(), make_product(60, task=task))
    assert (options.metric, notes) == ("auroc" if task == "binary" else None, [])


def test_results_that_name_none_are_of_an_earlier_version_and_speak_of_the_primary_one(
    results: Results, tmp_path: Path
) -> None:
    earlier = results.model_copy(update={"config": {**results.config, "metric": None}})
    earlier.write(tmp_path)
    read = Results.read(tmp_path)
    assert metric_of(read).name == summarise(read).metric == collect(read)["metric"]["name"] == "accuracy"


def one_class_in(part: str) -> Dataset:
    """Official parts, one of which has a single class."""
    data = make_product(120)
    assert data.target is not None
    order = np.argsort(data.target, kind="stable")
    names = np.full(120, "train", dtype=object)
    names[order[-12:]] = part
    names[order[:6]] = names[order[-24:-18]] = "valid" if part == "test" else "test"
    return replace(data, split=names)


@pytest.mark.parametrize(("part", "what"), [("test", "test"), ("valid", "validation")])
def test_where_one_class_is_all_there_is_accuracy_counts_and_a_note_says_why(part: str, what: str) -> None:
    options, notes = with_metric(CompareOptions(), one_class_in(part))
    assert options.metric == "accuracy"
    assert notes == [
        f"Accuracy counts here, and not AUROC, which is not defined: at seed 0 all 12 {what} rows are of 'same'. "
        "Divide rows otherwise (--split stratified, --test-size, --valid-size), or give more rows."
    ]


def test_a_comparison_of_which_one_class_is_all_of_the_test_rows_goes_through(tmp_path: Path) -> None:
    results = compared(tmp_path, data=one_class_in("test"), seeds=1, singles=(), train={"epochs": 1})
    assert results.config["metric"] == summarise(results).metric == "accuracy"
    assert any("not AUROC" in note for note in results.dataset.notes)


@pytest.mark.parametrize("name", ["auroc", "average_precision"])
def test_a_metric_that_is_named_and_not_defined_there_is_told_before_anything_is_fitted(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(
        DataError, match=f"'{name}' is defined on them; at seed 0 all 12 test rows are of 'same'. Divid"
    ):
        compared(tmp_path / "out", data=one_class_in("test"), metric=name)
    assert not (tmp_path / "out").exists()


def test_accuracy_balanced_accuracy_and_log_loss_stand_beside_it_in_the_table(results: Results) -> None:
    collected = collect(results)
    assert [b["name"] for b in collected["beside"]] == ["accuracy", "balanced_accuracy", "log_loss"]
    for row in collected["table"]:
        means = [values(results, b["name"], "test")[row["name"]] for b in collected["beside"]]
        assert row["beside"] == pytest.approx(means)
    assert "| AUROC | 95 % interval | alike | accuracy | balanced accuracy | log loss |" in render_markdown(collected)
    assert "<th>accuracy</th><th>balanced accuracy</th><th>log loss</th>" in render_html(collected)


@pytest.mark.parametrize(("counts", "shown"), [((60, 30), False), ((61, 30), True), ((30, 61), True), ((5, 0), True)])
def test_balanced_accuracy_is_shown_where_one_class_has_more_than_twice_the_rows_of_another(
    results: Results, counts: tuple[int, int], shown: bool
) -> None:
    several = [Confusion(method="x", counts=[[n, 0] for n in counts])]
    other = results.model_copy(update={"confusion": several})
    assert ("balanced_accuracy" in [m.name for m in metrics_beside(other)]) == shown


def made(predictions: dict[str, np.ndarray], y: np.ndarray, n_seeds: int = 1) -> Results:
    """Results by AUROC of the predictions; the first method is the trivial one, the last the fusion."""
    facts = DatasetFacts(
        name="d", task="binary", classes=["no", "yes"], n_rows=3 * len(y), n_train=len(y), n_valid=len(y),
        n_test=len(y), modalities={},
    )  # fmt: skip
    results = Results(dataset=facts, config={"metric": "auroc"})
    for name, p in predictions.items():
        both = np.stack([1 - p, p], axis=1)
        results.methods.append(MethodInfo(name=name, role="trivial" if name == "trivial" else "fusion"))
        for seed in range(n_seeds):
            results.add_rows(name, seed, row_scores("binary", y, both, metric=metric("auroc")), ids=np.arange(len(y)))
            results.scores += [
                Score(dataset="d", method=name, seed=seed, split="test", metric=m, value=v, n_rows=len(y))
                for m, v in measure("binary", y, both).values.items()
            ]
        counts = np.zeros((2, 2), dtype=int)
        np.add.at(counts, (y, both.argmax(1)), n_seeds)
        results.confusion.append(Confusion(method=name, counts=counts.tolist()))
    return results


@pytest.mark.parametrize(("n_rare", "shown"), [(3, "not shown"), (20, "better")])
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_an_auroc_that_no_row_changes_is_as_sure_as_the_smaller_class_allows(
    n_rare: int, shown: str, n_seeds: int
) -> None:
    """AUROC 1 and AUROC .5 of a constant: of 20 rows of a class one may err, which is .05."""
    y = (np.arange(140) < n_rare).astype(int)
    results = made({"trivial": np.full(140, 0.5), "perfect": 0.1 + 0.8 * y}, y, n_seeds)
    summary = summarise(results)
    (asked,) = [c for c in summary.comparisons if c.kind == "trivial"]
    assert (asked.estimate.value, asked.shown) == (0.5, shown)
    assert asked.estimate.standard_error == pytest.approx(1 / n_rare)
    perfect = summary.row("perfect").estimate
    assert perfect.high == 1.0
    assert perfect.low == pytest.approx(1 - float(stats.t.ppf(0.975, 139)) / n_rare, abs=0.01)


def test_methods_that_predict_alike_are_compared_though_seeds_of_others_vary() -> None:
    """Five methods share what seeds vary by; of two that are equal in every row no sign can be flipped."""
    y = (np.arange(60) < 20).astype(int)
    rng = np.random.default_rng(0)
    told = {f"m{k}": special.expit(y + rng.normal(size=60)) for k in range(4)}
    results = made({"trivial": np.full(60, 0.4), "same": np.full(60, 0.5), **told}, y, 3)
    for s in results.scores:  # the seeds' spread
        s.value += 0.01 * rng.normal() if s.method.startswith("m") else 0.0
    e = not_none(Evidence(results).difference("same", "trivial"))
    assert (e.value, e.p) == (0.0, 1.0)
    assert e.low < 0 < e.high


@pytest.mark.parametrize(("height", "never"), [(0.3, True), (0.6, False)])
def test_a_chosen_model_that_never_answers_a_class_is_told_in_report_and_terminal(height: float, never: bool) -> None:
    y = (np.arange(140) < 20).astype(int)
    results = made({"trivial": np.full(140, 0.2), "gated": 0.1 + height * y}, y, 3)
    told = "At the threshold .5 gated never answers 'yes': in none of 420 rows, of which 60 are 'yes'."
    words = Words(results, summarise(results))
    assert words.caution().startswith(told) == never == bool(words.caution())
    collected = collect(results)
    assert collected["caution"] == words.caution()
    assert ("<b>Caution.</b> At the threshold .5" in render_html(collected)) == never
    assert ("**Caution.** At the threshold .5" in render_markdown(collected)) == never


def test_what_only_a_model_that_is_not_chosen_never_answers_is_not_told() -> None:
    y = (np.arange(140) < 20).astype(int)
    results = made({"trivial": np.full(140, 0.2), "gated": 0.1 + 0.8 * y}, y)
    assert collect(results)["caution"] == ""


def test_several_models_that_never_answer_it_are_told_together_behind_other_cautions() -> None:
    y = (np.arange(140) < 20).astype(int)
    results = made({"trivial": np.full(140, 0.2), "gated": 0.1 + 0.3 * y, "boost": 0.2 + 0.1 * y}, y)
    results.methods[-1].role = "classical"
    results.dataset.caution = "Look."
    assert collect(results)["caution"].startswith(
        "Look. At the threshold .5 gated and boost never answer 'yes': in none"
    )


@pytest.mark.parametrize(
    ("n_yes", "told"), [([12, 9], "9 of 80 rows are 'yes', fewer than 10: AUROC hangs"), ([10, 70], "")]
)
def test_few_test_rows_of_a_class_at_any_seed_give_a_caution(n_yes: list[int], told: str) -> None:
    true = [(np.arange(80) < n).astype(int) for n in n_yes]
    found = _caution_of_class(true, ["no", "yes"], "AUROC")
    assert found.startswith(told)
    assert bool(found) == bool(told)


@pytest.mark.slow
def test_a_comparison_tells_of_few_rows_of_a_class_by_auroc_and_not_by_accuracy(
    results: Results, tmp_path: Path
) -> None:
    assert results.dataset.caution == ""  # 20 of 140
    few = rare(300)
    assert few.target is not None
    by: dict[str, Any] = {"data": few, "seeds": 1, "singles": (), "train": {"epochs": 1}, "retrain_without": False}
    assert "8 of 60 rows are '1', fewer than 10: AUROC" in compared(tmp_path, **by).dataset.caution
    assert compared(tmp_path, metric="accuracy", **by).dataset.caution == ""


@pytest.mark.slow
def test_weights_of_classes_are_of_all_models_and_a_note_says_so(tmp_path: Path, folder: Path) -> None:
    by: dict[str, Any] = {"seeds": 1, "singles": (), "retrain_without": False}
    quick = {"epochs": 2, "refit": False}
    plain, weighted = (compared(tmp_path, train={**quick, "class_weight": w}, **by) for w in (None, {"1": 6.0}))
    (note,) = (
        set(weighted.dataset.notes) - set(plain.dataset.notes) - {n for n in weighted.dataset.notes if "work/" in n}
    )
    assert note.startswith("class_weight = {'1': 6.0} is in the loss of all models")
    for name in ("gradient_boosting", "linear", "concat"):
        assert values(weighted, "log_loss", "test")[name] > values(plain, "log_loss", "test")[name]
        assert values(weighted, "balanced_accuracy", "test")[name] > values(plain, "balanced_accuracy", "test")[name], (
            name
        )


def test_weights_of_what_is_no_class_are_told_before_anything_is_fitted(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="compare: class_weight: class must be .*'ill'"):
        compared(tmp_path / "out", train={"class_weight": {"ill": 2.0}})
    with pytest.raises(ConfigError, match="class_weight must go with a target of classes"):
        compared(tmp_path / "out", data=make_product(60, task="regression"), train={"class_weight": "balanced"})
    assert not (tmp_path / "out").exists()


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
    results = compared(tmp_path, data=make_product(120), seeds=1, singles=(), metric="caution")
    summary, scores = summarise(results), values(results, "caution", "test")
    assert summary.metric == "caution"
    assert summary.rows[0].estimate.value == pytest.approx(max(scores.values()), abs=1e-6)


@pytest.mark.usefixtures("few_classical")
def test_a_note_names_the_class_that_f1_is_of(tmp_path: Path) -> None:
    results = compared(tmp_path, data=make_product(120), seeds=1, singles=(), metric="f1")
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


def test_a_metric_that_nobody_knows_here_may_be_one_of_your_own() -> None:
    with pytest.raises(UnknownNameError, match="import the module that registers it, or install its package"):
        metric_named("zzqx_17", "multiclass", who="report")
    with pytest.raises(UnknownNameError) as caught:
        metric_named("acuracy", "multiclass", who="report")
    assert "registers it" not in str(caught.value)
