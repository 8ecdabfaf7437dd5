"""One pass through a module: feedback is let in, the state caught, and what is reused left out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.progressive._chance import Chance
from profuse.progressive.wrap._entry import Entry, layer_of
from profuse.progressive.wrap._present import Presence
from profuse.progressive.wrap._replay import Replay
from profuse.progressive.wrap._state import Picked, State, StateReader
from profuse.progressive.wrap._trees import WHERE, change_first, copied

__all__ = ["PASSES", "Pass"]

PASSES = threading.RLock()
"""Held while layers, modes or buffers of a module are changed for a time, as another thread may use the module too."""

_Call = Callable[..., Any]
_Advice = Callable[[_Call, Any, Any], Any]
"""`advice(call, args, kwargs)` runs in place of a layer's call; `call(*args, **kwargs)` is the layer's own."""


@dataclass(eq=False)
class Pass:
    """Runs `module`, once a round, and parts of it named `reuse` in the first round only.

    Attributes:
        replay: What makes all rounds alike, if they are to be.
        output: What the module returned in the last run, until the next one.
        picked: The state's tensor, likewise.
    """

    module: nn.Module
    entries: Sequence[Entry]
    reader: StateReader
    reuse: Sequence[str]
    replay: Replay | None
    output: Any = None
    picked: Picked | None = None

    def __post_init__(self) -> None:
        self._results: dict[str, list[tuple[Any, Chance | None]]] = {name: [] for name in self.reuse}
        self._is_first = True
        self._gradients = torch.is_grad_enabled()
        self._within_checkpoint = _saving_is_hooked()

    def run(
        self,
        args: Any,
        kwargs: Any,
        change: Callable[[int, Any], Any],
        learns: Sequence[bool] = (),
        presences: Sequence[Presence | None] = (),
    ) -> None:
        """Runs the module, as one thread at a time does.

        Args:
            args: For the module.
            kwargs: Likewise.
            change: What feedback makes of the tensor at an entry, given its index.
            learns: For each entry, whether its feedback is being trained; empty if none is.
            presences: For each entry, which rows have its modality, None if all do or nothing says it: where none
                has, it need not be called, nor need any part of `reuse`. Empty if nothing says it of any.
        """
        self.output = self.picked = None  # and all that its gradient needs
        entered: set[int] = set()

        def enter(index: int, tree: Any) -> Any:
            entry = self.entries[index]
            if self.picked is not None and index not in entered:
                _refuse(
                    f"feedback must enter before the state is made; the {entry} is called after {self.reader.name!r}. "
                    "Name a layer of the branch, or a later state."
                )
            tree, is_there = change_first(tree, partial(change, index))
            if not is_there:
                also = ", or use at='output'" if entry.at == "input" else ""
                _refuse(
                    f"feedback must enter where floating numbers stand; the {entry} has none. Name a later layer{also}."
                )
            self._check_gradients(str(entry), bool(learns) and learns[index])
            entered.add(index)
            return tree

        def take(index: int, call: _Call, args: Any, kwargs: Any) -> Any:
            if self.entries[index].at == "output":
                return enter(index, call(*args, **kwargs))
            args, kwargs = enter(index, (args, kwargs))
            return call(*args, **kwargs)

        def catch(call: _Call, args: Any, kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            if self.picked is not None:
                _refuse(
                    f"state must be called once in a pass; {self.reader.name!r} is called again. Name a layer that is "
                    "called once."
                )
            self._check_gradients(f"output of {self.reader.name!r}", any(learns))
            self.picked = self.reader.pick(output)
            return output

        advice: list[tuple[str, _Advice]] = [(name, self._once(name)) for name in self.reuse]
        advice += [(entry.layer, partial(take, index)) for index, entry in enumerate(self.entries)]
        with PASSES, ExitStack() as stack:
            for name, each in [*advice, (self.reader.name, catch)]:
                layer = layer_of(self.module, name, "layer")
                if self._may_be_bypassed(name):
                    stack.callback(layer.register_forward_hook(lambda *_: None).remove)
                stack.enter_context(_around(layer, each))
            # copies: what the module makes of its inputs in place must not be in the next round
            args, kwargs = copied((args, kwargs))
            output = (self.replay or self.module)(*args, **kwargs)
        self._check_called(entered, presences or [None] * len(self.entries))
        self.output, self._is_first = output, False

    def _check_called(self, entered: set[int], presences: Sequence[Presence | None]) -> None:
        """Refuses what was not called, but for branches that no row has."""
        out = [index for index in range(len(self.entries)) if index not in entered]
        missed = [(self.entries[i], presences[i]) for i in out if not _is_empty(presences[i])]
        silent = [entry.layer for entry, _ in missed]
        unused = [name for name, results in self._results.items() if not results]
        silent += [] if unused and any(map(_is_empty, presences)) else unused
        silent += [self.reader.name] if self.picked is None else []
        if not silent:
            return
        hints = [
            f" Branch {entry.branch!r} may be left out where no row has it, as present says; got {len(presence)} that "
            "have."
            for entry, presence in missed
            if presence is not None
        ]
        unsaid = ", ".join(f"{entry.branch!r}: ..." for entry, _ in missed if entry.present is None)
        hints += (
            [f" Where the module leaves a branch out as no row has it, give present={{{unsaid}}}."] if unsaid else []
        )
        _refuse(
            f"every layer that is named must be called in a pass; got {silent}, which were not. Their parents may "
            f"read their weights, call another method than forward, or be in reuse={list(self.reuse)}. Name others."
            f"{''.join(hints)}"
        )

    def state(self, mask: Tensor | None) -> State:
        """Returns the state of the last run, of which `mask` says what is real."""
        assert self.picked is not None
        return self.reader.read(self.picked, mask)

    def _once(self, name: str) -> _Advice:
        """Returns what runs in place of a part that is reused: its call in the first round, later its result."""
        results = self._results[name]
        again = iter([*results])

        def advice(call: _Call, args: Any, kwargs: Any) -> Any:
            if self._is_first:
                self._check_gradients(f"part {name!r} of reuse", False)
                output = call(*args, **kwargs)
                # copies: what the module makes of a result in place must not be in it in the next round
                results.append((copied(output), None if self.replay is None else self.replay.drawn()))
                return output
            output, drawn = next(again, (again, None))
            if output is again:
                _refuse(
                    f"reuse must name parts that are called as often in each round; got {name!r}, called "
                    f"{len(results)} times in the first round, and more often in a later one. Leave it out."
                )
            if drawn is not None:  # the random streams go on as if it ran
                drawn.put()
            return copied(output)

        return advice

    def _may_be_bypassed(self, name: str) -> bool:
        """Whether a Transformer layer's fused kernels, which any hook turns off, would leave out the layer `name`."""
        parts = name.split(".") if name else []
        above = [layer_of(self.module, ".".join(parts[:n]), "layer") for n in range(len(parts))]
        return any(isinstance(layer, nn.TransformerEncoderLayer) for layer in above)

    def _check_gradients(self, place: str, learns: bool) -> None:
        """Refuses what would give wrong gradients, or none."""
        if self._gradients and _saving_is_hooked() and not self._within_checkpoint:
            _refuse(
                f"no gradient checkpoint may be around the {place}, as it runs again without the wrapper. Turn it off "
                "in the module, or put it around the call of the whole."
            )
        if self._gradients and learns and not torch.is_grad_enabled():
            _refuse(
                f"gradients must be on at the {place}, else feedback does not learn; the module turns them off there "
                "(torch.no_grad, or a reentrant gradient checkpoint). Name a layer where they are on."
            )


