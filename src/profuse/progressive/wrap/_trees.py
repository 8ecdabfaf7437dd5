"""Arguments and results of any form: their tensors seen, changed, and described for messages."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

__all__ = ["WHERE", "change_first", "copied", "described", "floats", "mapped", "on_data", "tensors"]

WHERE = "ProgressiveFusion.wrap"
"""Who speaks, in messages."""


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


def on_data(leaf: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Returns a tensor or a packed sequence with its numbers changed, anything else as it is."""
    if isinstance(leaf, PackedSequence):
        return PackedSequence(change(leaf.data), leaf.batch_sizes, leaf.sorted_indices, leaf.unsorted_indices)
    return change(leaf) if isinstance(leaf, Tensor) else leaf


def copied(tree: Any) -> Any:
    """Returns `tree` with tensors that a change in place leaves as they are; gradients go through."""
    return mapped(tree, lambda leaf: on_data(leaf, torch.clone))


def tensors(tree: Any) -> list[Tensor]:
    """Returns every tensor in `tree`, in order, of packed sequences their data."""
    seen: list[Tensor] = []

    def look(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    mapped(tree, lambda leaf: on_data(leaf, look))
    return seen


def floats(tree: Any) -> list[Tensor]:
    """Returns every floating tensor in `tree`, in order."""
    return [x for x in tensors(tree) if x.is_floating_point()]


def change_first(tree: Any, change: Callable[[Any], Any]) -> tuple[Any, bool]:
    """Returns `tree` with its first floating tensor or packed sequence changed, and whether there was one."""
    done = False

    def once(leaf: Any) -> Any:
        nonlocal done
        if done or not floats(leaf):
            return leaf
        done = True
        return change(leaf)

    return mapped(tree, once), done


def described(value: Any) -> str:
    """Returns type and shapes of `value`, for messages."""
    name = type(value).__name__
    if isinstance(value, PackedSequence):
        return f"PackedSequence{tuple(value.data.shape)}"
    if isinstance(value, Tensor):
        shape = f"{value.ndim} axes, nested" if value.is_nested else f"shape {tuple(value.shape)}"
        return f"a tensor of {shape}, {value.dtype}"
    if isinstance(value, tuple | list):
        return f"{name}({', '.join(map(described, value))})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type | nn.Module | Mapping):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return f"{name}({', '.join(f'{key}: {described(each)}' for key, each in value.items())})"
    return name
