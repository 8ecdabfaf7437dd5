"""Which class a portfolio answers: thresholds that held-out rows choose, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_answers import make_product
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import TunedThresholdClassifierCV

from profuse import fit, from_tensors, load_model
from profuse.data.dataset import Dataset
from profuse.errors import ConfigError, UnknownNameError
from profuse.metrics import metric
from profuse.portfolio.decision import best_threshold, thresholds_of
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import Member
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import Decision, PortfolioPredictor
from profuse.training.options import TrainOptions

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_classical")]
MEMBERS = (Member("linear", ("a", "b"), "linear"), Member("boosted", ("a", "b"), "gradient_boosting"))
TUNED = ("f1", "balanced_accuracy", "macro_f1", "accuracy")


def rare(n: int = 400, *, seed: int = 0, words: bool = False, **more: Any) -> Dataset:
    """One row of ten is ill, which `a` tells a little."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.1).astype(int)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 3))
    a[:, 0] += 1.2 * y
    made = from_tensors({"a": a, "b": b}, y)
    return replace(made, target=np.where(y == 1, "sick", "fine") if words else y, **more)


def fitted(data: Dataset, **asked: Any) -> PortfolioPredictor:
    return fit_portfolio(data, PortfolioOptions(folds=3, **asked), train=TrainOptions(epochs=1), members=MEMBERS)


