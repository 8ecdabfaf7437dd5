"""Whether the rows that a branch runs on are those that `present` says: shown on the example by gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.progressive.wrap._entry import Entry
from profuse.progressive.wrap._present import Presence
from profuse.progressive.wrap._state import State
from profuse.progressive.wrap._trees import WHERE, on_data

__all__ = ["Call", "check_example", "check_matched"]

Call = tuple[Any, list[Tensor]]
"""What stands at an entry in a call, and the noise added to it, to differentiate by; of a nested tensor one by row."""


def check_example(entries: Sequence[Entry], presences: Sequence[Presence | None]) -> None:
    """Checks that the example has a row for each branch, as sizes are learned from it."""
    for entry, presence in zip(entries, presences, strict=True):
        if presence is not None and not len(presence):
            raise ConfigError(
                f"{WHERE}: the example must have rows with each modality, as sizes are learned from them; got none "
                f"that has branch {entry.branch!r}, as present says. Give an example in which some rows have it."
            )


def check_matched(
    entry: Entry, calls: Sequence[Call], presence: Presence | None, state: State, state_layer: str
) -> None:
    """Checks that each row at an entry with `present` changes the state of its own row, where it changes any.

    Args:
        entry: Where.
        calls: Of its layer.
        presence: Which rows have its modality.
        state: That follows.
        state_layer: Which layer gave it.

    Raises:
        ConfigError: A row changes the states of others, and not its own.
        ShapeError: There are other rows than present ones, or all.
    """
    n_batch = len(state.vector)
    numbers = torch.arange(n_batch)
    # no sum: that of a normalised state is constant
    weights = torch.randn(state.vector.shape, generator=torch.Generator().manual_seed(0)).to(state.vector)
    weighted = (state.vector * weights).sum(1)
    for x, noises in calls:
        n_rows = len(entry.rowwise(x, None)[0])
        entry.rows_of(state, n_rows, x, state_layer, presence)
        if not weighted.requires_grad:  # feedback changes what the module returns alone
            continue
        # whose state each row gets
        owner = entry.rows_of(State(numbers[:, None]), n_rows, x, state_layer, presence).vector[:, 0]
        wrong = torch.zeros(n_rows, dtype=torch.bool)
        for bit in range((n_batch - 1).bit_length()):  # any two numbers differ in one
            ones = (numbers >> bit) % 2 == 1
            from_ones, from_zeros = (_reached(entry, x, noises, weighted[e.to(weighted.device)]) for e in (ones, ~ones))
            own = torch.where(ones[owner], from_ones, from_zeros)
            wrong |= (from_ones | from_zeros) & ~own
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ConfigError(
                f"{WHERE}: present must say which rows of the batch a branch runs on, in their order; on the example "
                f"row {row} at the {entry} for branch {entry.branch!r} would get the state of row {int(owner[row])} "
                f"of the batch, and changes that of others only. Give present={{{entry.branch!r}: ...}}, True where "
                "the branch runs (a mask that is True where a row lacks it is the contrary)."
            )


def _reached(entry: Entry, x: Any, noises: Sequence[Tensor], ends: Tensor) -> Tensor:
    """Returns which rows of `x` the numbers `ends` depend on."""
    grads = torch.autograd.grad(ends.sum(), noises, retain_graph=True, materialize_grads=True)
    is_nested = isinstance(x, Tensor) and x.is_nested
    tree = torch.nested.as_nested_tensor([*grads]) if is_nested else on_data(x, lambda _: grads[0])
    values, _, _ = entry.rowwise(tree, None)
    return (values != 0).flatten(1).any(1).cpu()
