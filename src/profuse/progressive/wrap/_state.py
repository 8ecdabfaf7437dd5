"""The fused state in what a foreign layer gives: which tensor, and one vector a row of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from profuse.errors import ConfigError, ShapeError
from profuse.progressive.wrap._calls import described, floats
from profuse.progressive.wrap._layers import Layout
from profuse.progressive.wrap._mask import fitted, padded
from profuse.tokens import Tokens

__all__ = ["STATE_OF", "State", "StateOf", "pick", "pool", "prediction"]

StateOf = str | int | Callable[[Any], Tensor] | None
STATE_OF = "a function that returns the state as [batch, channel]"
_WHERE = "ProgressiveFusion.wrap"


@dataclass(frozen=True, eq=False)
class State:
    """The fused vector `[batch, channel]`, and the tokens it is the mean of, where there are any."""

    vector: Tensor
    tokens: Tokens | None = None

    @classmethod
    def of(cls, tokens: Tokens) -> State:
        """Returns the mean of the real tokens, zero where there is none, and the tokens."""
        return cls(tokens.mean(), tokens)

    def repeated(self, n: int) -> State:
        """Returns each row n times, one after the other."""
        return self._each(lambda t: t.repeat_interleave(n, dim=0))

    def detached(self) -> State:
        """Returns it without gradient."""
        return self._each(lambda t: t.detach())

    def flat(self, dtype: torch.dtype, *, by_token: bool) -> Tensor:
        """Returns all its numbers `[batch, number]`: the vector, or the tokens that it is the mean of."""
        whole = self.tokens.values.flatten(1) if by_token and self.tokens is not None else self.vector
        return whole.to(dtype)

    def unflat(self, numbers: Tensor, *, by_token: bool) -> State:
        """Returns the state of the same form whose `flat` is `numbers`."""
        numbers = numbers.to(self.vector.dtype)
        if not by_token or self.tokens is None:
            return State(numbers)
        return State.of(Tokens(numbers.reshape(self.tokens.values.shape), self.tokens.mask))

    def to(self, like: Tensor) -> State:
        """Returns it on the device of `like`, its numbers of that dtype."""
        return self._each(lambda t: t.to(like.device, like.dtype if t.is_floating_point() else t.dtype))

    def _each(self, change: Callable[[Tensor], Tensor]) -> State:
        tokens = self.tokens
        changed = None if tokens is None else Tokens(change(tokens.values), change(tokens.mask))
        return State(change(self.vector), changed)


def pick(output: Any, state_of: StateOf, layer: str) -> Tensor:
    """Returns the state's tensor in `output`.

    Raises:
        ConfigError: Several could be meant, or what is named is not there.
        ShapeError: It is no floating tensor with a batch.
    """
    first = isinstance(output, tuple | list)
    picked = _chosen(output, state_of, option="state_of", what="the state", source=repr(layer), first=first)
    most = 3 if isinstance(picked, Tensor) and picked.is_nested else math.inf
    if not isinstance(picked, Tensor) or not picked.is_floating_point() or not 2 <= picked.ndim <= most:
        raise ShapeError(
            f"{_WHERE}: the state must be a floating tensor, [batch, channel] or with more axes; {layer!r} gives "
            f"{described(picked)}. Name another layer, or give state_of."
        )
    return picked


def _chosen(output: Any, which: StateOf, *, option: str, what: str, source: str, first: bool = False) -> Any:
    """Returns what is meant in `output`.

    Args:
        output: Of any form.
        which: A key or attribute, an index, or a function of the output; None: the only floating tensor.
        option: The name under which `which` was given, for messages.
        what: What is meant.
        source: What gave the output.
        first: Whether the first is meant where there are several.

    Raises:
        ConfigError: Several could be meant, or what is named is not there.
    """
    if which is None:
        found = floats(output)
        if len(found) != 1 and not (found and first):
            raise ConfigError(
                f"{_WHERE}: {option} must say which tensor is {what}; {source} gives {described(output)}. "
                "Give a key, an index, or a function of the output."
            )
        return found[0]
    if callable(which):
        return which(output)
    try:
        held = isinstance(output, Mapping) or isinstance(which, int)
        return output[which] if held else getattr(output, str(which))
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{_WHERE}: {option} must be in the output of {source}; got {option}={which!r}, and the output is "
            f"{described(output)}."
        ) from error


def prediction(output: Any, which: StateOf, n_rows: int, source: str) -> Tensor:
    """Returns the prediction in what a module returns, without gradient.

    Raises:
        ConfigError: Several could be meant, or what is named is not there.
        ShapeError: It is no floating tensor of `n_rows` rows.
    """
    found = _chosen(output, which, option="outputs", what="the prediction", source=source)
    if not isinstance(found, Tensor) or not found.is_floating_point() or found.shape[:1] != (n_rows,):
        raise ShapeError(
            f"{_WHERE}: the prediction must be a floating tensor [batch, ...] of {n_rows} rows, as the state has; "
            f"got {described(found)}. Give outputs: a key, an index, or a function of {described(output)}."
        )
    return found.detach()


def pool(state: Tensor, layout: Layout | None, axis: int | None, mask: Tensor | None = None) -> State:
    """Returns the mean over all axes but batch and channels of what `mask` says is real, and what it is the mean of.

    Raises:
        ShapeError: The mask does not fit, or there is nothing to take a mean over.
    """
    if state.is_nested:  # what nn.TransformerEncoder makes of padded rows in evaluation
        values, own = padded(state, None if mask is None or mask.ndim < 2 else mask.shape[1])
        return State.of(Tokens(values, own & fitted(mask, values.shape[:2], values.device, "state_mask")).zeroed())
    if state.ndim == 2:
        if mask is not None:
            raise ShapeError(
                f"{_WHERE}: state_mask must be for a state of several positions; got one of "
                f"shape={tuple(state.shape)}, [batch, channel]. Leave it out."
            )
        return State(state)
    layout = layout or Layout.usual(state.ndim)
    values = state.movedim((layout.batch, layout.channel if axis is None else axis), (0, -1)).flatten(1, -2)
    real = fitted(mask, values.shape[:2], values.device, "state_mask")
    return State.of(Tokens(values, real).zeroed())
