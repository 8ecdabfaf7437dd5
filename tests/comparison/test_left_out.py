"""The best fusion is fitted anew without each modality: counted, kept, told, and never ranked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_answers import make_product

from profuse.comparison.engine import Event, compare_dataset
from profuse.comparison.left_out import left_out
from profuse.comparison.methods import methods_for
from profuse.comparison.options import CompareOptions
from profuse.comparison.results import Results
from profuse.comparison.summary import summarise
from profuse.data.split import make_split
from profuse.fusion import FUSIONS
from profuse.fusion.encoder_decoder.sum import Sum
from profuse.models.options import ModelOptions
from profuse.report import collect, render_html, render_markdown
from profuse.schema import SplitOptions
from profuse.training.fitting import Prepared, fit_model

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_classical")]

SMALL: dict[str, Any] = {
    "rounds": (),
    "singles": ("a",),
    "seeds": 2,
    "model": {"width": 8, "members": 1},
    "train": {"epochs": 2, "refit": False},
}


def compared(out: Path, *, events: list[Event] | None = None, **changes: Any) -> Results:
    options = CompareOptions.model_validate(SMALL | changes)
    tell = None if events is None else events.append
    return compare_dataset(make_product(n_rows=120), options, out, n_jobs=1, on_event=tell)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def results(folder: Path, events: list[Event]) -> Results:
    return compared(folder, events=events)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return compared(tmp_path_factory.mktemp("plain"), retrain_without=False)


def ablations(results: Results) -> list[str]:
    return [m.name for m in results.methods if m.role == "ablation"]


def test_the_best_fusion_is_fitted_without_each_modality_with_its_options(results: Results) -> None:
    best = summarise(results).verdict.fusion
    assert ablations(results) == [f"{best} without a", f"{best} without b"]
    for name, rest in zip(ablations(results), (["b"], ["a"]), strict=True):
        method = results.method(name)
        assert method.modalities == rest
        assert (method.rounds, method.level, method.fusion) == (
            results.method(best or "").rounds, results.method(best or "").level, results.method(best or "").fusion
        )  # fmt: skip
        assert {s.seed for s in results.scores if s.method == name} == {0}


def test_its_score_is_that_of_a_fit_of_the_other_modality_alone(results: Results) -> None:
    dataset = make_product(n_rows=120)
    options = CompareOptions.model_validate(SMALL)
    methods, _ = methods_for(["a", "b"], (), rounds=(), base=options.model, task="multiclass")
    best = next(m for m in methods if m.name == summarise(results).verdict.fusion)
    assert best.model is not None
    prepared = Prepared.make(dataset, make_split(dataset, SplitOptions(), seed=0))
    model = fit_model(prepared, best.model, options.train, modalities=("b",))
    test = prepared.split.test
    right = model.predict_encoded(prepared.inputs, test).argmax(1) == prepared.true(test)
    told = next(
        s.value
        for s in results.scores
        if s.method == f"{best.name} without a" and s.split == "test" and s.metric == "accuracy"
    )
    assert told == right.mean()


def at_one_price(results: Results) -> Results:
    """The same with equal seconds: between equal validation scores the cheaper fusion is chosen."""
    same = results.model_copy(deep=True)
    for score in same.scores:
        score.fit_seconds = 1.0
    return same


@pytest.mark.slow
def test_nothing_else_changes_by_it(results: Results, plain: Results) -> None:
    assert ablations(plain) == []
    others = {(s.method, s.seed, s.split, s.metric): s.value for s in results.scores if "without" not in s.method}
    assert others == {(s.method, s.seed, s.split, s.metric): s.value for s in plain.scores}
    with_it, without_it = summarise(at_one_price(results)), summarise(at_one_price(plain))
    assert [r.method.name for r in with_it.rows] == [r.method.name for r in without_it.rows]
    assert [r.estimate for r in with_it.rows] == [r.estimate for r in without_it.rows]
    assert with_it.comparisons == without_it.comparisons
    assert with_it.verdict.gain == without_it.verdict.gain
    assert with_it.notes == without_it.notes


def test_it_is_counted_in_the_progress_from_the_start(results: Results, events: list[Event]) -> None:
    n_methods = len([m for m in results.methods if m.role != "ablation"])
    assert {e.n_total for e in events} == {2 * n_methods + 2}
    assert events[-1].n_done == events[-1].n_total
    finished = [e.finished["method"] for e in events if e.finished is not None]
    assert finished[-2:] == ablations(results)
    assert [e.n_done for e in events] == sorted(e.n_done for e in events)


def test_a_second_run_does_none_of_it_again(results: Results, folder: Path) -> None:
    events: list[Event] = []
    again = compared(folder, events=events)
    assert [e.stage for e in events] == ["measure", "done"]
    assert [s.value for s in again.scores] == [s.value for s in results.scores]


def test_what_is_lost_is_paired_with_the_fit_of_the_same_seed(results: Results) -> None:
    summary = summarise(results)
    score = {
        (s.method, s.seed): s.value for s in results.scores if s.split == "test" and s.metric == "auroc"
    }  # fmt: skip
    best = summary.verdict.fusion or ""
    told = left_out(results, summary)
    assert [t.modality for t in told] == ["a", "b"]
    for t in told:
        assert t.score.value == pytest.approx(score[f"{best} without {t.modality}", 0])
        assert t.loss.value == pytest.approx(score[best, 0] - score[f"{best} without {t.modality}", 0])
        assert t.loss.low < t.loss.value < t.loss.high
        assert t.loss.n_seeds == 1


def test_the_report_shows_it_beside_the_finished_model(results: Results) -> None:
    collected = collect(results)
    parts = {p["modality"]: p for p in collected["ablation"]["parts"]}
    for t in left_out(results, summarise(results)):
        assert parts[t.modality]["trained"]["score"] == t.score.value
        assert parts[t.modality]["trained"]["mean"] == t.loss.value
        assert parts[t.modality]["score"] == pytest.approx(
            np.mean([
                a.without
                for a in results.ablation
                if (a.method, a.modality) == (summarise(results).verdict.fusion, t.modality)
            ])
        )  # fmt: skip
    page, plain = render_html(collected), render_markdown(collected)
    assert "When a modality is hidden from the finished model" in page
    assert "What each modality adds" not in page
    assert "trained without a" in page
    assert "the same fusion trained without it" in plain
    assert "Fitted anew (seed 0), the same fusion reaches" in collected["answers"][-1]["answer"]
    assert len(collected["table"]) == len(results.methods) - 2
    assert not any("without" in d["method"] + d["against"] for d in collected["differences"])


def test_results_keep_it(results: Results, folder: Path) -> None:
    read = Results.read(folder)
    assert ablations(read) == ablations(results)
    assert left_out(read, summarise(read)) == left_out(results, summarise(results))


class NeedsBoth(Sum):
    """A sum that asks for both modalities by name."""

    def __init__(self, channels: Any, width: int) -> None:
        assert channels["a"] + channels["b"] > 0
        super().__init__(channels, width)


def test_an_operator_of_the_users_own_that_needs_all_modalities_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mine_is_best(results: Results) -> Any:
        summary = summarise(results)
        return replace(summary, verdict=replace(summary.verdict, fusion="both"))

    monkeypatch.setattr("profuse.comparison.engine.summarise", mine_is_best)
    monkeypatch.setitem(FUSIONS.registered, "both", NeedsBoth)
    results = compared(tmp_path, seeds=1, fusions=("both",))
    assert ablations(results) == []
    reasons = {s.method: s.reason for s in results.skipped}
    assert reasons == {"both without a": "failed at seed 0: KeyError: 'a'", "both without b": reasons["both without b"]}


class Faulty(Sum):
    """Cannot be made."""

    def __init__(self, channels: Any, width: int) -> None:
        raise KeyError("fault")


def test_a_fault_of_what_was_asked_for_still_ends_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FUSIONS.registered, "faulty", Faulty)
    with pytest.raises(KeyError, match="fault"):
        compared(tmp_path, seeds=1, fusions=("faulty",))


def test_a_single_modality_has_nothing_to_leave_out(tmp_path: Path) -> None:
    options = CompareOptions.model_validate(SMALL | {"seeds": 1})
    results = compare_dataset(make_product(n_rows=120).select(["a"]), options, tmp_path, n_jobs=1)
    assert ablations(results) == []
    assert any("single modality: nothing is fitted without it" in note for note in results.dataset.notes)


def test_options_of_the_left_out_modality_are_left_out_too() -> None:
    base = ModelOptions(width=8, encoders={"a": "vector", "b": "vector"}, into=("a",))
    methods, _ = methods_for(["a", "b", "c"], ("concat",), rounds=(2,), base=base, task="multiclass")
    method = next(m for m in methods if m.name == "progressive (2 rounds) concat")
    without = method.without("a")
    assert without.name == "progressive (2 rounds) concat without a"
    assert without.plain_name == method.plain_name == "concat"
    assert without.modalities == ("b", "c")
    assert without.model is not None
    assert without.model.encoders == {"b": "vector"}
    assert without.model.into is None
    assert without.model.rounds == 2
    assert without.info().role == "ablation"
