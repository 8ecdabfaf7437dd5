"""The norms of gradients by modality, and how alike they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from profuse import from_tensors
from profuse.data.split import make_split
from profuse.errors import ConfigError
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.schema import SplitOptions
from profuse.training.callbacks import Callback
from profuse.training.fitting import Prepared, fit_model
from profuse.training.gradients import GradientBalance
from profuse.training.options import TrainOptions

MODEL = ModelOptions(fusion="concat", width=8, members=1)


def prepared(n: int = 120) -> Prepared:
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(n, 3)).astype(np.float32) for name in "abc"}
    data = from_tensors(x, (x["a"][:, 0] + 0.3 * x["b"][:, 0] > 0).astype(int))
    return Prepared.make(data, make_split(data, SplitOptions(), seed=0))


class Oracle(Callback):
    """Keeps each gradient as it comes, before it is written to the parameter."""

    def on_fit_start(self) -> None:
        model = next(m for m in self.model.modules() if isinstance(m, FusionModel))
        self.came: dict[str, list[list[torch.Tensor]]] = {name: [] for name in model.names}
        for name, encoder in model.encoder_of.items():
            for parameter in encoder.parameters():
                own: list[torch.Tensor] = []
                self.came[name].append(own)
                parameter.register_hook(lambda g, own=own: own.append(g.detach().clone()))


class Freeze(Callback):
    """Has some modalities learn nothing."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def on_fit_start(self) -> None:
        model = next(m for m in self.model.modules() if isinstance(m, FusionModel))
        for name in self.names:
            for parameter in model.encoder_of[name].parameters():
                parameter.register_hook(torch.zeros_like)


@pytest.mark.parametrize("rounds", [1, 2])
def test_norms_are_means_over_the_steps_of_an_epoch(rounds: int) -> None:
    oracle, balance = Oracle(), GradientBalance()
    train = TrainOptions(epochs=2, batch_size=32, refit=False)
    fit_model(prepared(), MODEL.model_copy(update={"rounds": rounds}), train, callbacks=(oracle, balance))
    assert len(balance.norms) == 2
    for name, each in oracle.came.items():
        used = [gradients for gradients in each if gradients]
        n_steps = len(used[0]) // 2
        by_step = [math.sqrt(sum(float(g[step].double().square().sum()) for g in used)) for step in range(2 * n_steps)]
        assert n_steps > 1
        assert balance.norms[0][name] == pytest.approx(np.mean(by_step[:n_steps]), rel=1e-6)
        assert balance.norms[1][name] == pytest.approx(np.mean(by_step[n_steps:]), rel=1e-6)


def test_the_index_is_the_mean_of_the_coefficients_of_variation() -> None:
    balance = GradientBalance()
    balance.norms = [{"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 2.0}]
    assert balance.index == pytest.approx(0.25)
    assert math.isnan(GradientBalance().index)  # of no training yet


@pytest.mark.parametrize(("frozen", "expected"), [(("a", "b"), math.sqrt(2)), (("a",), None)])
def test_where_one_modality_learns_alone_the_index_is_at_its_end(frozen: Any, expected: float | None) -> None:
    balance = GradientBalance()
    fit_model(prepared(), MODEL, TrainOptions(epochs=1, refit=False), callbacks=(Freeze(*frozen), balance))
    assert [name for name, norm in balance.norms[0].items() if norm == 0] == list(frozen)
    if expected is not None:
        assert balance.index == pytest.approx(expected)
    else:
        assert 1 / math.sqrt(2) <= balance.index < math.sqrt(2)


def test_looking_changes_no_training_and_ends_with_it() -> None:
    data, train = prepared(), TrainOptions(epochs=2)
    balance = GradientBalance()
    watched, alone = fit_model(data, MODEL, train, callbacks=(balance,)), fit_model(data, MODEL, train)
    for a, b in zip(watched.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not any(p._post_accumulate_grad_hooks for p in balance.model.parameters())


def test_a_model_without_encoders_of_modalities_is_refused() -> None:
    balance = GradientBalance()
    balance.model = torch.nn.Linear(2, 1)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="encoder of each modality.*got Linear"):
        balance.on_fit_start()
