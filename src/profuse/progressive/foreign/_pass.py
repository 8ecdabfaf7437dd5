"""One pass through a foreign module: feedback is let in, the state caught, and what can be reused left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from profuse._lookup import nearest
from profuse.errors import ConfigError
from profuse.progressive.foreign._calls import around, change_first, checkpointing, mapped, tensors
from profuse.progressive.foreign._entry import WHERE, Entry, layer_of
from profuse.progressive.foreign._replay import Replay
from profuse.progressive.foreign._reuse import Memory

__all__ = ["Pass", "disturbed", "evaluating", "quietly"]


class Pass:
    """Runs `module`, once a round; what later rounds can leave out is remembered from the first.

    Args:
        module: What runs.
        entries: Where feedback enters.
        state_layer: The layer whose output is the state.
        replay: What makes all rounds alike, if they are to be.

    Attributes:
        state: What the state's layer gave in the last run.
    """

    def __init__(
        self, module: nn.Module, entries: Sequence[Entry], state_layer: str, replay: Replay | None = None
    ) -> None:
        self.module = module
        self.entries = entries
        self.state_layer = state_layer
        self.state: Any = None
        self.memory = Memory(lambda: self._n_met, replay)
        self._n_met = 0
        self._n_runs = 0
        self._grad = torch.is_grad_enabled()
        self._checkpoint = checkpointing()

    def run(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        change: Callable[[int, Any], Any],
        kept: Sequence[nn.Module],
        learns: Sequence[bool] = (),
    ) -> Any:
        """Returns what the module returns.

        Args:
            args: For the module; containers are copied, so that it may change them.
            kwargs: Likewise.
            change: What feedback makes of the tensor at an entry, told by its index.
            kept: The layers to remember.
            learns: For each entry, whether its feedback is being trained.
        """
        if self._n_runs:
            self.memory.next_round()
        self._n_runs += 1
        met = [0] * len(self.entries)
        states: list[Any] = []

        def enter(index: int, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            entry = self.entries[index]
            if states and not met[index]:
                raise ConfigError(
                    f"{WHERE}: feedback must enter before the state is made; the {entry} is called after "
                    f"{self.state_layer!r}. Name a layer of the branch, or a later state."
                )
            if entry.at == "output":
                tree, found = change_first(call(*args, **kwargs), partial(change, index))
            else:
                (args, kwargs), found = change_first((args, kwargs), partial(change, index))
            if not found:
                raise ConfigError(
                    f"{WHERE}: feedback must enter where floating numbers stand; the {entry} has none. "
                    "Name a later layer" + (", or use at='output'." if entry.at == "input" else ".")
                )
            self._gradients(str(entry), bool(learns) and learns[index])
            met[index] += 1
            self._n_met += 1
            return tree if entry.at == "output" else call(*args, **kwargs)

        def catch(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            output = call(*args, **kwargs)
            if states:
                raise ConfigError(
                    f"{WHERE}: state must be called once in a pass; {self.state_layer!r} is called again. "
                    "Name a layer that is called once."
                )
            self._gradients(f"output of {self.state_layer!r}", any(learns))
            states.append(output)
            self._n_met += 1
            return output

        with ExitStack() as stack:
            for layer in kept:
                stack.enter_context(around(layer, self.memory.advice(layer)))
            for index, entry in enumerate(self.entries):
                layer = layer_of(self.module, entry.layer, "layer")
                stack.enter_context(around(layer, partial(enter, index), visible=self._bypassed(entry.layer)))
            layer = layer_of(self.module, self.state_layer, "state")
            stack.enter_context(around(layer, catch, visible=self._bypassed(self.state_layer)))
            args, kwargs = mapped((args, kwargs), lambda leaf: leaf)
            output = self.module(*args, **kwargs)
        silent = [e.layer for e, n in zip(self.entries, met, strict=True) if not n]
        if silent or not states:
            self._not_called(silent[0] if silent else self.state_layer)
        self.state = states[0]
        return output

    def _bypassed(self, name: str) -> bool:
        """Whether a Transformer layer's fused kernels would leave out the layer `name`."""
        parts = name.split(".") if name else []
        above = [layer_of(self.module, ".".join(parts[:n]), "layer") for n in range(len(parts))]
        return any(isinstance(layer, nn.TransformerEncoderLayer) for layer in above)

    def _gradients(self, place: str, learns: bool) -> None:
        """Refuses what would give wrong gradients, or none."""
        if not self._grad:
            return
        if checkpointing() is not self._checkpoint:
            raise ConfigError(
                f"{WHERE}: no gradient checkpoint may be around the {place}, as it runs again without feedback. "
                "Turn it off in the module, or put it around the call of the whole."
            )
        if learns and not torch.is_grad_enabled():
            raise ConfigError(
                f"{WHERE}: gradients must be on at the {place}, else feedback does not learn; the module turns them "
                "off there (torch.no_grad, or a reentrant gradient checkpoint). Name a layer where they are on."
            )

    def _not_called(self, name: str) -> None:
        called = {call.layer for call in self.memory.calls}
        names = [n for n, layer in self.module.named_modules() if layer in called]
        close = nearest(name, names or (n for n, _ in self.module.named_modules() if n != name))
        hint = f" Layers of like names{' that ran' if names else ''}: {', '.join(map(repr, close))}." if close else ""
        raise ConfigError(
            f"{WHERE}: every layer that is named must be called in a pass; {name!r} was not. Its parent may read its "
            f"weights and not call it, or call another method than forward.{hint}"
        )


def disturbed(x: Any) -> Any:
    """Returns `x` changed at random."""
    if isinstance(x, PackedSequence):
        return PackedSequence(disturbed(x.data), x.batch_sizes, x.sorted_indices, x.unsorted_indices)
    return x * 1.37 if x.is_nested else x + torch.randn_like(x)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients; afterwards each layer's mode is as before."""
    modes = {layer: layer.training for layer in module.modules()}
    try:
        for layer in modes:
            layer.training = False
        with torch.no_grad():
            yield
    finally:
        for layer, mode in modes.items():
            layer.training = mode


@contextmanager
def quietly(module: nn.Module, inputs: Any) -> Iterator[None]:
    """For a trial: as `evaluating`, and buffers and the random streams are as before too."""
    replay = Replay(module, (), [*tensors(inputs), *module.parameters()])
    try:
        with warnings.catch_warnings(), replay.one_pass(), evaluating(module):
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        error.add_note(f"{WHERE}: raised while the module ran on the example, or for the first time.")
        raise
