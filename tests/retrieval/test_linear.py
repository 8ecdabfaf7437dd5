"""Linear CCA and ridge beside the learned space: what they compute, and which is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pairs_of_rows import QUICK, arrays
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import Ridge

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.features.lsa import LsaFeatures
from profuse.errors import DataError
from profuse.retrieval import METHODS, Retriever
from profuse.retrieval.linear import LINEAR as LINEAR_METHODS
from profuse.retrieval.linear import _scaled

LINEAR = ("cca", "ridge")


def words(n: int, seed: int = 0) -> Dataset:
    """Texts of rare words, each of which moves a vector in a direction of its own: too many for a small network."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(7)
    names = [f"{a}{b}{c}" for a in "bdfgklm" for b in "aeiou" for c in ("zor", "tin", "pal", "wex")]
    moves = fixed.normal(size=(len(names), 24))
    said = np.stack([rng.choice(len(names), 3, replace=False) for _ in range(n)])
    there = np.ones(n, dtype=bool)
    texts = np.array([" ".join(names[i] for i in row) for row in said], dtype=object)
    vectors = moves[said].sum(1) + 0.3 * rng.normal(size=(n, 24))
    parts = {"name": ModalityData("text", texts, there), "look": ModalityData("vector", vectors, there)}
    return Dataset("words", parts, None, "regression")


def recall(found: pd.DataFrame, method: str, metric: str = "recall@1") -> float:
    return float(found[(found["method"] == method) & (found["metric"] == metric)]["value"].mean())


@pytest.mark.parametrize("method", LINEAR)
def test_a_linear_method_finds_what_is_linear_and_trains_nothing(method: str) -> None:
    made = Retriever(**QUICK, method=method).fit(arrays())
    assert made.method_ == method
    assert len(made.history_) == 0
    assert (made.notes_, set(made.validation_)) == ((), set(LINEAR))
    found = made.evaluate(arrays(100, seed=1))
    assert set(found["method"]) == {"linear CCA", "ridge"}
    for name in ("linear CCA", "ridge"):
        assert recall(found, name) > 0.8
    assert set(found[found["used"]]["method"]) == {{"cca": "linear CCA"}.get(method, method)}


def test_the_best_on_validation_rows_is_used_and_told() -> None:
    made = Retriever(**{**QUICK, "epochs": 2}).fit(words(400))
    scores = made.validation_
    assert set(scores) == {"learned", *LINEAR}
    assert made.method_ == max(scores, key=scores.__getitem__)
    assert made.method_ in LINEAR  # two epochs of so small a network know little of so many words
    (note,) = made.notes_
    assert f"{scores[made.method_]:.3f}; the learned space (contrastive) {scores['learned']:.3f}" in note
    found = made.evaluate(words(200, seed=1))
    used = found[found["used"]]["method"].unique()
    assert len(used) == 1
    assert recall(found, used[0]) > 2 * recall(found, "contrastive")
    assert recall(found, used[0]) > 0.5


def test_a_pair_for_which_another_method_is_better_is_told() -> None:
    data = words(300)
    rng = np.random.default_rng(1)
    look = np.asarray(data.modalities["look"].values)
    far = ModalityData("vector", rng.normal(size=(300, 6)), np.ones(300, dtype=bool))
    copy = ModalityData("vector", look @ rng.normal(size=(24, 24)), np.ones(300, dtype=bool))
    parts = {"a": data.modalities["look"], "b": copy, "c": far}
    made = Retriever(**{**QUICK, "epochs": 1}).fit(Dataset("d", parts, None, "regression"))
    used, *told = made.notes_
    assert "is used: its mean reciprocal rank on 60 validation rows" in used
    for note in told:
        assert "is better" in note
        assert "fit these two alone (modalities=['" in note
    alone = Retriever(**{**QUICK, "epochs": 1}).fit(Dataset("d", {k: parts[k] for k in "ab"}, None, "regression"))
    assert len(alone.notes_) == 1


