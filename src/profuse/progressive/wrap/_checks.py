"""What the arguments of `ProgressiveFusion.wrap` must be, told before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, cast

import torch
from torch import nn

from profuse._lookup import resolve
from profuse.errors import ConfigError, ProfuseError
from profuse.progressive._feedback import FEEDBACKS, Feedback
from profuse.progressive.wrap._calls import described
from profuse.progressive.wrap._entry import WHERE
from profuse.progressive.wrap._signature import signature_of

__all__ = [
    "check_arguments",
    "check_numbers",
    "check_places",
    "feedback_class",
    "fit_example",
    "running_the_example",
]


def _check_module(module: Any) -> None:
    """Checks that it is a module, not the class of one."""
    if isinstance(module, torch.jit.ScriptModule):
        raise ConfigError(
            f"{WHERE}: module must be Python, so that its layers can be met; got {type(module).__name__} of "
            "TorchScript. Wrap the module that it was made of."
        )
    if isinstance(module, nn.Module):
        return
    if isinstance(module, type) and issubclass(module, nn.Module):
        name = module.__name__
        raise ConfigError(f"{WHERE}: module must be an instance; got the class {name}. Make one: {name}(...).")
    raise ConfigError(f"{WHERE}: module must be a torch.nn.Module; got {type(module).__name__}.")


def _check_into(into: Any) -> None:
    """Checks that it is a dict of names of layers by branch."""
    example = 'as in into={"image": "encoder.layer1"}'
    if not isinstance(into, Mapping):
        raise ConfigError(
            f"{WHERE}: into must be a dict, branch -> name of a layer or several, {example}; got {type(into).__name__} "
            f"into={into!r}."
        )
    if not into:
        raise ConfigError(f"{WHERE}: into must name a layer for at least one branch, {example}; got into={into!r}.")
    for branch, layers in into.items():
        names = [layers] if isinstance(layers, str) else layers
        if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f"{WHERE}: into must tell a layer by its name, or several in a list, {example}; got "
                f"{type(layers).__name__} into[{branch!r}]={_short(layers)}. See module.named_modules()."
            )
        if not isinstance(branch, str) or not branch:
            raise ConfigError(f"{WHERE}: branches of into must be named, {example}; got {branch!r}.")


def check_arguments(module: Any, into: Any, state: Any) -> None:
    """Checks that module is one, and that the others are names of layers."""
    _check_module(module)
    _check_into(into)
    if not isinstance(state, str):
        raise ConfigError(
            f"{WHERE}: state must be the name of a layer, as module.named_modules() tells it; got "
            f"{type(state).__name__} state={_short(state)}."
        )


def check_numbers(
    gradient_rounds: Any = None,
    state_axis: Any = None,
    max_rounds: Any = 1,
    tolerance: Any = 1.0,
    damping: Any = 1.0,
) -> None:
    """Checks types of numbers; their ranges are checked by those who use them."""
    whole = {"max_rounds": max_rounds, "gradient_rounds": gradient_rounds, "state_axis": state_axis}
    for name, value in whole.items():
        if not _whole(value) and (value is not None or name == "max_rounds"):
            raise ConfigError(f"{WHERE}: {name} must be a whole number; got {name}={_short(value)}.")
    for name, value in {"tolerance": tolerance, "damping": damping}.items():
        if not isinstance(value, Real) or isinstance(value, bool):
            raise ConfigError(f"{WHERE}: {name} must be a number; got {name}={_short(value)}.")


def check_places(channel_axis: Any, batch_axis: Any, folded: Any, reuse: Any) -> None:
    """Checks types of axes and of names of branches and layers."""
    for name, given in {"channel_axis": channel_axis, "batch_axis": batch_axis}.items():
        for axis in given.values() if isinstance(given, Mapping) else [given]:
            if axis is not None and not _whole(axis):
                raise ConfigError(f"{WHERE}: {name} must be an axis, a whole number; got {name}={_short(given)}.")
    if not _names(folded):
        raise ConfigError(f"{WHERE}: folded must be a list of branches; got folded={_short(folded)}.")
    if not isinstance(reuse, bool) and not _names(reuse):
        raise ConfigError(f"{WHERE}: reuse must be True, False or a list of layers; got reuse={_short(reuse)}.")


def feedback_class(feedback: Any) -> type[Feedback]:
    """Returns the class of a name, or the class that was given."""
    if isinstance(feedback, str):
        found: type[Feedback] = resolve(feedback, FEEDBACKS, where=WHERE, what="feedback")
        return found
    if isinstance(feedback, type) and issubclass(feedback, nn.Module):
        return cast(type[Feedback], feedback)
    raise ConfigError(
        f"{WHERE}: feedback must be one of {', '.join(FEEDBACKS)}, or a Feedback class; got "
        f"{type(feedback).__name__} feedback={_short(feedback)}."
    )


def fit_example(module: nn.Module, example: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the arguments of the example, by position and by name.

    Raises:
        ConfigError: The module's forward does not take them.
    """
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(k, str) for k in kwargs)):
        raise ConfigError(f"{WHERE}: example_kwargs must be a dict of arguments by name; got {_short(kwargs)}.")
    args = example if isinstance(example, tuple) else () if example is None else (example,)
    found = signature_of(module)
    if found is not None:
        try:
            found.bind(*args, **(kwargs or {}))
        except TypeError as error:
            hint = ""
            if isinstance(example, Mapping):
                hint = " A dict is one argument: give arguments by name as example_kwargs."
            elif isinstance(example, list):
                hint = " A list is one argument: give several by position as a tuple."
            raise ConfigError(
                f"{WHERE}: example must fit {type(module).__name__}.forward{found}; got {described(args)} and "
                f"example_kwargs={described(dict(kwargs or {}))}: {error}.{hint}"
            ) from error
    return args, dict(kwargs or {})


@contextmanager
def running_the_example(module: nn.Module) -> Iterator[None]:
    """Turns what the module raises on its example into an error that says so."""
    try:
        yield
    except ProfuseError:
        raise
    except Exception as error:
        told = (str(error).strip() or "no message").splitlines()[0]
        raise ConfigError(
            f"{WHERE}: the module must run on the example, in evaluation mode with gradients on; "
            f"{type(module).__name__} raised {type(error).__name__}: {told}. Give what it is called with: a tuple of "
            "arguments by position as example, those by name as example_kwargs."
        ) from error


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _names(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset | Mapping) and all(isinstance(name, str) for name in value)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
