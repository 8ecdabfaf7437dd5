"""Passes of one batch that are all alike: the same random numbers, and buffers that change once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from profuse.errors import ConfigError
from profuse.progressive._chance import Chance, same_chance
from profuse.progressive.wrap._calls import PASSES

__all__ = ["Replay", "rows_are_one_system"]


class Replay:
    """Lets the passes of one batch draw the same random numbers and begin with the same buffers.

    A layer that is kept runs in the first pass as it is; all else works on copies of its buffers until the last pass,
    as does a kept layer that runs again after all. So running statistics change once, and are those of the last pass.

    Args:
        root: Whose buffers count.
        kept: Layers within it that are remembered from the first pass.
        held: Tensors on the devices whose random numbers count, beside the CPU's.

    Attributes:
        is_last: Whether the pass is the last one, which changes buffers and moves the random streams on.
    """

    def __init__(self, root: nn.Module, kept: Sequence[nn.Module], held: Iterable[Tensor]) -> None:
        self.is_last = False
        self._devices = {tensor.device for tensor in held}
        self._again = same_chance(self._devices)
        below = {layer for top in kept for layer in top.modules()}
        self._above = [layer for layer in root.modules() if layer not in below]
        # the copies of a batch's beginning; later ones are made of them anew, as autograd may hold those of a pass
        self._began = {buffer: buffer.detach().clone() for buffer in root.buffers()}

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        """Around a pass through the root."""
        if self.is_last:
            yield
            return
        with PASSES, self._again(), self._copied(self._above):
            yield

    @contextmanager
    def rerun(self, layer: nn.Module) -> Iterator[None]:
        """Around a call of a kept layer that could not be left out."""
        if not self.is_last:
            with self._copied(layer.modules()):
                yield
            return
        for buffer in layer.buffers():
            began = self._began.get(buffer)
            if began is not None and not torch.equal(buffer, began):
                buffer.copy_(began)
        yield

    def drawn(self) -> Chance:
        """Returns where the random streams stand now."""
        return Chance.now(self._devices)

    @contextmanager
    def _copied(self, layers: Iterable[nn.Module]) -> Iterator[None]:
        copies: dict[Tensor, Tensor] = {}
        own: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for layer in layers:
            held: dict[str, Any] = layer._buffers
            if not held:
                continue
            own.append((held, dict(held)))
            for name, buffer in held.items():
                if buffer in self._began:
                    held[name] = copies.setdefault(buffer, self._began[buffer].clone())
        try:
            yield
        finally:
            for held, before in own:
                held.clear()
                held.update(before)


def rows_are_one_system(root: nn.Module, kept: Sequence[nn.Module]) -> bool:
    """Returns whether a batch norm that is not kept mixes the rows of a batch.

    Raises:
        ConfigError: It mixes those of several processes, which need different numbers of rounds.
    """
    below = {layer for top in kept for layer in top.modules()}
    mixing = [
        (name, layer)
        for name, layer in root.named_modules()
        if isinstance(layer, _BatchNorm) and layer not in below and (layer.training or layer.running_mean is None)
    ]
    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    synced = [name for name, layer in mixing if isinstance(layer, nn.SyncBatchNorm)]
    if several and synced:
        raise ConfigError(
            "ProgressiveFusion.wrap: batch norms must not be synchronised in equilibrium, as each process needs its "
            f"own number of rounds; got SyncBatchNorm {synced[0]!r}. Use BatchNorm, or set rounds to a number."
        )
    return bool(mixing)
