"""Which class one network answers: thresholds that its validation rows choose, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from profuse import from_tensors, load_model
from profuse.data.split import Split
from profuse.errors import ConfigError, UnknownNameError
from profuse.models.options import ModelOptions
from profuse.portfolio.decision import HeldOut
from profuse.portfolio.one_network import decide
from profuse.portfolio.options import PortfolioOptions
from profuse.predictor import Decision, NetworkPredictor
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

N, VALID = 260, np.arange(160, 260)


@pytest.fixture(scope="module")
def network() -> NetworkPredictor:
    """A network that was trained anew with its validation rows, and does not tell the classes apart well."""
    rng = np.random.default_rng(0)
    y = (rng.random(N) < 0.15).astype(int)
    a = rng.normal(size=(N, 3))
    a[:, 0] += y
    data = replace(from_tensors({"a": a}, y), target=np.where(y == 1, "sick", "fine"))
    ready = Prepared.make(data, Split(np.arange(160), VALID, np.empty(0, dtype=np.int64)))
    return fit_model(ready, ModelOptions(width=8, members=1), TrainOptions(epochs=2))


def invented(network: NetworkPredictor, true: np.ndarray, clusters: np.ndarray, second: np.ndarray) -> NetworkPredictor:
    said = np.stack([1 - second, second], axis=1)
    return replace(network, valid_true=true, valid_clusters=clusters, valid_prediction=said)


def test_a_metric_chooses_by_what_was_predicted_before_training_anew(network: NetworkPredictor) -> None:
    made = decide(network, PortfolioOptions(threshold="balanced_accuracy"))
    assert network.valid_prediction is not None
    second, true = network.valid_prediction[:, 1], np.asarray(network.valid_true)
    assert true.sum() == made.about["decision"]["n_there"] > 5
    every = [balanced_accuracy_score(true, second >= t) for t in np.unique(second)]
    threshold = made.decision.threshold
    assert threshold is not None
    assert balanced_accuracy_score(true, second >= threshold) == pytest.approx(max(every))
    assert made.about["decision"]["n_rows"] == len(VALID)
    assert "decision" not in network.about
    assert network.decision == Decision()


def test_the_score_is_of_thresholds_that_other_rows_have_chosen(network: NetworkPredictor) -> None:
    """A threshold that is chosen on the rows it is judged by scores above chance of noise."""
    scores = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        noise = invented(network, rng.permutation(np.arange(80) % 2), np.arange(80), rng.random(80))
        told = decide(noise, PortfolioOptions(threshold="balanced_accuracy"), seed=seed).about["decision"]
        low, high = told["score"][1:]
        assert low <= told["score"][0] <= high
        scores.append(told["score"][0])
    assert np.mean(scores) == pytest.approx(0.5, abs=0.04)


def test_parts_hold_whole_clusters_and_rows_of_each_class(network: NetworkPredictor) -> None:
    clusters = np.repeat(np.arange(40), 3)
    true = np.repeat((np.arange(40) % 4 == 0).astype(int), 3)
    held = HeldOut.of_network(invented(network, true, clusters, np.linspace(0.1, 0.9, 120)), seed=3)
    for cluster in range(40):
        assert len(np.unique(held.part_of[clusters == cluster])) == 1
    sizes = np.bincount(held.part_of)
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= 3
    assert (np.bincount(held.part_of[true == 1]) == 6).all()


def test_numbers_and_costs_decide_without_a_choice_and_are_kept(network: NetworkPredictor, tmp_path: Path) -> None:
    fixed = decide(network, PortfolioOptions(threshold=0.2))
    assert fixed.decision == Decision(threshold=0.2)
    assert "score" not in fixed.about["decision"]
    costly = decide(network, PortfolioOptions(cost={"sick": {"fine": 9}}))
    said, true = np.asarray(network.valid_prediction), np.asarray(network.valid_true)
    wrong = (said[:, 1] >= 0.1) != (true == 1)
    assert costly.about["decision"]["score"][0] == pytest.approx(np.mean(np.where(true == 1, 9.0, 1.0) * wrong))
    costly.save(tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert isinstance(again, NetworkPredictor)
    assert again.decision == costly.decision
    assert again.about == costly.about
    card = (tmp_path / "m" / "card.md").read_text(encoding="utf-8")
    assert f"It answers 'sick' in {costly.about['decision']['n_answered']} of 100 validation rows" in card
    assert "Validation mean cost of its answers" in card


def test_nothing_asked_for_changes_nothing(network: NetworkPredictor) -> None:
    assert decide(network, PortfolioOptions()) is network


def test_what_cannot_decide_is_told(network: NetworkPredictor) -> None:
    saved: Any = replace(network, valid_true=None, valid_prediction=None)
    with pytest.raises(ConfigError, match="must know its validation rows, as one that was just trained does"):
        decide(saved, PortfolioOptions(threshold="f1"))
    with pytest.raises(ConfigError, match="looks at probabilities: no threshold changes it"):
        decide(network, PortfolioOptions(threshold="auroc"))
    with pytest.raises(UnknownNameError, match="class must be a known name; got class='ill'"):
        decide(network, PortfolioOptions(cost={"ill": {"fine": 2}}))
