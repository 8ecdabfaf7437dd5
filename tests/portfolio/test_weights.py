"""Weights of rows and of classes in a portfolio: in what members learn, not in how they are judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from profuse import fit, from_tensors
from profuse.classical.trivial import Trivial
from profuse.cli._portfolio import headline
from profuse.data.dataset import Dataset
from profuse.errors import DataError, UnknownNameError
from profuse.models.options import ModelOptions
from profuse.portfolio import estimate as estimate_module
from profuse.portfolio import fitting as fitting_module
from profuse.portfolio.fitted import Event
from profuse.portfolio.fitting import fit_portfolio
from profuse.portfolio.members import Member
from profuse.portfolio.options import PortfolioOptions
from profuse.portfolio.temperature import temperature_of
from profuse.predictor import PortfolioPredictor
from profuse.registry import register
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.usefixtures("few_classical")
N = 300
LINEAR, TRIVIAL = Member("linear", ("a", "b"), "linear"), Member("trivial", (), "trivial")
NET = Member("net", ("a", "b"), model=ModelOptions(fusion="concat", width=8, members=1))


def rare(share: float = 0.1) -> Dataset:
    """A rare class that `a` tells somewhat."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(N, 3)), rng.normal(size=(N, 3))
    score = a[:, 0] + b[:, 0] + rng.normal(size=N)
    return from_tensors({"a": a, "b": b}, (score > np.quantile(score, 1 - share)).astype(int))


def fitted(data: Dataset, *members: Member, train: TrainOptions | None = None, **more: Any) -> PortfolioPredictor:
    options = PortfolioOptions(folds=2, metric=more.pop("metric", None))
    return fit_portfolio(data, options, train=train or TrainOptions(epochs=3), members=members or (LINEAR,), **more)


@pytest.mark.slow
@pytest.mark.parametrize("member", [LINEAR, NET, Member("a", ("a",), "yardstick"), TRIVIAL])
def test_each_member_learns_with_weights_of_rows_and_of_classes_alike(member: Member) -> None:
    data = rare()
    heavy = replace(data, weights=np.where(data.target == 1, 9.0, 1.0))
    probabilities = [
        fitted(d, member, train=TrainOptions(epochs=3, class_weight=w)).predict_proba(data)[:, 1].mean()
        for d, w in ((data, None), (heavy, None), (data, {"1": 9.0}), (data, "balanced"))
    ]
    plain, by_row, by_class, balanced = probabilities
    assert by_row > plain + 0.1
    assert by_class == pytest.approx(by_row)
    assert balanced == pytest.approx(by_row, abs=0.05)


@pytest.mark.slow
def test_only_ratios_matter_and_weights_of_1_change_nothing() -> None:
    data = rare()
    plain, one, seven = (
        fitted(d, LINEAR, TRIVIAL).predict_proba(data)
        for d in (data, replace(data, weights=np.ones(N)), replace(data, weights=np.full(N, 7.0)))
    )
    np.testing.assert_allclose(one, seven, atol=1e-9)
    np.testing.assert_allclose(one, plain, atol=1e-4)


def test_scores_count_each_row_once() -> None:
    data = rare()
    weighted = fitted(
        replace(data, weights=np.random.default_rng(0).choice([0.0, 1.0, 30.0], N)), TRIVIAL, metric="accuracy"
    )
    assert weighted.about["n_rows"] == N
    assert weighted.members[0].score == pytest.approx(np.mean(data.target == 0))


def test_weights_are_those_of_their_rows_in_a_shuffled_frame() -> None:
    data, order = rare(0.3), np.random.default_rng(3).permutation(N)
    a = data.modalities["a"].values[:, 0]
    wrong = np.random.default_rng(4).random(N) < 0.3  # their labels say the opposite, and their weight is 0
    table = pd.DataFrame({"a": a, "y": np.where(wrong, a < 0, a > 0).astype(int), "w": np.where(wrong, 0.0, 2.0)})
    model = fit(table.iloc[order], "y", weight="w", preset="quick", folds=2, n_jobs=1)
    said = model.predict(table[["a"]])
    assert (said == (a > 0)).mean() > 0.95


