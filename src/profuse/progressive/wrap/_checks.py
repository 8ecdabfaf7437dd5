"""What the arguments of `ProgressiveFusion.wrap` must be, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import nn

from profuse.errors import ConfigError
from profuse.progressive._feedback import FEEDBACKS, Feedback
from profuse.progressive.rounds import is_whole
from profuse.progressive.wrap._trees import WHERE

__all__ = ["check_arguments", "check_module", "refuse_quantised"]


def check_module(module: Any) -> None:
    """Checks that it is a module, not the class of one, and that its layers can be met."""
    if not isinstance(module, nn.Module) or isinstance(module, torch.jit.ScriptModule):
        got = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
        raise ConfigError(
            f"{WHERE}: module must be an instance of torch.nn.Module, in Python and not TorchScript, so that its "
            f"layers can be met; got {got}."
        )
    refuse_quantised(module)


def refuse_quantised(module: nn.Module) -> None:
    """Refuses layers of `torch.ao`, whose weights have no gradient and whose numbers may be whole."""
    for name, layer in module.named_modules():
        if type(layer).__module__.startswith("torch.ao."):
            raise ConfigError(
                f"{WHERE}: no layer may be quantised, as feedback learns by gradients and changes floating numbers; "
                f"got {name!r} of type {type(layer).__module__}.{type(layer).__name__}. Use the module as it was "
                "before torch.ao."
            )


def check_arguments(given: Mapping[str, Any]) -> None:
    """Checks the types of all arguments, by their names, and the values that have a few choices."""
    for name, (holds, what) in _RULES.items():
        value = given[name]
        if not holds(value):
            text = " ".join(repr(value).split())
            short = text if len(text) <= 60 else f"{text[:57]}..."
            raise ConfigError(f"{WHERE}: {name} must be {what}; got {type(value).__name__} {name}={short}.")
    if given["example"] is None and given["example_kwargs"] is None:
        raise ConfigError(
            f"{WHERE}: example, or example_kwargs, must be given: sizes and axes are learned from it, and faults seen. "
            "Give what the module is called with: arguments by position as a tuple, those by name as example_kwargs."
        )


def _optional(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or holds(value)


def _by_branch(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: all(map(holds, value.values())) if isinstance(value, Mapping) else holds(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset) and all(map(_is_name, value))


def _is_side(value: Any) -> bool:
    return isinstance(value, str) and value in ("input", "output")


def _is_into(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value or not all(isinstance(b, str) and b for b in value):
        return False
    return all(isinstance(names, str) or (_are_names(names) and names) for names in value.values())


def _is_mask(value: Any) -> bool:
    return isinstance(value, str) or callable(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_feedback(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, type) and issubclass(value, Feedback))


_AXIS = "an axis, a whole number, or one by branch in a dict"
_MASK = "the name of an argument of the module's forward, or a function that is called as the module is"
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "into": (_is_into, 'a dict, branch -> name of a layer or several in a list, as in {"image": "encoder.layer1"}'),
    "state": (_is_name, "the name of a layer, as in module.named_modules()"),
    "feedback": (_is_feedback, f"one of {', '.join(FEEDBACKS)}, or a Feedback class"),
    "at": (_by_branch(_is_side), "input or output, or one of them by branch in a dict"),
    "example_kwargs": (_optional(lambda v: isinstance(v, Mapping) and all(map(_is_name, v))), "a dict by name"),
    "channel_axis": (_optional(_by_branch(is_whole)), _AXIS),
    "batch_axis": (_optional(_by_branch(is_whole)), _AXIS),
    "folded": (_are_names, "a list of branches"),
    "state_axis": (_optional(is_whole), "an axis, a whole number"),
    "mask": (_optional(lambda v: isinstance(v, Mapping) and _by_branch(_is_mask)(v)), f"by branch {_MASK}"),
    "present": (_optional(lambda v: isinstance(v, Mapping) and _by_branch(_is_mask)(v)), f"by branch {_MASK}"),
    "state_mask": (_optional(_is_mask), _MASK),
    "returns": (lambda v: isinstance(v, str) and v in ("last", "all"), "last or all"),
    "start": (lambda v: isinstance(v, str) and v in ("zero", "learned"), "zero or learned"),
    "reuse": (_are_names, "a list of names of layers"),
    "max_rounds": (is_whole, "a whole number"),
    "tolerance": (_is_number, "a number"),
    "damping": (_is_number, "a number"),
}
