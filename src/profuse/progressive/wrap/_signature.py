"""The signature of a module's forward, shown as that of the wrapper around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch

__all__ = ["SignatureOf"]


class SignatureOf:
    """A method whose signature, seen through an instance, is that of `instance.module.forward`.

    Tools such as the Trainer of Hugging Face read there which arguments they may give. It is no data descriptor, so
    that an instance's own `forward` stands before it, as nn.Module's methods allow.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        method = self.method
        if instance is None:
            return method
        if torch.compiler.is_compiling():
            return MethodType(method, instance)

        def forward(wrapper: Any, /, *args: Any, **kwargs: Any) -> Any:
            return method(wrapper, *args, **kwargs)

        first = inspect.Parameter("_wrapper", inspect.Parameter.POSITIONAL_ONLY)
        signature = inspect.signature(instance.module.forward)
        forward.__signature__ = inspect.Signature([first, *signature.parameters.values()])  # type: ignore[attr-defined]
        return MethodType(forward, instance)
