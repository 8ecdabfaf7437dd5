"""Training for groups: GroupDRO and balanced sampling against NumPy, plain training and a world where groups fail."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from profuse import from_tensors
from profuse.classical.trivial import Trivial
from profuse.data.dataset import Dataset
from profuse.data.split import Split, make_split
from profuse.errors import ConfigError, DataError
from profuse.estimators.fusion import FusionClassifier, FusionRegressor
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.schema import SplitOptions
from profuse.training.classical_fits import best_fit
from profuse.training.fitting import Prepared, fit_model
from profuse.training.groups import GroupDRO, RowGroups, groups_of, shuffled
from profuse.training.options import TrainOptions

METHODS = ("dro", "sampling")


def birds(n_rows: int, minority: float, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """A bird tells its class a little, the place behind it tells it better, but for a `minority` of the rows."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n_rows)
    place = np.where(rng.random(n_rows) < minority, 1 - y, y)
    bird, behind = rng.normal(size=(n_rows, 4)), rng.normal(size=(n_rows, 4))
    bird[:, :2] += 0.9 * (2 * y[:, None] - 1)
    behind[:, 0] += 2.5 * (2 * place - 1)
    return {"bird": bird.astype(np.float32), "behind": behind.astype(np.float32)}, y, place


def dataset(n_rows: int = 60, **parts: Any) -> Dataset:
    x, y, place = birds(n_rows, 0.3, 0)
    return from_tensors(x, y, **{"subgroups": np.where(place == 1, "water", "land")} | parts)


def fitted(data: Dataset, *, model: dict[str, Any] | None = None, **train: Any) -> NetworkPredictor:
    prepared = Prepared.make(data, make_split(data, SplitOptions(), seed=0))
    options = ModelOptions(width=8, **{"members": 1} | (model or {}))
    return fit_model(prepared, options, TrainOptions(**{"epochs": 3} | train))


def _mean(losses: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (weights * losses).mean()


def groups(codes: np.ndarray, method: Any = "dro", *, step: float = 0.1, adjustment: float = 0.0) -> RowGroups:
    names = tuple(map(str, range(codes.max() + 1)))
    return RowGroups(torch.as_tensor(codes), names, method, step, adjustment)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_with_a_single_group_training_is_plain_training_bit_for_bit(method: str, weighed: bool) -> None:
    weights = np.random.default_rng(0).uniform(0.5, 2, 60) if weighed else None
    plain = dataset(subgroups=None, weights=weights)
    alone = dataset(subgroups=np.full(60, "all"), weights=weights)
    fits = fitted(plain), fitted(alone, subgroup_method=method, subgroup_all_classes=True)
    states = [fit.model.state_dict() for fit in fits]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert [e.train_loss for e in fits[0].history.epochs] == [e.train_loss for e in fits[1].history.epochs]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "model",
    [
        {},
        *(
            pytest.param(m, marks=pytest.mark.slow)
            for m in ({"rounds": 2}, {"fusion": "gated"}, {"fusion": "mean_logits"})
        ),
        {"members": 2},
    ],
)
@pytest.mark.slow
def test_several_groups_change_what_is_learned(model: dict[str, Any]) -> None:
    states = [
        fitted(data, model=model, **train).model.state_dict()
        for data, train in (
            (dataset(subgroups=None), {}),
            (dataset(), {"subgroup_method": "sampling"}),
            (dataset(), {"subgroup_method": "dro", "dro_step": 0.5}),
        )
    ]
    for one, other in ((0, 1), (1, 2)):
        assert any(not torch.equal(states[one][name], states[other][name]) for name in states[0])


@pytest.mark.parametrize("adjustment", [0.0, 3.0])
@pytest.mark.parametrize("step", [0.01, 1.0])
def test_weights_of_groups_are_those_of_numpy_step_by_step(step: float, adjustment: float) -> None:
    rng = np.random.default_rng(0)
    counts = np.array([50, 7, 200])
    dro = GroupDRO(torch.as_tensor(counts), step=step, adjustment=adjustment)
    q = np.full(3, 1 / 3)
    for _ in range(30):
        codes, weights, losses = (
            rng.integers(0, rng.integers(1, 4), 12),
            rng.uniform(0.5, 2, 12),
            rng.exponential(size=12),
        )
        for g in np.unique(codes):
            here = codes == g
            q[g] *= np.exp(step * ((losses * weights)[here].mean() + adjustment / np.sqrt(counts[g])))
        q /= q.sum()
        by_row = dro.weigh(partial(_mean, torch.as_tensor(losses)), torch.as_tensor(codes), torch.as_tensor(weights))
        assert dro.q.numpy() == pytest.approx(q, rel=1e-12)
        robust = sum(q[g] * (losses * weights)[codes == g].mean() for g in np.unique(codes))
        assert float((by_row * torch.as_tensor(losses)).mean()) == pytest.approx(robust, rel=1e-12)


