"""Random numbers that are drawn again: where the random streams stand, and the same draws in every round of a batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Chance", "same_chance"]


@dataclass(frozen=True, eq=False)
class Chance:
    """Where the global random streams stand: torch's on the CPU and on CUDA devices, and NumPy's and Python's.

    Generators that a model holds itself are not among them. NumPy's stream takes much longer to read than torch's.
    """

    cpu: Tensor
    cuda: dict[torch.device, Tensor]
    numpy: Any
    python: Any

    @classmethod
    def now(cls, devices: Iterable[torch.device], *, torch_only: bool = False) -> Chance:
        """Returns where they stand; of `devices` those of type CUDA count."""
        cuda = {device: torch.cuda.get_rng_state(device) for device in devices if device.type == "cuda"}
        others = (None, None) if torch_only else (np.random.get_state(), random.getstate())  # noqa: NPY002
        return cls(torch.get_rng_state(), cuda, *others)

    def put(self) -> None:
        """Puts them back to where they stood."""
        torch.set_rng_state(self.cpu)
        for device, state in self.cuda.items():
            torch.cuda.set_rng_state(state, device)
        if self.numpy is not None:
            np.random.set_state(self.numpy)  # noqa: NPY002
            random.setstate(self.python)


def same_chance(
    devices: Iterable[torch.device], *, active: bool = True, torch_only: bool = False
) -> Callable[[], AbstractContextManager[None]]:
    """Returns what makes a context in which the random numbers are those that now come next, and left as they were.

    Args:
        devices: Whose random numbers count, beside the CPU's.
        active: False: the context does nothing.
        torch_only: Whether NumPy's and Python's are left alone.
    """
    if not active:
        return nullcontext
    devices = set(devices)
    begin = Chance.now(devices, torch_only=torch_only)

    @contextmanager
    def replayed() -> Iterator[None]:
        before = Chance.now(devices, torch_only=torch_only)
        begin.put()
        try:
            yield
        finally:
            before.put()

    return replayed
