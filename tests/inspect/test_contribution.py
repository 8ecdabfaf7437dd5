"""Contributions are Shapley values of scores, whatever the predictor, and their intervals hold the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from formulas import By, dataset, logistic
from made_predictors import KINDS, labelled, predictor, prepared

from profuse.data.dataset import ModalityData
from profuse.errors import ConfigError, UnknownNameError
from profuse.inspect import Answer, ask
from profuse.inspect.asked import hide
from profuse.inspect.contribution import Contribution
from profuse.metrics import metric, primary_metric
from profuse.predictor import ClassicalPredictor, NetworkPredictor
from profuse.testing import check_question


def numbers(n: int = 400, names: str = "abc", seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=n) for name in names}


def values(answer: Answer) -> dict[str, float]:
    return {e.name: e.value for e in answer.estimates}


def product_and_sum(x: dict[str, Any]) -> np.ndarray:
    return np.asarray(x["a"] * x["b"] + x["c"])


@pytest.mark.parametrize(
    "options",
    [{}, pytest.param({"how": "permuted"}, marks=pytest.mark.slow), {"within": None, "how": "permuted", "repeats": 2}],
)
def test_it_keeps_the_contract(options: Any) -> None:
    check_question(lambda: Contribution(**options))


@pytest.mark.parametrize("name", ["mse", "r2", "mae"])
def test_it_is_what_is_added_on_average_over_all_orders(name: str) -> None:
    x = numbers()
    data = dataset(x, x["a"] * x["b"] + x["c"] + 0.1 * numbers(seed=1)["a"])
    asked = By(data, product_and_sum)
    inputs, sign = asked.encode(data), 1 if metric(name).higher_is_better else -1
    target = np.asarray(data.target)[:, None]

    def score(shown: tuple[str, ...]) -> float:
        gone = [n for n in "abc" if n not in shown]
        return sign * metric(name)(target, asked.predict_encoded(hide(inputs, gone)))

    by_hand = {
        m: np.mean([score((*o[: o.index(m)], m)) - score(o[: o.index(m)]) for o in permutations("abc")]) for m in "abc"
    }
    answer = ask(asked, data, "contribution", metric=name)
    assert values(answer) == pytest.approx(by_hand)
    assert answer.residual == 0.0
    assert answer.score == pytest.approx(sign * score(("a", "b", "c")))


def test_what_two_say_together_only_is_shared_in_halves() -> None:
    x = numbers(4000)
    data = dataset(x, x["a"] * x["b"] + x["c"])
    answer = ask(By(data, product_and_sum), data, "contribution", metric="mse")
    assert values(answer) == pytest.approx({"a": 0.5, "b": 0.5, "c": 1.0}, abs=0.1)


def test_what_two_say_alike_is_shared_while_hiding_one_costs_less() -> None:
    x = numbers(2000)
    x["b"] = x["a"].copy()
    data = dataset(x, x["a"])
    both = By(data, lambda x: np.where(x["a"] == 0, x["b"], x["a"]))
    assert values(ask(both, data, "importance", metric="mse")) == {"a": 0.0, "b": 0.0, "c": 0.0}
    answer = ask(both, data, "contribution", metric="mse")
    half = float(np.mean(x["a"] ** 2)) / 2
    assert values(answer) == pytest.approx({"a": half, "b": half, "c": 0.0}, rel=1e-4)
    null = answer.estimates[2]
    assert null.value == null.low == null.high == 0


def test_exchanged_modalities_come_from_one_other_row() -> None:
    """Two that are equal in each row, by a formula that minds when they are not: no exchange tears them apart."""
    x = numbers(500)
    x["b"] = x["a"].copy()
    data = dataset(x, x["c"])
    asked = By(data, lambda x: x["c"] + 1000 * (x["a"] != x["b"]))
    answer = ask(asked, data, "contribution", how="permuted", metric="mse")
    assert sum(values(answer).values()) == pytest.approx(2.0, abs=0.4)  # all exchanged: two independent c
    assert answer.residual == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", ["mse", "r2"])
def test_exchanging_a_modality_costs_what_an_independent_copy_does(name: str) -> None:
    x = numbers(3000)
    data = dataset(x, 2 * x["a"] + x["b"])
    asked = By(data, lambda x: 2 * x["a"] + x["b"])
    answer = ask(asked, data, "contribution", how="permuted", metric=name)
    unit = 1.0 if name == "mse" else 1 / 5
    assert values(answer) == pytest.approx({"a": 8 * unit, "b": 2 * unit, "c": 0.0}, rel=0.1)
    assert any("5 random exchanges" in note for note in answer.notes)


def test_more_than_eight_are_sampled_and_the_error_is_in_the_interval() -> None:
    names = "abcdefghij"
    x = numbers(300, names)

    def formula(x: dict[str, Any]) -> np.ndarray:
        return np.asarray(x["a"] * x["b"] * (1 + x["c"]) + x["d"] + x["e"])

    data = dataset(x, formula(x))
    asked = By(data, formula)
    answer = ask(asked, data, "contribution", metric="mse", n_orders=4)
    assert 20 < asked.n_calls < 90
    assert answer.residual == 0.0
    assert any("4 random orders of the 10 modalities and their reverses" in note for note in answer.notes)
    five = dataset({n: x[n] for n in "abcde"}, formula(x))  # the others are null players: this is the exact answer
    exact = values(ask(By(five, formula), five, "contribution", metric="mse"))
    for e in answer.estimates:
        assert e.low <= exact.get(e.name, 0.0) <= e.high
    more = ask(asked, data, "contribution", metric="mse", n_orders=40).estimates[0]
    assert more.high - more.low < answer.estimates[0].high - answer.estimates[0].low


def test_eight_are_exact() -> None:
    x = numbers(60, "abcdefgh")
    data = dataset(x, x["a"])
    asked = By(data, lambda x: x["a"] + sum(x[n] for n in "bcdefgh"))
    answer = ask(asked, data, "contribution", metric="mse", n_resamples=20)
    assert asked.n_calls == 256
    assert not any("Drawn at random" in note for note in answer.notes)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["masked", "permuted"])
def test_the_interval_holds_in_most_worlds(how: str) -> None:
    """y = 1 with p(2 a + b), c is noise that the predictor minds: values of the whole world from many rows."""

    def world(n: int, seed: int) -> Any:
        x = numbers(n, seed=seed)
        p = logistic(2 * x["a"] + x["b"])[:, 1]
        return dataset(x, (np.random.default_rng([9, seed]).random(n) < p).astype(int), "binary")

    def formula(x: dict[str, Any]) -> np.ndarray:
        return logistic((2 * x["a"] + x["b"] + 0.5 * x["c"])[:, 0])

    def told(n: int, seed: int, n_resamples: int) -> Answer:
        data = world(n, seed)
        options: dict[str, Any] = {"how": how, "metric": "log_loss", "n_resamples": n_resamples}
        return ask(By(data, formula), data, "contribution", seed=seed, **options)

    truth = values(told(100_000, 1000, 20))  # its interval is not looked at
    hits = [[e.low <= truth[e.name] <= e.high for e in told(300, seed, 50).estimates] for seed in range(80)]
    assert np.mean(hits, axis=0).min() > 0.88
    assert np.mean(hits) < 0.995


def test_groups_widen_the_interval() -> None:
    x = numbers(100)
    data = dataset(x, x["a"] + x["b"])
    rows = np.repeat(np.arange(100), 9)
    many = replace(data.rows(rows), groups=rows)
    asked = By(data, lambda x: x["a"] + x["b"])
    alone = ask(asked, replace(many, groups=None), "contribution", metric="mse").estimates[0]
    tied = ask(asked, many, "contribution", metric="mse").estimates[0]
    assert tied.high - tied.low == pytest.approx(3 * (alone.high - alone.low), rel=0.25)


# -- predictors of every kind


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "trivial"])
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_of_two_modalities_it_is_the_mean_of_two_orders(kind: str, task: str) -> None:
    asked, ready = predictor(kind, task), prepared(task)
    test = ready.dataset.rows(ready.split.test)
    answer = asked.ask("contribution", test, n_resamples=20)
    inputs, true = asked.encode(test), ready.true(ready.split.test)

    def score(*hidden: str) -> float:
        return primary_metric(asked.task)(true, asked.predict_encoded(hide(inputs, hidden)))

    note = (score() - score("note") + score("table") - score("note", "table")) / 2
    table = (score() - score("table") + score("note") - score("note", "table")) / 2
    assert values(answer) == pytest.approx({"note": note, "table": table}, rel=1e-4, abs=1e-6)
    exchanged = asked.ask("contribution", test, how="permuted", n_resamples=20)
    assert exchanged.residual == 0.0
    assert exchanged.estimates != answer.estimates


def test_a_portfolio_asks_a_member_once_for_what_it_sees_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = predictor("portfolio", "multiclass")
    asked = replace(made, weights=np.full_like(made.weights, 1 / made.weights.shape[1]))  # every member counts
    calls: list[tuple[str, ...]] = []
    for cls in (NetworkPredictor, ClassicalPredictor):
        whole = cls.predict_encoded

        def counted(self: Any, inputs: Any, rows: Any = None, whole: Any = whole) -> np.ndarray:
            calls.append(self.modalities)
            return np.asarray(whole(self, inputs, rows))

        monkeypatch.setattr(cls, "predict_encoded", counted)
    asked.ask("contribution", labelled("multiclass", 40, seed=3), n_resamples=20)
    fits = [fit.modalities for fit in asked.predictors]
    assert ("note",) in fits
    assert Counter(calls) == Counter(names for names in fits for _ in range(2 ** len(names)))


# -- columns


@pytest.mark.parametrize("kind", ["network", "linear", "portfolio"])
def test_a_column_costs_what_exchanging_it_by_hand_does(kind: str) -> None:
    asked = predictor(kind, "regression")
    rows = labelled("regression", 200, seed=3)
    answer = asked.ask("contribution", rows, within="table", n_resamples=20, repeats=4)
    found = {e.name: e for e in answer.estimates}
    assert set(found) == {"x", "colour"}
    plain = metric("r2")(rows[["price"]].to_numpy(), asked.predict(rows)[:, None])
    assert answer.score == pytest.approx(plain, abs=1e-6)
    rng, by_hand = np.random.default_rng(0), []
    for _ in range(20):
        moved = rows.assign(x=rng.permutation(rows["x"].to_numpy()))
        by_hand.append(metric("r2")(rows[["price"]].to_numpy(), asked.predict(moved)[:, None]))
    assert found["x"].score == pytest.approx(np.mean(by_hand), abs=float(3 * np.std(by_hand)))
    assert found["x"].value == pytest.approx(plain - (found["x"].score or 0.0))
    assert found["x"].modalities == ("table",)
    assert found["x"].value > 0.03


def test_a_column_that_is_not_read_costs_nothing_and_absent_rows_keep_their_cells() -> None:
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame({"x": rng.normal(size=n), "y": rng.normal(size=n)})
    there = np.arange(n) % 3 > 0
    target = np.where(there, frame["x"], 5.0)
    data = replace(
        dataset({"v": rng.normal(size=n)}, target),
        modalities={
            "t": ModalityData("table", frame, there),
            "v": ModalityData("vector", rng.normal(size=(n, 1)), np.ones(n, dtype=bool)),
        },
    )
    met: list[np.ndarray] = []

    class Reads(By):
        def predict_encoded(self, inputs: Any, rows: Any = None) -> np.ndarray:
            met.append(inputs["t"].present.numpy().copy())
            x = torch.where(inputs["t"].present, inputs["t"].values[:, 0], 5.0)
            return np.asarray(x.double().numpy()[:, None])

    answer = ask(Reads(data, product_and_sum), data, "contribution", within="t", metric="mse", repeats=3)
    found = {e.name: e for e in answer.estimates}
    assert (found["y"].value, found["y"].low, found["y"].high) == (0.0, 0.0, 0.0)
    assert found["x"].value == pytest.approx(2 * np.var(frame["x"][there]) * 2 / 3, rel=0.2)
    assert all(np.array_equal(one, met[0]) for one in met)
    assert [e.name for e in answer.estimates] == ["x", "y"]
    assert answer.residual == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"how": "hidden"}, ConfigError, "how of contribution should be 'masked' or 'permuted'; got 'hidden'"),
        ({"repeats": 1}, ConfigError, "repeats and n_orders at least 2; got how='masked', repeats=1, n_orders=16"),
        ({"within": "tables"}, UnknownNameError, "contribution: within: modality must be a known name.*'table'"),
        ({"within": "note"}, ConfigError, "within must be a table; got within='note', which is of kind 'text'"),
    ],
)
def test_what_cannot_be_asked_is_told(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        predictor("linear", "multiclass").ask("contribution", labelled("multiclass", 40, seed=3), **options)


def test_evenness_is_that_of_the_values_and_is_told_with_its_interval() -> None:
    x = numbers()
    data = dataset(x, x["a"] + 0.5 * x["b"] + 0.1 * numbers(seed=1)["a"])
    answer = ask(By(data, lambda x: np.asarray(x["a"] + 0.5 * x["b"] + 0 * x["c"])), data, "contribution")
    even, low, high = answer.details["evenness"]
    phi = np.array([max(0.0, e.value) for e in answer.estimates])
    p = phi[phi > 0] / phi.sum()
    assert even == pytest.approx(-(p * np.log(p)).sum() / np.log(3))
    assert 0 < low < even < high < 1
    assert any(note.startswith(f"Evenness {even:.2f} ({low:.2f} to {high:.2f}): 1 if all") for note in answer.notes)
    one = ask(By(data, lambda x: np.asarray(x["a"] + 0 * x["b"] + 0 * x["c"])), data, "contribution")
    assert one.details["evenness"][0] == 0
