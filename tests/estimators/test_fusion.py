"""The scikit-learn estimators: every kind of target, the checks of scikit-learn's own tools, saving, bad input."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from not_none import not_none
from scipy.sparse import csr_matrix
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from torch import Tensor, nn

from profuse import FusionClassifier, FusionRegressor, register
from profuse._folder import digest_of
from profuse.data.dataset import Dataset
from profuse.data.split import Split
from profuse.data.tensors import from_frame
from profuse.errors import CheckpointError, ConfigError, DataError, ProfuseError, ProfuseWarning, ShapeError
from profuse.fusion import FUSIONS, Fused, Fusion
from profuse.fusion.encoder_decoder.concat import Concat
from profuse.schema import Schema
from profuse.tokens import Tokens
from profuse.training.fitting import Prepared

pytestmark = pytest.mark.slow

N = 120
QUICK: dict[str, Any] = {"epochs": 2, "width": 8, "members": 1}
WORDS = np.array(["alpha beta gamma", "delta epsilon zeta"])


def table(n: int = N, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    word = WORDS[rng.integers(0, 2, n)]
    return pd.DataFrame({
        "unit price": rng.normal(size=n),
        "colour": rng.choice(["red", "blue", "green"], n),
        "note": [f"{w} {rng.choice(['one', 'two', 'three'])} x{i}" for i, w in enumerate(word)],
    })  # fmt: skip


def labels(X: pd.DataFrame) -> pd.Series:
    return pd.Series(np.where(X["unit price"] > 0, "big", "small"), name="size", index=X.index)


def tensors(n: int = N) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"a": rng.normal(size=(n, 3)).astype(np.float32), "b": torch.as_tensor(rng.normal(size=(n, 6, 2)))}


@pytest.fixture(scope="module")
def fitted() -> FusionClassifier:
    X = table()
    return FusionClassifier(**QUICK).fit(X, labels(X))


def test_a_classifier_learns_a_rule_that_is_there() -> None:
    X = table(200)
    model = FusionClassifier(epochs=10, width=16, members=1).fit(X, labels(X))
    fresh = table(100, seed=1)
    assert model.score(fresh, labels(fresh)) > 0.85


def test_a_regressor_learns_a_line_and_answers_in_the_targets_units() -> None:
    X = table(200)
    y = 1000 + 50 * X["unit price"].to_numpy()
    model = FusionRegressor(epochs=15, width=16, members=1).fit(X, y)
    said = model.predict(X)
    assert said.shape == (200,)
    assert abs(said.mean() - 1000) < 15
    assert model.score(X, y) == pytest.approx(r2_score(y, said))
    assert model.score(X, y) > 0.8


def test_what_a_fitted_classifier_tells(fitted: FusionClassifier) -> None:
    X = table()
    assert fitted.classes_.tolist() == ["big", "small"]
    assert fitted.n_features_in_ == 3
    assert fitted.feature_names_in_.tolist() == ["unit price", "colour", "note"]
    assert fitted.task_ == "binary"
    assert fitted.history_["epoch"].tolist() == [0, 1, 2]  # 0: the linear paths alone
    probs = fitted.predict_proba(X)
    assert probs.shape == (N, 2)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-6)
    assert (fitted.predict(X) == fitted.classes_[probs.argmax(1)]).all()
    assert fitted.score(X, labels(X)) == accuracy_score(labels(X), fitted.predict(X))


@pytest.mark.parametrize(("y", "task", "classes"), [
    (np.arange(N) % 3, "multiclass", [0, 1, 2]),
    (np.arange(N) % 2 == 0, "binary", [False, True]),
    ((np.arange(N) % 40).astype(float), "multiclass", [float(i) for i in range(40)]),
    (pd.Series(np.arange(N) % 2).map({0: "n", 1: "y"}).astype("category"), "binary", ["n", "y"]),
    (["a", "b", "c"] * (N // 3), "multiclass", ["a", "b", "c"]),
    (torch.arange(N) % 2, "binary", [0, 1]),
])  # fmt: skip
def test_y_may_be_anything_that_names_classes(y: Any, task: str, classes: list[object]) -> None:
    model = FusionClassifier(epochs=1, width=8).fit(table()[["unit price", "colour"]], y)
    assert model.task_ == task
    assert model.classes_.tolist() == classes
    assert set(model.predict(table()[["unit price", "colour"]])) <= set(classes)


def test_many_labels_come_back_as_zeros_and_ones() -> None:
    X = table()
    y = pd.DataFrame({"up": X["unit price"] > 0, "red": X["colour"] == "red"}).astype(int)
    model = FusionClassifier(**QUICK).fit(X, y)
    assert model.task_ == "multilabel"
    assert model.classes_.tolist() == ["up", "red"]
    said = model.predict(X)
    assert said.shape == (N, 2)
    assert set(np.unique(said)) <= {0, 1}
    assert (said == (model.predict_proba(X) >= 0.5)).all()
    assert 0 <= model.score(X, y) <= 1


def test_many_targets_come_back_in_their_order_and_units() -> None:
    X = table()
    y = np.stack([X["unit price"], 100 + X["unit price"]], axis=1)
    said = FusionRegressor(**QUICK).fit(X, y).predict(X)
    assert said.shape == (N, 2)
    assert said[:, 1].mean() > 90


def test_a_dict_of_arrays_and_tensors_with_a_presence_mask() -> None:
    X, presence = tensors(), {"b": np.arange(N) % 3 > 0}
    y = (X["a"][:, 0] > 0).astype(int)
    model = FusionClassifier(**QUICK).fit(X, y, presence=presence)
    probs = model.predict_proba(X, presence=presence)
    changed = {**X, "b": torch.where(torch.as_tensor(presence["b"])[:, None, None], X["b"], 99.0)}
    np.testing.assert_array_equal(model.predict_proba(changed, presence=presence), probs)
    assert not np.array_equal(model.predict_proba(changed), probs)
    assert not hasattr(model, "n_features_in_")


def test_sounds_in_a_dict_have_a_rate(tmp_path: Path) -> None:
    sounds = np.random.default_rng(0).uniform(-1, 1, (40, 1600))
    X, y = {"sound": ("audio", sounds), "a": sounds[:, :2]}, np.arange(40) % 2
    model = FusionClassifier(**QUICK).fit(X, y, rates={"sound": 8000})
    probs = model.predict_proba(X)
    model.save(tmp_path / "m")
    again = FusionClassifier.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict_proba({"sound": sounds, "a": sounds[:, :2]}), probs)
    with pytest.raises(ConfigError, match=r"audio needs its samples a second; got none. Give rates=\{'sound': 16000\}"):
        FusionClassifier(**QUICK).fit(X, y)
    with pytest.raises(DataError, match=r"lacking \['sound'\]"):
        model.predict({"a": sounds[:, :2]})


def test_what_an_earlier_fit_knew_of_columns_is_forgotten() -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    model = FusionClassifier(**QUICK)
    for first in (X, pd.DataFrame(X, columns=list("abc"))):
        model.fit(first, X[:, 0] > 0)
        model.fit({"v": X}, X[:, 0] > 0)
        assert not hasattr(model, "n_features_in_")
        assert not hasattr(model, "feature_names_in_")


def test_a_two_dimensional_array_is_a_table() -> None:
    X = np.random.default_rng(0).normal(size=(60, 4))
    model = FusionClassifier(**QUICK).fit(X, X[:, 0] > 0)
    assert model.n_features_in_ == 4
    assert not hasattr(model, "feature_names_in_")
    assert model.predict(X).shape == (60,)


def test_missing_cells_and_whole_missing_modalities_are_normal() -> None:
    X = table()
    y = labels(X)
    X.loc[::4, "unit price"] = np.nan
    X.loc[::3, "note"] = None
    model = FusionClassifier(**QUICK).fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()


def test_equal_seeds_give_equal_numbers_and_the_global_generator_is_left_alone() -> None:
    X = table()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = FusionClassifier(random_state=3, **QUICK).fit(X, labels(X)).predict_proba(X)
    assert torch.rand(1) == expected
    second = FusionClassifier(random_state=3, **QUICK).fit(X, labels(X)).predict_proba(X)
    other = FusionClassifier(random_state=4, **QUICK).fit(X, labels(X)).predict_proba(X)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_row_order_of_the_prediction_is_that_of_the_table(fitted: FusionClassifier) -> None:
    X = table()
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_allclose(fitted.predict_proba(X.iloc[order]), fitted.predict_proba(X)[order], atol=1e-6)


def test_groups_stay_whole_in_the_inner_split(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Split] = []
    real = Prepared.make

    def noted(dataset: Dataset, split: Split) -> Prepared:
        seen.append(split)
        return real(dataset, split)

    monkeypatch.setattr(Prepared, "make", noted)
    X, groups = table(), np.repeat(np.arange(12), 10)
    FusionClassifier(**QUICK).fit(X, labels(X), groups=groups)
    split = seen[0]
    assert not set(groups[split.train]) & set(groups[split.valid])
    assert len(split.train) + len(split.valid) == N


class TestRounds:
    @staticmethod
    def shake(model: FusionClassifier | FusionRegressor) -> None:
        """Few epochs may leave the linear paths as they are, and of those rounds change nothing."""
        with torch.no_grad():
            for parameter in model.predictor_.model.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))

    def test_a_classifier_says_what_it_would_after_each_round_and_how_many_a_row_used(self) -> None:
        X = table()
        model = FusionClassifier(rounds=3, supervise="all", **QUICK).fit(X, labels(X))
        self.shake(model)
        said, used = model.predict_rounds(X)
        assert said.shape == (3, N, 2)
        assert (used == 3).all()
        np.testing.assert_allclose(said[-1], model.predict_proba(X), atol=1e-6)
        assert np.array_equal(model.classes_[said[-1].argmax(1)], model.predict(X))
        assert len(model.predict_rounds(X, rounds=5)[0]) == 5
        moves = np.abs(np.diff(said, axis=0)).max(2)
        tolerance = float(np.quantile(moves[0], 0.5))
        _, fewer = model.predict_rounds(X.head(40), tolerance=tolerance)
        assert np.array_equal(fewer, np.where(moves[0, :40] <= tolerance, 2, 3))
        assert set(fewer) == {2, 3}

    def test_a_regressor_takes_a_dict_with_a_presence_mask_and_answers_in_the_targets_units(self) -> None:
        X, there = tensors(), {"b": np.arange(N) % 3 > 0}
        y = 1000 + 5 * X["a"][:, 0]
        model = FusionRegressor(rounds=2, **QUICK).fit(X, y, presence=there)
        self.shake(model)
        said, used = model.predict_rounds(X, presence=there)
        assert said.shape == (2, N, 1)
        np.testing.assert_allclose(said[-1, :, 0], model.predict(X, presence=there), rtol=1e-6)
        assert not np.allclose(said, model.predict_rounds(X)[0], rtol=1e-7, atol=0)
        assert (used == 2).all()

    def test_what_cannot_be_is_refused(self, fitted: FusionClassifier) -> None:
        with pytest.raises(ConfigError, match="must be progressive; got rounds=1. Fit it with rounds=2"):
            fitted.predict_rounds(table())
        with pytest.raises(NotFittedError):
            FusionClassifier(rounds=2).predict_rounds(table())


class TestWithinScikitLearn:
    def test_cross_val_score_and_groups(self) -> None:
        X = table()
        scores = cross_val_score(FusionClassifier(**QUICK), X, labels(X), cv=GroupKFold(2), groups=np.arange(N) // 10)
        assert np.isfinite(scores).all()

    def test_grid_search_over_operators_keeps_the_best(self) -> None:
        X = table()
        search = GridSearchCV(FusionClassifier(**QUICK), {"fusion": ["concat", "mean_logits"]}, cv=2)
        search.fit(X, labels(X))
        assert search.best_params_["fusion"] in ("concat", "mean_logits")
        assert search.predict(X).shape == (N,)

    def test_clone_copies_parameters_and_nothing_fitted(self, fitted: FusionClassifier) -> None:
        copy = clone(fitted)
        assert copy.get_params() == fitted.get_params()
        assert not hasattr(copy, "predictor_")

    def test_clone_copies_modules_and_classes(self) -> None:
        model = FusionClassifier(encoders={"a": nn.Linear(3, 4)}, fusion=Concat)
        copy = clone(model)
        assert copy.fusion is Concat
        assert not_none(copy.encoders)["a"] is not not_none(model.encoders)["a"]

    def test_pickle_keeps_the_predictions(self, fitted: FusionClassifier) -> None:
        again = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(again.predict_proba(table()), fitted.predict_proba(table()))

    def test_tags(self) -> None:
        assert is_classifier(FusionClassifier())
        assert is_regressor(FusionRegressor())
        tags = FusionClassifier().__sklearn_tags__()
        assert tags.classifier_tags.multi_label
        assert tags.input_tags.allow_nan
        assert not tags.non_deterministic
        assert FusionRegressor(random_state=None).__sklearn_tags__().non_deterministic

    def test_the_constructor_stores_and_checks_nothing(self) -> None:
        model = FusionClassifier(width=-1, fusion="nonsense")
        assert model.get_params()["width"] == -1
        assert vars(model).keys() == model.get_params().keys()

    def test_an_unfitted_estimator_says_so(self) -> None:
        from sklearn.exceptions import NotFittedError

        with pytest.raises(NotFittedError):
            FusionClassifier().predict(table())


class Middle(Fusion):
    """A user's own operator: the mean of the vectors' first channels."""

    def __init__(self, channels: dict[str, int], width: int) -> None:
        super().__init__(channels, width)
        self.maps = nn.ModuleList(nn.Linear(c, width) for c in self.channels.values())

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        parts = [m(t.mean()) for m, t in zip(self.maps, tokens.values(), strict=True)]
        return Fused(torch.stack(parts).mean(0))


class TestOwnParts:
    @pytest.mark.parametrize(
        "fusion", [Middle, lambda channels, width: Middle(channels, width)], ids=["class", "factory"]
    )
    def test_an_operator_of_the_users_own(self, fusion: Any) -> None:
        X = tensors()
        model = FusionClassifier(fusion=fusion, **QUICK).fit(X, X["a"][:, 0] > 0)
        assert isinstance(model.predictor_.model.fusion, Middle)

    def test_an_instance_is_copied_not_trained(self) -> None:
        X, operator = tensors(), Middle({"a": 8, "b": 8}, 8)
        before = [p.clone() for p in operator.parameters()]
        FusionClassifier(fusion=operator, **QUICK).fit(X, X["a"][:, 0] > 0)
        assert all(torch.equal(a, b) for a, b in zip(before, operator.parameters(), strict=True))

    def test_a_module_as_encoder_is_used_copied_and_seeded(self) -> None:
        X, linear = tensors(), nn.Linear(3, 5)
        module = nn.Sequential(linear, nn.ReLU())
        before = linear.weight.clone()
        first = FusionClassifier(encoders={"a": module}, **QUICK).fit(X, X["a"][:, 0] > 0)
        torch.rand(7)
        second = FusionClassifier(encoders={"a": module}, **QUICK).fit(X, X["a"][:, 0] > 0)
        assert torch.equal(linear.weight, before)
        np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
        encoders: Any = first.predictor_.model.encoders
        used = encoders[0].module[0].weight
        assert used.shape == before.shape
        assert not torch.equal(used, before)

    def test_a_module_that_does_not_fit_its_modality_is_told(self) -> None:
        X = tensors()
        with pytest.raises(ShapeError, match=r"encoder of 'a': the module must take values of shape \(2, 3\)"):
            FusionClassifier(encoders={"a": nn.Linear(9, 5)}, **QUICK).fit(X, X["a"][:, 0] > 0)

    def test_an_encoder_for_no_modality_is_told_with_the_nearest(self) -> None:
        X = {"picture": tensors()["a"], "b": tensors()["b"]}
        with pytest.raises(ProfuseError, match="Did you mean 'picture'"):
            FusionClassifier(encoders={"pictur": nn.Linear(3, 5)}, **QUICK).fit(X, X["picture"][:, 0] > 0)

    def test_a_model_with_own_parts_is_not_saved(self, tmp_path: Path) -> None:
        X = tensors()
        model = FusionClassifier(fusion=Middle, **QUICK).fit(X, X["a"][:, 0] > 0)
        with pytest.raises(CheckpointError, match="fusion operator. Give its class a name with profuse.register"):
            model.save(tmp_path / "model")
        assert not (tmp_path / "model").exists()

    def test_a_model_with_a_registered_operator_is_saved_and_predicts_the_same(self, tmp_path: Path) -> None:
        X = tensors()
        register("fusion", "middle", Middle)
        model = FusionClassifier(fusion=Middle, **QUICK).fit(X, X["a"][:, 0] > 0)
        model.save(tmp_path / "model")
        again = FusionClassifier.load(tmp_path / "model")
        assert again.fusion == "middle"
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        FUSIONS.registered.clear()
        with pytest.raises(ProfuseError, match="fusion='middle'"):
            FusionClassifier.load(tmp_path / "model")

    def test_a_class_of_the_library_is_saved_by_its_name(self, tmp_path: Path) -> None:
        X = tensors()
        model = FusionClassifier(fusion=Concat, **QUICK).fit(X, X["a"][:, 0] > 0)
        model.save(tmp_path / "model")
        assert FusionClassifier.load(tmp_path / "model").fusion == "concat"


class TestSaving:
    def test_a_loaded_classifier_predicts_the_same_and_tells_the_same(
        self, fitted: FusionClassifier, tmp_path: Path
    ) -> None:
        fitted.save(tmp_path / "model")
        again = FusionClassifier.load(tmp_path / "model")
        np.testing.assert_array_equal(again.predict_proba(table()), fitted.predict_proba(table()))
        assert again.classes_.tolist() == fitted.classes_.tolist()
        assert sorted(again.feature_names_in_) == sorted(fitted.feature_names_in_)
        assert again.get_params()["width"] == 8
        pd.testing.assert_frame_equal(again.history_, fitted.history_)
        assert clone(again).fit(table(), labels(table())).score(table(), labels(table())) > 0

    @pytest.mark.slow
    def test_a_fresh_process_predicts_the_same(self, fitted: FusionClassifier, tmp_path: Path) -> None:
        fitted.save(tmp_path / "model")
        table().to_parquet(tmp_path / "table.parquet")
        code = (
            "import sys, pandas as pd, numpy as np, profuse\n"
            "model = profuse.FusionClassifier.load(sys.argv[1] + '/model')\n"
            "np.save(sys.argv[1] + '/said.npy', model.predict_proba(pd.read_parquet(sys.argv[1] + '/table.parquet')))"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
        np.testing.assert_array_equal(np.load(tmp_path / "said.npy"), fitted.predict_proba(table()))

    def test_a_model_of_another_task_names_the_right_class(self, fitted: FusionClassifier, tmp_path: Path) -> None:
        fitted.save(tmp_path / "model")
        with pytest.raises(CheckpointError, match=r"holds 'binary'. Use FusionClassifier"):
            FusionRegressor.load(tmp_path / "model")

    def test_a_loaded_estimator_has_the_parameters_and_columns_of_the_saved_one(self, tmp_path: Path) -> None:
        X = table()[["note", "colour", "unit price"]]
        told: dict[str, Any] = {"on_bad_file": "skip", "validation_fraction": np.float32(0.25), "random_state": None}
        model = FusionClassifier(**QUICK, **told).fit(X, labels(X))
        model.save(tmp_path / "m")
        again = FusionClassifier.load(tmp_path / "m", base_dir=tmp_path)
        assert again.feature_names_in_.tolist() == ["note", "colour", "unit price"]
        assert again.n_features_in_ == 3
        expected = {**model.get_params(), "base_dir": tmp_path, "schema": model.schema_}
        assert again.get_params() == expected

    def test_what_had_no_names_of_columns_has_none_after_loading(self, tmp_path: Path) -> None:
        X = np.random.default_rng(0).normal(size=(60, 3))
        for given, n_columns in ((X, 3), ({"a": X}, None)):
            FusionClassifier(**QUICK).fit(given, X[:, 0] > 0).save(tmp_path / "m")
            again = FusionClassifier.load(tmp_path / "m")
            assert not hasattr(again, "feature_names_in_")
            assert getattr(again, "n_features_in_", None) == n_columns

    def test_a_model_of_an_earlier_version_is_read(self, fitted: FusionClassifier, tmp_path: Path) -> None:
        fitted.save(tmp_path / "m")
        path = tmp_path / "m" / "model.json"
        facts = json.loads(path.read_text())
        del facts["estimator"]
        facts["digests"][path.name] = digest_of(facts)
        path.write_text(json.dumps(facts))
        again = FusionClassifier.load(tmp_path / "m")
        assert sorted(again.feature_names_in_) == sorted(fitted.feature_names_in_)
        np.testing.assert_array_equal(again.predict(table()), fitted.predict(table()))


class TestSchema:
    def test_a_dict_a_file_and_a_schema_say_the_same(self, tmp_path: Path) -> None:
        X = table()
        (tmp_path / "schema.yaml").write_text("ignore: [note]\n", encoding="utf-8")
        for schema in ({"ignore": ["note"]}, tmp_path / "schema.yaml", Schema(ignore=("note",))):
            model = FusionClassifier(schema=schema, **QUICK).fit(X, labels(X))
            assert list(not_none(model.schema_).modalities) == ["table"]

    def test_the_target_may_stand_in_the_schema(self) -> None:
        X = table().assign(size=labels(table()))
        model = FusionClassifier(schema={"target": {"columns": ["size"]}}, **QUICK).fit(X)
        assert model.feature_names_in_.tolist() == ["unit price", "colour", "note"]
        assert model.predict(X.drop(columns="size")).shape == (N,)

    def test_a_target_that_the_schema_names_is_never_an_input(self) -> None:
        X = table().assign(size=labels(table()))
        model = FusionClassifier(schema={"target": {"columns": ["size"]}}, **QUICK).fit(X, X["size"])
        assert "size" not in [c for m in not_none(model.schema_).modalities.values() for c in m.columns]

    def test_faults_of_a_schema_are_told_together(self) -> None:
        told = r"split\.test_size must be less than 1.*'ignor' is no option \(did you mean 'ignore'\?\)"
        with pytest.raises(ConfigError, match=told):
            FusionClassifier(schema={"ignor": [], "split": {"test_size": 3}}).fit(table(), labels(table()))


class TestBadInput:
    def test_options_of_a_wrong_type_are_told_with_the_other_faults(self) -> None:
        wrong: dict[str, Any] = {"on_bad_file": "x", "epochs": "3"}
        with pytest.raises(ConfigError, match="epochs.*on_bad_file must be"):
            FusionClassifier(**wrong).fit(table(), labels(table()))

    def test_all_faults_of_the_parameters_are_told_together(self) -> None:
        wrong: dict[str, Any] = {"random_state": "x"}
        model = FusionClassifier(
            width=1, epochs=0, fusion="tokn_transformer", encoders={"a": "vitt"}, validation_fraction=1.5,
            level="late", **wrong,
        )  # fmt: skip
        with pytest.raises(ConfigError) as error:
            model.fit(table(), labels(table()))
        for part in (
            "width must be greater than or equal to 4; got width=1",
            "epochs must be greater than or equal to 1; got epochs=0",
            "fusion must be a known name; got fusion='tokn_transformer'. Did you mean 'token_transformer'",
            "encoder must be a known name; got encoder='vitt'. Did you mean 'vit'?",
            "validation_fraction must be less than 1; got validation_fraction=1.5",
            "random_state must be",
            "level must be 'raw', 'feature', 'hierarchical', 'decision' or 'hybrid'; got level='late'",
        ):
            assert part in str(error.value)

    @pytest.mark.parametrize(("options", "message"), [
        (
            {"balance": "ogm", "epochs": 0},
            "epochs must be greater than or equal to 1; got epochs=0; "
            "balance must be a known name; got balance='ogm'. Did you mean 'ogm_ge'?",
        ),
        (
            {"balance": "ogm_ge", "balance_options": {"beta": 1}},
            "balance_options: balance='ogm_ge' has the options alpha, noise; got 'beta'.",
        ),
        ({"balance_options": {"alpha": 1}}, "balance_options need a balance; got balance_options={'alpha': 1}."),
        (
            {"balance": "uniform", "precision": "16-mixed"},
            "precision must suit the balance; got precision='16-mixed': use bf16-mixed.",
        ),
        (
            {"operator_options": {"low_rank": {"rnk": 2}}},
            "operator_options: 'low_rank' has the options rank; got 'rnk'.",
        ),
        (
            {"operator_options": {"concta": {}}},
            "operator_options: fusion must be a known name; got fusion='concta'. Did you mean 'concat'?",
        ),
        ({"rounds": 0}, "rounds must be greater than or equal to 1; got rounds=0."),
        ({"encoders": "vit"}, "encoders must be a valid dictionary; got encoders='vit'."),
        ({"encoders": ["vit"]}, "encoders must be a valid dictionary; got encoders=['vit']."),
        ({"base_dir": 3}, "base_dir must be a path; got base_dir=3."),
        (
            {"random_state": 2**62},
            "random_state must be an int from 0 to 4294967295, a RandomState or None; "
            "got random_state=4611686018427387904.",
        ),
        (
            {"width": "8", "epochs": True, "refit": "no"},
            "width must be 8 if that is meant; got width='8'; epochs must be 1 if that is meant; got epochs=True; "
            "refit must be False if that is meant; got refit='no'.",
        ),
    ])  # fmt: skip
    def test_a_fault_is_told_as_one_plain_sentence(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError) as error:
            FusionClassifier(**options).fit(table(), labels(table()))
        assert str(error.value) == f"FusionClassifier: {message}"

    def test_numbers_of_numpy_are_numbers(self) -> None:
        numbers: dict[str, Any] = {
            "epochs": np.int64(1),
            "width": np.int32(8),
            "dropout": np.float32(0.1),
            "fusion": np.str_("concat"),
            "validation_fraction": np.float32(0.2),
            "refit": np.True_,
        }
        model = FusionClassifier(**numbers)
        assert model.fit(table(), labels(table())).predictor_.model_options.width == 8

    def test_a_factory_must_return_a_fusion(self) -> None:
        wrong: Any = lambda channels, width: 3  # noqa: E731
        with pytest.raises(ConfigError, match="fusion must return a Fusion; got a int. Inherit from"):
            FusionClassifier(**QUICK, fusion=wrong).fit(table(), labels(table()))

    @pytest.mark.parametrize(("y", "message"), [
        (pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01"] * (N // 2))), "words or numbers; got time stamps"),
        (pd.cut(pd.Series(np.arange(N)), [-1, 50, N]), "words or numbers; got interval"),
        (pd.Series(pd.to_timedelta(np.arange(N), "D")), "words or numbers; got timedelta64"),
        (np.arange(N) * 1j, "words or numbers; got complex"),
        (np.array([1, "a"] * (N // 2), dtype=object), "all numbers or all words; got both"),
        ([1, "a"] * (N // 2), "all numbers or all words; got both"),
        ([{"a": 1}] * N, "words or numbers; got dict"),
        (np.array([np.inf, 1.0] * (N // 2)), "must be finite; infinite in 60 rows"),
        (1, r"must be \[row\] or \[row, target\]; got int of shape \(\)"),
        (np.zeros((N, 2, 2)), r"must be \[row\] or \[row, target\]; got ndarray of shape \(120, 2, 2\)"),
        (csr_matrix(np.eye(N)), r"must be a dense array; got csr_matrix. Give target.toarray\(\)"),
    ])  # fmt: skip
    @pytest.mark.parametrize("kind", [FusionClassifier, FusionRegressor])
    def test_a_target_of_another_kind_is_refused_whatever_the_task(self, kind: Any, y: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            kind(**QUICK).fit(table(), y)

    def test_decimals_among_objects_are_no_classes(self) -> None:
        with pytest.raises(DataError, match="y must be classes; got numbers with decimals. Use FusionRegressor"):
            FusionClassifier(**QUICK).fit(table(), np.array([0.5, 1.25] * (N // 2), dtype=object))

    @pytest.mark.parametrize(("y", "message"), [
        (np.linspace(0, 1, N), "FusionClassifier: y must be classes; got numbers with decimals. Use FusionRegressor"),
        (np.zeros(N), "at least two different values"),
        (["a"] * (N - 1) + ["b"], "every class must have at least two rows"),
        (np.arange(N - 1) % 2, "must have the same rows; got 120 and 119"),
        ([None, *["a", "b"] * (N // 2 - 1), "a"], "must be known in every row"),
    ])  # fmt: skip
    def test_a_target_that_cannot_be_learned(self, y: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            FusionClassifier(**QUICK).fit(table(), y)

    def test_y_is_needed(self) -> None:
        with pytest.raises(DataError, match="y must be given"):
            FusionClassifier(**QUICK).fit(table())

    def test_the_same_labels_in_another_order_are_a_mistake(self) -> None:
        X = table()
        with pytest.raises(DataError, match=r"same order.*y\.loc\[X\.index\]"):
            FusionClassifier(**QUICK).fit(X, labels(X).sample(frac=1, random_state=0))

    def test_the_same_labels_in_another_type_are_in_the_same_order(self) -> None:
        X, y = table(), labels(table())
        y.index = pd.Index(np.arange(N)).astype("Int64")
        assert FusionClassifier(**QUICK).fit(X, y).predict(X).shape == (N,)

    def test_groups_in_another_order_are_a_mistake(self) -> None:
        X = table()
        groups = pd.Series(np.arange(N) // 4)[::-1]
        with pytest.raises(DataError, match=r"X and groups must be in the same order.*groups\.loc\[X\.index\]"):
            FusionClassifier(**QUICK).fit(X, labels(X), groups=groups)

    @pytest.mark.parametrize(("change", "message"), [
        ({"y": True}, r"X\['t'\] and y must be in the same order.*Use y\.loc\[X\['t'\]\.index\]"),
        ({"u": True}, r"X\['t'\] and X\['u'\] must be in the same order"),
        ({"presence": True}, r"X\['t'\] and presence\['t'\] must be in the same order"),
        ({"groups": True}, r"X\['t'\] and groups must be in the same order"),
    ])  # fmt: skip
    def test_parts_of_a_dict_in_another_order_are_a_mistake(self, change: dict[str, bool], message: str) -> None:
        X = table()
        X.index = [f"p{i}" for i in range(N)]
        parts: dict[str, Any] = {
            "u": X[["colour"]],
            "y": labels(X),
            "presence": X["unit price"] > 9,
            "groups": pd.Series(np.arange(N) // 4, index=X.index),
        }
        parts = {k: v.sample(frac=1, random_state=0) if k in change else v for k, v in parts.items()}
        given = {"t": X, "u": parts["u"]}
        with pytest.raises(DataError, match=message):
            FusionClassifier(**QUICK).fit(given, parts["y"], presence={"t": parts["presence"]}, groups=parts["groups"])

    def test_a_mask_in_another_order_is_a_mistake_at_prediction_too(self) -> None:
        X = table()
        model = FusionClassifier(**QUICK).fit({"t": X}, labels(X))
        with pytest.raises(DataError, match=r"rows\['t'\] and presence\['t'\] must be in the same order"):
            model.predict({"t": X}, presence={"t": (X["unit price"] > 0)[::-1]})

    def test_groups_are_one_value_a_row(self) -> None:
        with pytest.raises(DataError, match=r"groups must be one value a row; got shape=\(120, 2\)"):
            FusionClassifier(**QUICK).fit(table(), labels(table()), groups=np.zeros((N, 2)))

    def test_an_array_beside_targets_that_are_called_as_its_columns(self) -> None:
        X = np.random.default_rng(0).normal(size=(60, 4))
        model = FusionRegressor(**QUICK).fit(X, pd.DataFrame({"x0": X[:, 1], "x1": X[:, 2]}))
        assert model.predict(X).shape == (60, 2)

    def test_a_schemas_target_is_found_where_columns_are_numbers(self) -> None:
        rng = np.random.default_rng(0)
        X = pd.DataFrame(rng.normal(size=(60, 4)))
        X[3] = rng.integers(0, 2, 60)
        model = FusionClassifier(schema={"target": {"columns": ["3"]}}, **QUICK).fit(X)
        assert model.task_ == "binary"
        assert list(model.classes_) == [0, 1]
        beside = FusionClassifier(schema={"target": {"columns": ["3"]}}, **QUICK).fit(X, X[3])
        for found in (model, beside):
            assert list(found.feature_names_in_) == ["0", "1", "2"]
            assert all("3" not in m.columns for m in not_none(found.schema_).modalities.values())

    def test_what_preprocessing_shortens_is_told_of_the_line_that_fits(self) -> None:
        rng = np.random.default_rng(0)
        data: dict[str, Any] = {
            "s": [rng.normal(size=(2_100 if i < 3 else 5, 1)) for i in range(40)],
            "v": rng.normal(size=(40, 2)),
        }
        with pytest.warns(ProfuseWarning, match=r"s: \d of \d+ series are longer than 2048 steps") as told:
            FusionClassifier(**QUICK).fit(data, data["v"][:, 0] > 0)
        assert {w.filename for w in told} == {__file__}

    def test_an_input_that_is_called_target_is_an_input(self) -> None:
        X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["a", "b", "target"])
        model = FusionClassifier(**QUICK).fit(X, X["a"].to_numpy() > 0)
        assert list(model.feature_names_in_) == ["a", "b", "target"]

    @pytest.mark.parametrize("n_columns", [1, 3])
    def test_an_array_must_have_the_columns_of_fit(self, n_columns: int) -> None:
        X = np.random.default_rng(0).normal(size=(60, 2))
        model = FusionClassifier(**QUICK).fit(X, X[:, 0] > 0)
        with pytest.raises(
            DataError, match=f"rows must have the 2 columns of training, in their order; got {n_columns}"
        ):
            model.predict(np.zeros((5, n_columns)))

    def test_the_target_may_stand_in_an_array_too(self) -> None:
        X = np.random.default_rng(0).normal(size=(60, 3)).round(1)
        model = FusionRegressor(**QUICK, schema={"target": {"columns": ["x2"]}}).fit(X)
        np.testing.assert_array_equal(model.predict(X), model.predict(X[:, :2]))

    def test_columns_that_were_not_learned_from_count_too(self) -> None:
        X = np.random.default_rng(0).normal(size=(60, 4))
        X[:, 1], X[:, 2] = 1.0, np.arange(60)
        with pytest.warns(ProfuseWarning):
            model = FusionClassifier(**QUICK).fit(X, X[:, 0] > 0)
        assert model.predict(X[:7]).shape == (7,)

    @pytest.mark.parametrize("y", [np.array([b"a", b"b"] * 60), np.array([b"a", b"b"] * 60, dtype=object)])
    def test_labels_of_bytes_are_refused(self, y: Any) -> None:
        with pytest.raises(DataError, match=r"labels must be words or numbers; got bytes, b'a' first\. Decode them"):
            FusionClassifier(**QUICK).fit(table(), y)

    def test_other_columns_than_in_training_are_told_with_the_nearest(self, fitted: FusionClassifier) -> None:
        with pytest.raises(DataError, match="'color' is near 'colour'"):
            fitted.predict(table().rename(columns={"colour": "color"}))

    def test_another_kind_of_input_than_in_training(self) -> None:
        X = tensors()
        model = FusionClassifier(**QUICK).fit(X, X["a"][:, 0] > 0)
        with pytest.raises(DataError, match=r"a dict of modalities \['a', 'b'\]"):
            model.predict(table())
        with pytest.raises(DataError, match=r"lacking \['b'\]"):
            model.predict({"a": X["a"]})

    @pytest.mark.parametrize("X", [np.zeros(5), "text", np.zeros((4, 3, 2))])
    def test_what_is_no_table_is_told(self, X: Any) -> None:
        with pytest.raises(DataError, match="X must be a DataFrame, a 2-D array, a dict"):
            FusionClassifier(**QUICK).fit(X, np.arange(len(X)))

    def test_rates_belong_to_dicts(self) -> None:
        with pytest.raises(DataError, match="rates belongs to a dict"):
            FusionClassifier(**QUICK).fit(table(), labels(table()), rates={"sound": 8000})

    def test_a_sparse_modality_is_told(self) -> None:
        with pytest.raises(DataError, match="modality 'a': must be a dense array; got a csr_matrix"):
            FusionClassifier(**QUICK).fit({"a": csr_matrix(np.eye(N))}, labels(table()))

    def test_presence_belongs_to_dicts(self) -> None:
        with pytest.raises(DataError, match="presence belongs to a dict"):
            FusionClassifier(**QUICK).fit(table(), labels(table()), presence={"note": np.ones(N, bool)})


class TestNotes:
    def test_what_was_counted_in_a_table_is_a_warning(self) -> None:
        X = table().assign(key=np.arange(N), paid=["1.5", "2", "soon", "4"] * (N // 4))
        model = FusionClassifier(**QUICK, schema={"columns": {"paid": "numeric"}})
        with pytest.warns(ProfuseWarning) as told:
            model.fit(X, labels(X))
        assert [str(w.message) for w in told if "give the target away" not in str(w.message)] == [
            "FusionClassifier: Column 'key' is not used: a running number.",
            "FusionClassifier: Column 'paid': 30 rows (2, 6, 10, 14, 18, ...; counted from 0) hold no number ('soon') "
            "and count as missing.",
        ]
        with pytest.warns(ProfuseWarning, match="Columns that the schema does not know are not used: 'more'"):
            model.predict(X.assign(paid=1.0, more=1))

    def test_an_inferred_id_that_repeats_does_not_stop_a_prediction(self) -> None:
        X = table().assign(key=np.arange(N))
        with pytest.warns(ProfuseWarning, match="'key' is not used"):
            model = FusionClassifier(**QUICK).fit(X, labels(X))
        with pytest.warns(ProfuseWarning, match="Column 'key': as an id it is again in 1 row"):
            assert len(model.predict(X.iloc[[3, 3]])) == 2

    def test_official_test_rows_are_not_learned_from(self) -> None:
        X = table(40)
        split = np.array(["train", "test"] * 20)
        data, _ = from_frame(X, labels(X))
        model, alone = FusionClassifier(**QUICK), FusionClassifier(**QUICK)
        with pytest.warns(ProfuseWarning, match="FusionClassifier: 20 official test rows are not learned from"):
            model.fit(replace(data, split=split), groups=np.arange(40) // 4)
        alone.fit(data.rows(np.flatnonzero(split == "train")), groups=np.arange(40)[::2] // 4)
        np.testing.assert_array_equal(model.predict_proba(data), alone.predict_proba(data))
        assert model.predictor_.n_rows == alone.predictor_.n_rows


def test_dates_mean_the_same_row_by_row_and_after_saving(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=N, freq="3D")
    X = pd.DataFrame({"when": days.strftime("%d/%m/%Y")})
    model = FusionClassifier(**QUICK).fit(X, np.where(days.month < 7, "early", "late"))
    model.save(tmp_path / "m")
    again = FusionClassifier.load(tmp_path / "m")
    whole = model.predict_proba(X)[:12]
    np.testing.assert_allclose(np.concatenate([again.predict_proba(X[i : i + 1]) for i in range(12)]), whole, atol=1e-6)


def test_labels_are_words_for_whoever_reads_the_schema_and_a_loaded_model_may_be_fitted_again(tmp_path: Path) -> None:
    X = table()
    model = FusionClassifier(**QUICK).fit(X, pd.Series(np.where(X["unit price"] > 0, "01", "2"), name="size"))
    schema = not_none(model.schema_)
    assert schema.words == ("colour", "note", *not_none(schema.target).columns)
    model.save(tmp_path / "m")
    again = FusionClassifier.load(tmp_path / "m").set_params(epochs=1)
    assert not_none(again.fit(X, labels(X)).schema_).words == schema.words


def test_own_module_with_tokens_and_feedback_rounds() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 6)

        def forward(self, values: Tensor) -> Tensor:
            out: Tensor = self.linear(values)
            return out

    X = tensors()
    model = FusionRegressor(encoders={"b": Steps()}, rounds=3, **QUICK).fit(X, X["a"][:, 0])
    assert np.isfinite(model.predict(X)).all()
