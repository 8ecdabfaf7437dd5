"""Which class is answered: by a threshold, or by costs; kept with the model, and followed by all scores of answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_predictors import NETWORKS, labelled, predictor
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from profuse import load_model
from profuse._folder import digest_of
from profuse.errors import CheckpointError, ConfigError, UnknownNameError
from profuse.metrics import metric
from profuse.predictor import Decision, Predictor
from profuse.predictor.portfolio import PortfolioPredictor

KINDS = (next(iter(NETWORKS)), "linear", "portfolio")
PRICES = {"big": {"small": 7.0}}


def asked(kind: str, task: str = "binary") -> Predictor:
    return predictor(kind, task)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threshold", [0.05, 0.31, 0.5, 0.9])
def test_the_second_class_is_answered_where_its_probability_reaches_the_threshold(kind: str, threshold: float) -> None:
    rows, model = labelled("binary"), asked(kind).deciding(threshold=threshold)
    second = model.predict_proba(rows)[:, 1] >= threshold
    np.testing.assert_array_equal(model.predict(rows) == "small", second)
    np.testing.assert_array_equal(model.predict_frame(rows)["prediction"] == "small", second)
    np.testing.assert_array_equal(model.predict_proba(rows), asked(kind).predict_proba(rows))


def test_a_probability_equal_to_the_threshold_reaches_it() -> None:
    p = np.array([[0.7, 0.3], [0.8, 0.2]])
    np.testing.assert_array_equal(Decision(threshold=0.3).codes(p), [1, 0])


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_answer_has_the_smallest_expected_cost_of_all(n: int) -> None:
    rng = np.random.default_rng(n)
    cost = rng.exponential(size=(n, n)) * (1 - np.eye(n))
    p = rng.dirichlet(np.ones(n), size=200)
    codes = Decision(cost=tuple(map(tuple, cost.tolist()))).codes(p)
    for row, code in zip(p, codes, strict=True):
        each = [sum(row[true] * cost[true, answer] for true in range(n)) for answer in range(n)]
        assert each[code] == pytest.approx(min(each))
    np.testing.assert_array_equal(Decision(cost=tuple(map(tuple, (1.0 - np.eye(n)).tolist()))).codes(p), p.argmax(1))


def test_costs_of_two_classes_are_a_threshold() -> None:
    """Elkan (2001), equation 2: the second class from cost(0, 1) / (cost(0, 1) + cost(1, 0)) on."""
    p = np.random.default_rng(0).random(500)
    p = np.stack([1 - p, p], axis=1)
    by_cost = Decision.by(["well", "ill"], "binary", cost={"ill": {"well": 4}}, who="test")
    assert by_cost.cost == ((0.0, 1.0), (4.0, 0.0))
    np.testing.assert_array_equal(by_cost.codes(p), Decision(threshold=1 / 5).codes(p))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{"threshold": 0.2}, {"cost": PRICES}])
def test_scores_of_answers_follow_the_decision_and_others_do_not(kind: str, how: dict[str, Any]) -> None:
    rows, plain = labelled("binary"), asked(kind)
    model = plain.deciding(**how)
    values, before = model.evaluate(rows).values, plain.evaluate(rows).values
    true, said = rows["size"].to_numpy(), model.predict(rows)
    assert values["f1"] == pytest.approx(f1_score(true, said, pos_label="small"))
    assert values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, said))
    assert values["accuracy"] == pytest.approx((true == said).mean())
    assert values["auroc"] == pytest.approx(roc_auc_score(true == "small", model.predict_proba(rows)[:, 1]))
    for name in ("auroc", "log_loss", "brier", "ece", "average_precision"):
        assert values[name] == before[name]
    assert model.evaluate(rows, ["f1"]).values == {"f1": values["f1"]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{"threshold": 0.2}, {"cost": PRICES}])
def test_a_saved_one_decides_the_same(kind: str, how: dict[str, Any], tmp_path: Path) -> None:
    rows, model = labelled("binary"), asked(kind).deciding(**how)
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.decision == model.decision
    np.testing.assert_array_equal(again.predict(rows), model.predict(rows))
    assert not again.decision.is_most_probable
    assert again.deciding().decision == asked(kind).decision
    if isinstance(again, PortfolioPredictor):
        assert all(p.decision.is_most_probable for p in again.predictors)


def test_questions_judge_what_is_answered() -> None:
    rows, model = labelled("binary"), asked("linear").deciding(threshold=0.02)
    score = model.ask("missing", rows, metric="balanced_accuracy").estimates[0].score
    plain = asked("linear").ask("missing", rows, metric="balanced_accuracy").estimates[0].score
    assert score != plain
    same = [m.ask("missing", rows, metric="auroc").estimates[0].score for m in (model, asked("linear"))]
    assert same[0] == same[1]


def test_a_class_that_is_never_answered_is_told_with_what_decides() -> None:
    notes = asked("linear").deciding(threshold=0.999999).evaluate(labelled("binary")).notes
    assert notes[0].startswith("At the threshold 1 the model never answers 'small'")
    notes = asked("linear").deciding(cost={"big": {"small": 1e9}}).evaluate(labelled("binary")).notes
    assert notes[0].startswith("With these costs the model never answers 'small'")
    assert Decision(threshold=0.25).words == "At the threshold .25"


@pytest.mark.parametrize(
    ("task", "how", "message"),
    [
        ("regression", {"threshold": 0.2}, "threshold must go with a target of two classes; got threshold=0.2"),
        ("regression", {"cost": {}}, "cost must go with a target of classes; got a regression task"),
        ("multilabel", {"threshold": 0.2}, "two classes; got threshold=0.2 in a multilabel task"),
        ("multilabel", {"cost": {}}, "cost must go with a target of classes"),
        ("multiclass", {"threshold": 0.2}, "in a multiclass task. Use cost"),
        ("binary", {"threshold": 0.2, "cost": {}}, "must not go together"),
        ("binary", {"threshold": 0.0}, "above 0 and below 1; got threshold=0.0"),
        ("binary", {"threshold": float("nan")}, "above 0 and below 1; got threshold=nan"),
        ("binary", {"cost": {"big": {"small": -1.0}}}, "at least 0, and 0 for right answers; got big: {small: -1.0}"),
        ("binary", {"cost": {"big": {"big": 1.0}}}, "0 for right answers; got big: {big: 1.0}"),
        ("binary", {"cost": {"big": {"small": float("inf")}}}, "at least 0"),
    ],
)
def test_what_cannot_decide_is_refused(task: str, how: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("{", r"\{").replace(".", r"\.")):
        asked("linear", task).deciding(**how)


def test_an_unknown_class_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="deciding: cost: class must be a known name; got class='smal'"):
        asked("linear").deciding(cost={"big": {"smal": 2.0}})


@pytest.mark.parametrize(
    ("task", "decision"),
    [
        ("regression", {"threshold": 0.2}),
        ("multiclass", {"threshold": 0.2}),
        ("binary", {"threshold": 1.5}),
        ("binary", {"threshold": 0.2, "cost": [[0, 1], [1, 0]]}),
        ("binary", {"cost": [[0, 1], [-1, 0]]}),
        ("binary", {"cost": [[1, 1], [1, 0]]}),
        ("binary", {"cost": [[0, 1, 1], [1, 0, 1], [1, 1, 0]]}),
        ("multiclass", {"cost": [[0, 1], [1, 0]]}),
        ("binary", {"level": 0.2}),
    ],
)
def test_a_decision_that_does_not_fit_the_model_is_damage(task: str, decision: dict[str, Any], tmp_path: Path) -> None:
    asked("linear", task).save(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    facts = json.loads(path.read_text())
    facts["decision"] = decision
    facts["digests"]["model.json"] = digest_of(facts)
    path.write_text(json.dumps(facts))
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "m")


def test_a_metric_that_looks_at_probabilities_is_given_them() -> None:
    p = np.array([[0.7, 0.3], [0.8, 0.2]])
    decision = Decision(threshold=0.25)
    assert decision.seen_by(metric("log_loss"), p) is p
    np.testing.assert_array_equal(decision.seen_by(metric("f1"), p), [[0, 1], [1, 0]])
    assert Decision().seen_by(metric("f1"), p) is p
