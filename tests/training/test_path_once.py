"""How often a fit evaluates the linear path beside a network: it is dear, and no epoch needs it anew."""

from __future__ import annotations

from collections import Counter

import pytest
from known_answers import make_product
from torch import Tensor

from profuse.data.split import make_split
from profuse.layers.landmarks import Landmarks
from profuse.models.options import ModelOptions
from profuse.schema import SplitOptions
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions


@pytest.mark.parametrize("epochs", [1, 4])
def test_no_epoch_evaluates_a_linear_path(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    n_rows: Counter[str] = Counter()
    read = Landmarks.forward

    def counted(part: Landmarks, x: Tensor, present: Tensor) -> Tensor:
        n_rows["seen"] += len(x)
        return read(part, x, present)

    monkeypatch.setattr(Landmarks, "forward", counted)
    data = make_product(80)
    prepared = Prepared.make(data, make_split(data, SplitOptions(), seed=0))
    options = TrainOptions(epochs=epochs, refit=False, device="cpu")
    fit_model(prepared, ModelOptions(width=8, members=1, fusion="concat"), options)
    valid, test = len(prepared.split.valid), len(prepared.split.test)
    # what is not learned from, by the joint path and the modality's own
    assert n_rows["seen"] == len(data.modalities) * 2 * (valid + test)
