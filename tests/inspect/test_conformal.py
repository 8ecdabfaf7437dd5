"""The question `conformal`: coverage by pattern, hidden modalities and noise, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_conformal import CLASSES, Drawn, rows
from made_predictors import NETWORKS, PORTFOLIO, labelled, predictor

from profuse.data.dataset import Dataset
from profuse.errors import ConfigError
from profuse.inspect import Answer, Estimate, ask
from profuse.inspect.pattern_scores import parts_of
from profuse.predictor import PortfolioPredictor, load_model
from profuse.schema import Task
from profuse.testing.question import QuestionSubject


def by_name(answer: Answer) -> dict[str, Estimate]:
    return {e.name: e for e in answer.estimates}


def note(answer: Answer, start: str) -> str:
    return next((n for n in answer.notes if n.startswith(start)), "")


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_rows_as_they_are_are_covered_and_what_is_hidden_unaware_is_not(task: Task) -> None:
    found = by_name(ask(Drawn(task), rows(3000, 0, task), "conformal", noise=0))
    assert list(found) == [
        "all rows", "complete", "without a", "a hidden", "a hidden, unaware", "b hidden", "b hidden, unaware",
    ]  # fmt: skip
    for name in ("all rows", "complete", "without a", "a hidden"):
        assert found[name].value == pytest.approx(0.9, abs=0.02)
        # three standard errors: several intervals of several tasks are looked at
        assert abs(found[name].value - 0.9) <= 1.5 * (found[name].high - found[name].low) / 2
    assert found["a hidden, unaware"].high < 0.85
    assert found["complete"].n + found["without a"].n == found["all rows"].n == 3000
    sizes = [e.score or 0.0 for e in (found["complete"], found["all rows"], found["without a"])]
    assert sizes == sorted(sizes)


def test_without_patterns_the_hard_one_is_not_covered() -> None:
    answer = ask(Drawn(), rows(3000, 0), "conformal", by_pattern=False, noise=0)
    found = by_name(answer)
    assert found["all rows"].value == pytest.approx(0.9, abs=0.01)
    assert found["without a"].high < 0.85
    assert found["complete"].low > 0.91
    assert "a hidden" not in found
    assert not note(answer, "With a quantile of their own")


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.99])
def test_the_coverage_that_is_asked_for_is_reached_and_the_residual_is_what_differs(coverage: float) -> None:
    answer = ask(Drawn(), rows(3000, 1), "conformal", coverage=coverage, noise=0)
    whole = answer.estimates[0]
    assert whole.value == pytest.approx(coverage, abs=0.015)
    assert answer.residual == pytest.approx(whole.value - coverage)
    assert (answer.metric, answer.score) == ("set size", whole.score)
    assert f"less the one asked for, {coverage:g}" in answer.notes[0]


def test_the_interval_is_that_of_a_share_and_of_groups_where_rows_have_them() -> None:
    data = rows(2000, 0)
    alone = ask(Drawn(), data, "conformal", noise=0).estimates[0]
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * np.sqrt(0.9 * 0.1 / 2000), rel=0.2)
    copies = np.repeat(np.arange(500), 4)
    tied = replace(data.rows(copies), groups=copies)
    answer = ask(Drawn(), tied, "conformal", noise=0)
    wide = answer.estimates[0]
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * np.sqrt(0.9 * 0.1 / 500), rel=0.2)
    assert note(answer, "Rows of other groups calibrate")


def test_no_group_is_on_both_sides() -> None:
    groups = np.random.default_rng(0).integers(40, size=300)
    parts = parts_of(replace(rows(300, 0), groups=groups), seed=0)
    assert sorted(np.concatenate([held for _, held in parts])) == list(range(300))
    for calibrating, held in parts:
        assert not set(groups[calibrating]) & set(groups[held])


def test_earlier_rows_calibrate_later_ones_and_a_drift_shows() -> None:
    times = np.random.default_rng(0).permutation(1200)
    timed = replace(rows(1200, 0, "regression"), times=times)
    for calibrating, held in parts_of(timed, seed=0):
        assert times[calibrating].max() < times[held].min()
    steady = ask(Drawn("regression"), timed, "conformal", noise=0)
    assert steady.n_rows == 1200
    assert steady.estimates[0].n == 1000
    assert steady.estimates[0].value == pytest.approx(0.9, abs=0.03)
    assert "the first 200 rows are not measured" in note(steady, "Earlier rows calibrate")
    target = np.asarray(timed.target) + 3 * times / 1200
    drifts = ask(Drawn("regression"), replace(timed, target=target), "conformal", noise=0)
    assert drifts.estimates[0].high < 0.8
    assert (drifts.residual or 0) < -0.1


def test_notes_tell_what_each_quantile_is_of() -> None:
    answer = ask(Drawn(), rows(1000, 0, lacks_b=0.02), "conformal", noise=0)
    assert "complete (" in note(answer, "With a quantile of their own")
    assert "without b (" in note(answer, "With fewer than 100 calibration rows (rows): ")
    pooled = ask(Drawn(), rows(1000, 0, lacks_a=0.95), "conformal", noise=0)
    assert "complete (" in note(pooled, "Pooled (rows): ")


def test_too_few_rows_are_told_and_nothing_is_promised() -> None:
    answer = ask(Drawn(), rows(8, 0), "conformal", noise=0)
    assert answer.estimates[0].value == 1.0
    assert answer.score == CLASSES
    assert "at least 9 rows must calibrate for a coverage of 0.9" in note(answer, "8 rows have sets of all classes")
    wide = ask(Drawn("regression"), rows(8, 0, "regression"), "conformal", noise=0)
    assert wide.score == np.inf
    assert '"score": null' in wide.to_json()


def test_rows_without_anything_are_a_pattern_of_their_own() -> None:
    found = by_name(ask(Drawn(), rows(2000, 0, lacks_a=1.0, lacks_b=1.0), "conformal", noise=0))
    assert list(found) == ["all rows"]
    assert found["all rows"].score == CLASSES  # all are as probable
    mixed = by_name(ask(Drawn(), rows(3000, 0, lacks_a=0.3, lacks_b=0.3), "conformal", noise=0))
    assert mixed["without a + b"].score == CLASSES
    assert (mixed["complete"].score or 9) < 1.5


def test_sets_and_the_least_covered_class_are_told() -> None:
    answer = ask(Drawn(), rows(1000, 0), "conformal", noise=0)
    assert "hold one class" in note(answer, "Sets: ")
    assert f"all {CLASSES}." in note(answer, "Sets: ")
    assert note(answer, "Coverage is not promised for each class: least for ")
    assert not note(ask(Drawn("regression"), rows(500, 0, "regression"), "conformal", noise=0), "Sets: ")


def test_noise_lowers_coverage_of_quantiles_that_do_not_know_of_it() -> None:
    subject = QuestionSubject(lambda: None)  # type: ignore[arg-type,return-value]
    data = subject.dataset.rows(np.repeat(np.arange(100), 6))
    found = by_name(ask(subject.predictor, data, "conformal", noise=0.5))
    assert [n for n in found if "noise" in n] == ["a, noise 0.5", "b, noise 0.5", "a + b, noise 0.5"]
    assert found["a + b, noise 0.5"].at == 0.5
    assert found["a + b, noise 0.5"].high < found["all rows"].value
    assert not any("noise" in e.name for e in ask(subject.predictor, data, "conformal", noise=0).estimates)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coverage": 0.0}, "coverage must be above 0 and below 1; got coverage=0.0"),
        ({"coverage": 1.0}, "coverage must be above 0 and below 1; got coverage=1.0"),
        ({"noise": 1.5}, "noise must be from 0 to 1; got noise=1.5"),
        ({"metric": "accuracy"}, "metric must be left out; got metric='accuracy'"),
    ],
)
def test_what_cannot_be_asked_is_told(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ask(Drawn(), rows(50, 0), "conformal", **options)


def test_labels_have_no_sets() -> None:
    with pytest.raises(ConfigError, match="classes or numbers; got task='multilabel'"):
        ask(predictor("linear", "multilabel"), labelled("multilabel"), "conformal")


# -- of fitted models


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*NETWORKS, "linear", "trivial", PORTFOLIO])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "two numbers"])
def test_predictors_of_all_kinds_answer_and_saved_ones_the_same(kind: str, task: str, tmp_path: Path) -> None:
    asked, new = predictor(kind, task), labelled(task, 150, seed=3)
    answer = ask(asked, new, "conformal", n_resamples=20)
    assert answer.estimates[0].value > 0.82  # 1 of the trivial one, whose scores are all alike
    assert kind == "trivial" or answer.estimates[0].value < 0.98
    assert any("noise" in e.name for e in answer.estimates) == (kind != "trivial")
    asked.save(tmp_path / "model")
    assert ask(load_model(tmp_path / "model"), new, "conformal", n_resamples=20) == answer


def test_the_spread_of_a_portfolio_is_that_of_its_fits() -> None:
    asked = predictor(PORTFOLIO, "regression")
    assert isinstance(asked, PortfolioPredictor)
    complete = labelled("regression", 60, seed=3).dropna()
    inputs = asked.encode(asked.read(complete))
    each, counts = [], []
    for i, member in enumerate(asked.member_of):
        weight = asked.weights[0, member] / asked.member_of.count(member)
        if weight:
            each.append(asked.predictors[i].predict_encoded({n: p.each[i] for n, p in inputs.items()}))
            counts.append(weight)
    mean = np.average(each, axis=0, weights=counts)
    assert asked.spread(inputs) == pytest.approx(np.sqrt(np.average((each - mean) ** 2, axis=0, weights=counts)))
    assert asked.spread(inputs).max() > 0
    assert predictor("linear", "regression").spread({}) is None


def test_which_rows_are_in_a_part_depends_on_the_seed() -> None:
    data: Dataset = rows(500, 0)
    one, same, other = (ask(Drawn(), data, "conformal", noise=0, seed=s) for s in (0, 0, 1))
    assert one == same
    assert one != other


def test_the_rarest_of_many_patterns_are_told_together() -> None:
    rng, names = np.random.default_rng(0), "cdef"
    data = rows(1500, 0, lacks_b=0.3)
    more = {n: replace(data.modalities["a"], present=rng.random(1500) < 0.5) for n in names}
    wide = Drawn()
    wide.modalities = ("a", "b", *names)
    answer = ask(wide, replace(data, modalities={**data.modalities, **more}), "conformal", noise=0)
    parts = [e for e in answer.estimates if e.name == "complete" or e.name.startswith("without") or "other" in e.name]
    assert len(parts) == 9
    assert parts[-1].name == "56 other patterns"
    assert sum(e.n for e in parts) == 1500
    assert parts[-1].value == pytest.approx(0.9, abs=0.05)
    assert "others (" in note(answer, "With fewer than 100 calibration rows (rows): ")
