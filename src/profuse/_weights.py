"""Weights into a module that is made anew: it is made only if they are its own, whatever sizes it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

__all__ = ["with_weights"]

M = TypeVar("M", bound=nn.Module)


def with_weights(make: Callable[[], M], weights: Mapping[str, Tensor]) -> M:
    """Returns the module that `make` makes, with `weights`, in evaluation mode.

    Raises:
        ValueError: The module has other parameters or buffers than those, or of other shapes or types, or some are no
            finite numbers.
    """
    with torch.device("meta"), _at_most(1000 + 20 * len(weights)):  # takes no memory
        wanted = {name: (tuple(t.shape), t.dtype) for name, t in make().state_dict().items()}
    given = {name: (tuple(t.shape), t.dtype) for name, t in weights.items()}
    if odd := sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name)):
        raise ValueError(f"weights {odd[0]!r} must be {wanted.get(odd[0])}; got {given.get(odd[0])}")
    made = make()
    parameters = {name for name, _ in made.named_parameters()}
    for name, values in weights.items():
        if values.is_floating_point() and not (values.isfinite() if name in parameters else ~values.isnan()).all():
            raise ValueError(f"weights {name!r} must be finite")
    for name, values in made.named_buffers():
        if name not in weights and values.is_floating_point() and not values.isfinite().all():
            raise ValueError(f"what {name!r} is made of must be finite")
    made.load_state_dict(weights)
    return made.eval()


@contextmanager
def _at_most(n: int) -> Iterator[None]:
    """Stops the making of a module of more than `n` parts."""
    n_left = n

    def count(*_: object) -> None:
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            raise ValueError(f"its options ask for more than {n} parts")

    hooks = [register_module_module_registration_hook(count), register_module_parameter_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
