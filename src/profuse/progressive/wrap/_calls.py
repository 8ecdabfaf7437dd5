"""Calls of a foreign module's layers, seen and changed for the time of one pass, and the tensors they carry."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

__all__ = [
    "PASSES",
    "Advice",
    "Change",
    "around",
    "change_first",
    "checkpointing",
    "described",
    "floats",
    "hooked",
    "leaves",
    "mapped",
    "tensors",
    "within",
]

Advice = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""`advice(call, args, kwargs)` runs in place of a layer's call; `call(*args, **kwargs)` is the layer's own."""

Change = Callable[[Any], Any]

PASSES = threading.RLock()
"""Held while layers, modes or buffers of a module are changed for a time, as another thread may use the module too."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def hooked(layer: nn.Module) -> bool:
    """Returns whether anything is attached to `layer` itself."""
    return any(getattr(layer, name) for name in _HOOKS)


@contextmanager
def around(layer: nn.Module, advice: Advice) -> Iterator[None]:
    """Runs `advice` in place of every call of `layer` by this thread; afterwards the layer is as it was.

    It is done by an instance's `forward`, not by a registered hook, because a call can be left out so, and because
    torch takes other kernels in a Transformer layer to which a hook is attached: results would differ in the last bits.
    """
    attributes, owner = vars(layer), threading.get_ident()
    own = {name: attributes[name] for name in ("forward",) if name in attributes}

    def call(*args: Any, **kwargs: Any) -> Any:
        return own["forward"](*args, **kwargs) if own else type(layer).forward(layer, *args, **kwargs)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return advice(call, args, kwargs) if threading.get_ident() == owner else call(*args, **kwargs)

    attributes["forward"] = forward
    try:
        yield
    finally:
        del attributes["forward"]
        attributes.update(own)


@contextmanager
def within(layer: nn.Module, before: Change, after: Change, *, visible: bool = False) -> Iterator[None]:
    """Changes by `before` what `layer` is called with in this thread, and by `after` what it gives, for a time.

    Hooks that are attached to it run in between. Only where there are some, it is done by hooks itself.

    Args:
        layer: Whose calls; it may be called several times.
        before: Gets and returns `(args, kwargs)`.
        after: Gets and returns the output.
        visible: Use hooks in any case, for layers within a `TransformerEncoderLayer`, whose fused kernels would
            otherwise bypass them.
    """
    owner = threading.get_ident()

    def advice(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = before((args, kwargs))
        return after(call(*args, **kwargs))

    # the default is for a thread that is about to call it just when it is removed
    def first(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
        return before((args, kwargs)) if threading.get_ident() == owner else None

    def last(_: nn.Module, __: Any, output: Any) -> Any:
        return after(output) if threading.get_ident() == owner else None

    with ExitStack() as stack:
        if visible or hooked(layer):
            handle = layer.register_forward_pre_hook(first, prepend=True, with_kwargs=True)
            stack.callback(handle.remove)
            stack.callback(layer.register_forward_hook(last).remove)
        else:
            stack.enter_context(around(layer, advice))
        yield


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
    if isinstance(value, Tensor) and value.is_nested:
        return f"a nested tensor of {value.ndim} axes, {value.dtype}"
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
