"""A foreign module on an example: what stands at the entries, what can be reused, whether feedback has an effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from profuse.errors import ConfigError, ShapeError
from profuse.progressive.wrap._calls import mapped, tensors
from profuse.progressive.wrap._entry import WHERE, Entry, layer_of
from profuse.progressive.wrap._graph import ancestors
from profuse.progressive.wrap._layers import RECURRENT
from profuse.progressive.wrap._pass import Pass, disturbed
from profuse.progressive.wrap._reuse import same
from profuse.progressive.wrap._state import STATE_OF, State

__all__ = ["Trial"]


class Trial:
    """Passes of `module` on an example: as it is, then with all entries changed, then with one of them.

    To be made where gradients are off, so that none is refused, and to be run where they are on, as in training.

    Args:
        module: What runs.
        entries: Where feedback is to enter.
        state_layer: The layer whose output is the state.
        args: The example.
        kwargs: Likewise.
    """

    def __init__(self, module: nn.Module, entries: Sequence[Entry], state_layer: str, args: Any, kwargs: Any) -> None:
        self.entries = entries
        # tensors of inference mode have no gradient, their copies do
        self._args, self._kwargs = mapped(
            (args, kwargs), lambda x: x.clone() if isinstance(x, Tensor) and x.is_inference() else x
        )
        self._chance = torch.Generator().manual_seed(0)  # the module's random numbers stay those of the plain pass
        self._parts = (module, entries, state_layer)
        self.one_pass = Pass(*self._parts)
        self._recurrent = [isinstance(layer_of(module, entry.layer, "layer"), RECURRENT) for entry in entries]
        self._plain: Any = None
        self._nodes: list[list[Node]] = [[] for _ in entries]

    def as_it_is(self, layers: Sequence[nn.Module]) -> list[Any]:
        """Runs the module, remembers `layers`, and returns what stood at each entry when it was met first."""
        met: list[Any] = [None] * len(self.entries)

        def look(index: int, x: Any) -> Any:
            met[index] = x if met[index] is None else met[index]
            return x

        self._plain = self._run(self.one_pass, look, layers)
        return met

    def disturbed(self, layers: Sequence[nn.Module]) -> list[int]:
        """Runs it again with all entries changed at random, and returns those that no gradient would come back to.

        A random change marks all that is above the entries, whatever the weights of the feedback.
        """
        found = self._run(self.one_pass, lambda index, x: disturbed(x, self._chance, self._nodes[index]), layers)
        reached = ancestors(tensors(found))
        return [index for index, nodes in enumerate(self._nodes) if reached.isdisjoint(nodes)]

    def check_effect(self, index: int) -> str | None:
        """Returns what is to be told if a change at the entry, to which no gradient comes back, has an effect.

        Raises:
            ConfigError: It has none.
        """
        entry = self.entries[index]
        found = self._run(Pass(*self._parts), lambda at, x: disturbed(x, self._chance) if at == index else x)
        if same(found, self._plain, any_grad=True):
            hint = "; of this one the module may use h_n: use at='input'" if self._recurrent[index] else ""
            raise ConfigError(
                f"{WHERE}: feedback must change the state, or what the module returns; the {entry} for branch "
                f"{entry.branch!r} changes neither. Name a layer whose output the module uses{hint}."
            )
        if not self._nodes[index]:  # gradients are off at the entry itself, which training refuses
            return None
        return (
            f"{WHERE}: feedback must have a gradient to learn; got the {entry} for branch {entry.branch!r}, which "
            "changes state or outputs, but is detached from them in evaluation mode. Name a layer after that, unless "
            "it is otherwise in training."
        )

    def check_rows(self, entry: Entry, x: Any, state: State, read: Callable[[Pass], State]) -> None:
        """Checks that the state has a row for each of the batch, where the rows at `entry` are several times as many.

        Raises:
            ShapeError: One row, or each of several, comes of all.
        """
        n_states, n_rows = len(state.vector), entry.size(x)[0]
        if n_states == n_rows or not isinstance(x, Tensor) or x.is_nested:
            return
        axis, first = entry.axes(x)[0], n_rows // n_states
        alone = [int(n == axis) * (n_rows - 1) + 1 for n in range(x.ndim)]
        mine = (torch.arange(n_rows, device=x.device) < first).view(alone)

        def change(index: int, x: Any) -> Any:
            return torch.where(mine, disturbed(x, self._chance), x) if self.entries[index].branch == entry.branch else x

        if n_states > 1:
            one_pass = Pass(*self._parts)
            self._run(one_pass, change)
            told = f"of which the first {first} of {n_rows} rows of branch {entry.branch!r} change other rows too"
            wrong = not torch.allclose(read(one_pass).vector[1:], state.vector[1:], rtol=1e-3, atol=1e-5)
        else:
            told = f"one row for {n_rows} of branch {entry.branch!r}, and no input of one row"
            wrong = not any(1 in given.shape[:2] for given in tensors((self._args, self._kwargs)))
        if wrong:
            raise ShapeError(
                f"{WHERE}: with folded, a row of the state must be one of the batch; got {told}, from a state of "
                f"shape={tuple(state.vector.shape)}. Give state_of, {STATE_OF}; or an example of several rows."
            )

    def _run(
        self, one_pass: Pass, change: Callable[[int, Any], Any], layers: Sequence[nn.Module] = ()
    ) -> tuple[Any, Any]:
        one_pass.run(self._args, self._kwargs, change, layers)
        return one_pass.output, one_pass.state