def test_validation_is_told_for_each_pair_of_modalities() -> None:
    from profuse.retrieval.measure import reciprocal_rank

    x, rows = np.eye(4), np.arange(4)
    places = {"a": x, "b": x, "c": x[[1, 0, 2, 3]]}
    there = dict.fromkeys("abc", np.ones(4, dtype=bool))
    found = reciprocal_rank(places, there, dict.fromkeys("abc", rows))
    # of c two of four come second to one that equals the query, and last among those that are tied with their own
    assert found.pairs[("a", "b")] == 1.0
    assert found.pairs[("a", "c")] == found.pairs[("b", "c")] == (1 + 1 + 0.25 + 0.25) / 4
    assert found.mean == pytest.approx((1 + 0.625 + 0.625) / 3)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_method_that_is_used_is_kept_without_a_baseline(method: str) -> None:
    made = Retriever(**{**QUICK, "epochs": 1}, method=method, baseline=False).fit(arrays(80))
    assert set(made.fitted.spaces) == {made.method_}
    assert made.evaluate(arrays(40, seed=1))["used"].all()


def test_the_learned_space_is_used_where_it_is_asked_for() -> None:
    made = Retriever(**{**QUICK, "epochs": 1}, method="learned").fit(arrays(80))
    assert made.method_ == "learned"
    assert set(made.fitted.spaces) == {"learned", *LINEAR}


def _maps(method: str, data: Mapping[str, np.ndarray]) -> Any:
    made = Retriever(method=method, refit=False, validation_fraction=0.2).fit(data)
    return made, made.fitted.spaces[method]


def test_ridge_is_that_of_scikit_learn() -> None:
    data = {k: v.astype(np.float64) for k, v in arrays(400).items()}
    made = Retriever(method="ridge", refit=True).fit(data)
    views = made.fitted.space.views  # type: ignore[attr-defined]
    standard = {k: (v - v.mean(0)) / v.std(0) for k, v in data.items()}
    anchor = next(name for name, v in views.items() if np.array_equal(v.map, np.eye(len(v.map))))
    (other,) = set(views) - {anchor}
    x, y = standard[other], standard[anchor]
    strengths = (0.01, 0.1, 1.0, 10.0)
    theirs = [Ridge(alpha=s * (x**2).sum() / x.shape[1], fit_intercept=False).fit(x, y).coef_.T for s in strengths]
    assert min(np.abs(views[other].map - t).max() for t in theirs) < 1e-8


def test_linear_cca_spans_the_space_of_scikit_learn() -> None:
    data = {k: v.astype(np.float64) for k, v in arrays(400).items()}
    made = Retriever(method="cca", refit=True).fit(data)
    wanted = CCA(n_components=4, max_iter=2000).fit(data["left"], data["right"]).transform(data["left"], data["right"])
    for name, variates in zip(("left", "right"), wanted, strict=True):
        view = made.fitted.space.views[name]  # type: ignore[attr-defined]
        ours = ((data[name] - view.mean) / view.scale @ view.map)[:, :4]
        residual = ours - variates @ np.linalg.lstsq(variates, ours, rcond=None)[0]
        assert (residual.std(0) < 0.05 * ours.std(0)).all()


def test_the_setting_that_is_best_on_validation_rows_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(features: Any, rows: np.ndarray, only: Any) -> Any:
        rng = np.random.default_rng(0)
        for setting in ("poor", "good", "worse") if only is None else only:
            noise = {"poor": 2.0, "good": 0.0, "worse": 20.0}[setting]
            yield (setting,), {name: np.eye(4) + noise * rng.normal(size=(4, 4)) for name in features.x}

    monkeypatch.setitem(LINEAR_METHODS, "cca", tried)
    x = np.random.default_rng(1).normal(size=(100, 4))
    for refit in (False, True):
        made = Retriever(method="cca", refit=refit).fit({"a": x, "b": x + 0.1})
        assert made.validation_["cca"] == 1.0
        np.testing.assert_array_equal(made.fitted.space.views["a"].map, np.eye(4))  # type: ignore[attr-defined]


