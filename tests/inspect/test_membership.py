"""Whether rows were learned from: chance where nothing leaks, near all of it where rows are learned by heart."""

from __future__ import annotations

import numpy as np
import pytest
from made_predictors import data, frame, inputs, predictor
from sklearn.metrics import roc_auc_score, roc_curve

from profuse.errors import ConfigError, DataError
from profuse.inspect import ask
from profuse.inspect.membership import Membership, advantage, found_at
from profuse.testing.question import QuestionSubject


def halves(n: int, m: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.permutation(n) % 2 == 0, rng.permutation(m) % 2 == 0


def test_the_advantage_is_that_of_the_best_threshold_where_it_is_plain() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.exponential(0.1, 4_000), rng.exponential(1.0, 4_000)
    true, score = np.repeat([1, 0], 4_000), -np.concatenate([members, others])
    fpr, tpr, _ = roc_curve(true, score)
    assert advantage(members, others, halves(4_000, 4_000)) == pytest.approx((tpr - fpr).max(), abs=0.02)


def test_nothing_is_gained_where_members_are_like_others() -> None:
    rng = np.random.default_rng(1)
    found = [advantage(rng.exponential(size=60), rng.exponential(size=60), halves(60, 60, i)) for i in range(400)]
    assert np.mean(found) == pytest.approx(0.0, abs=3 * float(np.std(found)) / 20)


def test_members_found_at_few_false_alarms() -> None:
    others = np.arange(100.0)
    assert found_at(np.array([-1.0, -2.0, 50.0, 60.0]), others, 0.01) == 0.5
    assert found_at(others, others, 0.5) == pytest.approx(0.5, abs=0.02)


def test_a_model_that_learns_by_heart_gives_its_rows_away_and_a_linear_one_less() -> None:
    train, test = data("multiclass")[0].rows(np.arange(120)), data("multiclass")[0].rows(np.arange(120, 150))
    new = frame(300, seed=9)[["x", "colour", "note", "grade"]]
    boosted, linear = (
        ask(predictor(kind, "multiclass"), new, "membership", train=train) for kind in ("extra_trees", "linear")
    )
    assert boosted.estimates[0].low > 0
    assert boosted.estimates[0].value > linear.estimates[0].value
    assert any("120 rows that were fitted to, against 300" in note for note in boosted.notes)
    assert len(test) == 30


def test_the_area_is_that_of_scikit_learn() -> None:
    model, train = predictor("extra_trees", "multiclass"), data("multiclass")[0].rows(np.arange(120))
    new = frame(200, seed=9)[["x", "colour", "note", "grade"]]
    answer = ask(model, new, "membership", train=train)
    losses = []
    for rows in (train, model.read(new, need_target=True)):
        p = model.predict_encoded(model.encode(rows))
        losses.append(-np.log(p[np.arange(len(p)), model.codec.encode(np.asarray(rows.target))].clip(1e-12)))
    wanted = roc_auc_score(np.repeat([0, 1], [120, 200]), np.concatenate(losses))
    assert answer.estimates[1].value == pytest.approx(wanted - 0.5)


@pytest.mark.slow
def test_without_training_rows_it_is_a_placebo_and_says_so() -> None:
    subject = QuestionSubject(Membership)
    answer = subject.ask()
    assert answer.notes[0].startswith("A placebo")
    held = [
        ask(subject.predictor, subject.dataset, "membership", seed=s, n_resamples=40).estimates[0] for s in range(60)
    ]
    assert np.mean([e.low <= 0 <= e.high for e in held]) > 0.85


@pytest.mark.parametrize("task", ["binary", "regression", "multilabel", "two numbers"])
def test_every_task_is_answered(task: str) -> None:
    answer = ask(predictor("linear", task), data(task)[0], "membership", n_resamples=20)
    assert all(np.isfinite(e.value) for e in answer.estimates)


def test_training_rows_without_a_target_are_refused() -> None:
    with pytest.raises(DataError, match="target|lacking"):
        ask(predictor("linear", "binary"), data("binary")[0], "membership", train=inputs(30))


def test_a_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="metric"):
        ask(predictor("linear", "binary"), data("binary")[0], "membership", metric="accuracy")