@contextmanager
def _around(layer: nn.Module, advice: _Advice) -> Iterator[None]:
    """Runs `advice` in place of every call of `layer.forward` by this thread; afterwards the layer is as it was.

    It is done by an instance's `forward`, not by a registered hook, because a call can be left out so, and because
    torch takes other kernels in a Transformer layer to which a hook is attached: results would differ in the last bits.
    """
    attributes, owner = vars(layer), threading.get_ident()
    own = {name: attributes[name] for name in ("forward",) if name in attributes}

    def call(*args: Any, **kwargs: Any) -> Any:
        return own["forward"](*args, **kwargs) if own else type(layer).forward(layer, *args, **kwargs)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return advice(call, args, kwargs) if threading.get_ident() == owner else call(*args, **kwargs)

    attributes["forward"] = forward
    try:
        yield
    finally:
        del attributes["forward"]
        attributes.update(own)


def _is_empty(presence: Presence | None) -> bool:
    return presence is not None and not len(presence)


def _refuse(message: str) -> None:
    raise ConfigError(f"{WHERE}: {message}")


def _saving_is_hooked() -> bool:
    """Returns whether hooks are on what autograd saves, as those of a gradient checkpoint: then none can be refused."""
    if torch.compiler.is_compiling():
        return False
    try:
        with torch.autograd.graph.disable_saved_tensors_hooks("hooked"):
            return False
    except RuntimeError:
        return True
