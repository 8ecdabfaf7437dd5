"""Fixed points of the rounds: found by Anderson acceleration, differentiated by the implicit function theorem."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from profuse.errors import ConfigError, ProfuseWarning

__all__ = ["Search", "Solution", "above", "attached", "fixed_point", "share_of"]

_SMALLER = 0.99
"""By what factor an accelerated step must make the residual smaller, else a plain step follows."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Where the iteration has come to.

    Attributes:
        state: The best point of each row, `[batch, channel]`.
        residuals: `|f(state) - state| / |f(state)|` of each row, Euclidean, 0 where both are 0.
        allowed: The largest `|f(state) - state|` that counts as rest, `[batch]`.
        reached: Which rows are within that, `[batch]` bool.
        n_evaluations: How often f was evaluated.
    """

    state: Tensor
    residuals: Tensor
    allowed: Tensor
    reached: Tensor
    n_evaluations: int


def fixed_point(
    f: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    tolerance: float,
    max_evaluations: int,
    damping: float = 1.0,
    memory: int = 5,
) -> Solution:
    """Returns `s = f(s)` for each row, by safeguarded Anderson acceleration.

    The next point is `sum_i a_i ((1 - damping) x_i + damping f(x_i))` over the last `memory` points, with the weights,
    of sum 1, that make `|sum_i a_i (f(x_i) - x_i)|` smallest. Where that did not make a row's residual smaller by a
    hundredth, a plain damped step from the row's best point follows. So for a contraction of factor q < 1 the best
    residual falls at least by `max(0.99, 1 - damping (1 - q))` in two evaluations, from any start: it converges. Where
    a plain step made the residual larger, f is no contraction, and acceleration goes on unguarded: it may converge or
    not.

    Args:
        f: `[batch, channel]` to the same, each row by itself. Rows that depend on each other are reached only where
            they rest together, but then nothing is promised.
        start: Where to begin.
        tolerance: Largest relative residual. One below the rounding of f(start) is none, so that a row can rest at
            zero.
        max_evaluations: Of f, at least 1.
        damping: Share of f(x) in a step, over 0 to 1: less is slower and converges for more f.
        memory: Points that are combined.

    Reference:
        Anderson 1965, Iterative procedures for nonlinear integral equations; Walker and Ni 2011, Anderson acceleration
        for fixed-point iterations. *Differs*: the safeguard, and a ridge on the weights.
    """
    x = best = start
    fx = f_best = f(x)
    least = (fx - x).norm(dim=1)
    rounding = 10 * torch.finfo(fx.dtype).eps * fx.norm(dim=1)
    guarded = torch.ones_like(least, dtype=torch.bool)
    plain = torch.zeros_like(guarded)
    points, values = [x], [fx]
    n_evaluations = 1
    while True:
        allowed = torch.maximum(tolerance * f_best.norm(dim=1), rounding)
        reached = least.isfinite() & (least <= allowed)
        if n_evaluations >= max_evaluations or bool(reached.all()):
            return Solution(best, _relative(least, f_best), allowed, reached, n_evaluations)
        step = torch.where(plain[:, None], torch.lerp(best, f_best, damping), _combined(points, values, damping))
        x = torch.where(reached[:, None], best, step)
        fx = f(x)
        n_evaluations += 1
        residual = (fx - x).norm(dim=1)
        guarded &= ~(plain & (residual > least))
        plain = guarded & ~plain & ~(residual <= _SMALLER * least)
        # a converged row is measured anew: those that it depends on may have moved it
        newer = reached | (residual < least)
        best, f_best = torch.where(newer[:, None], x, best), torch.where(newer[:, None], fx, f_best)
        least = torch.where(newer, residual, least)
        # what is not finite is not remembered, else no combination with it would be
        finite = residual.isfinite()[:, None]
        points = [*points, torch.where(finite, x, best)][-memory:]
        values = [*values, torch.where(finite, fx, f_best)][-memory:]


def _relative(residual: Tensor, f_best: Tensor) -> Tensor:
    return torch.where(residual == 0, residual, residual / f_best.norm(dim=1))


def _combined(points: list[Tensor], values: list[Tensor], damping: float) -> Tensor:
    """Anderson's next point."""
    x, fx = torch.stack(points, 1), torch.stack(values, 1)
    gaps = fx - x
    # what is shorter has a square of 0
    sizes = gaps.norm(dim=2, keepdim=True).clamp(min=torch.finfo(gaps.dtype).tiny ** 0.5)
    # with gaps of length 1 the system is as well-conditioned as their directions allow, and no row's scale matters
    gaps, share = gaps / sizes, sizes.amin(1, keepdim=True) / sizes
    ridge = 10 * torch.finfo(gaps.dtype).eps * torch.eye(len(points), dtype=gaps.dtype, device=gaps.device)
    # by sums: a matrix product may be rounded far above the ridge, under autocast or as TF32
    products = torch.stack([(gaps * gap[:, None]).sum(2) for gap in gaps.unbind(1)], 1)
    weights: Tensor = share * torch.linalg.solve(products + ridge, share)
    weights = weights / weights.sum(1, keepdim=True)
    combined: Tensor = (weights * torch.lerp(x, fx, damping)).sum(1)
    return combined


