"""Where feedback enters a module, and how it changes the tensor that stands there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from profuse._lookup import resolve
from profuse.errors import ConfigError, ShapeError
from profuse.progressive._feedback import Feedback
from profuse.progressive.wrap._layout import Layout, Side, layout_of
from profuse.progressive.wrap._present import Presence, Present
from profuse.progressive.wrap._rows import Mask, rowwise
from profuse.progressive.wrap._state import STATE_OF, State
from profuse.progressive.wrap._trees import WHERE, described
from profuse.tokens import Tokens

__all__ = ["Entry", "entries_of", "layer_of"]


def layer_of(module: nn.Module, name: str, what: str) -> nn.Module:
    """Returns the layer `name` of `module`, or raises with the nearest names; "" is the module itself."""
    try:
        layer: nn.Module = module.get_submodule(name)
    except AttributeError:
        layer = resolve(name, dict(module.named_modules(remove_duplicate=False)), where=WHERE, what=what)
    return layer


@dataclass(frozen=True)
class Entry:
    """The first floating tensor that goes into `layer`, or comes out of it.

    Attributes:
        layout: Its axes; None where the layer's type does not say.
        given: The axes of batch and channels that the user gave.
        folded: Whether its rows are batch times something.
        mask: What names the mask of its padding.
        present: What names the rows that have its modality.
        n_channels: How many feedback was made for.
    """

    branch: str
    layer: str
    at: Side
    layout: Layout | None
    given: tuple[int | None, int | None] = (None, None)
    folded: bool = False
    mask: Mask | None = None
    present: Present | None = None
    n_channels: int = 0

    def __str__(self) -> str:
        return f"{self.at} of {self.layer!r}"

    def key(self, feedback: Feedback) -> str:
        """Returns the name of its feedback, which says place and form, so that weights load where they belong."""
        return f"{self.branch}:{self.at}:{self.layer}:{type(feedback).__name__}".replace(".", "/")

    def rowwise(
        self, x: Any, mask: Tensor | None, presence: Presence | None = None
    ) -> tuple[Tensor, Tensor, Callable[[Tensor], Any]]:
        """Returns `x` as `values[row, position, channel]`, which of them are real, and the way back.

        Where `x` has the present rows alone, the mask may have all rows of the batch, or those.
        """
        hint = f"channel_axis={{{self.branch!r}: ...}}, and call the module with a batch"
        if mask is not None and presence is not None and mask.ndim:
            n_rows = self.rowwise(x, None)[0].shape[0]
            times = presence.times(n_rows) if self.folded else 1
            if mask.shape[0] != n_rows and mask.shape[0] == times * presence.size_or(0):
                mask = mask[presence.among(0, mask.device).repeat_interleave(times)]
        return rowwise(x, self.layout, self.given, mask, f"the {self}", hint)

    def rows_of(self, state: State, n_rows: int, x: Any, state_layer: str, presence: Presence | None = None) -> State:
        """Returns the state for each of the `n_rows` rows of `x`, which are all of the batch or those present.

        A state of one axis is that of each row.

        Raises:
            ShapeError: There are not as many.
        """
        if state.vector.ndim == 1:
            n_batch = n_rows if presence is None else presence.size_or(n_rows)
            state = State(state.vector.expand(n_batch, -1))
        if presence is not None:
            return self._present_rows_of(state, n_rows, x, state_layer, presence)
        given = state.vector.shape[0]
        times = n_rows // given if given and n_rows % given == 0 else 0
        if n_rows == given:
            return state
        if self.folded and times:
            return state.each(lambda t: t.repeat_interleave(times, dim=0))
        hint = f"; or folded=[{self.branch!r}] if rows are the batch times something" if times else ""
        if n_rows < given or self.folded:
            hint += f"; or present={{{self.branch!r}: ...}} if it runs on the rows alone that have the modality"
        raise ShapeError(
            f"{WHERE}: the {self} must have as many rows as the state; got {n_rows} rows in {described(x)}, "
            f"and a state of shape={tuple(state.vector.shape)} from {state_layer!r}. Give "
            f"batch_axis={{{self.branch!r}: ...}}; or {STATE_OF}{hint}."
        )

    def _present_rows_of(self, state: State, n_rows: int, x: Any, state_layer: str, presence: Presence) -> State:
        n_batch, branch = state.vector.shape[0], repr(self.branch)
        if presence.size_or(n_batch) != n_batch:
            raise ShapeError(
                f"{WHERE}: present must have as many rows as the state; got {presence.size_or(0)} rows for branch "
                f"{branch}, and a state of shape={tuple(state.vector.shape)} from {state_layer!r}. Give "
                f"present={{{branch}: ...}}, a function that returns a bool for each row of the batch; or {STATE_OF}."
            )
        if n_rows == n_batch and not self.folded:
            return state
        times = presence.times(n_rows)
        if times == 1 or (self.folded and times):
            return state.each(lambda t: t[presence.index.to(t.device)].repeat_interleave(times, dim=0))
        either = "as many rows as are present times something" if self.folded else "the rows that are present, or all"
        folded = not self.folded and times > 1
        hint = f"; or folded=[{branch}] if rows are those present times something" if folded else ""
        raise ShapeError(
            f"{WHERE}: the {self} must have {either}; got {n_rows} rows in {described(x)}, and {len(presence)} present "
            f"of a batch of {n_batch} for branch {branch}. Give present={{{branch}: ...}} as the module itself "
            f"decides which rows the branch runs on, True where it does{hint}."
        )

    def change(
        self,
        feedback: Feedback,
        x: Any,
        state: State,
        state_layer: str,
        mask: Tensor | None = None,
        presence: Presence | None = None,
    ) -> Any:
        """Returns `x` as `state` changes it where `mask` is True and its row present: same shape, type and strides.

        A state of one axis is that of each row.
        """
        values, real, put_back = self.rowwise(x, mask, presence)
        if values.shape[2] != self.n_channels:
            raise ShapeError(
                f"{WHERE}: the {self} must have {self.n_channels} channels, as feedback was made for; got "
                f"{values.shape[2]} in {described(x)}. Call the module as in the example, or wrap it anew."
            )
        n_rows = values.shape[0]
        state = self.rows_of(state, n_rows, x, state_layer, presence)
        everywhere = mask is None
        if presence is not None and not self.folded and n_rows == presence.size_or(n_rows):
            real, everywhere = real & presence.among(n_rows, real.device)[:, None], False
        weight = next(p for p in feedback.parameters() if p.is_floating_point())
        state = state.each(lambda t: t.to(weight.device, weight.dtype if t.is_floating_point() else t.dtype))
        tokens = Tokens(values.to(torch.promote_types(values.dtype, weight.dtype)), real)
        changed = feedback(tokens, state.vector, state.tokens if feedback.attends else None).values.to(values.dtype)
        return put_back(changed if everywhere else torch.where(real[..., None], changed, values))


def entries_of(
    module: nn.Module,
    into: Mapping[str, str | Sequence[str]],
    at: Side | Mapping[str, Side],
    axes: Sequence[int | Mapping[str, int] | None],
    folded: Sequence[str],
    masks: Mapping[str, Mask],
    present: Mapping[str, Present],
) -> tuple[Entry, ...]:
    """Returns every place where feedback enters.

    Raises:
        ConfigError: The same place twice.
        UnknownNameError: Names that are not there.
    """
    for given in (at, *axes, dict.fromkeys(folded), masks, present):
        for name in given if isinstance(given, Mapping) else ():
            resolve(name, into, where=WHERE, what="branch")
    entries: dict[tuple[nn.Module, str], Entry] = {}
    for branch, layers in into.items():
        side: Side = at.get(branch, "input") if isinstance(at, Mapping) else at
        batch, channel = (each.get(branch) if isinstance(each, Mapping) else each for each in axes)
        for name in (layers,) if isinstance(layers, str) else layers:
            layer = layer_of(module, name, "layer")
            layout = layout_of(layer, side)
            said = (branch in folded, masks.get(branch), present.get(branch))
            entry = Entry(branch, name, side, layout, (batch, channel), *said)
            before = entries.setdefault((layer, side), entry)
            if before is not entry:
                raise ConfigError(
                    f"{WHERE}: feedback must enter a place once; got the {entry} for branch {branch!r} and the "
                    f"{before} for branch {before.branch!r}. Name a layer that branches share once: it receives "
                    "feedback at each of its calls."
                )
    return tuple(entries.values())
