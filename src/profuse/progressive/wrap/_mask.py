"""Which positions of a module's tensors are real, as a call of the module or their own lengths say."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from profuse._lookup import resolve
from profuse.errors import ShapeError
from profuse.progressive.wrap._trees import WHERE, described

__all__ = ["Mask", "fitted", "padded", "real_in", "within"]

Mask = str | Callable[..., Tensor]
"""The name of an argument of the module's `forward`, or a function that is called as the module is."""


def real_in(mask: Mask | None, what: str, module: nn.Module, args: Any, kwargs: Any) -> Tensor | None:
    """Returns the mask in a call of `module` with these arguments, True where it is real; None where all is.

    Raises:
        UnknownNameError: No argument of that name.
        ShapeError: It is no tensor of bools or whole numbers.
    """
    if isinstance(mask, str):
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
        bound.apply_defaults()
        real = resolve(mask, {**bound.arguments, **kwargs}, where=WHERE, what=what)
    else:
        real = None if mask is None else mask(*args, **kwargs)
    if real is None:  # as by default: nothing is padded
        return None
    if not isinstance(real, Tensor) or real.is_floating_point():
        raise ShapeError(
            f"{WHERE}: {what} must be a tensor of bools or of 0 and 1, True or 1 where it is real; got "
            f"{described(real)}. Give a function that is called as the module is and returns such a tensor."
        )
    return real != 0


def fitted(mask: Tensor | None, values: Tensor, what: str) -> Tensor:
    """Returns `mask`, `[row]` or `[row, position]`, as that of `values[row, position, ...]`; all True if it is None.

    Raises:
        ShapeError: It does not fit.
    """
    shape = values.shape[:2]
    if mask is None:
        return torch.ones(shape, dtype=torch.bool, device=values.device)
    whole = mask[:, None].expand(shape) if mask.shape == shape[:1] else mask
    if whole.shape != shape:
        raise ShapeError(
            f"{WHERE}: {what} must be {list(shape)}, [row, position], or {list(shape[:1])}; got "
            f"shape={tuple(mask.shape)}. Give a function that is called as the module is and returns that."
        )
    return whole.to(values.device)


def within(lengths: Tensor, values: Tensor) -> Tensor:
    """Returns which of `values[row, position, ...]` are within the lengths of their rows."""
    return torch.arange(values.shape[1], device=values.device) < lengths.to(values.device)[:, None]


def padded(nested: Tensor, n_positions: int = 0) -> tuple[Tensor, Tensor]:
    """Returns the rows of a nested tensor as `[row, position, channel]`, and which are real.

    They are as long as the longest, or `n_positions` if that is more.
    """
    rows = nested.unbind()
    values = pad_sequence(list(rows), batch_first=True)
    values = pad(values, (0, 0, 0, max(0, n_positions - values.shape[1])))
    return values, within(torch.tensor([len(row) for row in rows]), values)
