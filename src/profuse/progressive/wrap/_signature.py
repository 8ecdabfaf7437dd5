"""The signature of a module's forward, shown as that of the wrapper around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

__all__ = ["SignatureOf", "signature_of"]


class SignatureOf:
    """A method whose signature, seen through an instance, is that of `instance.module.forward`.

    Tools such as the Trainer of Hugging Face read there which arguments they may give. It is no data descriptor, so
    that an instance's own `forward` stands before it, as nn.Module's methods allow.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method: Any = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self.method
        if torch.compiler.is_compiling():
            return MethodType(self.method, instance)
        found = signature_of(instance.module)
        if found is None:
            return MethodType(self.method, instance)
        shown = FunctionType(
            self.method.__code__,
            self.method.__globals__,
            self.method.__name__,
            self.method.__defaults__,
            self.method.__closure__,
        )
        shown.__dict__.update(self.method.__dict__)
        shown.__doc__, shown.__kwdefaults__ = self.method.__doc__, self.method.__kwdefaults__
        shown.__module__, shown.__qualname__ = self.method.__module__, self.method.__qualname__
        first = inspect.Parameter("_wrapper", inspect.Parameter.POSITIONAL_ONLY)
        # what it returns depends on `returns`
        shown.__signature__ = inspect.Signature([first, *found.parameters.values()])  # type: ignore[attr-defined]
        return MethodType(shown, instance)


def signature_of(module: nn.Module) -> inspect.Signature | None:
    """Returns the signature of the module's forward, None where it has none, as what is compiled."""
    try:
        return inspect.signature(module.forward)
    except (TypeError, ValueError):
        return None
