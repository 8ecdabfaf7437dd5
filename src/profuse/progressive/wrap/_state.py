"""The fused state in what a layer gives: which tensor, and one vector per row of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError, ShapeError
from profuse.progressive.wrap._layout import RECURRENT, Layout, layout_of
from profuse.progressive.wrap._rows import rowwise
from profuse.progressive.wrap._trees import WHERE, described, floats, tensors
from profuse.tokens import Tokens

__all__ = ["STATE_OF", "Picked", "State", "StateOf", "StateReader", "chosen"]

StateOf = str | int | Callable[[Any], Tensor] | None
STATE_OF = "state_of, a function that returns the state as [batch, channel]"
Picked = tuple[Tensor, Layout | None]
"""The state's tensor as its layer gave it, and its layout where the layer says."""


@dataclass(frozen=True, eq=False)
class State:
    """The fused vector `[batch, channel]`, and the tokens it is the mean of, where feedback attends to them."""

    vector: Tensor
    tokens: Tokens | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> State:
        """Returns it with `change` applied to its tensors."""
        tokens = self.tokens
        changed = None if tokens is None else Tokens(change(tokens.values), change(tokens.mask))
        return State(change(self.vector), changed)

    def flat(self, dtype: torch.dtype) -> Tensor:
        """Returns all its numbers `[batch, number]`."""
        return (self.vector if self.tokens is None else self.tokens.values.flatten(1)).to(dtype)

    def unflat(self, numbers: Tensor) -> State:
        """Returns the state of the same form whose `flat` is `numbers`."""
        numbers = numbers.to(self.vector.dtype)
        if self.tokens is None:
            return State(numbers)
        tokens = Tokens(numbers.reshape(self.tokens.values.shape), self.tokens.mask)
        return State(tokens.mean(), tokens)


@dataclass(frozen=True)
class StateReader:
    """Reads the state in what the layer `name` gives; `which` and `axis` are `state_of` and `state_axis` of wrap."""

    layer: nn.Module
    name: str
    which: StateOf
    axis: int | None
    keeps_tokens: bool

    def pick(self, output: Any) -> Picked:
        """Returns the state's tensor in `output`, as a copy that later changes in place leave as it is.

        Raises:
            ConfigError: Several could be meant, or what is named is not there.
            ShapeError: It is no floating tensor with a batch.
        """
        first = isinstance(output, tuple | list)
        picked = chosen(output, self.which, option="state_of", what="the state", source=repr(self.name), first=first)
        good = isinstance(picked, Tensor) and picked.is_floating_point() and picked.ndim >= 2
        if not good or (picked.is_nested and picked.ndim != 3):
            raise ShapeError(
                f"{WHERE}: the state must be a floating tensor, [batch, channel] or with more axes; {self.name!r} "
                f"gives {described(picked)}. Name another layer, or give state_of."
            )
        place = next((place for place, x in enumerate(tensors(output)) if x is picked), None)
        layout = layout_of(self.layer, "output") if place == 0 else None
        if place and isinstance(self.layer, RECURRENT):  # hidden states are [layer, batch, channel] in any case
            layout = (1, -1)
        return picked.clone(), layout

    def read(self, picked: Picked, mask: Tensor | None = None) -> State:
        """Returns the mean of what `mask` says is real over all axes but batch and channels; zero where nothing is.

        Raises:
            ShapeError: The mask does not fit, or nothing says the axes.
        """
        x, layout = picked
        given = (None, None if x.ndim == 2 else self.axis)
        values, real, _ = rowwise(x, layout, given, mask, f"the state of {self.name!r}", f"state_axis; or {STATE_OF}")
        tokens = Tokens(values, real).zeroed()
        return State(tokens.mean(), tokens if self.keeps_tokens else None)


def chosen(output: Any, which: StateOf, *, option: str, what: str, source: str, first: bool = False) -> Any:
    """Returns `what` is meant in `output`, which `source` gave: as the option says, else the only floating tensor.

    With `first` it is the first of several.

    Raises:
        ConfigError: Several could be meant, or what is named is not there.
    """
    if which is None:
        candidates = floats(output)
        if len(candidates) != 1 and not (candidates and first):
            raise ConfigError(
                f"{WHERE}: {option} must say which tensor is {what}; {source} gives {described(output)}. "
                "Give a key, an index, or a function of the output."
            )
        return candidates[0]
    if callable(which):
        return which(output)
    try:
        held = isinstance(output, Mapping) or isinstance(which, int)
        return output[which] if held else getattr(output, str(which))
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{WHERE}: {option} must be in the output of {source}; got {option}={which!r}, and the output is "
            f"{described(output)}."
        ) from error
