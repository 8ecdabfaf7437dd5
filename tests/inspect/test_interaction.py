"""Interactions are found where a formula or a data set has them, and only there."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from formulas import By, dataset, logistic
from made_predictors import KINDS, labelled, predictor

from profuse.data.split import make_split
from profuse.datasets import load
from profuse.errors import ConfigError, UnknownNameError
from profuse.inspect import Answer, ask
from profuse.inspect.asked import hide
from profuse.inspect.interaction import Interaction
from profuse.inspect.pid import pid
from profuse.inspect.readings import PARTS, parts_of
from profuse.metrics import metric
from profuse.models.options import ModelOptions
from profuse.schema import SplitOptions
from profuse.testing import check_question
from profuse.training.fitting import Prepared, fit_model
from profuse.training.loop import TrainOptions


def numbers(n: int = 300, names: str = "abc", seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=n) for name in names}


def found(answer: Answer) -> dict[str, Any]:
    return {e.name: e for e in answer.estimates}


@pytest.mark.parametrize("unit", ["score", pytest.param("bits", marks=pytest.mark.slow)])
def test_it_keeps_the_contract(unit: Any) -> None:
    check_question(lambda: Interaction(unit=unit))


# -- scores


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_a_pair_is_what_both_are_worth_beyond_each_averaged_over_what_else_is_shown(name: str) -> None:
    x = numbers()
    data = dataset(x, x["a"] * x["b"] + x["c"] * (1 + x["a"]))
    asked = By(data, lambda x: x["a"] * x["b"] + x["c"] * (1 + x["a"]))
    answer = ask(asked, data, "interaction", metric=name, n_rows=20)
    inputs, target = asked.encode(data), np.asarray(data.target)[:, None]

    def v(*shown: str) -> float:
        return -metric(name)(target, asked.predict_encoded(hide(inputs, [n for n in "abc" if n not in shown])))

    for i, j in combinations("abc", 2):
        (k,) = set("abc") - {i, j}
        by_hand = (v(i, j) - v(i) - v(j) + v() + v(i, j, k) - v(i, k) - v(j, k) + v(k)) / 2
        assert found(answer)[f"{i} + {j}"].value == pytest.approx(by_hand)
    rest = v(*"abc") - v() - sum(v(m) - v() for m in "abc") - sum(e.value for e in answer.estimates[:3])
    assert answer.residual == pytest.approx(rest)


def test_a_sum_has_nothing_beyond_it_and_a_product_has_all_of_it() -> None:
    x = numbers(150)
    data = dataset(x, x["a"] + x["b"] + x["c"])
    added = ask(By(data, lambda x: x["a"] + x["b"] + x["c"]), data, "interaction", metric="mse")
    assert found(added)["beyond a sum"].value == pytest.approx(0.0, abs=1e-9)
    data = dataset(x, x["a"] * x["b"] + x["c"])
    asked = By(data, lambda x: x["a"] * x["b"] + x["c"])
    product = ask(asked, data, "interaction", metric="mse", n_rows=150)
    beyond = found(product)["beyond a sum"]
    assert beyond.value == pytest.approx(float(np.var(x["a"] * x["b"])), rel=0.15)
    assert beyond.low > 0
    assert beyond.n == 150
    assert found(ask(asked, data, "interaction", metric="mse"))["beyond a sum"].n == 100
    assert found(product)["a + b"].low > 0
    assert abs(found(product)["a + c"].value) < 0.2


def test_what_changes_nothing_has_no_interaction() -> None:
    x = numbers(100)
    data = dataset(x, x["a"] + x["b"])
    answer = ask(By(data, lambda x: x["a"] + x["b"] + 0 * x["c"]), data, "interaction", metric="mse", n_rows=20)
    for name in ("a + c", "b + c"):
        e = found(answer)[name]
        assert e.value == e.low == e.high == 0.0
    assert answer.residual == 0.0


def test_the_others_stay_where_some_are_named() -> None:
    names = "abcdefghi"
    x = numbers(80, names)
    data = dataset(x, x["a"] * x["b"] + x["i"])
    asked = By(data, lambda x: x["a"] * x["b"] + x["i"])
    with pytest.raises(ConfigError, match="there must be 2 to 8 modalities.*Name some with modalities="):
        ask(asked, data, "interaction", metric="mse")
    answer = ask(asked, data, "interaction", metric="mse", modalities=["a", "b"])
    assert list(found(answer)) == ["a + b", "beyond a sum"]
    assert found(answer)["a + b"].value == pytest.approx(float(np.mean((x["a"] * x["b"]) ** 2)), rel=1e-4)
    assert found(answer)["beyond a sum"].value > 0.2


@pytest.mark.slow
def test_the_interval_of_a_pair_holds_in_most_worlds() -> None:
    def told(n: int, seed: int) -> Any:
        x = numbers(n, "ab", seed=seed)
        p = logistic(2 * x["a"] * x["b"] + x["a"])[:, 1]
        data = dataset(x, (np.random.default_rng([9, seed]).random(n) < p).astype(int), "binary")
        asked = By(data, lambda x: logistic((2 * x["a"] * x["b"] + x["a"])[:, 0]))
        return ask(asked, data, "interaction", metric="log_loss", seed=seed, n_rows=60, n_resamples=100).estimates[0]

    truth = told(200_000, 1000).value
    hits = [e.low <= truth <= e.high for e in (told(300, seed) for seed in range(80))]
    assert 0.88 < np.mean(hits) <= 1.0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "trivial"])
@pytest.mark.parametrize("unit", ["score", "bits"])
def test_every_predictor_can_be_asked(kind: str, unit: Any) -> None:
    answer = predictor(kind, "multiclass").ask(
        "interaction", labelled("multiclass", 40, seed=3), unit=unit, n_resamples=20
    )
    assert all(np.isfinite([e.value, e.low, e.high]).all() for e in answer.estimates)
    assert answer.residual is not None
    assert (answer.residual == 0.0) == (unit == "score")


# -- bits


def test_bits_are_those_of_what_each_modality_alone_predicts() -> None:
    """Two signs, y is the first or, in a tenth, not: the reading of a has 1 - h(.1) bits, that of b none."""
    rng = np.random.default_rng(0)
    n = 4000
    a, b = (rng.choice([-1.0, 1.0], n) for _ in range(2))
    y = (np.where(rng.random(n) < 0.1, -a, a) > 0).astype(int)
    data = dataset({"a": a, "b": b}, y, "binary")
    asked = By(data, lambda x: logistic((2.2 * x["a"] + 0.01 * x["b"])[:, 0]))
    answer = ask(asked, data, "interaction", unit="bits", n_resamples=50)
    bits = 1 + 0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)
    parts = {name.removeprefix("a + b: "): e for name, e in found(answer).items()}
    assert list(parts) == ["either says", "only a says", "only b says", "only both say"]
    assert parts["only a says"].low < bits < parts["only a says"].high
    for name in ("either says", "only b says", "only both say"):
        assert abs(parts[name].value) < 0.004
    assert answer.metric == "bits"
    assert abs(answer.residual or 0.0) < 0.01


@pytest.mark.slow
def test_what_shuffled_targets_would_give_is_subtracted() -> None:
    rng = np.random.default_rng(1)
    n = 60
    x = {"a": rng.normal(size=n), "b": rng.normal(size=n)}
    values = []
    for seed in range(15):
        data = dataset(x, np.random.default_rng(seed).normal(size=n))
        asked = By(data, lambda x: x["a"] + x["b"])
        answer = ask(asked, data, "interaction", unit="bits", n_bins=4, n_resamples=20)
        values.append(sum(e.value for e in answer.estimates))
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(15)
    assert any("bits that shuffled targets would give are subtracted" in note for note in answer.notes)


@pytest.mark.slow
def test_the_intervals_of_bits_hold_in_most_worlds() -> None:
    """Noisy readings of bits of which a says something alone, b only what a says too and what needs a."""

    def world(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        a, b = rng.integers(0, 2, (2, n))
        y = np.where(rng.random(n) < 0.6, a, a ^ b)
        one = 2 * (a ^ (rng.random(n) < 0.1)) + (rng.random(n) < 0.5)
        other = 2 * (b ^ (rng.random(n) < 0.2)) + (a ^ (rng.random(n) < 0.3))
        return one, other, y

    many = np.bincount(np.ravel_multi_index(world(1_000_000, 99), (4, 4, 2)), minlength=32).reshape(4, 4, 2)
    truth = pid(many)
    hits, values = [], []
    for seed in range(60):
        parts = parts_of(*world(400, seed), np.arange(400), seed=seed, n_resamples=80).found
        hits.append([parts[p][1] <= getattr(truth, p) <= parts[p][2] + 1e-6 for p in PARTS])
        values.append([parts[p][0] for p in PARTS])
    assert np.mean(hits, axis=0).min() > 0.8
    np.testing.assert_allclose(np.mean(values, axis=0), [getattr(truth, p) for p in PARTS], atol=0.015)


# -- data whose information is known


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["redundant", "unique", "synergy"])
def test_a_trained_model_shows_what_the_data_hold(variant: str) -> None:
    data = load("synthetic", variant=variant)
    ready = Prepared.make(data, make_split(data, SplitOptions(), seed=0))
    epochs = 15 if variant == "synergy" else 4
    model = fit_model(ready, ModelOptions(fusion="concat", width=32, members=1), TrainOptions(epochs=epochs))
    test = data.rows(ready.split.test)
    bits = {e.name.removeprefix("a + b: "): e for e in ask(model, test, "interaction", unit="bits").estimates}
    score = found(ask(model, test, "interaction", metric="log_loss", n_rows=40))
    most = {
        "redundant": {"either says"},
        "unique": {"only a says", "only b says"},
        "synergy": {"only both say"},
    }[variant]
    for name, e in bits.items():
        if name in most:
            assert e.low > 0.2
        else:
            assert abs(e.value) < 0.03
    assert (score["beyond a sum"].low > 0.1) == (variant == "synergy")
    assert (score["a + b"].low > 0.1) == (variant == "synergy")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"unit": "nats"}, ConfigError, "unit of interaction should be 'score' or 'bits'; got 'nats'"),
        ({"n_bins": 9}, ConfigError, "n_bins 2 to 6; got unit='score', n_rows=None, n_bins=9"),
        ({"n_rows": 1}, ConfigError, "n_rows at least 2.*got unit='score', n_rows=1"),
        ({"unit": "bits", "metric": "accuracy"}, ConfigError, "bits must have no metric; got metric='accuracy'"),
        ({"modalities": ["note"]}, ConfigError, r"there must be 2 to 8 modalities; got \['note'\]"),
        ({"modalities": ["note", "tables"]}, UnknownNameError, "interaction: modality must be a known name.*'table'"),
    ],
)
def test_what_cannot_be_asked_is_told(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        predictor("linear", "multiclass").ask("interaction", labelled("multiclass", 40, seed=3), **options)


@pytest.mark.parametrize("task", ["multilabel", "two numbers"])
def test_several_targets_have_no_bits(task: str) -> None:
    with pytest.raises(ConfigError, match="bits must be of a single number, or of at most 6 classes; got a"):
        predictor("linear", task).ask("interaction", labelled(task, 40, seed=3), unit="bits")
    answer = predictor("linear", task).ask("interaction", labelled(task, 40, seed=3), n_rows=20, n_resamples=20)
    assert [e.name for e in answer.estimates] == ["note + table", "beyond a sum"]
