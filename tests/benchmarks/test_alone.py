"""Each modality alone against hand-made features: fewer rows of the same split, and what is measured of them."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from known_answers import make_product

from profuse.data.dataset import Dataset
from profuse.training.options import TrainOptions

# its folder and that of speed both hold a file "operators", so that a type checker cannot read both as paths
module = importlib.import_module("alone")
alone, few_rows = module.alone, module.few_rows


def ids(data: Dataset, part: str) -> set[int]:
    assert data.ids is not None
    assert data.split is not None
    return set(data.ids[data.split == part].tolist())


def numbered(n_rows: int = 120) -> Dataset:
    return replace(make_product(n_rows), ids=np.arange(n_rows), groups=np.arange(n_rows) // 3)


def test_fewer_rows_are_tested_on_the_same_rows_and_learned_from_as_part_of_the_others() -> None:
    few, more = few_rows(numbered(), 20, seed=1), few_rows(numbered(), 60, seed=1)
    assert len(ids(few, "train")) == 20
    assert ids(few, "test") == ids(more, "test")
    assert ids(few, "train") < ids(more, "train")


def test_groups_stay_on_one_side_when_rows_are_fewer() -> None:
    few = few_rows(numbered(), 30, seed=0)
    sides = [{i // 3 for i in ids(few, part)} for part in ("train", "valid", "test")]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


@pytest.mark.slow
def test_network_and_classical_model_are_measured_on_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.classical.gradient_boosting.GradientBoosting.trials", ())  # which take seconds
    (measured,) = alone(numbered(), seeds=(0, 1), n_train=40, modalities=("a",), train=TrainOptions(epochs=1))
    assert measured.n_train == 40
    assert measured.difference.value == pytest.approx(measured.scores[0] - measured.scores[1])
    assert measured.difference.n_seeds == 2
    assert len(measured.cells("made")) == 10