class Says(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Says the probabilities that it is given."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Says:
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.stack([1 - X[:, 0], X[:, 0]], axis=1)


@pytest.mark.parametrize("name", TUNED)
@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_scores_as_well_as_that_of_scikit_learn_and_as_any(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = (rng.random(150) < 0.2).astype(int)
    second = np.round(np.clip(0.2 + 0.25 * y + 0.2 * rng.normal(size=150), 0.01, 0.99), 2)  # with ties
    p = np.stack([1 - second, second], axis=1)
    ours = best_threshold(metric(name), y, p)
    score = metric(name)(y, Decision(threshold=ours).seen_by(metric(name), p))
    scoring = {"macro_f1": "f1_macro"}.get(name, name)
    tuned = TunedThresholdClassifierCV(
        FrozenEstimator(Says().fit(second[:, None], y)), scoring=scoring, cv="prefit", refit=False,
        thresholds=thresholds_of(y, second),
    ).fit(second[:, None], y)  # fmt: skip
    assert score == pytest.approx(tuned.best_score_)
    every = np.concatenate([np.unique(second), np.unique(second) + 1e-6])
    best = max(metric(name)(y, np.eye(2)[(second >= t).astype(int)]) for t in every)
    assert score == pytest.approx(best)


def test_of_equal_thresholds_that_nearest_to_a_half_is_taken() -> None:
    p = np.array([0.1, 0.2, 0.8, 0.9])
    assert best_threshold(metric("f1"), np.array([0, 0, 1, 1]), np.stack([1 - p, p], axis=1)) == 0.5


def test_thresholds_are_few_lie_inside_and_part_neighbours_of_floats() -> None:
    rng = np.random.default_rng(0)
    second = rng.random(5_000)
    assert len(thresholds_of((second > 0.5).astype(int), second)) <= 260
    lower = 0.3
    pair = np.array([lower, np.nextafter(lower, 1.0)])
    parts = thresholds_of(np.array([0, 1]), pair)
    assert any(((pair >= t) == [False, True]).all() for t in parts)
    edges = thresholds_of(np.array([0, 1]), np.array([0.0, 1.0]))
    assert ((edges > 0) & (edges < 1)).all()


def test_a_rare_class_is_answered_with_a_threshold_and_told_honestly(tmp_path: Path) -> None:
    data, new = rare(words=True), rare(400, seed=1, words=True)
    plain, model = fitted(data), fitted(data, threshold="f1")
    second = model.predict_proba(new)
    np.testing.assert_array_equal(second, plain.predict_proba(new))
    threshold = model.decision.threshold
    assert threshold is not None
    assert threshold < 0.4
    np.testing.assert_array_equal(model.predict(new) == "sick", second[:, 1] >= threshold)
    assert model.evaluate(new).values["f1"] > plain.evaluate(new).values["f1"]
    told = model.about["decision"]
    assert told["metric"] == "f1"
    assert told["score"][0] > told["most_probable"]
    assert told["gain"][0] == pytest.approx(told["score"][0] - told["most_probable"])
    assert told["n_there"] == int((np.asarray(data.target) == "sick").sum())
    assert "decision" not in plain.about
    model.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.decision == model.decision
    assert isinstance(again, PortfolioPredictor)
    assert again.about["decision"] == told


def test_the_score_that_is_told_is_of_thresholds_that_other_folds_have_chosen() -> None:
    """A threshold that is chosen on the rows it is judged by would score above chance of noise."""
    gains = []
    for seed in range(3):
        noise = rare(240, seed=seed)
        shuffled = replace(noise, target=np.random.default_rng(seed).permutation(np.arange(240) % 2))
        told = fitted(shuffled, threshold="balanced_accuracy").about["decision"]
        gains.append(told["score"][0] - 0.5)
    assert np.mean(gains) < 0.03


def test_the_threshold_is_that_of_the_held_out_predictions() -> None:
    data = rare()
    model = fitted(data, threshold="balanced_accuracy")
    held, true = model.held_prediction, np.asarray(data.target)
    assert held is not None
    score = balanced_accuracy_score(true, held[:, 1] >= model.decision.threshold)
    every = [balanced_accuracy_score(true, held[:, 1] >= t) for t in np.unique(held[:, 1])]
    assert score == pytest.approx(max(every))


def test_costs_and_numbers_decide_without_a_choice() -> None:
    data = rare(words=True)
    fixed = fitted(data, threshold=0.2)
    assert fixed.decision == Decision(threshold=0.2)
    assert "score" not in fixed.about["decision"]
    held = fixed.held_prediction
    assert held is not None
    assert fixed.about["decision"]["n_answered"] == int((held[:, 1] >= 0.2).sum())
    costly = fitted(data, cost={"sick": {"fine": 9}})
    assert costly.decision.cost == ((0.0, 1.0), (9.0, 0.0))
    told, true = costly.about["decision"], np.asarray(data.target)
    np.testing.assert_array_equal(costly.predict(data) == "sick", costly.predict_proba(data)[:, 1] >= 0.1)
    cost = np.where(true == "sick", 9.0, 1.0)
    assert told["score"][0] == pytest.approx(np.mean(cost * ((held[:, 1] >= 0.1) != (true == "sick"))))
    assert told["score"][0] < told["most_probable"]


def test_costs_of_three_classes() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    data = from_tensors({"a": rng.normal(size=(240, 3)) + np.eye(3)[y], "b": rng.normal(size=(240, 3))}, y)
    model = fitted(data, cost={0: {1: 5, 2: 5}})
    p = model.predict_proba(data)
    cost = np.array([[0.0, 5, 5], [1, 0, 1], [1, 1, 0]])
    np.testing.assert_array_equal(model.predict(data), (p @ cost).argmin(1))
    assert (model.predict(data) == 0).sum() > (p.argmax(1) == 0).sum()
    assert "n_answered" not in model.about["decision"]


def test_a_class_that_is_still_never_answered_is_told() -> None:
    notes = " ".join(fitted(rare(), threshold=0.98).about["notes"])
    assert "At the threshold .98 the model never answers '1'" in notes
    assert "never answers" not in " ".join(fitted(rare(), threshold="f1").about["notes"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"threshold": "roc_auc"}, "threshold must be a number, or a metric of answers; got threshold='roc_auc'"),
        ({"threshold": "log_loss"}, "looks at probabilities: no threshold changes it. Use one of accuracy, macro_f1,"),
        ({"threshold": 1.2}, "threshold must be a metric, or a probability above 0 and below 1; got threshold=1.2"),
        ({"threshold": "1"}, "below 1; got threshold='1'"),
        ({"threshold": True}, "below 1; got threshold=True"),
        ({"threshold": "f1", "cost": {}}, "threshold must not go with cost"),
        ({"threshold": "r2"}, "fit: threshold: metric must be one of a binary task"),
        ({"cost": {0: {1: -1}}}, "at least 0"),
        ({"cost": {0: 1}}, "cost.0 must be"),
    ],
)
def test_what_cannot_decide_is_told_before_anything_is_fitted(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        fit(rare(60), **asked)


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'f1'"):
        fit(rare(60), threshold="f11")
    with pytest.raises(UnknownNameError, match="fit: cost: class must be a known name; got class='2'"):
        fit(rare(60), cost={"2": {"0": 1}})


@pytest.mark.parametrize("task", ["regression", "multilabel"])
@pytest.mark.parametrize("asked", [{"threshold": 0.2}, {"threshold": "f1"}, {"cost": {}}])
def test_only_classes_are_decided(task: Any, asked: dict[str, Any]) -> None:
    data = make_product(60, task="regression")
    if task == "multilabel":
        labels = np.random.default_rng(0).integers(0, 2, (60, 2))
        data = replace(data, target=labels, task="multilabel", target_names=("x", "y"))
    with pytest.raises(ConfigError, match=f"{next(iter(asked))} must go with a target of .*{task} task"):
        fit(data, **asked)


def test_a_balanced_f1_of_scikit_learn_is_what_evaluate_says() -> None:
    model, new = fitted(rare(), threshold=0.15), rare(300, seed=5)
    said = model.predict(new)
    assert model.evaluate(new, ["f1"]).values["f1"] == pytest.approx(f1_score(np.asarray(new.target), said))
