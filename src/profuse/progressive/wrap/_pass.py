"""One pass through a foreign module: feedback is let in, the state caught, and what can be reused left out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn.utils.rnn import PackedSequence

from profuse._lookup import nearest
from profuse.errors import ConfigError
from profuse.progressive._anytime import in_evaluation
from profuse.progressive.wrap._calls import PASSES, around, change_first, checkpointing, mapped, tensors, within
from profuse.progressive.wrap._entry import WHERE, Entry, layer_of
from profuse.progressive.wrap._replay import Replay
from profuse.progressive.wrap._reuse import Memory

__all__ = ["Pass", "changed", "disturbed", "evaluating", "quietly", "versions"]


class Pass:
    """Runs `module`, once a round; what later rounds can leave out is remembered from the first.

    Args:
        module: What runs.
        entries: Where feedback enters.
        state_layer: The layer whose output is the state.
        replay: What makes all rounds alike, if they are to be.

    Attributes:
        output: What the module returned in the last run, until the next one.
    """

    def __init__(
        self, module: nn.Module, entries: Sequence[Entry], state_layer: str, replay: Replay | None = None
    ) -> None:
        self.module = module
        self.entries = entries
        self.state_layer = state_layer
        self.output: Any = None
        self.memory = Memory(replay)
        self._caught: list[tuple[Any, list[tuple[Tensor, int]]]] = []
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
    ) -> None:
        """Runs the module, as one thread at a time does.

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
        self.output = None  # and all that its gradient needs
        states: list[tuple[Any, list[tuple[Tensor, int]]]] = []
        self._caught = states
        met = [0] * len(self.entries)

        def enter(index: int, tree: Any) -> Any:
            entry = self.entries[index]
            if states and not met[index]:
                raise ConfigError(
                    f"{WHERE}: feedback must enter before the state is made; the {entry} is called after "
                    f"{self.state_layer!r}. Name a layer of the branch, or a later state."
                )
            tree, found = change_first(tree, partial(change, index))
            if not found:
                raise ConfigError(
                    f"{WHERE}: feedback must enter where floating numbers stand; the {entry} has none. "
                    "Name a later layer" + (", or use at='output'." if entry.at == "input" else ".")
                )
            self._gradients(str(entry), bool(learns) and learns[index])
            met[index] += 1
            self.memory.n_met += 1
            return tree

        def catch(output: Any) -> Any:
            if states:
                raise ConfigError(
                    f"{WHERE}: state must be called once in a pass; {self.state_layer!r} is called again. "
                    "Name a layer that is called once."
                )
            self._gradients(f"output of {self.state_layer!r}", any(learns))
            states.append((output, versions(output)))
            self.memory.n_met += 1
            return output

        with PASSES, ExitStack() as stack:
            for layer in kept:
                stack.enter_context(around(layer, self.memory.advice(layer)))
            for index, entry in enumerate(self.entries):
                layer, change_it = layer_of(self.module, entry.layer, "layer"), partial(enter, index)
                before, after = (change_it, _as_it_is) if entry.at == "input" else (_as_it_is, change_it)
                stack.enter_context(within(layer, before, after, visible=self._bypassed(entry.layer)))
            layer = layer_of(self.module, self.state_layer, "state")
            stack.enter_context(within(layer, _as_it_is, catch, visible=self._bypassed(self.state_layer)))
            args, kwargs = mapped((args, kwargs), lambda leaf: leaf)
            output = self.module(*args, **kwargs)
        silent = [e.layer for e, n in zip(self.entries, met, strict=True) if not n]
        if silent or not states:
            self._not_called(silent[0] if silent else self.state_layer)
        self.output = output

    @property
    def state(self) -> Any:
        """What the state's layer gave in the last run.

        Raises:
            ConfigError: It was changed in place since.
        """
        ((state, given),) = self._caught
        if changed(given):
            raise ConfigError(
                f"{WHERE}: the state must stay as its layer gave it; what {self.state_layer!r} gave was changed in "
                "place afterwards. Name the layer that changes it as the state, or set inplace=False there."
            )
        return state

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


def _as_it_is(tree: Any) -> Any:
    return tree


def disturbed(x: Any, chance: torch.Generator, nodes: list[Node] | None = None) -> Any:
    """Returns `x` changed by numbers of `chance`, on the CPU, and adds its place in autograd's graph to `nodes`."""
    if isinstance(x, PackedSequence):
        return PackedSequence(disturbed(x.data, chance, nodes), x.batch_sizes, x.sorted_indices, x.unsorted_indices)
    if x.is_nested:
        return x * 1.37
    noise = torch.randn(x.shape, generator=chance).to(x)
    found = x + noise.requires_grad_()
    if nodes is not None and found.grad_fn is not None:
        nodes.append(found.grad_fn)
    return found


def versions(tree: Any) -> list[tuple[Tensor, int]]:
    """Returns the tensors in `tree`, and how often each was changed in place so far, where torch counts it."""
    return [(tensor, tensor._version) for tensor in tensors(tree) if not tensor.is_inference()]


def changed(given: list[tuple[Tensor, int]]) -> bool:
    """Returns whether any was changed in place since its `versions` were taken."""
    return any(tensor._version != version for tensor, version in given)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients, while no other thread is in a pass; see `in_evaluation`."""
    with PASSES, in_evaluation(module):
        yield


@contextmanager
def quietly(module: nn.Module, inputs: Any) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """For a trial: as `evaluating`, and buffers and the random streams are as before too.

    What it gives makes a context for passes with gradients on, as in training; what is in it begins alike each time.
    """
    replay = Replay(module, (), [*tensors(inputs), *module.parameters()])

    @contextmanager
    def alike() -> Iterator[None]:
        with replay.one_pass(), torch.enable_grad():
            yield

    try:
        with warnings.catch_warnings(), evaluating(module):
            warnings.simplefilter("ignore")
            yield alike
    except Exception as error:
        error.add_note(f"{WHERE}: raised while the module ran on the example, or for the first time, gradients on.")
        raise
