"""Predictions of every round, and rows that settle."""

from __future__ import annotations

import pytest
import torch

from profuse.errors import ConfigError, ShapeError
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.progressive import FEEDBACKS, ProgressiveFusion
from profuse.schema import Spec
from profuse.tokens import Raw

SPECS = {"a": Spec(kind="vector", n_channels=4), "c": Spec(kind="series", n_channels=2, max_length=12)}
N = 40


def inputs() -> dict[str, Raw]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a": Raw(torch.randn(N, 4, generator=generator), torch.ones(N, dtype=torch.bool)),
        "c": Raw(torch.randn(N, 12, 2, generator=generator), torch.ones(N, 12, dtype=torch.bool)),
    }


def around(feedback: str = "scale_shift", *, strength: float = 0.3, **options: object) -> ProgressiveFusion:
    plain = build_model(
        SPECS, "multiclass", 3, ModelOptions(members=1, width=16, fusion="token_transformer"), n_rows=100, seed=0
    )
    assert isinstance(plain, FusionModel)
    model = ProgressiveFusion(plain, rounds=3, feedback=feedback, **options)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.feedbacks.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * strength)
    return model.eval()


def test_every_round_predicts_what_a_model_of_so_many_rounds_predicts() -> None:
    model = around()
    found = model.train().anytime(inputs())
    assert model.training
    assert not found.predictions.requires_grad
    assert torch.equal(found.rounds, torch.full((N,), 3))
    model.eval()
    for n in (1, 2, 3):
        model.rounds = n
        expected = model.head.predict(model(inputs()).outputs)
        torch.testing.assert_close(found.predictions[n - 1], expected)


def test_every_layer_keeps_its_own_mode() -> None:
    model = around().train()
    model.model.encoders[0].eval()
    modes = [layer.training for layer in model.modules()]
    assert len(set(modes)) == 2
    model.anytime(inputs())
    assert [layer.training for layer in model.modules()] == modes
    with pytest.raises(ShapeError):
        model.anytime({})
    assert [layer.training for layer in model.modules()] == modes


@pytest.mark.parametrize("entry", ["input", "early", "later"])
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_a_row_that_has_settled_keeps_its_prediction_and_the_others_go_on_as_if_alone(
    feedback: str, entry: str
) -> None:
    model = around(feedback, entry=entry)
    free = model.anytime(inputs(), rounds=8).predictions
    moves = (free[1:] - free[:-1]).abs().amax(2)
    tolerance = moves[1].quantile(0.5).item()  # between two rows: rounding does not decide
    found = model.anytime(inputs(), rounds=8, tolerance=tolerance)
    settled = moves <= tolerance
    # the first round after which nothing moved, counted from one
    expected = torch.where(settled.any(0), settled.int().argmax(0) + 2, 8)
    assert torch.equal(found.rounds, expected)
    assert len(expected.unique()) > 1
    for n, predictions in enumerate(found.predictions):
        used = expected.clamp(max=n + 1) - 1
        torch.testing.assert_close(predictions, free[used, torch.arange(N)], atol=1e-5, rtol=1e-4)


def test_it_stops_when_all_rows_have_settled() -> None:
    found = around(strength=0.0).anytime(inputs(), rounds=50, tolerance=0.0)
    assert found.predictions.shape == (2, N, 3)
    assert torch.equal(found.rounds, torch.full((N,), 2))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="rounds must be at least 1.*got rounds=0"):
        around().anytime(inputs(), rounds=0)
    with pytest.raises(ConfigError, match="rounds must be at least 1.*got rounds=2.5"):
        around().anytime(inputs(), rounds=2.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tolerance at least 0.*tolerance=-1"):
        around().anytime(inputs(), tolerance=-1)
