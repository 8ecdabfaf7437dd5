"""Calls of a foreign module's layers, seen and changed for the time of one pass, and the tensors they carry."""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

__all__ = ["Advice", "around", "change_first", "checkpointing", "described", "floats", "leaves", "mapped", "tensors"]

Advice = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""`advice(call, args, kwargs)` runs in place of a layer's call; `call(*args, **kwargs)` is the layer's own."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


@contextmanager
def around(layer: nn.Module, advice: Advice, *, visible: bool = False) -> Iterator[None]:
    """Runs `advice` in place of every call of `layer`, its own hooks included; afterwards the layer is as it was.

    It is done by an instance's `forward`, not by a registered hook, because a call can be left out so, and because
    torch takes other kernels in a Transformer layer to which a hook is attached: results would differ in the last bits.

    Args:
        layer: Whose calls; it may be called several times.
        advice: Gets `layer`'s call and what it was called with.
        visible: Attach a hook that does nothing, for layers within a `TransformerEncoderLayer`, whose fused kernels
            would otherwise bypass them.
    """
    attributes = vars(layer)
    names = ("forward", *_HOOKS)

    def put(saved: dict[str, Any]) -> None:
        for name in names:
            if name in saved:
                attributes[name] = saved[name]
            else:
                attributes.pop(name, None)

    own = {name: attributes[name] for name in names if name in attributes}
    hooked = any(own.get(name) for name in _HOOKS)

    def call(*args: Any, **kwargs: Any) -> Any:
        if not hooked:
            return own["forward"](*args, **kwargs) if "forward" in own else type(layer).forward(layer, *args, **kwargs)
        during = {name: attributes[name] for name in names if name in attributes}
        put(own)
        try:
            return nn.Module.__call__(layer, *args, **kwargs)
        finally:
            put(during)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return advice(call, args, kwargs)

    ours: dict[str, Any] = {**own, "forward": forward}
    for name in _HOOKS:
        if own.get(name):
            ours[name] = OrderedDict()
    if visible:
        ours["_forward_hooks"] = OrderedDict({-1: _nothing})
    put(ours)
    try:
        yield
    finally:
        put(own)


def _nothing(*_: object) -> None:
    """A hook that changes nothing."""


def checkpointing() -> object:
    """Returns what stands for the innermost gradient checkpoint around this line, None if there is none."""
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    hooks = top(True) if top is not None else None
    return hooks[0] if hooks is not None and hooks[0].__module__ == "torch.utils.checkpoint" else None


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Returns `tree` with new containers and `change` at each leaf; a `PackedSequence` is one leaf."""
    if isinstance(tree, PackedSequence | torch.Size):
        return change(tree)
    if isinstance(tree, tuple):
        items = [mapped(item, change) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if type(tree) is list:
        return [mapped(item, change) for item in tree]
    if isinstance(tree, MutableMapping):  # dict, and what behaves so: outputs of Hugging Face models too
        new: Any = copy.copy(tree)
        for key, value in tree.items():
            new[key] = mapped(value, change)
        return new
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type | nn.Module):
        new = copy.copy(tree)
        for field in dataclasses.fields(tree):
            object.__setattr__(new, field.name, mapped(getattr(tree, field.name), change))
        return new
    return change(tree)


def leaves(tree: Any) -> list[Any]:
    """Returns what stands at the leaves, in order."""
    found: list[Any] = []
    mapped(tree, lambda leaf: found.append(leaf) or leaf)  # type: ignore[func-returns-value]
    return found


def tensors(tree: Any) -> list[Tensor]:
    """Returns every tensor in `tree`, those of packed sequences included."""
    found: list[Tensor] = []
    for leaf in leaves(tree):
        found += [part for part in (leaf if isinstance(leaf, PackedSequence) else (leaf,)) if isinstance(part, Tensor)]
    return found


def _is_float(leaf: Any) -> bool:
    if isinstance(leaf, PackedSequence):
        leaf = leaf.data
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def floats(tree: Any) -> list[Tensor | PackedSequence]:
    """Returns every floating tensor in `tree`, in order."""
    return [leaf for leaf in leaves(tree) if _is_float(leaf)]


def change_first(tree: Any, change: Callable[[Any], Any]) -> tuple[Any, bool]:
    """Returns `tree` with its first floating tensor changed, and whether there was one."""
    done = False

    def once(leaf: Any) -> Any:
        nonlocal done
        if done or not _is_float(leaf):
            return leaf
        done = True
        return change(leaf)

    return mapped(tree, once), done


def described(value: Any) -> str:
    """Returns type and shapes of `value`, for messages."""
    if isinstance(value, PackedSequence):
        return f"PackedSequence{tuple(value.data.shape)}"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {value.dtype}"
    if isinstance(value, Mapping):
        return f"{type(value).__name__}({', '.join(f'{k}: {described(v)}' for k, v in value.items())})"
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(described, value))})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type | nn.Module):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return f"{type(value).__name__}({', '.join(f'{k}: {described(v)}' for k, v in fields.items())})"
    return type(value).__name__
