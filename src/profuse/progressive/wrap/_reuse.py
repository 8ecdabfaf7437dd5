"""What lies below the feedback runs once a batch: outputs of layers that get the same inputs again are kept.

A layer's output of the first round is used again when all of this holds, else the layer runs again: neither feedback
nor state was within the call; the inputs are the same tensors, or equal ones whose gradients go the same way, if they
need any; none of them, nor the outputs, nor any parameter, buffer or other attribute of the layer, was changed since by
anybody but the layer itself; and no hook is attached to it or within, as hooks may collect what they see in each round.
So a layer must depend on nothing but its inputs, its own attributes and chance.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.nn.utils.rnn import PackedSequence

from profuse.progressive._chance import Chance
from profuse.progressive.wrap._calls import Advice, checkpointing, hooked, leaves, mapped, tensors
from profuse.progressive.wrap._graph import made_alike
from profuse.progressive.wrap._replay import Replay

__all__ = ["Call", "Memory", "same"]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, slice, torch.dtype, torch.device, torch.Size, Enum, type)
_SKIPPED = ("forward", "_modules", "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass
class Call:
    """One call of a layer in the first round."""

    layer: nn.Module
    inputs: Any
    output: Any
    versions: tuple[list[int], list[int]] | None
    own: list[Any]
    grad: bool
    pure: bool
    drawn: Chance | None


class Memory:
    """The calls of one batch's first round, and which of them later rounds could leave out.

    Args:
        replay: What makes all rounds alike, if they are to be: a call that is left out then moves the random streams
            on as if it ran, and one that is not changes no buffer.

    Attributes:
        n_met: How often feedback or state was met so far; a call within which it grows is never left out.
        any_grad: Whether outputs that carry gradient may stand in where gradients are off now.
    """

    def __init__(self, replay: Replay | None = None) -> None:
        self.replay = replay
        self.n_met = 0
        self.any_grad = False
        self.first = True
        self.calls: list[Call] = []
        self.hits: set[nn.Module] = set()
        self._of: dict[nn.Module, list[Call]] = {}
        self._index: dict[nn.Module, int] = {}
        self._checkpoint = checkpointing()

    def next_round(self) -> None:
        """From now on calls are left out where they can be."""
        self.first = False
        self._index.clear()

    def advice(self, layer: nn.Module) -> Advice:
        """Returns what is to run in place of a call of `layer`."""

        def keep(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if self.first:
                return self._record(layer, call, args, kwargs)
            index = self._index.get(layer, 0)
            self._index[layer] = index + 1
            before = self._of.get(layer, [])
            if index < len(before) and _unchanged(before[index], (args, kwargs), any_grad=self.any_grad):
                self.hits.add(layer)
                drawn = before[index].drawn
                if drawn is not None:
                    drawn.put()
                return mapped(before[index].output, lambda leaf: leaf)
            with nullcontext() if self.replay is None else self.replay.rerun(layer):
                return call(*args, **kwargs)

        return keep

    def _record(self, layer: nn.Module, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs, met = mapped((args, kwargs), lambda leaf: leaf), self.n_met
        before = _versions(inputs)
        output = call(*args, **kwargs)
        kept = mapped(output, lambda leaf: leaf)
        after = _versions(kept)
        # a call that a gradient checkpoint repeats must not have been left out when it ran first
        pure = met == self.n_met and checkpointing() is self._checkpoint and _known((inputs, kept))
        versions = (before, after) if before is not None and after is not None else None
        own = _attributes(layer) if pure and versions else []
        drawn = None if self.replay is None else self.replay.drawn()
        self.calls.append(Call(layer, inputs, kept, versions, own, torch.is_grad_enabled(), pure, drawn))
        self._of.setdefault(layer, []).append(self.calls[-1])
        return output


def _unchanged(call: Call, inputs: Any, *, any_grad: bool) -> bool:
    if not call.pure or call.versions is None or (call.grad != torch.is_grad_enabled() and not any_grad):
        return False
    if _hooks_within(call.layer) or not same(inputs, call.inputs, any_grad=any_grad and not torch.is_grad_enabled()):
        return False
    if (_versions(call.inputs), _versions(call.output)) != call.versions:
        return False
    now = _attributes(call.layer)
    return len(now) == len(call.own) and all(
        a is b or (type(a) is int and type(b) is int and a == b) for a, b in zip(now, call.own, strict=True)
    )


def _versions(tree: Any) -> list[int] | None:
    """How often each tensor was changed in place; None where torch does not count (inference mode)."""
    found = tensors(tree)
    return None if any(t.is_inference() for t in found) else [t._version for t in found]


def _known(tree: Any) -> bool:
    return all(isinstance(leaf, (Tensor, PackedSequence, *_PLAIN)) for leaf in leaves(tree))


def _hooks_within(layer: nn.Module) -> bool:
    """Whether hooks are attached to `layer`, to what is in it, or to all modules there are."""
    return bool(global_hooks._has_any_global_hook()) or any(map(hooked, layer.modules()))  # type: ignore[no-untyped-call]


def same(now: Any, before: Any, *, any_grad: bool = False) -> bool:
    """Returns whether all in `now` equals that in `before`, and, unless `any_grad`, its gradients go the same way."""
    a, b = leaves(now), leaves(before)
    return len(a) == len(b) and _shape(now) == _shape(before) and all(map(partial(_same_leaf, any_grad), a, b))


def _shape(tree: Any) -> Any:
    """The containers of `tree`, without what they hold."""
    if isinstance(tree, dict):
        return type(tree), [(key, _shape(value)) for key, value in tree.items()]
    if isinstance(tree, tuple | list) and not isinstance(tree, PackedSequence):
        return type(tree), [_shape(item) for item in tree]
    return type(tree)


def _same_leaf(any_grad: bool, now: Any, before: Any) -> bool:
    if isinstance(before, PackedSequence):
        parts = zip(now, before, strict=True)
        return all(a is b or (a is not None and b is not None and _same_leaf(any_grad, a, b)) for a, b in parts)
    if not isinstance(before, Tensor):
        return isinstance(before, _PLAIN) and bool(now == before)
    if now is before:
        return True
    # masks and positions are often made anew for each pass; values cannot be read while a program is being traced
    if torch.compiler.is_compiling() or now.is_nested or before.is_nested:
        return False
    if not any_grad and (now.requires_grad or before.requires_grad) and not made_alike(now, before):
        return False
    alike = now.shape == before.shape and now.dtype == before.dtype and now.device == before.device
    return alike and bool(torch.equal(now, before))


def _attributes(layer: nn.Module) -> list[Any]:
    """Everything that `layer` and what is in it hold, tensors with their versions."""
    found: list[Any] = []
    for module in layer.modules():
        for name, value in vars(module).items():
            if name in _SKIPPED:
                continue
            held: Collection[Any] = (value,)
            if isinstance(value, dict):
                held = value.values()
            elif isinstance(value, list | tuple | set):
                held = value
            for item in held:
                found.append(item)
                if isinstance(item, Tensor) and not item.is_inference():
                    found.append(item._version)
    return found
