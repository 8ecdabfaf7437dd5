"""The linear model: terms of texts whole, beside dense features; skewed targets on the logarithm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_predictors import inputs, predictor
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.preprocessing import StandardScaler

from profuse.classical import ClassicalFit, classical, feature_sets_for, fit_classical, side_by_side
from profuse.classical._columns import BoundedRidge, Columns, OnLogarithm
from profuse.classical.linear import Linear
from profuse.data.features import features_named
from profuse.data.target import TargetCodec
from profuse.errors import ConfigError
from profuse.kinds import KINDS
from profuse.predictor import ClassicalPredictor, load_model

N = 400
ROWS = np.arange(N)
TRAIN, VALID = ROWS[:240], ROWS[240:300]


def terms(n: int = N, d: int = 3_000, seed: int = 0) -> sparse.csr_matrix:
    """Rows of length 1 of a few terms each, of many."""
    rng = np.random.default_rng(seed)
    x = sparse.lil_matrix((n, d), dtype=np.float32)
    for row in range(n):
        x[row, rng.choice(d, 4, replace=False)] = 0.5
    return x.tocsr()


def words(y: np.ndarray, seed: int = 0) -> sparse.csr_matrix:
    """One of 30 telling terms for each class (most are seen a few times), and a few that tell nothing."""
    rng = np.random.default_rng(seed)
    x = terms(len(y), seed=seed).tolil()
    x[np.arange(len(y)), 30 * y + rng.integers(0, 30, len(y))] = 0.7
    return x.tocsr()


def fit(parts: dict[str, Any], y: np.ndarray, task: Any, n_outputs: int, **more: Any) -> ClassicalFit:
    return fit_classical("linear", parts, y, TRAIN, VALID, task, n_outputs, **more)


class TestMatrix:
    def test_dense_features_stand_before_sparse_ones_and_nothing_is_lost(self) -> None:
        dense, thin = np.array([[1.0, np.nan], [0.0, 3.0]]), sparse.csr_matrix(np.array([[0.0, 5.0, 0.0], [6, 0, 0]]))
        made: Any = side_by_side([thin, dense, thin * 2], 2)
        assert sparse.issparse(made)
        np.testing.assert_array_equal(
            made.toarray(), np.concatenate([dense, thin.toarray(), 2 * thin.toarray()], axis=1)
        )
        assert side_by_side([thin], 2) is thin
        assert side_by_side([], 2).shape == (2, 0)

    def test_codes_are_those_of_the_dense_features_wherever_the_modality_stands(self) -> None:
        code = (np.arange(N) % 4).astype(float)[:, None]
        y = np.array([1.0, -1.0, 1.0, -1.0])[np.arange(N) % 4][:, None]
        told = {"z": (True,)}
        by_name = [fit({name: terms(), "z": code}, y, "regression", 1, categories=told) for name in ("a", "zz")]
        for found in by_name:
            np.testing.assert_array_equal(
                found.predict(side_by_side([code, terms()], N)), by_name[0].predict(side_by_side([code, terms()], N))
            )
        assert r2_score(y[300:], by_name[0].predict(side_by_side([code, terms()], N))[300:]) > 0.8

    def test_a_model_that_takes_no_sparse_features_refuses_them(self) -> None:
        with pytest.raises(
            ConfigError, match="gradient_boosting: features must be dense, .* got sparse ones of 'text'"
        ):
            fit_classical("gradient_boosting", {"text": terms()}, ROWS % 2, TRAIN, VALID, "binary", 2)

    @pytest.mark.parametrize("name", ["linear", "gradient_boosting"])
    def test_a_model_of_all_modalities_takes_one_set_a_kind_sparse_where_it_can(self, name: str) -> None:
        (sets,) = feature_sets_for(name, {kind: kind for kind in KINDS.builtin})
        assert list(sets) == list(KINDS.builtin)
        assert {m for m, s in sets.items() if features_named(s).sparse} == (
            {"text", "document"} if name == "linear" else set()
        )
        assert sets["table"] == "table"

    def test_a_single_one_takes_each_full_set_and_never_a_sparse_one_where_it_takes_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert feature_sets_for("yardstick", {"a": "image"}) == [{"a": "hog"}]
        assert feature_sets_for("yardstick", {"a": "text"}) == [{"a": "tfidf"}]
        monkeypatch.setattr(classical("yardstick"), "sparse", False)
        assert feature_sets_for("yardstick", {"a": "text"}) == [{"a": "lsa"}]


class TestTerms:
    def test_it_is_the_logistic_regression_of_the_best_strength_and_weight(self) -> None:
        rng = np.random.default_rng(0)
        y = rng.integers(0, 3, N)
        thin, dense = words(y), rng.normal(size=(N, 5)) * [1, 10, 100, 0.1, 1] + np.eye(5)[y] * 2
        found = fit({"text": thin, "table": dense}, y, "multiclass", 3)
        z = StandardScaler().fit(dense[TRAIN]).transform(dense)
        variance = np.var(thin[TRAIN].toarray(), axis=0).sum() / np.var(z[TRAIN], axis=0).sum()
        tried = []
        for ratio in (0.1, 1.0, 10.0):
            x = sparse.hstack([z * np.sqrt(variance / ratio), thin]).tocsr()
            for c in 10.0 ** np.arange(-2, 4):
                p = LogisticRegression(C=c, max_iter=1000).fit(x[TRAIN], y[TRAIN]).predict_proba(x)
                tried.append((log_loss(y[VALID], p[VALID]), p))
        loss, best = min(tried, key=lambda t: t[0])
        said = found.predict(side_by_side([dense, thin], N))
        np.testing.assert_allclose(said, best, atol=0.1)  # a hundred iterations: a coarser optimum
        assert log_loss(y[VALID], said[VALID]) < loss + 0.01
        np.testing.assert_array_equal(found.valid_prediction, said[VALID])

    def test_what_either_part_knows_is_used(self) -> None:
        rng = np.random.default_rng(1)
        a, b = rng.integers(0, 2, N), rng.integers(0, 2, N)
        y, dense = 2 * a + b, b[:, None] + 0.3 * rng.normal(size=(N, 1))
        parts = {"text": words(a), "table": dense}
        scores = {}
        for names in (("text",), ("table",), ("table", "text")):
            found = fit({n: parts[n] for n in names}, y, "multiclass", 4, refit=True)
            said = found.predict(side_by_side([parts[n] for n in names], N))[300:]
            scores[names] = accuracy_score(y[300:], said.argmax(1))
        assert max(scores["text",], scores["table",]) < 0.6
        assert scores["table", "text"] > 0.75

    def test_many_features_that_tell_nothing_do_not_drown_the_terms(self) -> None:
        rng = np.random.default_rng(2)
        y = rng.integers(0, 2, N)
        noise = rng.normal(size=(N, 300))
        alone = log_loss(y[300:], fit({"t": words(y)}, y, "binary", 2).predict(words(y))[300:])
        found = fit({"t": words(y), "a": noise}, y, "binary", 2)
        assert log_loss(y[300:], found.predict(side_by_side([noise, words(y)], N))[300:]) < alone + 0.15

    @pytest.mark.parametrize("task", ["multiclass", "regression"])
    def test_of_a_shuffled_target_it_learns_nothing(self, task: str) -> None:
        rng = np.random.default_rng(3)
        true = rng.integers(0, 3, N)
        parts = {"t": words(true), "a": np.eye(3)[true]}
        y = rng.permutation(true)
        target = y if task == "multiclass" else (y[:, None] - y.mean()) / y.std()
        said = fit(parts, target, task, 3 if task == "multiclass" else 1).predict(side_by_side([*parts.values()], N))
        if task == "multiclass":
            assert log_loss(y[300:], said[300:]) > np.log(3) - 0.03
            assert accuracy_score(y[300:], said[300:].argmax(1)) < 0.45
        else:
            assert r2_score(target[300:], said[300:]) < 0.05

    def test_that_a_row_has_no_text_is_seen(self) -> None:
        y = np.arange(N) % 2
        thin = terms().tolil()
        thin[y == 1] = 0
        said = fit({"t": thin.tocsr()}, y, "binary", 2).predict(thin.tocsr())
        assert accuracy_score(y, said.argmax(1)) == 1.0
        marked = Columns(None, (3_000,)).fit(thin.tocsr())
        assert marked.marked_ == [0]
        np.testing.assert_array_equal(marked.transform(thin.tocsr())[:, -1].toarray().ravel(), y)
        assert Columns(None, (3_000,)).fit(terms()).marked_ == []

    def test_labels_and_numbers_have_a_fit_each(self) -> None:
        rng = np.random.default_rng(4)
        labels = rng.integers(0, 2, (N, 2))
        parts = {"t": words(labels[:, 0]), "a": labels[:, 1:] + 0.1 * rng.normal(size=(N, 1))}
        x = side_by_side([parts["a"], parts["t"]], N)
        said = fit(parts, labels, "multilabel", 2).predict(x)
        assert ((said[300:] > 0.5) == labels[300:]).mean(0).min() > 0.85
        numbers = fit(parts, labels.astype(float), "regression", 2).predict(x)
        assert min(r2_score(labels[300:, j], numbers[300:, j]) for j in range(2)) > 0.4


def skewed(seed: int = 0, n: int = N, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Features, and positive numbers whose logarithm is linear in them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    return x, np.exp(x @ [1.0, -0.5, 0.5, 0.0] + noise * rng.normal(size=n))


def fit_numbers(x: np.ndarray, y: np.ndarray, **more: Any) -> tuple[ClassicalFit, TargetCodec]:
    codec = TargetCodec.fit(y[TRAIN], "regression")
    found = fit_classical(
        "linear", {"x": x}, codec.scale(y[:, None]), TRAIN, VALID, "regression", 1, **{"zero": codec.zero, **more}
    )
    return found, codec


def on_logarithm(found: ClassicalFit) -> bool:
    assert isinstance(found.model, Linear)
    return isinstance(found.model.estimators[0][-1], OnLogarithm)


class TestLogarithm:
    @pytest.mark.parametrize("refit", [False, True])
    def test_a_skewed_positive_target_is_learned_on_it(self, refit: bool) -> None:
        x, y = skewed()
        found, codec = fit_numbers(x, y, refit=refit)
        plain, _ = fit_numbers(x, y, refit=refit, zero=None)
        assert on_logarithm(found)
        assert not on_logarithm(plain)
        said = [codec.in_units(f.predict(x)) for f in (found, plain)]
        assert said[0].min() > 0
        assert r2_score(y[300:], said[0][300:]) > r2_score(y[300:], said[1][300:]) + 0.1

    def test_it_is_exp_of_a_ridge_regression_of_the_logarithm_times_one_factor(self) -> None:
        x, y = skewed()
        found, codec = fit_numbers(x, y)
        model: Any = found.model
        said = codec.in_units(found.predict(x))[:, 0]
        z = StandardScaler().fit(x[TRAIN]).transform(x)
        oracles = []
        for a in range(-2, 5):
            log = Ridge(10.0**a).fit(z[TRAIN], np.log(y[TRAIN])).predict(z)
            e = np.exp(np.clip(log, np.log(y[TRAIN]).min(), np.log(y[TRAIN]).max()))
            oracles.append(e * (e[VALID] @ y[VALID]) / (e[VALID] @ e[VALID]))
        np.testing.assert_allclose(said, min(oracles, key=lambda o: np.square(o - y)[VALID].sum()), rtol=1e-6)
        assert 0.5 <= model.estimators[0][-1].factor <= 2.0

    @pytest.mark.parametrize("change", [lambda y: y - 1.0, lambda y: -y, np.log, lambda y: 10 + np.log(y)])
    def test_another_target_is_left_as_it_is(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        x, y = skewed()
        assert not on_logarithm(fit_numbers(x, change(y))[0])

    def test_where_the_target_itself_is_linear_validation_rows_say_so(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.exponential(size=(N, 2))
        assert not on_logarithm(fit_numbers(x, 0.1 + x.sum(1) + 0.05 * rng.normal(size=N).clip(-1, 1))[0])

    def test_of_two_numbers_each_has_its_own(self) -> None:
        x, y = skewed()
        both = np.stack([x[:, 0], y], axis=1)
        codec = TargetCodec.fit(both[TRAIN], "regression", names=("a", "b"))
        found = fit_classical(
            "linear", {"x": x}, codec.scale(both), TRAIN, VALID, "regression", 2, zero=codec.zero, refit=True
        )
        model: Any = found.model
        assert [isinstance(e[-1], OnLogarithm) for e in model.estimators] == [False, True]
        assert found.n_parameters == 10
        again = Linear.from_state(model.state(), "regression", 2)
        np.testing.assert_array_equal(again.predict(x), found.predict(x))


class TestSaved:
    def test_with_terms_it_is_saved_and_says_the_same(self, tmp_path: Path) -> None:
        made = predictor("linear", "multiclass")
        assert isinstance(made, ClassicalPredictor)
        assert made.features.names == {"note": "tfidf", "table": "table"}
        made.save(tmp_path / "m")
        np.testing.assert_array_equal(load_model(tmp_path / "m").predict_proba(inputs()), made.predict_proba(inputs()))

    @pytest.mark.parametrize("task", ["multiclass", "regression"])
    @pytest.mark.parametrize("change", ["widths", "marked", "more"])
    def test_columns_that_do_not_fit_the_coefficients_are_refused(self, task: Any, change: str) -> None:
        made: Any = predictor("linear", task)
        model = Linear.from_state(made.model.state(), task, made.codec.n_outputs)
        columns = model.estimators[0][0]
        if change == "widths":
            columns.widths = (columns.widths[0] + 1,)
        elif change == "more":
            columns.widths = (*columns.widths, 5)
        else:
            columns.marked_ = [3]
        with pytest.raises(ValueError, match="columns of a linear model must be those of its coefficients"):
            Linear.from_state(model.state(), task, made.codec.n_outputs)


def test_a_number_beyond_all_bounds_moves_a_prediction_no_further_than_the_width_of_the_targets() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = x[:, 0] + 0.1 * rng.normal(size=200)
    model = BoundedRidge(alpha=1.0).fit(x, y)
    far = np.array([[1e99, 0, 0], [-1e300, 0, 0]])
    width = np.ptp(y)
    np.testing.assert_allclose(model.predict(far), [y.max() + width, y.min() - width])
    np.testing.assert_array_equal(model.predict(x), Ridge(alpha=1.0).fit(x, y).predict(x))
