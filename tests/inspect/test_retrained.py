"""What a model loses without a modality, and what it would lose trained without it, on tasks whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_predictors import PORTFOLIO, data, frame, predictor

from profuse import FusionClassifier, FusionRegressor
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import Split, split_off
from profuse.errors import ConfigError, DataError
from profuse.inspect import Answer, ask
from profuse.inspect.missing import Missing
from profuse.metrics import metric
from profuse.models.options import ModelOptions
from profuse.predictor import ClassicalPredictor, NetworkPredictor, Predictor
from profuse.testing.question import QuestionSubject
from profuse.training.classical_fits import best_fit
from profuse.training.fitting import Prepared, fit_model, trained_on
from profuse.training.options import TrainOptions
from profuse.training.retraining import Retraining

SPREAD = 2.0  # of what only `own` knows; `first` and `second` hold the same number, of deviation 1


def made(n: int, seed: int) -> Dataset:
    """`y = both + 2 own`: `first` and `second` are the same, `own` stands alone, `idle` says nothing."""
    rng = np.random.default_rng(seed)
    both, own, idle = rng.normal(size=(3, n, 1))
    there = np.ones(n, dtype=bool)
    values = {"first": both, "second": both.copy(), "own": own, "idle": idle}
    modalities = {name: ModalityData("vector", x, there) for name, x in values.items()}
    target = (both + SPREAD * own)[:, 0] + 0.1 * rng.normal(size=n)
    return Dataset("made", modalities, target, "regression", target_names=("y",))


TRAIN, TEST = made(300, 0), made(200, 1)


def fitted(classical: str = "linear") -> Predictor:
    """A classical model of `TRAIN`, by the same door as it is fitted anew."""
    prepared = Prepared.make(TRAIN, Split(np.arange(240), np.arange(240, 300), np.empty(0, dtype=np.int64)))
    best = best_fit(classical, sorted(TRAIN.modalities), prepared, TrainOptions(), trials=1, seed=0)
    return ClassicalPredictor(
        pipeline=prepared.pipeline, codec=prepared.codec, features=best.features, name=classical,
        model=best.fit.model, modalities=tuple(sorted(TRAIN.modalities)),
    )  # fmt: skip


@lru_cache
def answer() -> Answer:
    return ask(fitted(), TEST, "missing", rates=0.3, retrain=TRAIN, metric="mse")


def test_what_stands_nowhere_else_is_lost_by_the_retrained_model_too_and_what_stands_twice_is_not() -> None:
    by = {e.name: e for e in answer().estimates}
    assert abs(by["all, retrained"].value) < 0.02
    assert by["own hidden"].value == pytest.approx(SPREAD**2, rel=0.25)
    assert by["without own, retrained"].value == pytest.approx(SPREAD**2, rel=0.25)
    assert by["without own, retrained"].low > 1
    for name in ("first", "second"):
        assert by[f"{name} hidden"].value == pytest.approx(0.25, rel=0.3)  # ridge gives each copy half of the weight
        assert by[f"{name} hidden"].low > 0
        assert abs(by[f"without {name}, retrained"].value) < 0.02
        assert by[f"{name}: recovered"].low > 0
    for name in ("own", "first", "idle"):
        recovered = by[f"{name} hidden"].value - by[f"without {name}, retrained"].value
        assert by[f"{name}: recovered"].value == pytest.approx(recovered)
        assert by[f"{name}: recovered"].n == len(TEST)
    told = {n.split("'")[1]: n for n in answer().notes if n.startswith("'")}
    assert "cannot do without it: hidden" in told["own"]
    assert "leans on it and could do without" in told["first"]
    assert "not shown: hidden it costs" in told["idle"]
    headline = Missing.headline(answer())
    assert headline.endswith(" It cannot do without own.")
    assert "at rate 0.3" in headline
    assert "cannot" not in Missing.headline(ask(fitted(), TEST, "missing", rates=0.3))


def test_scores_beside_the_losses_are_those_of_the_models_named() -> None:
    by = {e.name: e for e in answer().estimates}
    whole = answer().score
    assert whole is not None
    for name, score in (("own hidden", 1), ("without own, retrained", 1), ("all, retrained", 1)):
        assert by[name].score == pytest.approx(whole + score * by[name].value)
    assert by["own: recovered"].score == by["without own, retrained"].score
    assert [e.name for e in answer().estimates][:2] == ["rate 0.3", "all, retrained"]


@pytest.mark.slow
def test_a_network_fitted_anew_to_its_own_rows_is_itself_and_lacks_what_it_is_trained_without() -> None:
    rows = TRAIN.rows(np.arange(60))
    learn, choose = split_off(rows, 0.35, seed=5)  # as the estimator divides them
    prepared = Prepared.make(rows, Split(learn, choose, np.empty(0, dtype=np.int64)))
    options = ModelOptions(fusion="gated", width=8, members=1, rounds=2, into=("own", "first"), encoders={"own": "mlp"})
    network = fit_model(prepared, options, TrainOptions(epochs=1, seed=5))
    again = Retraining.of(network, rows, who="test")
    same = again.without(())
    assert np.array_equal(same.predict(TEST), network.predict(TEST))
    less = again.without(("own",))
    assert isinstance(less, NetworkPredictor)
    assert less.modalities == ("first", "idle", "second")
    assert less.model_options.into == ("first",)
    assert "own" not in less.model_options.encoders
    other = replace(TEST, modalities={**TEST.modalities, "own": TRAIN.rows(np.arange(200)).modalities["own"]})
    assert np.array_equal(less.predict(other), less.predict(TEST))
    last = again.without(("first", "second", "idle"))
    assert isinstance(last, NetworkPredictor)
    assert last.modalities == ("own",)
    assert last.model_options.fusion is None


def test_rows_that_are_asked_about_and_fitted_to_are_told() -> None:
    assert not [n for n in answer().notes if "retrain with holds" in n]
    rows = np.r_[np.arange(200, 230), 0:3]
    both = TRAIN.rows(rows)
    other = replace(both, target=np.where(np.arange(33) < 5, 99.0, np.asarray(both.target)))
    notes = ask(fitted(), other, "missing", rates=0.3, retrain=TRAIN, n_resamples=20).notes
    assert [n for n in notes if n.startswith("28 of the 33 rows asked about hold what a row to retrain with holds")]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param(
            PORTFOLIO,
            r"a network or a classical model .*got a PortfolioPredictor\. Ask a model of 'profuse fit --net",
            marks=pytest.mark.slow,
        ),
        ("trivial", "of two modalities or more"),
    ],
)
def test_what_cannot_be_fitted_anew_is_told_before_anything_is_fitted(
    kind: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retraining, "without", None)
    with pytest.raises(ConfigError, match=message):
        ask(predictor(kind, "binary"), data("binary")[0], "missing", rates=0.3, retrain=data("binary")[0])


def test_a_predictor_of_ones_own_and_parts_of_ones_own_cannot_be_fitted_anew() -> None:
    subject = QuestionSubject(lambda: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="missing: the predictor must be a network or a classical model .*Formula"):
        ask(subject.predictor, subject.dataset, "missing", retrain=subject.dataset)
    network: Any = predictor("network", "binary")
    with pytest.raises(ConfigError, match="the user's own fusion operator, of which"):
        Retraining.of(replace(network, own_parts=("fusion operator",)), data("binary")[0], who="missing")
    with pytest.raises(ConfigError, match="learned from the predictions of a portfolio"):
        Retraining.of(replace(network, about={"n_taught": 3}), data("binary")[0], who="missing")


def test_rows_to_retrain_with_must_have_a_target_and_known_classes() -> None:
    rows = frame(40)[["x", "colour", "note"]]
    with pytest.raises(DataError, match=r"target|size"):
        ask(predictor("linear", "binary"), data("binary")[0], "missing", retrain=rows)
    other = rows.assign(size=["tiny", "big"] * 20)
    with pytest.raises(DataError, match="tiny"):
        ask(predictor("linear", "binary"), data("binary")[0], "missing", retrain=other)


def table(n: int) -> pd.DataFrame:
    """Rows of two modalities: those of site b, where `size` tells the class the other way, count nine times."""
    rng = np.random.default_rng(0)
    site, size = np.where(np.arange(n) % 4, "a", "b"), rng.normal(size=n)
    told = np.where((size > 0) == (site == "a"), "yes", "no")
    return pd.DataFrame(
        {"size": size, "age": rng.normal(size=n), "n": np.where(site == "b", 9.0, 1.0), "site": site, "ill": told}
    )


OF_ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "weight": ({"weight": "n", "ignore": ["site"]}, {}),
    "subgroup": ({"subgroup": "site", "ignore": ["n"]}, {"subgroup_method": "sampling"}),
}


@pytest.mark.parametrize("role", OF_ROWS)
@pytest.mark.slow
def test_what_rows_count_in_learning_counts_in_the_fits_anew_too(role: str) -> None:
    named, training = OF_ROWS[role]
    parts = {"size": {"columns": ["size"]}, "age": {"columns": ["age"]}}
    schema = {"target": {"columns": ["ill"]}, "modalities": parts, **named}
    rows = table(60)
    model = FusionClassifier(schema=schema, epochs=2, width=8, members=1, **training).fit(rows).predictor_
    asked = ask(model, rows, "missing", rates=0.3, retrain=rows, metric="log_loss", n_resamples=20)
    by = {e.name: e for e in asked.estimates}
    assert by["all, retrained"].value == 0
    column = str(named[role])
    read = model.read(rows, need_target=True, to_learn=True)
    kept = read.weights if role == "weight" else read.subgroups
    assert kept is not None
    assert [str(value).removeprefix("site=") for value in kept] == [str(value) for value in rows[column]]
    assert model.read(rows, need_target=True).weights is None
    with pytest.raises(DataError, match=f"columns of weights and of subgroups; '{column}' is lacking. Add it"):
        ask(model, rows, "missing", rates=0.3, retrain=rows.drop(columns=column))


@pytest.mark.parametrize("kind", [pytest.param("network", marks=pytest.mark.slow), "classical"])
def test_what_has_learned_a_quantile_learns_it_again(kind: str) -> None:
    rows, new = made(300, 0), made(300, 1)
    of = metric("pinball")
    if kind == "network":
        options: dict[str, Any] = {"fusion": "concat", "width": 8, "members": 1, "epochs": 12}
        model: Predictor = FusionRegressor(metric="pinball", **options).fit(rows).predictor_
    else:
        prepared = Prepared.make(rows, Split(np.arange(240), np.arange(240, 300), np.empty(0, dtype=np.int64)))
        best = best_fit("linear", sorted(rows.modalities), prepared, TrainOptions(), trials=1, seed=0, metric=of)
        classical = best.predictor("linear", sorted(rows.modalities), prepared)
        model = classical.with_trained_on(trained_on(prepared, TrainOptions(), of))
    y, anew = np.asarray(new.target), Retraining.of(model, rows, who="ask").without(["own"])
    assert "own" not in anew.modalities
    assert (y <= anew.predict(new)).mean() == pytest.approx(0.9, abs=0.07)
    assert anew.trained_on is not None
    assert (anew.trained_on.metric, anew.trained_on.quantile) == ("pinball", 0.9)
