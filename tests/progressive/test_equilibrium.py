"""Models that converge: states against SciPy, gradients against a long loop, memory, dropout, warnings."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import root
from torch import Tensor

from profuse.errors import ConfigError, ProfuseWarning
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.progressive import FEEDBACKS, ProgressiveFusion
from profuse.progressive._entry import below
from profuse.progressive._equilibrium import above, share_of
from profuse.schema import Spec
from profuse.tokens import Raw

SPECS = {"a": Spec(kind="vector", n_channels=4), "c": Spec(kind="series", n_channels=2, max_length=12)}
N = 6
TARGET = torch.tensor([0, 1, 2, 0, 1, 2])


def inputs() -> dict[str, Raw]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(N, 12, dtype=torch.bool)
    mask[2, 5:], mask[4] = False, False
    return {
        "a": Raw(torch.randn(N, 4, generator=generator, dtype=torch.float64), torch.ones(N, dtype=torch.bool)),
        "c": Raw(torch.randn(N, 12, 2, generator=generator, dtype=torch.float64), mask),
    }


def around(
    *, strength: float = 0.03, fusion: str = "concat", dropout: float = 0.2, **options: object
) -> ProgressiveFusion:
    """A model in float64 with feedback that is weak enough, at the default strength, for the rounds to contract."""
    asked = ModelOptions(members=1, width=8, fusion=fusion, dropout=dropout)
    plain = build_model(SPECS, "multiclass", 3, asked, n_rows=100, seed=0)
    assert isinstance(plain, FusionModel)
    given = {"rounds": "equilibrium", "tolerance": 1e-12, "max_rounds": 200, **options}
    model = ProgressiveFusion(plain, **given)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.feedbacks.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * strength)
    return model.double().eval()


@pytest.mark.parametrize("seed", [2, 9, 13])
def test_an_operator_that_compares_rows_of_a_batch_rests_in_all_of_them(seed: int) -> None:
    options = {"fusion": "mogonet", "dropout": 0.0, "tolerance": 1e-2, "strength": 0.1}
    model, generator = around(**options), torch.Generator().manual_seed(seed)  # type: ignore[arg-type]

    def rows(n: int) -> dict[str, Raw]:
        return {
            "a": Raw(torch.randn(n, 4, generator=generator, dtype=torch.float64), torch.ones(n, dtype=torch.bool)),
            "c": Raw(
                torch.randn(n, 12, 2, generator=generator, dtype=torch.float64), torch.ones(n, 12, dtype=torch.bool)
            ),
        }

    with torch.no_grad():
        model.remember(rows(40))
        states: list[Tensor] = []
        model.feedbacks[0].register_forward_pre_hook(lambda _, given: states.append(given[1]))
        after = model.train()(rows(32)).fused.vector
    assert bool(((after - states[-1]).norm(dim=1) <= 1e-2 * after.norm(dim=1)).all())


@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_it_gives_the_same_with_and_without_gradients_bit_for_bit(feedback: str) -> None:
    model = around(feedback=feedback, fusion="token_transformer", dropout=0.0, tolerance=1e-2).train()
    with torch.no_grad():
        expected = model(inputs()).outputs
    found = model(inputs()).outputs
    assert found.requires_grad
    assert torch.equal(found, expected)


@pytest.mark.parametrize("fusion", ["concat", "token_transformer"])
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_the_state_at_rest_is_the_one_that_scipy_finds(feedback: str, fusion: str) -> None:
    model = around(feedback=feedback, fusion=fusion)
    under = below(model.model, inputs(), model.entries)
    with torch.no_grad():
        found = model(inputs())
        vector, fused = model._state(model._round(under, None))
        shape = None if fused is None else fused.values.shape

        def gap(x: np.ndarray) -> np.ndarray:
            values = torch.from_numpy(x).view(N, -1)
            tokens = None if fused is None else type(fused)(values[:, 8:].view(shape), fused.mask)  # type: ignore[arg-type]
            v, t = model._state(model._round(under, (values[:, :8], tokens)))
            parts = [v] if t is None else [v, t.values.flatten(1)]
            return (torch.cat(parts, 1) - values).numpy().ravel()

        start = torch.cat([vector] if fused is None else [vector, fused.values.flatten(1)], 1)
        expected = root(gap, start.numpy().ravel(), method="krylov", options={"fatol": 1e-11})
    assert expected.success
    state = expected.x.reshape(N, -1)[:, :8]
    np.testing.assert_allclose(found.fused.vector.numpy(), state, atol=1e-8)
    assert np.abs(state - vector.numpy()).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["input", "early", "later"])
@pytest.mark.parametrize("feedback", FEEDBACKS)
def test_outputs_and_gradients_are_those_of_a_long_loop(feedback: str, entry: str) -> None:
    model = around(strength=0.02, feedback=feedback, entry=entry, fusion="token_transformer")
    parameters = [*model.parameters()]

    def gradients() -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = model.loss(model(inputs()), TARGET)
        return loss, torch.autograd.grad(loss, parameters)

    loss, found = gradients()
    model.rounds = 60
    expected_loss, expected = gradients()
    model.rounds = 2
    _, short = gradients()
    torch.testing.assert_close(loss, expected_loss, atol=1e-9, rtol=1e-9)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)
    assert any(not torch.allclose(a, b, atol=1e-6, rtol=1e-4) for a, b in zip(short, expected, strict=True))


def test_gradients_of_gradients_are_refused_at_rest_and_those_of_a_number_of_rounds_are_there() -> None:
    model = around()

    def slope(**options: Any) -> Tensor:
        feedback: Any = model.feedbacks[0]
        gradient: Tensor
        (gradient,) = torch.autograd.grad(model(inputs()).outputs.sum(), [feedback.linear.weight], **options)
        return gradient

    first = slope()
    with pytest.raises(ConfigError, match="create_graph=True.*Set a number of rounds"):
        slope(create_graph=True)
    torch.testing.assert_close(slope(), first)
    model.rounds = 60
    gradient = slope(create_graph=True)
    torch.testing.assert_close(gradient, first, atol=1e-6, rtol=1e-6)
    gradient.square().sum().backward()


@pytest.mark.parametrize("options", [{"max_rounds": 30}, {"rounds": 3, "gradient_rounds": 1}])
def test_under_autocast_all_weights_learn_though_passes_without_gradient_came_first(options: dict[str, Any]) -> None:
    model = around(tolerance=0.05, **options).float().train()
    batch = {name: Raw(raw.values.float(), raw.mask) for name, raw in inputs().items()}
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(model(batch), TARGET)
    loss.backward()
    assert {name for name, p in model.named_parameters() if p.grad is None} == set()
    assert all(p.grad.abs().sum() > 0 for p in model.feedbacks.parameters())  # type: ignore[union-attr]


def test_memory_does_not_grow_with_the_number_of_iterations() -> None:
    kept: list[int] = []

    def bytes_kept(model: ProgressiveFusion) -> int:
        seen: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            kept.append(1)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x), warnings.catch_warnings():
            warnings.simplefilter("ignore", ProfuseWarning)
            output = model.train()(inputs())
        assert output.outputs.requires_grad
        return sum(seen.values())

    few, many = bytes_kept(around(max_rounds=2)), bytes_kept(around(max_rounds=100))
    assert many <= few * 1.01
    assert bytes_kept(around(rounds=40)) > 5 * many


def test_dropout_is_the_same_in_all_rounds_of_a_batch_and_another_in_the_next() -> None:
    model = around(max_rounds=100).train()
    torch.manual_seed(3)
    first, second = model(inputs()), model(inputs())
    assert not torch.allclose(first.outputs, second.outputs)
    torch.manual_seed(3)
    torch.testing.assert_close(model(inputs()).outputs, first.outputs)


def test_no_row_sees_another_and_a_row_without_anything_rests() -> None:
    model = around(tolerance=1e-6)
    batch = inputs()
    whole = model(batch).outputs
    part = model({name: raw.rows(torch.tensor([4, 1])) for name, raw in batch.items()}).outputs
    torch.testing.assert_close(part, whole[[4, 1]])
    nothing = {name: raw.without(torch.ones(N, dtype=torch.bool)) for name, raw in batch.items()}
    assert bool(model(nothing).outputs.isfinite().all())


def test_without_feedback_weights_it_is_the_plain_model_and_learns_from_there() -> None:
    model = around(strength=0.0)
    torch.testing.assert_close(model(inputs()).outputs, model.model(inputs()).outputs, atol=0, rtol=0)
    model.loss(model(inputs()), TARGET).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.feedbacks.parameters())


def test_it_warns_where_the_state_or_the_gradient_does_not_come_to_rest() -> None:
    model = around(strength=0.3, max_rounds=3)
    with (
        torch.no_grad(),
        pytest.warns(
            ProfuseWarning,
            match=r"the fused state must converge within tolerance=1e-12; got up to \d+% of a batch's rows",
        ),
    ):
        assert bool(model(inputs()).outputs.isfinite().all())
    with pytest.warns(ProfuseWarning, match="must converge") as told:
        model(inputs()).outputs.sum().backward()
    assert [str(w.message).split(" must")[0] for w in told] == [
        "ProgressiveFusion: the fused state",
        "ProgressiveFusion: its gradient",
    ]


def test_warnings_of_many_batches_are_few_as_equal_ones_are_told_once() -> None:
    model = around(strength=0.3, max_rounds=3)
    with torch.no_grad(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for seed in range(30):
            model({name: Raw(raw.values + 0.1 * seed, raw.mask) for name, raw in inputs().items()})
    assert 1 <= len(told) <= 8


@pytest.mark.parametrize(
    ("sizes", "said"),
    [([0.02, 0.1], "1e-01"), ([0.11], "1e+00"), ([3e-5], "1e-04"), ([math.inf], "inf"), ([0.0], "0.0")],
)
def test_a_size_is_told_by_the_power_of_ten_above_it(sizes: list[float], said: str) -> None:
    assert above(torch.tensor(sizes, dtype=torch.float64)) == said


@pytest.mark.parametrize(("n", "said"), [(1, "1%"), (2, "10%"), (50, "50%"), (51, "100%"), (100, "100%")])
def test_a_share_is_told_by_the_round_one_above_it(n: int, said: str) -> None:
    assert share_of(torch.arange(100) < n) == f"up to {said} of a batch's rows"


def test_a_model_trained_with_rounds_can_be_used_at_rest_and_the_other_way_round() -> None:
    model = around(rounds=40)
    late = model(inputs()).outputs
    model.rounds = "equilibrium"
    torch.testing.assert_close(model(inputs()).outputs, late)
    found = model.anytime(inputs(), tolerance=1e-9)
    assert found.rounds.max() < 40
    torch.testing.assert_close(found.predictions[-1], model.head.predict(late), atol=1e-7, rtol=1e-7)


def test_what_cannot_be_is_refused() -> None:
    for options in ({"supervise": "all"}, {"start": "learned"}, {"gradient_rounds": 1}):
        with pytest.raises(ConfigError, match="rounds='equilibrium' must go with"):
            around(**options)
    with pytest.raises(ConfigError, match="rounds must be at least 1, or 'equilibrium'; got rounds='rest'"):
        around(rounds="rest")
    for wrong in ({"max_rounds": 0}, {"tolerance": 0.0}, {"damping": 0.0}, {"damping": 1.5}):
        with pytest.raises(ConfigError, match="damping over 0 and at most 1; got"):
            around(**wrong)