def test_components_of_texts_keep_their_sizes_and_numbers_are_scaled_each() -> None:
    made = Retriever(method="ridge", refit=False).fit(words(200))
    data = words(200)
    source = LsaFeatures(64)
    source.fit(data.modalities["name"])
    x = source.transform(data.modalities["name"])
    one, each = (_scaled(source, x, as_one=as_one) for as_one in (True, False))
    assert len(set(one.scale)) == 1
    np.testing.assert_allclose(one.standard(x).std(0) / x.std(0), one.standard(x).std() / x.std(), rtol=0.2)
    np.testing.assert_allclose(each.standard(x).std(0), 1)
    look = made.fitted.space.views["look"]  # type: ignore[attr-defined]
    assert len(set(look.scale)) > 1


@pytest.mark.parametrize("method", LINEAR)
class TestPlaces:
    def test_have_length_one_whatever_stands_beside_them(self, method: str) -> None:
        made, data = Retriever(method=method).fit(words(200)), words(60, seed=3)
        for name in ("name", "look"):
            whole = made.embed(data, name)
            np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-5)
            part = made.embed(data.rows(np.array([50, 7])), name)
            np.testing.assert_allclose(part, whole[[50, 7]], atol=1e-5)

    def test_are_nothing_where_a_modality_is_absent_or_a_text_has_no_word(self, method: str) -> None:
        made, data = Retriever(method=method).fit(words(200)), words(20, seed=3)
        texts = data.modalities["name"].values.copy()
        texts[3] = "  "
        there = np.arange(20) != 5
        parts = {"name": ModalityData("text", texts, there), "look": data.modalities["look"]}
        places = made.embed(Dataset("d", parts, None, "regression"), "name")
        assert np.flatnonzero(np.abs(places).sum(1) == 0).tolist() == [3, 5]

    def test_do_not_depend_on_the_units_of_a_vector(self, method: str) -> None:
        data, n = arrays(120), arrays(30, seed=2)
        large = {"left": data["left"] * 1e4, "right": data["right"]}
        first, second = Retriever(method=method).fit(data), Retriever(method=method).fit(large)
        near = first.embed(n, "left") @ first.embed(n, "right").T
        same = second.embed({"left": n["left"] * 1e4}, "left") @ second.embed(n, "right").T
        np.testing.assert_allclose(near, same, atol=1e-4)

    def test_come_back_from_a_folder(self, method: str, tmp_path: Path) -> None:
        made, data = Retriever(method=method, schema=None).fit(words(150)), words(40, seed=5)
        made.save(tmp_path / "r")
        again = Retriever.load(tmp_path / "r")
        assert (again.method, again.method_, again.validation_) == (method, method, made.validation_)
        for name in ("name", "look"):
            np.testing.assert_array_equal(again.embed(data, name), made.embed(data, name))
        pd.testing.assert_frame_equal(again.evaluate(data), made.evaluate(data))

    def test_of_three_modalities_are_in_one_space(self, method: str) -> None:
        rng = np.random.default_rng(0)
        z, maps = rng.normal(size=(400, 4)), rng.normal(size=(3, 4, 6))
        data = {n: z @ m + 0.05 * rng.normal(size=(400, 6)) for n, m in zip("abc", maps, strict=True)}
        known, new = ({n: x[rows] for n, x in data.items()} for rows in (slice(0, 300), slice(300, None)))
        found = Retriever(method=method, baseline=False).fit(known).evaluate(new)
        assert len(found) == 6 * 4
        assert (found[found["metric"] == "recall@1"]["value"] > 0.8).all()

    def test_are_learned_from_rows_that_lack_a_modality_too(self, method: str) -> None:
        data = arrays(200)
        data["left"][::3] = np.nan
        data["right"][1::3] = np.nan
        found = Retriever(method=method, baseline=False).fit(data).evaluate(arrays(80, seed=1))
        assert (found[found["metric"] == "recall@10"]["value"] > 0.6).all()


def test_ridge_needs_a_modality_that_shares_rows_with_every_other() -> None:
    rng = np.random.default_rng(0)
    data = {n: rng.normal(size=(120, 3)) for n in "abcd"}
    for name, rows in {"a": slice(60, None), "b": slice(60, None), "c": slice(0, 60), "d": slice(0, 60)}.items():
        data[name][rows] = np.nan
    with pytest.raises(DataError, match="one modality must share rows with every other one"):
        Retriever(method="ridge").fit(data)
    made = Retriever(**{**QUICK, "epochs": 1}).fit(data)
    assert set(made.validation_) == {"learned", "cca"}
