"""Passes of one batch that are all alike: the same random numbers, and buffers that change once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, distributed, nn
from torch.func import functional_call

from profuse.errors import ConfigError
from profuse.progressive._chance import Chance, same_chance
from profuse.progressive.wrap._trees import WHERE

__all__ = ["Replay", "rows_are_one_system"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Replay:
    """Calls `module` so that all calls draw the same random numbers and begin with the same buffers.

    Parts named `reuse` run in the first call, with buffers of their own; all else works on copies of its buffers, until
    a call when `is_last` is set. So running statistics change once, and the random streams go on as after one call.
    `held` are tensors on the devices whose random numbers count, beside the CPU's.
    """

    def __init__(self, module: nn.Module, reuse: Sequence[str], held: Iterable[Tensor]) -> None:
        self.is_last = False
        self._module = module
        self._devices = {tensor.device for tensor in held}
        self._again = same_chance(self._devices)
        buffers = [
            (f"{name}.{own}".removeprefix("."), buffer)
            for name, layer in _not_reused(module, reuse).items()
            for own, buffer in layer.named_buffers(recurse=False, remove_duplicate=False)
        ]
        self._names = dict(buffers)
        self._began = {buffer: buffer.detach().clone() for _, buffer in buffers}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.is_last:
            return self._module(*args, **kwargs)
        with self._again():
            # copies for each pass, as autograd may hold those of the pass before; what layers share stays shared
            copies = {buffer: began.clone() for buffer, began in self._began.items()}
            own = {name: copies[buffer] for name, buffer in self._names.items()}
            return functional_call(self._module, own, args, kwargs, tie_weights=False)

    def drawn(self) -> Chance:
        """Returns where the random streams stand now."""
        return Chance.now(self._devices)


def rows_are_one_system(root: nn.Module, reuse: Sequence[str]) -> bool:
    """Returns whether a batch norm that is not reused mixes the rows of a batch.

    Raises:
        ConfigError: It mixes those of several processes, which need different numbers of rounds.
    """
    norms = {name: layer for name, layer in _not_reused(root, reuse).items() if isinstance(layer, _BATCH_NORMS)}
    mixing = {name: norm for name, norm in norms.items() if norm.training or norm.running_mean is None}
    synced = [name for name, norm in mixing.items() if isinstance(norm, nn.SyncBatchNorm)]
    if synced and distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        raise ConfigError(
            f"{WHERE}: batch norms must not be synchronised in equilibrium, as each process needs its own number of "
            f"rounds; got SyncBatchNorm {synced[0]!r}. Use BatchNorm, or set rounds to a number."
        )
    return bool(mixing)


def _not_reused(root: nn.Module, reuse: Sequence[str]) -> dict[str, nn.Module]:
    """The layers, each once, but for those in parts that are reused."""
    reused = {layer for part in reuse for layer in root.get_submodule(part).modules()}
    return {name: layer for name, layer in root.named_modules() if layer not in reused}
