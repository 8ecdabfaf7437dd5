"""Which positions of a foreign module's tensors are real, as a call of the module or their own lengths tell."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from profuse._lookup import resolve
from profuse.errors import ConfigError, ShapeError
from profuse.progressive.wrap._calls import described

__all__ = ["Mask", "Padding", "check_mask", "fitted", "padded", "padding_in", "within"]

_WHERE = "ProgressiveFusion.wrap"

Mask = str | Callable[..., Tensor]
"""The name of an argument of the module's `forward`, or a function that is called as the module is."""


@dataclass(frozen=True, eq=False)
class Padding:
    """What is real in a call of a module: at each entry, and in the state; None where all is."""

    entries: tuple[Tensor | None, ...] = ()
    state: Tensor | None = None


def check_mask(mask: Any, what: str) -> None:
    """Refuses what is neither a name nor a function."""
    if not isinstance(mask, str) and not callable(mask):
        raise ConfigError(
            f"{_WHERE}: {what} must name an argument of the module's forward, or be a function that is called as the "
            f"module is and returns the mask; got {what}={mask!r}."
        )


def padding_in(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], entries: Sequence[Mask | None], state: Mask | None
) -> Padding:
    """Returns what is real in a call of `module`.

    Args:
        module: What is called.
        args: With what.
        kwargs: Likewise.
        entries: What names the mask, for each entry; None: all is real.
        state: Likewise, of the state.

    Raises:
        UnknownNameError: No argument of that name.
        ShapeError: It is no tensor of bools or whole numbers.
    """

    def found(mask: Mask | None, what: str) -> Tensor | None:
        if mask is None:
            return None
        if isinstance(mask, str):
            named, hidden = _named(module, args, kwargs)
            if hidden and mask not in named:
                raise ConfigError(
                    f"{_WHERE}: {what}={mask!r} must be given by name in the call of a module whose forward does not "
                    "name its arguments. Do so, or give a function that is called as the module is."
                )
            real = resolve(mask, named, where=_WHERE, what=what)
        else:
            real = mask(*args, **kwargs)
        if real is None:  # as by default: nothing is padded
            return None
        if not isinstance(real, Tensor) or real.is_floating_point():
            raise ShapeError(
                f"{_WHERE}: {what} must be a tensor of bools or of 0 and 1, True or 1 where it is real; got "
                f"{described(real)}. Give a function that is called as the module is and returns such a tensor."
            )
        return real != 0

    return Padding(tuple(found(mask, "mask") for mask in entries), found(state, "state_mask"))


def _named(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What the module is called with, by the names that its forward has for it, and whether it names not all."""
    compiled = getattr(module, "_orig_mod", module)  # torch.compile hides the names
    bound = inspect.signature(compiled.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    named, hidden = dict(bound.arguments), False
    for parameter in bound.signature.parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            rest, hidden = named.pop(parameter.name), True
            named.update(rest if parameter.kind is parameter.VAR_KEYWORD else {})
    return named, hidden


def fitted(mask: Tensor | None, shape: torch.Size, device: torch.device, what: str) -> Tensor:
    """Returns `mask` as `[row, position]`; all True if it is None.

    Args:
        mask: `[row]` or `[row, position]`.
        shape: Rows and positions of what it is for.
        device: Where that is.
        what: What that is, and the option, for messages.

    Raises:
        ShapeError: It does not fit.
    """
    if mask is None:
        return torch.ones(shape, dtype=torch.bool, device=device)
    whole = mask[:, None].expand(shape) if mask.shape == shape[:1] else mask
    if whole.shape != shape:
        raise ShapeError(
            f"{_WHERE}: {what} must be {list(shape)}, [row, position], or {list(shape[:1])}; got "
            f"shape={tuple(mask.shape)}. Give a function that is called as the module is and returns that."
        )
    return whole.to(device)


def within(lengths: Tensor, values: Tensor) -> Tensor:
    """Returns which of `values[row, position, ...]` are within the lengths of their rows."""
    return torch.arange(values.shape[1], device=values.device) < lengths.to(values.device)[:, None]


def padded(nested: Tensor, n_positions: int | None = None) -> tuple[Tensor, Tensor]:
    """Returns the rows of a nested tensor as `[row, position, channel]`, and which are real.

    They are as long as the longest, or `n_positions` if that is more.
    """
    rows = nested.unbind()
    values = pad_sequence(list(rows), batch_first=True)
    if n_positions is not None and n_positions > values.shape[1]:
        values = pad(values, (0, 0, 0, n_positions - values.shape[1]))
    return values, within(torch.tensor([len(row) for row in rows]), values)
