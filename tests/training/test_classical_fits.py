"""The classical model of one modality in a comparison: which rows choose, which features are tried, what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from known_answers import make_product
from rows_of_kinds import rows_of_kind
from scipy import sparse

from profuse import from_tensors, register
from profuse.classical import ClassicalFit, fit_classical
from profuse.data.dataset import Dataset
from profuse.data.features.vector import VectorFeatures
from profuse.data.split import Split, make_split
from profuse.kinds import KINDS, kind_named
from profuse.predictor import Features, load_model
from profuse.registry import table
from profuse.schema import SplitOptions
from profuse.training import classical_fits
from profuse.training.classical_fits import _inner_folds, _variants, best_fit
from profuse.training.fitting import Prepared
from profuse.training.options import TrainOptions
from profuse.training.scratch import shared_features


class Halves(VectorFeatures):
    """Half of each number."""

    def transform(self, data: Any) -> np.ndarray:
        return super().transform(data) / 2


def prepared(dataset: Dataset) -> Prepared:
    return Prepared.make(dataset, make_split(dataset, SplitOptions(), seed=0))


@pytest.fixture
def two_sets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    register("features", "halves", Halves)
    monkeypatch.setattr(type(kind_named("vector")), "feature_sets", ("vector", "halves"))
    yield
    table("features").registered.pop("halves")


@pytest.mark.usefixtures("two_sets")
@pytest.mark.parametrize("better", ["vector", "halves"])
def test_every_set_of_features_is_tried_and_what_chose_the_models_chooses_the_set(
    better: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, seen = prepared(make_product(120)), list[float]()

    def scripted(name: str, features: Any, *args: Any, **options: Any) -> ClassicalFit:
        fit = fit_classical(name, features, *args, **options)
        seen.append(float(np.nanmax(np.abs(features["b"]))))
        fit.model.choice = (0.0 if (len(seen) == 1) is (better == "vector") else 1.0, 0.0)
        return replace(fit, fit_seconds=1.0)

    monkeypatch.setattr(classical_fits, "fit_classical", scripted)
    made = partial(shared_features, ready, tmp_path / "seed0.pickle")
    best = best_fit("yardstick", ("b",), ready, TrainOptions(), trials=5, seed=0, made=made)
    assert seen == pytest.approx([seen[0], seen[0] / 2])
    assert best.features.names == {"b": better}
    assert best.seconds == 2.0
    assert len(list(tmp_path.glob("*.features"))) == 2  # left for other fits of the run


def test_few_validation_rows_choose_together_with_training_rows_by_folds_that_keep_groups_whole() -> None:
    n = 200
    x, y = np.random.default_rng(0).normal(size=(n, 2)), np.arange(n) % 2
    ready = prepared(from_tensors({"x": x}, y, groups=np.arange(n) // 5))
    split = ready.split
    inner = _inner_folds(ready, 0)
    assert inner is not None
    known = np.sort(np.concatenate([split.train, split.valid]))
    np.testing.assert_array_equal(np.sort(np.concatenate([held for _, held in inner])), known)
    for learned, held in inner:
        assert not set(learned) & set(held)
        assert not set(learned // 5) & set(held // 5)
        assert not set(split.test) & {*learned, *held}


def test_a_hundred_validation_rows_choose_alone_and_so_do_fewer_where_groups_are_too_few_for_folds() -> None:
    x, y = np.random.default_rng(0).normal(size=(800, 2)), np.arange(800) % 2
    assert _inner_folds(prepared(from_tensors({"x": x}, y)), 0) is None
    few = from_tensors({"x": x[:90]}, y[:90], groups=np.arange(90) // 30)
    rows = np.arange(90)
    assert _inner_folds(Prepared.make(few, Split(rows[:30], rows[30:60], rows[60:])), 0) is None


@pytest.mark.slow
def test_a_comparison_keeps_a_classical_model_of_texts_with_sparse_features(tmp_path: Path) -> None:
    from profuse import compare

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 160)
    notes = [f"{'alpha beta' if label else 'delta epsilon'} {rng.choice(['one', 'two', 'three'])}" for label in y]
    notes[3] = None  # type: ignore[call-overload]
    data = from_tensors({"note": notes, "noise": rng.normal(size=(160, 3))}, y)
    result = compare(data, seeds=1, rounds=(), train={"epochs": 1}, out=tmp_path, n_jobs=1, retrain_without=False)
    assert (
        result.frame.query("method == 'note classical' and metric == 'accuracy' and split == 'test'").value.item() > 0.9
    )
    folder = next((tmp_path / "work").glob("note_classical-seed0-*")) / "model"
    names = {n: f["name"] for n, f in json.loads((folder / "model.json").read_text())["own"]["features"].items()}
    assert set(names) == {"note"}
    kept = load_model(folder)
    assert (kept.predict(data) == y)[np.arange(160) != 3].mean() > 0.95
    answer = kept.ask("importance", data)
    assert answer is not None


def test_hiding_a_row_of_sparse_features_empties_it() -> None:
    part = Features(sparse.csr_matrix(np.eye(3)), torch.ones(3, dtype=torch.bool))
    hidden = part.without(torch.tensor([False, True, False]))
    np.testing.assert_array_equal(np.asarray(hidden.values @ np.eye(3)), np.diag([1.0, 0.0, 1.0]))
    assert hidden.present.tolist() == [True, False, True]
    assert (len(hidden), len(hidden.rows(torch.tensor([2])))) == (3, 1)


@pytest.mark.parametrize("kind", KINDS.builtin)
def test_a_model_alone_is_tried_with_the_full_features_of_its_kind(kind: str) -> None:
    sets = kind_named(kind).feature_sets
    rates = {kind: 8000} if kind_named(kind).has_rate else {}
    data = from_tensors({kind: rows_of_kind(kind)}, np.arange(12) % 2, kinds={kind: kind}, rates=rates)
    rows = np.arange(12)
    tried = _variants("yardstick", (kind,), Prepared.make(data, Split(rows[:6], rows[6:9], rows[9:])), 5)
    names = [chosen[kind] for chosen, _ in tried]
    assert names == [name for name in sets if name not in ("lsa", "image")]
    assert names