def attached(
    f: Callable[[Tensor], Tensor],
    state: Tensor,
    *,
    tolerance: float,
    max_evaluations: int,
    damping: float,
    told: Callable[[Solution], Any],
    where: str,
) -> Tensor:
    """Returns the fixed point `state` of f, as it is, with the gradient of the implicit function theorem.

    `s = f(s, w)` gives `ds/dw = (I - J)^-1 df/dw` with `J = df/ds`: on the way back a gradient g becomes the solution
    of `u = J' u + g`, found as the fixed point itself is (J' contracts where f does), and goes on through one
    evaluation of f. So memory is that of one round, whatever the number of iterations.

    Args:
        f: As in `fixed_point`.
        state: Its fixed point.
        tolerance: As in `fixed_point`; for both.
        max_evaluations: For u.
        damping: For u.
        told: Is given what was found for u.
        where: Who asks, for messages.

    Raises:
        ConfigError: On the way back, where gradients of gradients are asked for: u is found without a graph.

    Reference:
        Bai, Kolter, Koltun 2019, Deep equilibrium models, theorem 1.
    """
    point = state.detach().requires_grad_()
    value = f(point)

    def adjoint(gradient: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise ConfigError(
                f"{where}: a gradient of the converged state has no graph and must not be differentiated again; "
                "got create_graph=True. Set a number of rounds."
            )

        def back(u: Tensor) -> Tensor:
            (found,) = torch.autograd.grad(value, point, u, retain_graph=True, allow_unused=True)
            return gradient if found is None else found + gradient

        solution = fixed_point(back, gradient, tolerance=tolerance, max_evaluations=max_evaluations, damping=damping)
        told(solution)
        return solution.state

    # the state with the gradient of f, which is not quite it; and the hook must not meet the gradients it asks for
    result = state.detach() + (value - value.detach())
    if result.requires_grad:
        result.register_hook(adjoint)  # type: ignore[no-untyped-call]
    return result


@dataclass(frozen=True)
class Search:
    """How the fused state that another round leaves as it is gets searched for.

    Attributes:
        where: Who searches, for messages.
        max_rounds: How often f is evaluated, at most, and as often at most for the gradient; at least 1.
        tolerance: The state rests in a row where another round changes it by no more than this part of its length,
            over 0.
        damping: How far each step goes, over 0 to 1.

    Raises:
        ConfigError: A value out of its range.
    """

    where: str
    max_rounds: int
    tolerance: float
    damping: float

    def __post_init__(self) -> None:
        if self.max_rounds < 1 or not self.tolerance > 0 or not 0 < self.damping <= 1:
            raise ConfigError(
                f"{self.where}: max_rounds must be at least 1, tolerance over 0, damping over 0 and at most 1; "
                f"got max_rounds={self.max_rounds}, tolerance={self.tolerance}, damping={self.damping}."
            )

    def rest(self, f: Callable[[Tensor], Tensor], start: Tensor, *, jointly: bool = False) -> tuple[Tensor, Solution]:
        """Returns `s = f(s)`, with its gradient where gradients are on, and how it was found.

        Args:
            f: `[batch, channel]` to the same, each row by itself unless `jointly`.
            start: Where to begin.
            jointly: Whether rows depend on each other: then all together are one point.

        Warns:
            ProfuseWarning: It, or on the way back its gradient, has not converged.
        """
        shape = start.shape
        one_point = (1, -1) if jointly else shape
        options: Any = {
            "tolerance": self.tolerance,
            "max_evaluations": self.max_rounds,
            "damping": self.damping,
        }

        def step(x: Tensor) -> Tensor:
            return f(x.reshape(shape)).reshape(one_point)

        with torch.no_grad():
            solution = fixed_point(step, start.reshape(one_point), **options)
        self._tell(solution, "the fused state", jointly)
        result = solution.state
        if torch.is_grad_enabled():
            told = partial(self._tell, what="its gradient", jointly=jointly)
            # on older torch autocast would go on with weights that it cast without gradient
            torch.clear_autocast_cache()
            result = attached(step, result, told=told, where=self.where, **options)
        return result.reshape(shape), solution

    def refuse_export(self) -> None:
        """Raises where the model is being traced, as no program has an unknown number of rounds.

        Raises:
            ConfigError: It is.
        """
        if torch.compiler.is_compiling():
            raise ConfigError(
                f"{self.where}: rounds must be a number in a model that is exported; got rounds='equilibrium'. "
                "Set model.rounds to the number that it needs."
            )

    def _tell(self, found: Solution, what: str, jointly: bool) -> None:
        """Warns where the search has not reached its end."""
        if not bool(found.reached.all()):
            rows = "a batch whose rows are one system" if jointly else share_of(~found.reached)
            warnings.warn(
                f"{self.where}: {what} must converge within tolerance={self.tolerance}; got {rows}, by up to "
                f"{above(found.residuals[~found.reached])}, that had not after {found.n_evaluations} rounds. "
                "Raise max_rounds or tolerance, lower damping, or set a number.",
                ProfuseWarning,
                stacklevel=3,
            )


def share_of(rows: Tensor) -> str:
    """Returns roughly how many `rows[batch]` are True: warnings of many batches then have few texts, each told once."""
    share = rows.double().mean().item()
    return f"up to {next(x for x in (0.01, 0.1, 0.5, 1.0) if share <= x):.0%} of a batch's rows"


def above(sizes: Tensor) -> str:
    """Returns the power of ten that no size exceeds, for the same reason."""
    largest = sizes.max().item()
    return f"{10 ** math.ceil(math.log10(largest)):.0e}" if 0 < largest < math.inf else str(largest)