def test_training_moves_the_weights_by_the_losses_of_its_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    update = GroupDRO.update

    def spied(self: GroupDRO, losses: torch.Tensor, here: torch.Tensor) -> None:
        update(self, losses, here)
        seen.append((losses.numpy().copy(), self.q.numpy().copy()))

    monkeypatch.setattr(GroupDRO, "update", spied)
    fitted(dataset(), subgroup_method="dro", dro_step=0.3, dro_adjustment=1.0, refit=False)
    data = dataset()
    split = make_split(data, SplitOptions(), seed=0)
    words = [f"{g}{y}" for g, y in zip(data.subgroups[split.train], data.target[split.train], strict=True)]  # type: ignore[index]
    counts = np.unique(words, return_counts=True)[1]
    q = np.full(4, 0.25)
    assert len(seen) == 3 * -(-len(split.train) // 32)
    for losses, told in seen:
        assert (losses > 0).all()  # every batch has rows of all groups
        q *= np.exp(0.3 * (losses + 1 / np.sqrt(counts)))
        q /= q.sum()
        assert told == pytest.approx(q, rel=1e-9)
    assert q.std() > 0.001


@pytest.mark.parametrize("counts", [(3, 40), (1, 5, 90), (17,)])
def test_an_epoch_has_as_many_rows_of_each_group_and_all_rows_of_small_ones(counts: tuple[int, ...]) -> None:
    codes = torch.as_tensor(np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)))
    order = shuffled(len(codes), Generator().manual_seed(1), codes)
    drawn = torch.bincount(codes[order])
    assert len(order) == len(codes)
    assert drawn.max() - drawn.min() <= 1
    for group, n in enumerate(counts):
        mine = order[codes[order] == group]
        times = torch.bincount(mine, minlength=len(codes))[codes == group]
        assert times.max() - times.min() <= 1  # gone through in rounds
        assert (times >= 1).all() or n > len(codes) // len(counts)
    first = codes[order][: len(counts)]
    assert sorted(first.tolist()) == list(range(len(counts)))
    assert not torch.equal(order, shuffled(len(codes), Generator().manual_seed(2), codes))


@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 0.0, 3.0, 1.0, 0.0]])
def test_the_worst_group_is_the_one_of_the_largest_mean_error(weights: list[float] | None) -> None:
    codes, rows = np.array([0, 0, 1, 1, 2, 2, 3]), torch.arange(6)  # no validation row is of group 3
    errors = np.array([0.1, 0.3, 0.5, 0.1, 0.2, 0.2])
    counted = np.ones(6) if weights is None else np.array(weights)
    by_hand = [(errors * counted)[codes[:6] == g].sum() / counted[codes[:6] == g].sum() for g in range(3)]
    given = None if weights is None else torch.as_tensor(counted)
    worst = groups(codes).worst(torch.as_tensor(errors * counted), rows, given)
    assert worst == pytest.approx(max(by_hand))


