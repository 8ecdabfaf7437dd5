"""Extremely randomised trees: as scikit-learn grows them, kept as arrays; categories by what other rows tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from made_predictors import predictor
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.metrics import accuracy_score, log_loss, r2_score

from profuse.classical import ClassicalFit, extra_trees, fit_classical
from profuse.classical._forest import Forest, _at_most
from profuse.classical._levels import Levels
from profuse.classical._machines import error_of
from profuse.classical.extra_trees import ExtraTrees, _Setting

N = 600
TRAIN, VALID = np.arange(240), np.arange(240, 300)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra_trees, "_N_TREES", 40)
    monkeypatch.setattr(extra_trees, "_N_TRIED", 20)


def numbers(d: int = 6, seed: int = 0, missing: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, d))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]
    x[rng.random(x.shape) < missing] = np.nan
    return x, y


def fit(x: np.ndarray, y: np.ndarray, task: Any, n_outputs: int, **more: Any) -> ClassicalFit:
    target = y[:, None] if task == "regression" and y.ndim == 1 else y
    return fit_classical("extra_trees", {"x": x}, target, TRAIN, VALID, task, n_outputs, **more)


class TestForest:
    def test_it_predicts_as_the_trees_that_it_is_made_of(self) -> None:
        x, y = numbers()
        for missing in (True, False):
            learned = x if missing else np.nan_to_num(x)  # with none missing in training, one that comes has its side
            classes = ExtraTreesClassifier(10, random_state=0).fit(learned[:300], np.digitize(y[:300], [-0.5, 0.5]))
            values = ExtraTreesRegressor(10, random_state=0).fit(learned[:300], y[:300])
            both = ExtraTreesRegressor(10, random_state=0).fit(learned[:300], np.stack([y, -y], axis=1)[:300])
            for model, oracle in (
                (classes, classes.predict_proba(x)),
                (values, values.predict(x)[:, None]),
                (both, both.predict(x)),
            ):
                forest = Forest.of([tree.tree_ for tree in model.estimators_])
                said = forest.predict(x.astype(np.float32))
                np.testing.assert_allclose(said, oracle, atol=1e-6)
                again = Forest.from_state(forest.state(), 6, oracle.shape[1])
                np.testing.assert_array_equal(again.predict(x.astype(np.float32)), said)

    def test_single_precision_of_a_threshold_sends_every_number_where_it_went(self) -> None:
        rng = np.random.default_rng(0)
        thresholds = np.concatenate([rng.normal(size=2_000), rng.normal(size=2_000) * 1e-30, [0.0, 1.0, -1.0]])
        near = _at_most(thresholds)
        for x in (thresholds.astype(np.float32), near, np.nextafter(near, np.float32(np.inf))):
            np.testing.assert_array_equal(x <= near, x.astype(np.float64) <= thresholds)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda s: s["features"].__setitem__(0, 99), "nodes of a tree must lead to later ones"),
            (lambda s: s["right"].__setitem__(0, 0), "nodes of a tree must lead to later ones"),
            (lambda s: s["right"].__setitem__(0, 10**6), "nodes of a tree must lead to later ones"),
            (lambda s: s["right"].__setitem__(0, s["starts"][1]), "nodes of a tree must lead to later ones"),
            (lambda s: s["right"].__setitem__(-1, 10**6), "leaves of a tree must hold finite numbers"),
            (lambda s: s["right"].__setitem__(-1, -1), "leaves of a tree must hold finite numbers"),
            (lambda s: s["leaves"].__setitem__(0, np.nan), "leaves of a tree must hold finite numbers"),
            (lambda s: s.update(leaves=s["leaves"][:-1]), "leaves of a tree must hold finite numbers"),
            (lambda s: s.update(leaves=s["leaves"][:, :1]), "arrays of one length that predict 3 numbers"),
            (lambda s: s.update(right=s["right"][:-1]), "arrays of one length that predict 3 numbers"),
            (lambda s: s.update(features=s["features"].astype(float)), "arrays of one length that predict 3 numbers"),
            (lambda s: s.update(starts=s["starts"][::-1]), "must begin one behind the other"),
            (lambda s: s.update(starts=s["starts"][:0]), "must begin one behind the other"),
            (lambda s: s["starts"].__setitem__(-1, len(s["right"])), "must begin one behind the other"),
        ],
    )
    def test_one_that_a_walk_would_leave_is_refused(
        self, change: Callable[[dict[str, np.ndarray]], Any], told: str
    ) -> None:
        x, y = numbers()
        model = ExtraTreesClassifier(3, random_state=0).fit(x[:300], np.digitize(y[:300], [-0.5, 0.5]))
        state = {k: v.copy() for k, v in Forest.of([tree.tree_ for tree in model.estimators_]).state().items()}
        Forest.from_state(state, 6, 3)
        change(state)
        with pytest.raises(ValueError, match=told):
            Forest.from_state(state, 6, 3)


class TestLevels:
    def test_few_levels_are_columns_and_many_are_means_and_counts(self) -> None:
        x = np.array([[0.0, 5.0, k % 10] for k in range(40)] + [[1.0, np.nan, np.nan]])
        y = np.arange(41.0)[:, None]
        levels, _ = Levels.fit(x, np.array([0, 2]), y, 0)
        z = levels(np.array([[1.0, 7.0, 3.0], [2.0, 7.0, 99.0], [np.nan, 7.0, np.nan]]))
        assert levels.n_columns == z.shape[1] == 1 + 2 + 2
        mean = (3 + 13 + 23 + 33 + 5 * y.mean()) / 9
        expected = [[7, 0, 1, mean, np.log(5)], [7, 0, 0, y.mean(), 0], [7, 0, 0, y.mean(), 0]]
        np.testing.assert_allclose(z, expected)

    def test_a_rows_own_target_is_in_none_of_its_numbers(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.integers(0, 20, (100, 1)).astype(float)
        y = rng.normal(size=(100, 2))
        _, before = Levels.fit(x, np.array([0]), y, 0)
        for row in (0, 17, 99):
            other = y.copy()
            other[row] += 1e3
            _, after = Levels.fit(x, np.array([0]), other, 0)
            np.testing.assert_allclose(after[row], before[row], rtol=1e-9)
            assert np.abs(after - before).max() > 10  # others' are

    def test_of_levels_that_tell_nothing_training_rows_learn_nothing(self) -> None:
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 200, (400, 1)).astype(float), rng.normal(size=(400, 1))
        levels, z = Levels.fit(x, np.array([0]), y, 0)
        assert np.corrcoef(levels(x)[:, 0], y[:, 0])[0, 1] > 0.5  # what rows would see of themselves
        assert abs(np.corrcoef(z[:, 0], y[:, 0])[0, 1]) < 0.15

    @pytest.mark.parametrize(
        "change",
        [
            lambda s: s.update(n_features=0),
            lambda s: s.update(counts=s["counts"][:-1]),
            lambda s: s.update(counts=-s["counts"]),
            lambda s: s.update(sums=s["sums"] * np.nan),
            lambda s: s.update(mean=np.zeros(5)),
            lambda s: s.update(many=np.array(s["many"])[::-1]),
        ],
        ids=range(6),
    )
    def test_a_changed_state_is_refused(self, change: Callable[[dict[str, Any]], Any]) -> None:
        x = np.stack([np.arange(40.0) % 10, np.arange(40.0) % 20], axis=1)
        state = Levels.fit(x, np.array([0, 1]), x[:, :1], 0)[0].state()
        np.testing.assert_array_equal(Levels.from_state(state)(x), Levels.fit(x, np.array([0, 1]), x[:, :1], 0)[0](x))
        change(state)
        with pytest.raises(ValueError, match="levels of categories must be those of features that there are"):
            Levels.from_state(state)


class TestModel:
    def test_it_learns_what_no_line_can(self) -> None:
        x, y = numbers(missing=0.0)
        assert r2_score(y[300:], fit(x, y, "regression", 1, refit=True).predict(x)[300:]) > 0.55
        linear = fit_classical("linear", {"x": x}, y[:, None], TRAIN, VALID, "regression", 1)
        assert r2_score(y[300:], linear.predict(x)[300:]) < 0.4

    @pytest.mark.parametrize("refit", [False, True])
    def test_of_a_shuffled_target_it_learns_nothing(self, refit: bool) -> None:
        x, y = numbers()
        codes = np.random.default_rng(1).integers(0, 100, N)[:, None]
        classes = np.random.default_rng(0).permutation(np.digitize(y, [-0.5, 0.5]))
        parts = np.concatenate([x, codes], axis=1)
        said = fit(parts, classes, "multiclass", 3, refit=refit, categories={"x": [False] * 6 + [True]}).predict(parts)
        np.testing.assert_allclose(said.sum(1), 1.0)
        base = log_loss(classes[300:], np.tile(np.bincount(classes[:300]) / 300, (300, 1)))
        assert log_loss(classes[300:], said[300:]) > base - 0.02
        assert accuracy_score(classes[300:], said[300:].argmax(1)) < np.bincount(classes).max() / N + 0.06

    def test_validation_rows_choose_how_trees_are_grown_and_how_sure_they_are(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x, y = numbers()
        classes = np.digitize(y, [-0.5, 0.5])
        monkeypatch.setattr(extra_trees, "_N_TRIED", 40)
        wanted = np.eye(3)[classes[VALID]]
        alone = {}
        for setting in extra_trees._SETTINGS:
            with monkeypatch.context() as patch:
                patch.setattr(extra_trees, "_SETTINGS", (setting,))
                alone[setting] = fit(x, classes, "multiclass", 3).valid_prediction
        chosen = fit(x, classes, "multiclass", 3)
        best = min(alone.values(), key=lambda p: error_of("multiclass", wanted, p))
        np.testing.assert_array_equal(chosen.valid_prediction, best)
        np.testing.assert_array_equal(chosen.predict(x)[VALID], best)
        model: Any = chosen.model
        for sharpness in (0.5, 1.0, 4.0):
            other = ExtraTrees.from_state({**model.state(), "sharpness": sharpness}, "multiclass", 3)
            assert error_of("multiclass", wanted, other.predict(x[VALID])) >= error_of("multiclass", wanted, best)

    def test_a_category_of_many_levels_is_learned_and_an_unknown_one_taken(self) -> None:
        rng = np.random.default_rng(0)
        x = rng.integers(0, 30, (N, 1)).astype(float)
        y = rng.normal(size=30)[x[:, 0].astype(int)] + 0.3 * rng.normal(size=N)
        found = fit(x, y, "regression", 1, categories={"x": (True,)}, refit=True)
        assert r2_score(y[300:], found.predict(x)[300:]) > 0.7
        said = found.predict(np.array([[np.nan], [77.0]]))
        assert np.isfinite(said).all()
        assert np.ptp(said) == 0

    @pytest.mark.parametrize("task", ["multilabel", "regression"])
    def test_several_labels_or_numbers_are_predicted_at_once(self, task: Any) -> None:
        x, y = numbers()
        both = np.stack([y, x[:, 3].copy()], axis=1)
        both[np.isnan(both)] = 0.0
        target = (both > 0).astype(float) if task == "multilabel" else both
        said = fit(np.nan_to_num(x), target, task, 2).predict(np.nan_to_num(x))
        if task == "multilabel":
            assert ((said[300:] > 0.5) == target[300:]).mean(0).min() > 0.7
        else:
            assert min(r2_score(target[300:, j], said[300:, j]) for j in range(2)) > 0.3

    def test_a_class_that_only_validation_rows_have_is_no_obstacle(self) -> None:
        x, y = numbers()
        classes = (y > 0).astype(int)
        classes[290:300] = 2
        assert fit(x, classes, "multiclass", 3).predict(x)[:, 2].max() < 0.05
        assert fit(x, classes, "multiclass", 3, refit=True).predict(x)[:, 2].max() > 0.1

    def test_numbers_beyond_single_precision_and_constants_are_taken(self) -> None:
        x, y = numbers()
        x[:, 4], x[0, 5], x[1, 5] = 1e300, -1e300, 1e-300
        assert np.isfinite(fit(x, y, "regression", 1).predict(x)).all()

    def test_leaves_hold_no_more_numbers_than_their_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(extra_trees, "_MOST_NUMBERS", 5_000)
        monkeypatch.setattr(extra_trees, "_SETTINGS", (_Setting(1, 0.0),))
        x, y = numbers()
        assert fit(x, np.digitize(y, [-0.5, 0.5]), "multiclass", 3).n_parameters * 3 <= 5_000

    @pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression", "two numbers"])
    def test_a_saved_one_is_plain_numbers_and_a_changed_one_is_refused(self, task: str) -> None:
        made: Any = predictor("extra_trees", task)
        state, of = made.model.state(), (made.codec.task, made.codec.n_outputs)
        ExtraTrees.from_state(state, *of)
        for sharpness in (0.0, -1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match="sharpness must be above 0"):
                ExtraTrees.from_state({**state, "sharpness": sharpness}, *of)
        levels = {**state["levels"], "numbers": state["levels"]["numbers"][:0]}
        features = state["forest"]["features"]
        state["forest"]["features"] = np.where(features >= 0, made.model.levels.n_columns - 1, features)
        ExtraTrees.from_state(state, *of)
        with pytest.raises(ValueError, match="by features that there are"):
            ExtraTrees.from_state({**state, "levels": levels}, *of)
