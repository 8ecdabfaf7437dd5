"""The classical baselines: what they see, how strong and how long, against scikit-learn by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge, RidgeCV
from sklearn.metrics import log_loss, r2_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from profuse.classical import ClassicalFit, classical, fit_classical
from profuse.comparison.jobs import Job, prepare, read_result, run_job
from profuse.comparison.methods import Method
from profuse.data.feature_pipeline import FeaturePipeline
from profuse.data.tensors import from_frame
from profuse.models.options import ModelOptions
from profuse.schema import SplitOptions, Task
from profuse.training.options import TrainOptions

CODES = {"x": (True,)}


def numbers(n: int, d: int, seed: int = 0, unseen: int = 2_000) -> tuple[np.ndarray, np.ndarray]:
    """Returns features and a linear score of variance 1."""
    x = np.random.default_rng(seed).normal(size=(n + unseen, d))
    return x, x @ np.ones(d) / np.sqrt(d)


def fit(
    name: str, x: np.ndarray, y: np.ndarray, n: int, task: Task = "regression", n_outputs: int = 1, **more: object
) -> ClassicalFit:
    """Fits on the first 4/5 of the `n` known rows, the rest is for validation."""
    target = y[:, None] if task == "regression" else y
    rows = np.arange(n)
    cut = n * 4 // 5
    return fit_classical(name, {"x": x}, target, rows[:cut], rows[cut:], task, n_outputs, **more)  # type: ignore[arg-type]


class TestCategories:
    @pytest.fixture
    def town(self) -> tuple[np.ndarray, np.ndarray]:
        """Eight towns whose effects alternate in the order of their codes, and a number."""
        rng = np.random.default_rng(0)
        code = rng.integers(0, 8, 2_400)
        x = np.stack([code, rng.normal(size=2_400) * 10], axis=1).astype(float)
        return x, np.array([1.0, -1.0] * 4)[code] + 0.05 * x[:, 1] + 0.3 * rng.normal(size=2_400)

    @pytest.mark.parametrize("refit", [False, True])
    def test_the_linear_model_sees_one_column_a_category(
        self, town: tuple[np.ndarray, np.ndarray], refit: bool
    ) -> None:
        x, y = town
        known = slice(0, 400 if refit else 320)
        said = fit("linear", x, y, 400, refit=refit, categories={"x": (True, False)}).predict(x)[:, 0]
        one_hot, scaler = OneHotEncoder(sparse_output=False), StandardScaler()
        seen = np.c_[one_hot.fit_transform(x[known, :1]), scaler.fit_transform(x[known, 1:])]
        every = np.c_[one_hot.transform(x[:, :1]), scaler.transform(x[:, 1:])]
        by_hand = [Ridge(10.0**a).fit(seen, y[known]).predict(every) for a in range(-2, 5)]
        assert min(np.abs(said - oracle).max() for oracle in by_hand) < 1e-3  # sparse columns: an iterative solver
        assert (
            r2_score(y[400:], said[400:]) > r2_score(y[400:], RidgeCV().fit(seen, y[known]).predict(every)[400:]) - 0.02
        )

    def test_without_being_told_a_code_is_a_number(self, town: tuple[np.ndarray, np.ndarray]) -> None:
        x, y = town
        assert r2_score(y[400:], fit("linear", x, y, 400).predict(x[400:])) < 0.4

    @pytest.mark.parametrize("name", ["linear", "gradient_boosting"])
    @pytest.mark.parametrize("task", ["regression", "binary"])
    def test_a_missing_or_unknown_category_is_predicted(self, name: str, task: Task) -> None:
        code = np.arange(400.0) % 4
        y = code % 2 if task == "regression" else (code % 2).astype(int)
        x = np.where(np.arange(400) % 5 == 0, np.nan, code)[:, None]
        learned = fit(name, x, y, 400, task, 2 if task == "binary" else 1, categories=CODES, refit=True)
        said = learned.predict(np.array([[0.0], [1.0], [np.nan], [17.0]]))[:, -1]
        assert said[0] < 0.2
        assert said[1] > 0.8
        assert 0.2 < said[2] < 0.8
        assert np.isfinite(said).all()

    @pytest.mark.parametrize("name", ["linear", "gradient_boosting"])
    def test_a_missing_cell_that_train_never_had_is_predicted(self, name: str) -> None:
        x = (np.arange(200.0) % 4)[:, None]
        learned = fit(name, x, x[:, 0] % 2, 200, categories=CODES)
        assert 0 <= learned.predict(np.array([[np.nan]])).item() <= 1

    @pytest.mark.parametrize("name", ["linear", "gradient_boosting"])
    @pytest.mark.parametrize("n_levels", [64, 255, 256, 3_000])
    @pytest.mark.parametrize("n", [200, 2_000, 6_000])
    def test_any_number_of_levels_is_taken(self, name: str, n_levels: int, n: int) -> None:
        x = (np.arange(n + 100.0) % n_levels)[:, None]
        x[::9] = np.nan
        y = np.random.default_rng(0).normal(size=n_levels + 1)[np.nan_to_num(x[:, 0], nan=-1.0).astype(int)]
        said = fit(name, x, y, n, categories=CODES, refit=True).predict(x[n:])
        assert np.isfinite(said).all()
        assert n < 20 * n_levels or r2_score(y[n:], said) > 0.9

    def test_trees_are_told_of_categories_that_have_rows_enough(self, town: tuple[np.ndarray, np.ndarray]) -> None:
        x, y = town
        said = {
            (n, told): fit("gradient_boosting", x, y, n, categories={"x": (told, False)}).predict(x)[:, 0]
            for n in (160, 120)
            for told in (True, False)
        }
        assert r2_score(y[400:], said[160, True][400:]) > r2_score(y[400:], said[160, False][400:]) + 0.05
        np.testing.assert_array_equal(said[120, True], said[120, False])

    def test_codes_are_found_behind_the_modalities_before(self, town: tuple[np.ndarray, np.ndarray]) -> None:
        x, y = town
        rows, told = np.arange(400), {"b": (True,)}
        parts = {"b": x[:, :1], "a": x[:, 1:]}
        said = fit_classical("linear", parts, y[:, None], rows[:320], rows[320:], "regression", 1, categories=told)
        together = fit("linear", x[:, ::-1], y, 400, categories={"x": (False, True)})
        np.testing.assert_array_equal(said.predict(x[:, ::-1]), together.predict(x[:, ::-1]))

    def test_the_features_of_a_table_tell_its_categories(self) -> None:
        frame = pd.DataFrame({"town": list("abca"), "n": [1.0, 2.0, 3.0, 4.0]})
        dataset, _ = from_frame(frame, np.arange(4.0))
        features = FeaturePipeline.fit(dataset, np.arange(4), {"table": None})
        assert features.categories == {"table": (True, False)}
        assert FeaturePipeline.from_state(features.state()).categories == features.categories

    @pytest.mark.parametrize("name", ["linear", "gradient_boosting"])
    def test_a_comparison_tells_them(self, town: tuple[np.ndarray, np.ndarray], name: str, tmp_path: Path) -> None:
        x, y = town[0][:250], town[1][:250]
        frame = pd.DataFrame({"town": pd.Series(list("abcdefgh"))[x[:, 0].astype(int)].to_numpy(), "number": x[:, 1]})
        dataset, _ = from_frame(frame, y)
        prepare(dataset, SplitOptions(), 0, tmp_path / "prepared", ModelOptions())
        method = Method(name=name, role="classical", modalities=("table",))
        job = Job(method, 0, TrainOptions(), trials=2, folder=tmp_path / name, prepared=tmp_path / "prepared")
        found = read_result(run_job(job))
        assert r2_score(found.true, found.prediction) > 0.8


class TestStrength:
    @pytest.mark.parametrize("n", [60, 100, 500])
    @pytest.mark.parametrize("d", [3, 10])
    def test_a_small_regression_is_about_as_good_as_cross_validated_ridge(self, n: int, d: int) -> None:
        ours, oracle = [], []
        for seed in range(4):
            x, score = numbers(n, d, seed)
            y = score + 0.3 * np.random.default_rng(seed + 100).normal(size=len(score))
            ours.append(r2_score(y[n:], fit("linear", x, y, n, refit=True).predict(x[n:])[:, 0]))
            oracle.append(r2_score(y[n:], RidgeCV(np.logspace(-3, 3, 13)).fit(x[:n], y[:n]).predict(x[n:])))
        assert np.mean(ours) > np.mean(oracle) - 0.02

    @pytest.mark.filterwarnings("ignore::FutureWarning")
    @pytest.mark.parametrize("n", [60, 200])
    def test_a_small_classification_is_about_as_good_as_cross_validated_logistic_regression(self, n: int) -> None:
        ours, oracle = [], []
        for seed in range(4):
            x, _ = numbers(n, 5, seed)
            chance = 1 / (1 + np.exp(-3 * x[:, 0] - 1.5))
            y = (np.random.default_rng(seed + 100).random(len(x)) < chance).astype(int)
            ours.append(log_loss(y[n:], fit("linear", x, y, n, "binary", 2, refit=True).predict(x[n:])))
            cv = LogisticRegressionCV(cv=3, scoring="neg_log_loss").fit(x[:n], y[:n])
            oracle.append(log_loss(y[n:], cv.predict_proba(x[n:])))
        assert np.mean(ours) < np.mean(oracle) + 0.05

    def test_noise_is_held_near_the_mean(self) -> None:
        x = np.random.default_rng(0).normal(size=(2_100, 60))
        y = np.random.default_rng(1).normal(size=2_100)
        assert r2_score(y[100:], fit("linear", x, y, 100, refit=True).predict(x[100:])[:, 0]) > -0.1

    def test_the_strength_is_the_one_of_the_smallest_log_loss_on_validation_rows(self) -> None:
        x, score = numbers(150, 6)
        y = np.digitize(score + np.random.default_rng(1).normal(size=len(score)), [-0.5, 0.5])
        learned = fit("linear", x, y, 150, "multiclass", 3)
        z = StandardScaler().fit(x[:120]).transform(x)
        said = [
            LogisticRegression(C=10.0**c, max_iter=300).fit(z[:120], y[:120]).predict_proba(z) for c in range(-4, 3)
        ]
        chosen = min(said, key=lambda p: log_loss(y[120:150], p[120:150]))
        np.testing.assert_allclose(learned.predict(x), chosen, atol=2e-3)
        np.testing.assert_allclose(learned.valid_prediction, learned.predict(x[120:150]))

    def test_the_strength_chosen_is_that_of_the_refit(self) -> None:
        x, score = numbers(100, 4)
        x = x * [1, 10, 100, 0.1]
        y = score + np.random.default_rng(1).normal(size=len(score))
        z = StandardScaler().fit(x[:80]).transform(x)
        fits = {a: Ridge(alpha=a).fit(z[:80], y[:80]) for a in 10.0 ** np.arange(-2, 5)}
        alpha = min(fits, key=lambda a: np.square(fits[a].predict(z[80:100]) - y[80:100]).sum())
        again = StandardScaler().fit(x[:100])
        oracle = Ridge(alpha=alpha).fit(again.transform(x[:100]), y[:100]).predict(again.transform(x))
        learned = fit("linear", x, y, 100, refit=True)
        np.testing.assert_allclose(learned.predict(x)[:, 0], oracle)
        np.testing.assert_allclose(learned.valid_prediction[:, 0], fits[alpha].predict(z[80:100]))

    def test_it_has_one_configuration(self) -> None:
        assert len(classical("linear").trials) == 1

    def test_a_class_that_only_validation_rows_have_is_no_obstacle(self) -> None:
        x, score = numbers(100, 3)
        y = (score > 0).astype(int)
        y[95:100] = 2
        learned = fit("linear", x, y, 100, "multiclass", 3, refit=True)
        assert learned.valid_prediction[:, 2].max() == 0
        assert learned.predict(x)[:, 2].max() > 0


class TestTrees:
    @pytest.mark.parametrize("task", ["regression", "binary"])
    def test_as_many_are_kept_as_validation_chose(self, task: Task) -> None:
        x, score = numbers(200, 8, unseen=0)
        y = score + 2 * np.random.default_rng(2).normal(size=200)
        cls = HistGradientBoostingRegressor
        if task == "binary":
            y, cls = (y > 0).astype(int), HistGradientBoostingClassifier
        settings = {**classical("gradient_boosting").trials[0], "max_bins": 63, "random_state": 0}
        full = cls(max_iter=60, early_stopping=False, **settings).fit(x[:160], y[:160])
        if task == "regression":
            loss = [np.square(p - y[160:]).mean() for p in full.staged_predict(x[160:])]
        else:
            loss = [log_loss(y[160:], p) for p in full.staged_predict_proba(x[160:])]
        n_trees = int(np.argmin(loss)) + 1
        assert 1 < n_trees < 45  # else the case tells nothing
        learned = fit("gradient_boosting", x, y, 200, task, 2 if task == "binary" else 1)
        refitted = fit("gradient_boosting", x, y, 200, task, 2 if task == "binary" else 1, refit=True)
        exact = cls(max_iter=n_trees, early_stopping=False, **settings)
        say = "predict" if task == "regression" else "predict_proba"
        for found, rows in ((learned, 160), (refitted, 200)):
            oracle = getattr(exact.fit(x[:rows], y[:rows]), say)(x).reshape(200, -1)
            np.testing.assert_allclose(found.predict(x), oracle)
            np.testing.assert_allclose(found.valid_prediction, learned.predict(x[160:]))

    @pytest.mark.parametrize("name", ["linear", "gradient_boosting"])
    @pytest.mark.parametrize("refit", [False, True])
    def test_a_feature_without_a_value_in_train_is_a_constant(self, name: str, refit: bool) -> None:
        x, _ = numbers(100, 3)
        x[:100, 1] = np.nan
        said = fit(name, x, x[:, 0], 100, refit=refit).predict(x)
        x[:, 1] = 0.0
        np.testing.assert_allclose(said, fit(name, x, x[:, 0], 100, refit=refit).predict(x))

    def test_one_is_kept_where_every_tree_hurts(self) -> None:
        x = np.arange(100.0)[:, None]
        y = np.where(np.arange(100) < 80, x[:, 0], -1e3)
        for refit in (False, True):
            assert fit("gradient_boosting", x, y, 100, refit=refit).n_parameters <= 15
