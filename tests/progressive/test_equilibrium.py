"""Equilibrium: fixed points against SciPy, gradients against a long loop, memory, dropout, warnings."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import fixed_point as scipy_fixed_point
from scipy.optimize import root
from torch import Tensor

from profuse.build import ModelOptions, build_model
from profuse.errors import ConfigError, ProfuseWarning
from profuse.model import FusionModel
from profuse.progressive import FEEDBACKS, ProgressiveFusion
from profuse.progressive._entry import below
from profuse.progressive._equilibrium import attached, fixed_point
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


def around(*, strength: float = 0.03, fusion: str = "concat", **options: object) -> ProgressiveFusion:
    """A model in float64 with feedback that is weak enough, at the default strength, for the rounds to contract."""
    plain = build_model(SPECS, "multiclass", 3, ModelOptions(width=8, fusion=fusion), n_rows=100, seed=0)
    assert isinstance(plain, FusionModel)
    given = {"rounds": "equilibrium", "tolerance": 1e-12, "max_rounds": 200, **options}
    model = ProgressiveFusion(plain, **given)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.feedbacks.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * strength)
    return model.double().eval()


def affine(n_rows: int, width: int, factor: float) -> tuple[Tensor, Tensor]:
    """A matrix of spectral norm `factor` and offsets."""
    generator = torch.Generator().manual_seed(2)
    a = torch.randn(width, width, generator=generator, dtype=torch.float64)
    offsets = torch.randn(n_rows, width, generator=generator, dtype=torch.float64)
    return factor * a / torch.linalg.matrix_norm(a, 2), offsets


@pytest.mark.parametrize("damping", [1.0, 0.4])
@pytest.mark.parametrize("factor", [0.0, 0.5, 0.99])
def test_the_fixed_point_of_an_affine_map_is_the_solution_of_its_equations(factor: float, damping: float) -> None:
    a, b = affine(7, 30, factor)
    found = fixed_point(
        lambda x: x @ a.T + b, torch.zeros_like(b), tolerance=1e-12, max_evaluations=400, damping=damping
    )
    expected = torch.linalg.solve(torch.eye(30, dtype=torch.float64) - a, b.T).T
    assert bool(found.reached.all())
    torch.testing.assert_close(found.state, expected, atol=1e-9, rtol=1e-9)


def test_the_fixed_point_is_that_of_scipy() -> None:
    a, b = affine(3, 12, 0.9)
    found = fixed_point(lambda x: torch.tanh(x @ a.T + b), torch.zeros_like(b), tolerance=1e-13, max_evaluations=300)
    matrix = a.numpy()
    for row, offset in zip(found.state.numpy(), b.numpy(), strict=True):
        expected = scipy_fixed_point(
            lambda x, offset=offset: np.tanh(matrix @ x + offset),
            np.zeros(12),
            xtol=1e-13,
            maxiter=2000,
            method="iteration",
        )
        np.testing.assert_allclose(row, expected, atol=1e-10)


def test_it_comes_to_rest_where_plain_steps_run_away() -> None:
    # slopes of -3 and -2: every plain step is longer than the one before
    slopes = torch.tensor([-3.0, -2.0, 0.5], dtype=torch.float64)
    start = torch.ones(2, 3, dtype=torch.float64)
    found = fixed_point(lambda x: slopes * x + 4, start, tolerance=1e-10, max_evaluations=40)
    assert bool(found.reached.all())
    torch.testing.assert_close(found.state, (4 / (1 - slopes)).expand(2, 3), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("damping", [1.0, 0.5])
def test_for_a_contraction_the_residual_falls_as_it_is_said_to(damping: float) -> None:
    # a contraction of factor .9 that bends all the time, on which acceleration often fails
    a, b = affine(5, 10, 1.0)

    def f(x: Tensor) -> Tensor:
        return 0.45 * (x @ a.T).abs() + 0.45 * torch.sin(3 * (x @ a)) / 3 + b

    residuals = [
        fixed_point(f, 10 * b, tolerance=1e-14, max_evaluations=n, damping=damping).residuals for n in range(1, 80)
    ]
    lengths = [
        (f(s) - s).norm(dim=1)
        for s in (
            fixed_point(f, 10 * b, tolerance=1e-14, max_evaluations=n, damping=damping).state for n in range(1, 80)
        )
    ]
    bound = max(0.99, 1 - damping * 0.1)
    for before, after in zip(lengths, lengths[2:], strict=False):
        assert bool((after <= bound * before + 1e-12).all())
    assert residuals[-1].max() < residuals[0].min()


def test_rows_that_rest_wait_for_the_others_without_a_change() -> None:
    a, b = affine(4, 10, 0.95)
    b[1:] = 0
    alone = fixed_point(lambda x: x @ a.T + b[1:], b[1:] + 1, tolerance=1e-3, max_evaluations=99).state
    together = fixed_point(lambda x: x @ a.T + b, b + 1, tolerance=1e-3, max_evaluations=99).state[1:]
    torch.testing.assert_close(alone, together)


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


def test_the_implicit_gradient_holds_under_gradcheck() -> None:
    a, b = affine(3, 5, 0.8)

    def at_rest(a: Tensor, b: Tensor) -> Tensor:
        def f(x: Tensor) -> Tensor:
            return torch.tanh(x @ a.T + b)

        with torch.no_grad():
            state = fixed_point(f, torch.zeros_like(b), tolerance=1e-14, max_evaluations=300).state
        return attached(f, state, tolerance=1e-14, max_evaluations=300, damping=1.0, told=print, where="test")

    assert torch.autograd.gradcheck(at_rest, (a.requires_grad_(), b.requires_grad_()), check_undefined_grad=False)


def test_gradients_of_gradients_are_refused_at_rest_and_those_of_a_number_of_rounds_are_there() -> None:
    model = around()

    def slope(**options: bool) -> Tensor:
        (gradient,) = torch.autograd.grad(model(inputs()).outputs.sum(), [model.feedbacks[0].linear.weight], **options)  # type: ignore[union-attr, list-item]
        return gradient

    first = slope()
    with pytest.raises(ConfigError, match="create_graph=True.*Set a number of rounds"):
        slope(create_graph=True)
    torch.testing.assert_close(slope(), first)
    model.rounds = 60
    gradient = slope(create_graph=True)
    torch.testing.assert_close(gradient, first, atol=1e-6, rtol=1e-6)
    gradient.square().sum().backward()


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
            ProfuseWarning, match=r"the fused state must come to rest within tolerance=1e-12; got \d of 6 rows"
        ),
    ):
        assert bool(model(inputs()).outputs.isfinite().all())
    with pytest.warns(ProfuseWarning, match="must come to rest") as told:
        model(inputs()).outputs.sum().backward()
    assert [str(w.message).split(" must")[0] for w in told] == [
        "ProgressiveFusion: the fused state",
        "ProgressiveFusion: its gradient",
    ]


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
