"""Where feedback enters a foreign module, and how it changes the tensor that stands there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from profuse._lookup import resolve
from profuse.errors import ConfigError, ShapeError
from profuse.progressive._feedback import Feedback
from profuse.progressive.wrap._layers import Layout, Side, declared
from profuse.progressive.wrap._mask import Mask, check_mask, fitted, padded, within
from profuse.progressive.wrap._state import STATE_OF, State
from profuse.tokens import Tokens

__all__ = ["WHERE", "Entry", "declared_sizes", "entries_of", "layer_of", "weights_like"]

WHERE = "ProgressiveFusion.wrap"


def layer_of(module: nn.Module, name: str, what: str) -> nn.Module:
    """Returns the layer `name` of `module`, or tells the nearest names; "" is the module itself."""
    try:
        layer: nn.Module = module.get_submodule(name)
    except AttributeError:
        layer = resolve(name, dict(module.named_modules(remove_duplicate=False)), where=WHERE, what=what)
    return layer


@dataclass(frozen=True)
class Entry:
    """The first floating tensor that goes into `layer`, or comes out of it.

    Attributes:
        layout: Its axes; None where the layer's type does not tell.
        given: The axes of batch and channels that the user gave.
        folded: Whether its rows are batch times something.
        mask: What names the mask of its padding.
        n_channels: How many feedback was made for.
    """

    branch: str
    layer: str
    at: Side
    layout: Layout | None
    given: tuple[int | None, int | None]
    folded: bool
    mask: Mask | None = None
    n_channels: int = 0

    def __str__(self) -> str:
        return f"{self.at} of {self.layer!r}"

    def key(self, feedback: Feedback) -> str:
        """Returns the name of its feedback, which tells place and form, so that weights load where they belong."""
        return f"{self.branch}:{self.at}:{self.layer}:{type(feedback).__name__}".replace(".", "/")

    def axes(self, x: Tensor) -> tuple[int, int]:
        """Returns the axes of batch and channels in `x`."""
        layout = (self.layout or Layout.usual(x.ndim)) if x.ndim != 2 else Layout()
        batch, channel = (
            own if own is not None else told
            for own, told in zip(self.given, (layout.batch, layout.channel), strict=True)
        )
        axes = batch + x.ndim * (batch < 0), channel + x.ndim * (channel < 0)
        if x.ndim < 2 or not all(0 <= axis < x.ndim for axis in axes) or axes[0] == axes[1]:
            raise ShapeError(
                f"{WHERE}: the {self} must have an axis for the batch and another for channels; got "
                f"shape={tuple(x.shape)}, batch_axis={batch}, channel_axis={channel}. "
                f"Give channel_axis={{{self.branch!r}: ...}}, and call the module with a batch."
            )
        return axes

    def size(self, x: Any) -> tuple[int, int]:
        """Returns how many rows and channels `x` has."""
        if isinstance(x, PackedSequence):
            return int(x.batch_sizes[0]), x.data.shape[1]
        if x.is_nested:
            return x.size(0), x.size(2)
        batch, channel = self.axes(x)
        return x.shape[batch], x.shape[channel]

    def rows_of(self, state: State, n_rows: int, state_layer: str) -> State:
        """Returns the state for each of `n_rows` rows."""
        given = state.vector.shape[0]
        times = n_rows // given if given and n_rows % given == 0 else 0
        if n_rows == given:
            return state
        if self.folded and times:
            return state.repeated(times)
        hint = (
            f"; or folded=[{self.branch!r}] if they are the batch times something" if times and not self.folded else ""
        )
        raise ShapeError(
            f"{WHERE}: the {self} must have as many rows as the state; got {n_rows} rows, and a state of "
            f"shape={tuple(state.vector.shape)} from {state_layer!r}. Give batch_axis={{{self.branch!r}: ...}}; or "
            f"state_of, {STATE_OF}{hint}."
        )

    def rowwise(self, x: Tensor) -> Tensor:
        """Returns `x`, a tensor that is not nested, as `[row, position, channel]`."""
        moved = x.movedim(self.axes(x), (0, -1))
        return moved[:, None] if moved.ndim == 2 else moved.flatten(1, -2)

    def real(self, values: Tensor, mask: Tensor | None) -> Tensor:
        """Returns which of `values[row, position, channel]` are real.

        Raises:
            ShapeError: The mask does not fit.
        """
        what = f"mask of branch {self.branch!r}, for the {self},"
        return fitted(mask, values.shape[:2], values.device, what)

    def change(self, feedback: Feedback, x: Any, state: State, state_layer: str, mask: Tensor | None = None) -> Any:
        """Returns `x` as `state` changes it where `mask` is True: same shape, type and strides."""
        n_rows, width = self.size(x)
        if width != self.n_channels:
            shape = tuple((x.data if isinstance(x, PackedSequence) else x).shape)
            raise ShapeError(
                f"{WHERE}: the {self} must have {self.n_channels} channels, as feedback was made for; got {width} in "
                f"shape={shape}. Call the module as in the example, or wrap it anew."
            )
        state = self.rows_of(state, n_rows, state_layer)
        if isinstance(x, PackedSequence):
            values, lengths = pad_packed_sequence(x, batch_first=True)
            changed = _fed(feedback, values, state, within(lengths, values))
            return pack_padded_sequence(changed, lengths, batch_first=True, enforce_sorted=x.sorted_indices is None)
        if x.is_nested:  # what nn.TransformerEncoder makes of padded rows in evaluation
            values, real = padded(x)
            changed = _fed(feedback, values, state, real)
            return torch.nested.as_nested_tensor([row[own] for row, own in zip(changed, real, strict=True)])
        axes, values = self.axes(x), self.rowwise(x)
        real = self.real(values, mask)
        changed = _fed(feedback, values, state, real)
        if mask is not None:
            changed = torch.where(real[..., None], changed, values)
        changed = changed.reshape(x.movedim(axes, (0, -1)).shape).movedim((0, -1), axes)
        # the same strides, or the layer might take another kernel and differ in the last bits
        return changed if changed.stride() == x.stride() else torch.empty_like(x).copy_(changed)


def _fed(feedback: Feedback, values: Tensor, state: State, real: Tensor) -> Tensor:
    """Returns `values[row, position, channel]` as feedback changes them, `real[row, position]` among them."""
    # none where they were quantised, which takes float32
    weight = next((p for p in feedback.parameters() if p.is_floating_point()), torch.empty(0, device=values.device))
    state = state.to(weight)
    fused = state.tokens if feedback.attends else None
    tokens = Tokens(values.to(torch.promote_types(values.dtype, weight.dtype)), real)
    changed: Tensor = feedback(tokens, state.vector, fused).values
    return changed.to(values.dtype)


def entries_of(
    module: nn.Module,
    into: Mapping[str, str | Sequence[str]],
    at: Side | Mapping[str, Side],
    axes: tuple[int | Mapping[str, int] | None, int | Mapping[str, int] | None],
    folded: Sequence[str],
    masks: Mapping[str, Mask] | None,
) -> tuple[Entry, ...]:
    """Returns every place where feedback enters.

    Raises:
        ConfigError: None, the same place twice, an unknown side.
        UnknownNameError: Names that are not there.
    """
    if masks is not None and not isinstance(masks, Mapping):
        raise ConfigError(
            f"{WHERE}: mask must be told by branch, as in mask={{{next(iter(into))!r}: ...}}; got mask={masks!r}."
        )
    for given in (at, *axes, dict.fromkeys(folded), masks):
        for name in given if isinstance(given, Mapping) else ():
            resolve(name, into, where=WHERE, what="branch")
    entries: list[Entry] = []
    for branch, layers in into.items():
        side: Side = at.get(branch, "input") if isinstance(at, Mapping) else at
        if side not in get_args(Side):
            raise ConfigError(f"{WHERE}: at must be input or output; got at={side!r}.")
        mask = (masks or {}).get(branch)
        if mask is not None:
            check_mask(mask, "mask")
        batch, channel = (each.get(branch) if isinstance(each, Mapping) else each for each in axes)
        for name in (layers,) if isinstance(layers, str) else layers:
            layout = declared(layer_of(module, name, "layer"), side)[0]
            entries.append(Entry(branch, name, side, layout, (batch, channel), branch in folded, mask))
    _once(module, entries)
    return tuple(entries)


def _once(module: nn.Module, entries: Iterable[Entry]) -> None:
    seen: dict[tuple[nn.Module, str], Entry] = {}
    for entry in entries:
        place = (layer_of(module, entry.layer, "layer"), entry.at)
        if place in seen:
            raise ConfigError(
                f"{WHERE}: feedback must enter a place once; got the {entry} for branch {entry.branch!r} and the "
                f"{seen[place]} for branch {seen[place].branch!r}. Name a layer that branches share once: it receives "
                "feedback at each of its calls."
            )
        seen[place] = entry


def declared_sizes(module: nn.Module, entries: Iterable[Entry], state_layer: str) -> list[int]:
    """Returns the widths of the entries and the state, as types of layers tell.

    Raises:
        ConfigError: A type does not tell.
    """
    places: list[tuple[str, Side]] = [*((e.layer, e.at) for e in entries), (state_layer, "output")]
    widths = []
    for name, side in places:
        layer = layer_of(module, name, "layer")
        width = declared(layer, side)[1]
        if width is None:
            raise ConfigError(
                f"{WHERE}: the channels of the {side} of {name!r} must be known; its type {type(layer).__name__} "
                "does not tell. Give example=, what the module is called with."
            )
        widths.append(width)
    return widths


def weights_like(module: nn.Module, name: str, x: Tensor | None = None) -> Tensor:
    """Returns an empty tensor as weights at the layer `name` are to be.

    Its dtype is that of the layer's own weights, else of the module's, and holds the numbers of `x`, which stands there
    and which autocast may have made less exact. The device is that of `x`, if there is one.
    """
    layer = layer_of(module, name, "layer")
    owned = next((p for p in (*layer.parameters(), *module.parameters()) if p.is_floating_point()), x)
    owned = torch.empty(0) if owned is None else owned
    x = owned if x is None else x
    return torch.empty(0, dtype=torch.promote_types(owned.dtype, x.dtype), device=x.device)
