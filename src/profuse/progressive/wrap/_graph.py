"""What autograd knows of a tensor: whether two were made in the same way, and what one was made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

__all__ = ["ancestors", "made_alike"]

_MOST = 32
"""How many operations are compared, at most."""


def made_alike(a: Tensor, b: Tensor) -> bool:
    """Returns whether a gradient of `a` goes where one of `b` would go, by the same operations at the same numbers.

    So one tensor can stand in for the other if their numbers are equal too. What cannot be compared is not alike:
    leaves, functions written in Python, operations in place, numbers that are freed or stored away by hooks (as in a
    gradient checkpoint), and what is more than a few operations away from tensors that both have in common.
    """
    if a.grad_fn is None or b.grad_fn is None or a.output_nr != b.output_nr:
        return False
    return _same_node(a.grad_fn, b.grad_fn, iter(range(_MOST)))


def ancestors(tensors: Iterable[Tensor]) -> set[Node]:
    """Returns all nodes of the graph of `tensors`."""
    todo: list[Node | None] = [tensor.grad_fn for tensor in tensors]
    found: set[Node] = set()
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo += [before for before, _ in node.next_functions]
    return found


def _same_node(a: Any, b: Any, budget: Iterator[int]) -> bool:
    if a is b:
        return True
    kind: Any = type(a)
    # torch's own operations show all that their gradients depend on, beside forms that those of their inputs tell
    if kind is not type(b) or not re.fullmatch(r"\w+Backward\d+", kind.__name__) or next(budget, None) is None:
        return False
    if getattr(torch._C._functions, kind.__name__, None) is not kind or _forms(a) != _forms(b):
        return False
    before, after = a.next_functions, b.next_functions
    if len(before) != len(after) or not all(
        i == j and _same_node(x, y, budget) for (x, i), (y, j) in zip(before, after, strict=True)
    ):
        return False
    saved = _saved(kind)
    if any(_stored_away(getattr(node, f"_raw{name}", None)) for node in (a, b) for name in saved):
        return False
    try:
        return all(_same_value(getattr(a, name), getattr(b, name)) for name in saved)
    except RuntimeError:  # torch's, of what is freed, or was changed in place since
        return False


@cache
def _saved(node: type) -> list[str]:
    return [name for name in dir(node) if name.startswith("_saved_")]


def _forms(node: Any) -> list[Any]:
    """The forms of the tensors that an operation gave."""
    return [(each.shape, each.dtype, each.device) for each in node._input_metadata]


def _stored_away(raw: Any) -> bool:
    """Whether hooks hold what is saved, which reading it would call."""
    if isinstance(raw, tuple | list):
        return any(map(_stored_away, raw))
    return raw is not None and getattr(raw, "unpack_hook", raw) is not None


def _same_value(a: Any, b: Any) -> bool:
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same_value, a, b))
    if not isinstance(a, Tensor):
        return type(a) is type(b) and bool(a == b)
    if not isinstance(b, Tensor) or (a.shape, a.dtype, a.device, a.layout) != (b.shape, b.dtype, b.device, b.layout):
        return False
    if a.layout != torch.strided or a.is_nested:
        return False
    return torch.equal(a, b)
