"""The linear paths of a model, solved in one process, and taken over by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from profuse.models.build import Model
from profuse.models.fit_linear import fit_linear
from profuse.tokens import Raw

__all__ = ["solve_linear"]


def solve_linear(
    once: Callable[[Callable[[], Any]], Any],
    model: Model,
    inputs: Mapping[str, Raw],
    target: Tensor,
    rows: Tensor,
    **options: Any,
) -> Mapping[str, Raw]:
    """Solves the linear paths of an untrained model in place, as `fit_linear` does, and returns what that returns.

    Args:
        once: Returns what it is given to call returns; in a process that is handed what another one has made, it is not
            called. See `Prepared.once`.
        model: Untrained; the same in all processes.
        inputs: All rows.
        target: Of all rows.
        rows: Learned from.
        **options: Of `fit_linear`.
    """
    here = False

    def solve() -> tuple[Mapping[str, Raw], Mapping[str, Tensor]]:
        nonlocal here
        here = True
        return fit_linear(model.plain, inputs, target, rows, **options), model.state_dict()

    known: Mapping[str, Raw]
    known, state = once(solve)
    if not here:
        model.load_state_dict(state)
    return known