def test_a_model_that_takes_no_weights_is_left_out_and_the_reason_is_told() -> None:
    class Mine(Trivial):
        """Counts all alike."""

        weighted: ClassVar[bool] = False

    register("classical", "mine", Mine)
    data, told = rare(), list[Event]()
    mine = Member("mine", ("a", "b"), "mine")
    assert "mine" not in fitted(data, LINEAR, mine).about["skipped"]
    for d, w in ((replace(data, weights=np.ones(N)), None), (data, "balanced")):
        model = fitted(d, LINEAR, mine, train=TrainOptions(epochs=1, class_weight=w), on_event=told.append)
        assert "this model takes no weights" in model.about["skipped"]["mine"]
        assert [m.name for m in model.members] == ["linear"]
    assert any(e.member == "mine" and "takes no weights" in e.skipped for e in told)


def test_the_temperature_is_of_rows_as_they_count() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, N)
    p = np.where(rng.random(N) < 0.8, 0.99, 0.01)  # of the true class: too sure
    outputs = np.where(np.arange(2) == true[:, None], p[:, None], 1 - p[:, None])
    counts = rng.integers(0, 4, N)
    repeated = temperature_of("binary", outputs.repeat(counts, 0), true.repeat(counts))
    assert temperature_of("binary", outputs, true, weights=counts.astype(float)) == pytest.approx(repeated, rel=1e-4)
    assert temperature_of("binary", outputs, true, weights=(p > 0.5) * 1.0) < 1 < repeated


def test_the_temperature_of_a_portfolio_counts_rows_as_its_members_do(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []

    def seen(task: Any, outputs: np.ndarray, true: np.ndarray, **more: Any) -> float:
        found.append((true, more["weights"]))
        return 1.0

    monkeypatch.setattr("profuse.portfolio.fitting.temperature_of", seen)
    data = rare()
    fitted(data, TRIVIAL)
    assert found[0][1] is None
    fitted(
        replace(data, weights=np.where(data.target == 1, 3.0, 1.0)),
        TRIVIAL,
        train=TrainOptions(class_weight={"1": 2.0}),
    )
    true, weights = found[1]
    np.testing.assert_array_equal(weights, np.where(true == 1, 6.0, 1.0))


def test_how_long_a_model_takes_is_seen_on_rows_that_count() -> None:
    data = rare(0.5)
    weights = np.where(np.arange(N) % 5 == 0, 1.0, 0.0)
    model = fit_portfolio(
        replace(data, weights=weights), PortfolioOptions(folds=2, time_limit=600.0), members=[LINEAR], n_jobs=1
    )
    assert model.about["skipped"] == {}


def test_what_cannot_be_weighed_is_told_before_anything_is_fitted() -> None:
    data, told = rare(), list[Event]()
    with pytest.raises(DataError, match="fit: weights must be above 0 for some rows; got 0 for all 300"):
        fitted(replace(data, weights=np.zeros(N)), on_event=told.append)
    with pytest.raises(UnknownNameError, match="fit: class_weight: class must be .*'ill'"):
        fitted(data, train=TrainOptions(class_weight={"ill": 2.0}), on_event=told.append)
    assert told == []


def test_the_log_loss_has_no_part_in_the_choice_where_rows_count_unequally(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = list[float]()
    for module in (fitting_module, estimate_module):
        select = module.select

        def noted(*args: Any, of: Any = select, **more: Any) -> np.ndarray:
            shares.append(more["loss_share"])
            return np.asarray(of(*args, **more))

        monkeypatch.setattr(module, "select", noted)
    data = rare(0.3)
    for rows, weight in ((data, None), (replace(data, weights=np.ones(N)), None), (data, "balanced")):
        fitted(rows, LINEAR, TRIVIAL, train=TrainOptions(class_weight=weight))
        assert len(shares) > 3  # of all folds, and of those but one
        assert set(shares) == {0.0 if weight else 0.5}
        shares.clear()


@pytest.mark.parametrize(
    ("name", "answer"), [(None, "the mean"), ("mae", "the median"), ("pinball", "the .9 quantile")]
)
def test_what_was_learned_of_numbers_is_kept_and_the_trivial_answer_is_told_by_it(name: Any, answer: str) -> None:
    data = rare()
    y = np.exp(np.asarray(data.modalities["a"].values)[:, 0] + np.random.default_rng(1).normal(size=N))
    model = fitted(replace(data, target=y, task="regression", target_names=("y",)), LINEAR, TRIVIAL, metric=name)
    assert model.trained_on is not None
    assert model.trained_on.metric == (name or "")
    assert f"Against always answering {answer}: +" in headline(model)[1]
    share = {None: 0.63, "mae": 0.5, "pinball": 0.9}[name]
    assert (y <= model.predict(data)).mean() == pytest.approx(share, abs=0.12)
