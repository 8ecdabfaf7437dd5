"""The running mean of weights: its formula; it is judged and kept, and training goes on from the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from profuse.models.trainable import Trainable, Validation
from profuse.tokens import Raw
from profuse.training.averaging import WeightAverage
from profuse.training.history import Epoch, History
from profuse.training.loop import Recipe, retrain, train
from profuse.training.options import TrainOptions


def mean_of(weights: list[np.ndarray], half_life: float) -> np.ndarray:
    """The oracle: the first is before any step."""
    mean, most = weights[0], 0.5 ** (1 / half_life)
    for step, weight in enumerate(weights[1:], start=1):
        decay = min(most, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * weight
    return mean


@pytest.mark.parametrize("half_life", [0.7, 3.0, 40.0])
def test_the_mean_forgets_by_its_half_life_and_faster_in_the_first_steps(half_life: float) -> None:
    model, rng = nn.Linear(2, 1, bias=False), np.random.default_rng(0)
    average, weights = WeightAverage(model, half_life), [model.weight.detach().numpy().copy()]
    for _ in range(100):
        weights.append(rng.normal(size=(1, 2)).astype(np.float32))
        model.weight.data = torch.tensor(weights[-1])
        average.update()
    average.swap()
    np.testing.assert_allclose(model.weight.detach(), mean_of(weights, half_life), rtol=1e-5)
    average.swap()
    np.testing.assert_array_equal(model.weight.detach(), weights[-1])


def test_no_half_life_is_the_weights_of_the_last_step_and_what_is_frozen_stays() -> None:
    for half_life, frozen in ((0.0, False), (5.0, True)):
        model = nn.Linear(2, 1).requires_grad_(not frozen)
        average = WeightAverage(model, half_life)
        model.weight.data = torch.full((1, 2), 7.0)
        average.update()
        average.swap()
        assert model.weight.tolist() == [[7.0, 7.0]]


class Line(Trainable[torch.Tensor]):
    """A line, whose weights are written down after each step and at each judgement; later epochs are worse."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))
        self.stepped, self.judged = [self.weight.detach().numpy().copy()], []  # type: ignore[var-annotated]
        self.errors = [3.0, 1.0, 2.0]

    @property
    def unit(self) -> str:
        return "points"

    def forward(self, inputs: Any) -> torch.Tensor:
        values: torch.Tensor = inputs["x"].values
        return values @ self.weight

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).square().mean()

    def validate(self, outputs: Any, target: torch.Tensor) -> Validation:
        self.judged.append(self.weight.detach().numpy().copy())
        return Validation(0.0, 0.0, self.errors[len(self.judged) - 1])


def descent(model: Any, **options: Any) -> Any:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    optimizer.register_step_post_hook(lambda *_: model.stepped.append(model.weight.detach().numpy().copy()))
    return optimizer, LambdaLR(optimizer, lambda step: 1.0)


OPTIONS = TrainOptions(epochs=3, batch_size=10, patience=3, averaging=0.2, device="cpu")  # of 9 steps
INPUTS = {"x": Raw(torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.ones(40).bool())}


def test_the_mean_is_judged_and_kept_and_training_goes_on_from_the_weights() -> None:
    model = Line()
    train(
        model, INPUTS, torch.ones(40), torch.arange(30), torch.arange(30, 40), OPTIONS, recipe=Recipe(optimizer=descent)
    )
    for epoch in (1, 2, 3):
        mean = mean_of(model.stepped[: 1 + 3 * epoch], 0.2 * 9)
        np.testing.assert_allclose(model.judged[epoch - 1], mean, rtol=1e-5)
        assert not np.allclose(mean, model.stepped[3 * epoch], rtol=1e-3)
    np.testing.assert_array_equal(model.weight.detach(), model.judged[1])
    # a step from the mean would leave other weights
    alone = Line()
    given = OPTIONS.model_copy(update={"averaging": 0.0})
    train(
        alone, INPUTS, torch.ones(40), torch.arange(30), torch.arange(30, 40), given, recipe=Recipe(optimizer=descent)
    )
    np.testing.assert_array_equal(alone.stepped, model.stepped)
    np.testing.assert_array_equal(alone.judged[1], alone.stepped[6])


@pytest.mark.parametrize("best", [1, 3])
def test_training_anew_leaves_the_mean_of_the_chosen_epoch_too(best: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profuse.training.loop.adamw", descent)
    model, done = Line(), History((Epoch(best, 0.0, 0.0, 0.0, 0.0),), best, 30, 0.0)
    retrain(model, INPUTS, torch.ones(40), torch.arange(40), OPTIONS, done)
    assert len(model.stepped) == 1 + 4 * best
    np.testing.assert_allclose(model.weight.detach(), mean_of(model.stepped, 0.2 * 12), rtol=1e-5)
