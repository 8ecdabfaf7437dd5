"""Boosting by packages that may be missing: kept as arrays, which say what the package's own model says."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, r2_score

from profuse._optional import need
from profuse.classical import CLASSICAL, classical, fit_classical, fittable
from profuse.classical._boosting import Boosting, Learned
from profuse.classical._forest import Forest
from profuse.comparison.methods import methods_for
from profuse.errors import MissingDependencyError
from profuse.models.options import ModelOptions

N = 600
TRAIN, VALID = np.arange(240), np.arange(240, 300)
NAMES = ("lightgbm", "catboost")
OUTPUTS: dict[str, int] = {"binary": 2, "multiclass": 3, "multilabel": 2, "regression": 2}


def rows(seed: int = 0, missing: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, 6))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]
    x[rng.random(x.shape) < missing] = np.nan
    return x, y


def target(y: np.ndarray, task: str) -> np.ndarray:
    if task in ("binary", "multiclass"):
        return np.asarray(np.digitize(y, [0.0] if task == "binary" else [-0.5, 0.5]))
    both = np.stack([y, -y], axis=1)
    return (both > 0.2).astype(np.float32) if task == "multilabel" else both


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    if find_spec(request.param) is None:
        pytest.skip(f"the package {request.param} is not installed (extra trees)")
    return str(request.param)


def spied(name: str) -> tuple[Any, list[Any]]:
    """Returns the package as a model sees it, and where the boosters that it makes are left."""
    package, made = need(name, "trees", "tests"), list[Any]()

    def kept(booster: Any) -> Any:
        made.append(booster)
        return booster

    if name == "catboost":
        return SimpleNamespace(CatBoost=lambda options: kept(package.CatBoost(options))), made
    train = lambda *args, **more: kept(package.train(*args, **more))  # noqa: E731
    return SimpleNamespace(Dataset=package.Dataset, early_stopping=package.early_stopping, train=train), made


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("held", [True, False])
def test_the_arrays_say_what_the_packages_own_model_says(name: str, task: Any, missing: float, held: bool) -> None:
    x, y = rows(missing=missing)
    x = x.astype(np.float32)
    y = y if task == "regression" else target(y, task)
    package, made = spied(name)
    cls: Any = classical(name)
    out = Learned(x[VALID], y[VALID]) if held else None
    model = cls(task, OUTPUTS[task] if task != "regression" else 1)
    grown = model.grow(package, Learned(x[TRAIN], y[TRAIN]), out, settings=cls.trials[0], seed=0, n_rounds=60)
    asked = rows(1, 0.3)[0].astype(np.float32)  # with missing numbers, of which training may have had none
    if name == "catboost" and missing == 0.0:
        asked = rows(1, 0.0)[0].astype(np.float32)  # the package refuses them
    own = {"prediction_type": "RawFormulaVal"} if name == "catboost" else {"raw_score": True}
    oracle = made[0].predict(asked, **own).reshape(N, -1)
    np.testing.assert_allclose(Forest.grown(grown.trees).total(asked) + grown.offset, oracle, atol=1e-4)
    assert len(grown.trees) == grown.n_rounds * (3 if task == "multiclass" and name == "lightgbm" else 1)
    assert grown.n_rounds <= 60 if held else grown.n_rounds == 60


@pytest.mark.slow
@pytest.mark.parametrize("task", OUTPUTS)
@pytest.mark.parametrize("refit", [False, True])
def test_it_learns_and_is_kept(name: str, task: Any, refit: bool) -> None:
    x, y = rows(missing=0.02)
    y = target(y, task)
    made = fit_classical(name, {"x": x}, y, TRAIN, VALID, task, OUTPUTS[task], refit=refit)
    said = made.predict(x)
    if task == "regression":
        assert r2_score(y[300:], said[300:]) > 0.5
    elif task == "multilabel":
        assert ((said[300:] > 0.5) == y[300:]).mean(0).min() > 0.7
    else:
        np.testing.assert_allclose(said.sum(1), 1.0)
        assert accuracy_score(y[300:], said[300:].argmax(1)) > (0.75 if task == "binary" else 0.6)
    if not refit:
        np.testing.assert_array_equal(made.valid_prediction, said[VALID])
    model: Any = made.model
    again = type(model).from_state(model.state(), task, OUTPUTS[task])
    np.testing.assert_array_equal(again.predict(x), said)
    repeated = fit_classical(name, {"x": x}, y, TRAIN, VALID, task, OUTPUTS[task], refit=refit)
    np.testing.assert_array_equal(repeated.predict(x), said)


def test_of_a_shuffled_target_it_learns_nothing(name: str) -> None:
    x, y = rows()
    y = np.random.default_rng(0).permutation(target(y, "multiclass"))
    codes = np.random.default_rng(1).integers(0, 100, N)[:, None]
    x = np.concatenate([x, codes], axis=1)
    told = {"x": [False] * 6 + [True]}
    said = fit_classical(name, {"x": x}, y, TRAIN, VALID, "multiclass", 3, categories=told, refit=True).predict(x)
    base = log_loss(y[300:], np.tile(np.bincount(y[:300]) / 300, (300, 1)))
    assert log_loss(y[300:], said[300:]) > base - 0.02
    assert log_loss(y[300:], said[300:]) < base + 0.2


def test_a_category_of_many_levels_is_learned_and_an_unknown_one_taken(name: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 30, (N, 1)).astype(float)
    y = (rng.normal(size=30)[x[:, 0].astype(int)] + 0.3 * rng.normal(size=N))[:, None]
    made = fit_classical(name, {"x": x}, y, TRAIN, VALID, "regression", 1, categories={"x": (True,)}, refit=True)
    assert r2_score(y[300:], made.predict(x)[300:]) > 0.6
    assert np.isfinite(made.predict(np.array([[np.nan], [77.0]]))).all()


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_a_class_or_label_that_training_lacks_is_no_obstacle(name: str, task: Any) -> None:
    x, y = rows()
    y = target(y, task)
    if task == "multilabel":
        y[:300, 0] = 0
    else:
        y[:300] = np.minimum(y[:300], 0 if task == "binary" else 1)
    said = fit_classical(name, {"x": x}, y, TRAIN, VALID, task, OUTPUTS[task], refit=True).predict(x)
    assert (said[:, 0] if task == "multilabel" else said[:, -1]).max() < 0.05


def test_numbers_beyond_single_precision_constants_and_no_features_are_taken(name: str) -> None:
    x, y = rows()
    x[:, 4], x[0, 5], x[1, 5] = 1e300, -1e300, 1e-300
    for features in (x, x[:, :0]):
        made = fit_classical(name, {"x": features}, y[:, None], TRAIN, VALID, "regression", 1, refit=True)
        assert np.isfinite(made.predict(features)).all()


@pytest.mark.parametrize("offset", [np.zeros(3), np.array([np.nan, 0.0]), np.array([0, 1])])
def test_a_changed_state_is_refused(name: str, offset: np.ndarray) -> None:
    x, y = rows()
    model: Any = fit_classical(name, {"x": x}, target(y, "binary"), TRAIN, VALID, "binary", 2).model
    state = model.state()
    with pytest.raises(ValueError, match="offset must be 2 finite numbers"):
        type(model).from_state({**state, "offset": offset}, "binary", 2)
    forest = {**state["forest"], "features": np.full_like(state["forest"]["features"], 6)}
    with pytest.raises(ValueError, match="nodes of a tree must lead to later ones, by features that there are"):
        type(model).from_state({**state, "forest": forest}, "binary", 2)


@pytest.mark.parametrize("missing", NAMES)
def test_where_its_package_is_missing_a_comparison_has_no_such_row_and_a_fit_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profuse.classical.find_spec", lambda name: None if name == missing else object())
    other = next(name for name in NAMES if name != missing)
    assert set(CLASSICAL.builtin) - set(fittable()) == {missing}
    methods, skipped = methods_for(["a", "b"], (), rounds=(), base=ModelOptions(), task="binary", singles=())
    assert other in {m.name for m in methods}
    assert missing not in {m.name for m in methods} | {s.method for s in skipped}
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    x, y = rows()
    with pytest.raises(MissingDependencyError, match=rf"'{missing}' must be installed.*pip install 'profuse\[trees\]'"):
        fit_classical(missing, {"x": x}, y[:, None], TRAIN, VALID, "regression", 1)


@pytest.mark.parametrize("missing", NAMES)
def test_a_saved_one_predicts_where_its_package_is_missing(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows()
    if find_spec(missing) is None:
        pytest.skip(f"the package {missing} is not installed (extra trees): nothing to save")
    made = fit_classical(missing, {"x": x}, target(y, "multiclass"), TRAIN, VALID, "multiclass", 3)
    cls = classical(missing)
    assert issubclass(cls, Boosting)
    state = made.model.state()
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    np.testing.assert_array_equal(cls.from_state(state, "multiclass", 3).predict(x), made.predict(x))
