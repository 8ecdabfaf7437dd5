"""A fused model beside its modalities alone: one that tells nothing takes nothing away."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import Split
from profuse.metrics import measure
from profuse.models.options import ModelOptions
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

TRAIN, VALID, TEST = 160, 60, 600


def prepared(task: Literal["multiclass", "regression"], seed: int) -> Prepared:
    """Returns five numbers that tell a lot, and 400 that tell nothing."""
    n = TRAIN + VALID + TEST
    rng = np.random.default_rng(seed)
    good, noise = rng.normal(size=(n, 5)), rng.normal(size=(n, 400))
    y = good @ [1.0, -1.0, 0.5, 0.5, 0.0] + rng.normal(0, 0.7, n)
    there = np.ones(n, dtype=bool)
    data = Dataset(
        "beside noise",
        {"good": ModalityData("vector", good, there), "noise": ModalityData("vector", noise, there)},
        y if task == "regression" else np.digitize(y, [-0.7, 0.7]),
        task,
    )
    cuts = np.split(np.arange(n), [TRAIN, TRAIN + VALID])
    return Prepared.make(data, Split(*cuts))


@pytest.mark.parametrize(("task", "metric"), [("regression", "r2"), ("multiclass", "accuracy")])
def test_beside_a_modality_of_noise_the_default_model_is_as_good_as_without(
    task: Literal["multiclass", "regression"], metric: str
) -> None:
    data = prepared(task, seed=0)

    def score(modalities: tuple[str, ...]) -> float:
        made = fit_model(
            data, ModelOptions(width=16, members=2), TrainOptions(epochs=4, refit=False), modalities=modalities
        )
        said = made.predict_encoded({n: data.inputs[n] for n in modalities}, data.split.test)
        return measure(task, data.true(data.split.test), said).values[metric]

    alone, fused = score(("good",)), score(("good", "noise"))
    assert alone > 0.6
    assert fused > alone - 0.02
