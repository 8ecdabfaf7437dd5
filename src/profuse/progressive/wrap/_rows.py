"""Tensors as rows of positions: which axes they have, which positions are real, and the way back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence, pad_sequence

from profuse._lookup import resolve
from profuse.errors import ShapeError
from profuse.progressive.wrap._layout import Layout
from profuse.progressive.wrap._trees import WHERE, described

__all__ = ["Mask", "real_in", "rowwise", "said"]

Mask = str | Callable[..., Tensor]
"""The name of an argument of the module's `forward`, or a function that is called as the module is."""


def said(by: Any, what: str, module: nn.Module, args: Any, kwargs: Any) -> Any:
    """Returns what `by`, the name of an argument or a function, says of a call of `module` with these arguments.

    Raises:
        UnknownNameError: No argument of that name.
    """
    if not isinstance(by, str):
        return None if by is None else by(*args, **kwargs)
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return resolve(by, {**bound.arguments, **kwargs}, where=WHERE, what=what)


def real_in(mask: Mask | None, what: str, module: nn.Module, args: Any, kwargs: Any) -> Tensor | None:
    """Returns the mask in a call of `module` with these arguments, True where it is real; None where all is.

    Raises:
        UnknownNameError: No argument of that name.
        ShapeError: It is no tensor of bools or whole numbers.
    """
    real = said(mask, what, module, args, kwargs)
    if real is None:  # as by default: nothing is padded
        return None
    if not isinstance(real, Tensor) or real.is_floating_point():
        raise ShapeError(
            f"{WHERE}: {what} must be a tensor of bools or of 0 and 1, True or 1 where it is real; got "
            f"{described(real)}. Give a function that is called as the module is and returns such a tensor."
        )
    return real != 0


def rowwise(
    x: Any, layout: Layout | None, given: tuple[int | None, int | None], mask: Tensor | None, what: str, hint: str
) -> tuple[Tensor, Tensor, Callable[[Tensor], Any]]:
    """Returns `x` as `values[row, position, channel]`, which of them are real, and the way back.

    Args:
        x: A tensor, a packed sequence, or a nested tensor.
        layout: Its axes of batch and channels; None where its layer does not say them.
        given: What the user says of them.
        mask: `[row]` or `[row, position]`; None where all is real. What is packed or nested has lengths of its own.
        what: What `x` is, for messages.
        hint: What to give where its axes are not known, likewise.

    Raises:
        ShapeError: The mask or the axes do not fit, or nothing says them.
    """
    if isinstance(x, PackedSequence):
        values, lengths = pad_packed_sequence(x, batch_first=True)
        in_order = x.sorted_indices is None

        def pack(values: Tensor) -> PackedSequence:
            return pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=in_order)

        return values, _within(lengths, values), pack
    if x.is_nested:  # what nn.TransformerEncoder makes of padded rows in evaluation
        rows = x.unbind()
        values = pad_sequence(list(rows), batch_first=True)
        longer = 0 if mask is None or mask.ndim < 2 else max(0, mask.shape[1] - values.shape[1])
        values = pad(values, (0, 0, 0, longer))
        own = _within(torch.tensor([len(row) for row in rows]), values)

        def nest(values: Tensor) -> Tensor:
            return torch.nested.as_nested_tensor([row[real] for row, real in zip(values, own, strict=True)])

        return values, own & _fitted(mask, values, what), nest
    axes = _axes(x, layout, given, what, hint)
    moved = x.movedim(axes, (0, -1))
    values = moved[:, None] if moved.ndim == 2 else moved.flatten(1, -2)

    def put_back(values: Tensor) -> Tensor:
        changed = values.reshape(moved.shape).movedim((0, -1), axes)
        # the same strides, or the layer might take another kernel and differ in the last bits
        return changed if changed.stride() == x.stride() else torch.empty_like(x).copy_(changed)

    return values, _fitted(mask, values, what), put_back


def _axes(
    x: Tensor, layout: Layout | None, given: tuple[int | None, int | None], what: str, hint: str
) -> tuple[int, int]:
    """The axes of batch and channels: given, or `[batch, channel]`, as the layer says, or `[batch, token, channel]`."""
    usual: tuple[int, int | None] = (0, -1) if x.ndim == 2 or (layout is None and x.ndim == 3) else layout or (0, None)
    batch, channel = (own if own is not None else axis for own, axis in zip(given, usual, strict=True))
    axes = [axis % x.ndim for axis in (batch, channel) if axis is not None and -x.ndim <= axis < x.ndim]
    if x.ndim < 2 or len(set(axes)) != 2:
        raise ShapeError(
            f"{WHERE}: {what} must have an axis for the batch and another for channels, which the layer's type or you "
            f"must say; got shape={tuple(x.shape)}, the batch on axis {batch}, channels on axis {channel}. Give {hint}."
        )
    return axes[0], axes[1]


def _fitted(mask: Tensor | None, values: Tensor, what: str) -> Tensor:
    """Returns the mask `[row, position]`."""
    shape = values.shape[:2]
    if mask is None:
        return torch.ones(shape, dtype=torch.bool, device=values.device)
    whole = mask[:, None].expand(shape) if mask.shape == shape[:1] else mask
    if whole.shape != shape:
        raise ShapeError(
            f"{WHERE}: the mask of {what} must be {list(shape)}, [row, position], or {list(shape[:1])}; got "
            f"shape={tuple(mask.shape)}. Give a function that is called as the module is and returns that."
        )
    return whole.to(values.device)


def _within(lengths: Tensor, values: Tensor) -> Tensor:
    return torch.arange(values.shape[1], device=values.device) < lengths.to(values.device)[:, None]
