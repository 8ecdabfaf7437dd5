"""Rounds of a module until its fused state converges."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from profuse.errors import ProfuseWarning, ShapeError
from profuse.progressive._equilibrium import Search, above, share_of
from profuse.progressive.wrap._replay import Replay
from profuse.progressive.wrap._state import State

__all__ = ["converged"]

_Run = Callable[[State | None], tuple[Any, State]]


def converged(
    run: Callable[[State | None], tuple[Any, State]], replay: Replay, search: Search, *, jointly: bool
) -> Any:
    """Returns what a module gives at the state that another round leaves as it is.

    `run` is one round at a state, None for the first: what the module returns, and the state that follows. Rows are
    searched for `jointly` where they are one system.

    Raises:
        ShapeError: The state's positions are not as many in each round.

    Warns:
        ProfuseWarning: The state has not converged, or does not stay there.
    """
    # with gradients, as what is reused of it also serves rounds that have some
    first = run(None)[1].each(torch.detach)
    # the search needs more digits than half precision has
    dtype = torch.promote_types(first.vector.dtype, torch.float32)

    def following(x: Tensor) -> Tensor:
        numbers = run(first.unflat(x))[1].flat(dtype)
        if numbers.shape != x.shape:
            raise ShapeError(
                f"{search.where}: the state must have as many positions in each round; got one of {x.shape[1]} numbers "
                f"per row with gradients on, and of {numbers.shape[1]} with gradients off, as where torch nests padded "
                "rows. Give state_mask."
            )
        return numbers

    rest, solution = search.rest(following, first.flat(dtype), jointly=jointly)
    replay.is_last = True
    output, after = run(first.unflat(rest))
    again = after.each(torch.detach).flat(dtype)
    moved, length = (again - rest.detach()).norm(dim=1), again.norm(dim=1)
    # twice: the same round may differ in its last digits
    astray = torch.zeros_like(moved, dtype=torch.bool) if jointly else solution.reached & (moved > 2 * solution.allowed)
    if bool(astray.any()):
        warnings.warn(
            f"{search.where}: in equilibrium a row must depend on no other, and a round on nothing but the state; "
            f"got {share_of(astray)} that move again, by up to {above((moved / length)[astray])}. "
            "Look for what mixes rows or remembers calls, or set a number of rounds.",
            ProfuseWarning,
            stacklevel=5,
        )
    return output
