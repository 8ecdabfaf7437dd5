"""A network that is learned anew with its validation rows: its linear path knows these as it does the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from known_answers import make_product

from profuse.data.split import make_split
from profuse.models.linear_paths import JOINT
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor, load_model
from profuse.schema import SplitOptions
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

FREQUENCY = 0.77


@pytest.fixture
def kernels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.layers.landmarks._FREQUENCIES", (FREQUENCY,))


def fitted(*, refit: bool) -> tuple[NetworkPredictor, Prepared]:
    data = make_product(60)
    prepared = Prepared.make(data, make_split(data, SplitOptions(), seed=0))
    options = ModelOptions(width=8, members=1, fusion="concat")
    return fit_model(prepared, options, TrainOptions(epochs=1, refit=refit, device="cpu")), prepared


@pytest.mark.usefixtures("kernels_only")
@pytest.mark.parametrize("refit", [True, False])
def test_each_row_that_is_learned_from_is_a_landmark(refit: bool) -> None:
    network, prepared = fitted(refit=refit)
    rows = np.concatenate([prepared.split.train, prepared.split.valid]) if refit else prepared.split.train
    paths = network.model.plain.linear_paths
    for name, part in paths.path(JOINT).landmarks.items():
        assert len(part.landmarks) == len(rows)
        x, present = paths.parts(network.model.plain.encoder_of, prepared.inputs)[name]
        z = part.standard(x[rows], present[rows])
        # each is nowhere nearer than at the landmark that it is itself
        nearest = torch.cdist(z, part.landmarks.to(z)).argmin(1)
        assert sorted(nearest.tolist()) == list(range(len(rows)))


@pytest.mark.usefixtures("kernels_only")
def test_a_saved_network_has_as_many_landmarks(tmp_path: Path) -> None:
    network, prepared = fitted(refit=True)
    network.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert isinstance(again, NetworkPredictor)
    assert again.n_known == len(prepared.split.train) + len(prepared.split.valid)
    said, before = (p.predict_encoded(prepared.inputs, prepared.split.test) for p in (again, network))
    np.testing.assert_array_equal(said, before)