@pytest.mark.parametrize("method", METHODS)
def test_the_epoch_is_chosen_by_the_worst_groups_error(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    worst: list[float] = []
    of_groups = RowGroups.worst

    def spied(self: RowGroups, *args: Any) -> float:
        worst.append(of_groups(self, *args))
        return worst[-1]

    monkeypatch.setattr(RowGroups, "worst", spied)
    history = fitted(dataset(), subgroup_method=method, epochs=6, refit=False).history
    assert history is not None
    assert [e.valid_error for e in history.epochs] == worst
    assert history.best.valid_error == min(worst)


def test_parts_of_a_split_have_each_group_of_each_class() -> None:
    x, y, _ = birds(100, 0.5, 1)
    rare = np.where(
        np.isin(np.arange(100), [*np.flatnonzero(y == 0)[:4], *np.flatnonzero(y == 1)[:4]]), "rare", "often"
    )
    for seed in range(5):
        split = make_split(from_tensors(x, y, subgroups=rare), SplitOptions(), seed=seed)
        for rows in (split.train, split.valid, split.test):
            assert set(zip(rare[rows], y[rows], strict=True)) == {("rare", 0), ("rare", 1), ("often", 0), ("often", 1)}
    numbers = from_tensors(x, x["bird"][:, 0], subgroups=rare)
    assert set(rare[make_split(numbers, SplitOptions(), seed=0).valid]) == {"rare", "often"}


def test_classical_models_learn_with_weights_that_make_groups_count_alike() -> None:
    x, y, place = birds(160, 0.3, 0)
    rows = np.flatnonzero((y == 0) | (np.arange(160) % 4 == 0))
    data = from_tensors({k: v[rows] for k, v in x.items()}, y[rows], subgroups=place[rows])
    prepared = Prepared.make(data, make_split(data, SplitOptions(), seed=0))
    train = TrainOptions(subgroup_method="sampling", refit=False)
    found, learned = prepared.groups(train), prepared.split.train
    assert found is not None
    weights = found.balancing_weights(torch.as_tensor(learned)).numpy()[learned]
    sums = np.bincount(found.codes.numpy()[learned], weights)
    assert sums == pytest.approx(np.full(4, len(learned) / 4))
    fit = best_fit("trivial", ["bird"], prepared, train, trials=1, seed=0).fit
    assert isinstance(fit.model, Trivial)
    assert fit.model.guess[1] == pytest.approx(0.5, abs=0.02)
    assert y[rows].mean() < 0.3


def test_numbers_can_be_served_alike_too() -> None:
    x, _, place = birds(60, 0.3, 0)
    model = FusionRegressor(width=8, epochs=2, members=1, subgroup_method="dro").fit(
        x, x["bird"][:, 0], subgroups=place
    )
    assert np.isfinite(model.predict(x)).all()


@pytest.mark.parametrize(
    ("parts", "train", "error", "message"),
    [
        ({"subgroups": None}, {"subgroup_method": "dro"}, ConfigError, "must go together; got no subgroups"),
        ({}, {}, ConfigError, "must go together; got subgroups without a method"),
        (
            {"subgroups": np.array(["b"] * 59 + ["a"])}, {"subgroup_method": "sampling"}, DataError,
            r"each subgroup of a class must have at least 2 training rows; got .*a & \d",
        ),
        ({}, {"subgroup_method": "dro", "model": {"fusion": "trusted"}}, ConfigError, "subgroup_method='dro'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(
    parts: dict[str, Any], train: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fitted(dataset(**parts), **train)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subgroup_method": "dro", "balance": "ogm_ge"}, "must be sampling with a balance"),
        ({"dro_step": 0.5}, "dro_step must go with subgroup_method 'dro'"),
        ({"subgroup_method": "sampling", "dro_adjustment": 0.5}, "dro_adjustment must go with"),
        ({"subgroup_method": "dro", "dro_step": 0}, "greater than 0"),
    ],
)
def test_options_that_do_not_fit_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainOptions(**options)


def test_a_row_without_a_group_is_told() -> None:
    x, y, place = birds(20, 0.3, 0)
    named = [None if i in (3, 7) else str(p) for i, p in enumerate(place)]
    with pytest.raises(DataError, match=r"subgroups must stand in every row; empty in 2 rows"):
        FusionClassifier(subgroup_method="dro").fit(x, y, subgroups=named)


def test_groups_are_of_the_column_alone_where_that_is_asked_for() -> None:
    split = Split(np.arange(4), np.array([4]), np.array([5]))
    named, classes = np.array(["a", "a", "b", "b", "c", "d"]), np.array(["x", "y", "x", "y", "x", "x"])
    options = TrainOptions(subgroup_method="dro", subgroup_all_classes=True)
    with pytest.raises(DataError, match=r"each subgroup must have at least 2 training rows; got 'c \(0\)'"):
        groups_of(named, classes, split, options, who="fit")
    found = groups_of(named, classes, replace(split, valid=np.array([3])), options, who="fit")
    assert found is not None
    assert found.names == ("a", "b")
    assert found.codes.tolist() == [0, 0, 1, 1, -1, -1]


@cache
def worst_accuracy(method: str | None, seed: int) -> float:
    """Returns that of the worst of four groups, of new rows in which all are equally many."""
    (x, y, place), (new, truth, where) = birds(600, 0.06, seed), birds(2000, 0.5, 100 + seed)
    model = FusionClassifier(width=8, epochs=12, members=1, refit=False, random_state=seed, subgroup_method=method)
    model.fit(x, y, subgroups=None if method is None else place)
    right = model.predict(new) == truth
    return float(min(right[(truth == a) & (where == b)].mean() for a in (0, 1) for b in (0, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_worst_group_gains_where_a_spurious_cue_fails_it(method: str) -> None:
    for seed in range(2):
        assert worst_accuracy(method, seed) > worst_accuracy(None, seed) + 0.1
