"""The search for fixed points, and their gradient: against equations, SciPy and differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import fixed_point as scipy_fixed_point
from torch import Tensor

from profuse.progressive._equilibrium import Solution, attached, fixed_point


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


@pytest.mark.slow
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
    a, b = affine(4, 10, 1.0)
    rates = torch.tensor([[0.95], [0.7], [0.3], [0.01]], dtype=torch.float64)

    def found(rows: slice) -> Solution:
        return fixed_point(lambda x: rates[rows] * (x @ a.T) + b[rows], b[rows] + 1, tolerance=1e-3, max_evaluations=99)

    together, alone = found(slice(None)), [found(slice(row, row + 1)) for row in range(4)]
    assert bool(together.reached.all())
    assert len({each.n_evaluations for each in alone}) > 2
    torch.testing.assert_close(together.state, torch.cat([each.state for each in alone]))


def test_rows_that_depend_on_each_other_rest_together() -> None:
    # row 1 rests where it begins, until row 0 has come past 5
    def f(x: Tensor) -> Tensor:
        return torch.stack([0.9 * x[0] + 1, 0.5 * x[1] + torch.where(x[0] > 5, 3, 1)])

    found = fixed_point(f, torch.tensor([[0.0], [2.0]], dtype=torch.float64), tolerance=1e-9, max_evaluations=40)
    assert bool(found.reached.all())
    torch.testing.assert_close(found.state, torch.tensor([[10.0], [6.0]], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("damping", [1.0, 0.5])
def test_a_row_can_rest_at_zero(damping: float, dtype: torch.dtype) -> None:
    start = torch.tensor([[1.0, -2.0], [1e-9, 0.0], [1e9, 1e9]], dtype=dtype)
    slopes = torch.tensor([0.5, -0.4], dtype=dtype)
    found = fixed_point(lambda x: slopes * x, start, tolerance=1e-6, max_evaluations=60, damping=damping)
    assert bool(found.reached.all())
    assert found.n_evaluations < 20
    assert bool((found.state.norm(dim=1) <= 1e-5 * start.norm(dim=1)).all())


@pytest.mark.parametrize("length", [1e-18, 1e-22, 1e-40])
def test_rows_too_short_to_be_squared_come_to_rest_beside_others(length: float) -> None:
    a, b = (x.float() for x in affine(7, 30, 0.9))
    b[1:] *= length
    found = fixed_point(lambda x: x @ a.T + b, b, tolerance=1e-4, max_evaluations=50)
    assert bool(found.reached.all())
    assert bool(found.state.isfinite().all())


def test_what_is_not_finite_has_not_come_to_rest_and_is_not_remembered() -> None:
    a, b = affine(3, 10, 0.9)
    given: list[Tensor] = []

    def f(x: Tensor) -> Tensor:
        given.append(x)
        y = x @ a.T + b
        y[1] *= torch.nan if len(given) == 4 else 1.0
        return y

    found = fixed_point(f, torch.zeros_like(b), tolerance=1e-9, max_evaluations=60)
    assert bool(found.reached.all())
    assert bool(torch.stack(given).isfinite().all())
    lost = fixed_point(lambda x: x + torch.inf, b, tolerance=1e-9, max_evaluations=6)
    assert not bool(lost.reached.any())


def test_the_search_is_as_exact_under_autocast_as_without() -> None:
    a, b = (x.float() for x in affine(7, 30, 0.95))

    def f(x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return x @ a.T + b

    def found() -> Solution:
        return fixed_point(f, torch.zeros_like(b), tolerance=1e-5, max_evaluations=200)

    expected = found()
    with torch.autocast("cpu", torch.bfloat16):
        under = found()
    assert bool(expected.reached.all())
    assert under.n_evaluations == expected.n_evaluations
    assert torch.equal(under.state, expected.state)


def test_the_state_is_as_it_was_found_though_f_leaves_it() -> None:
    slope, state = torch.tensor([-3.0], dtype=torch.float64, requires_grad=True), torch.tensor([[1.001]]).double()
    rest = attached(
        lambda x: slope * x + 4, state, tolerance=1e-9, max_evaluations=50, damping=1.0, told=print, where="test"
    )
    assert torch.equal(rest, state)
    rest.sum().backward()
    torch.testing.assert_close(slope.grad, state[0] / 4)


def test_the_implicit_gradient_holds_under_gradcheck() -> None:
    a, b = affine(3, 5, 0.8)

    def at_rest(a: Tensor, b: Tensor) -> Tensor:
        def f(x: Tensor) -> Tensor:
            return torch.tanh(x @ a.T + b)

        with torch.no_grad():
            state = fixed_point(f, torch.zeros_like(b), tolerance=1e-14, max_evaluations=300).state
        return attached(f, state, tolerance=1e-14, max_evaluations=300, damping=1.0, told=print, where="test")

    assert torch.autograd.gradcheck(at_rest, (a.requires_grad_(), b.requires_grad_()), check_undefined_grad=False)
