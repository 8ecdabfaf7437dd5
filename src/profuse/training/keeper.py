"""What one training keeps, all of its processes alike: the first one reads, writes, and says when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from profuse.training.keeping import Kept, Moment
from profuse.training.sharding import all_whole
from profuse.training.world import World

__all__ = ["Keeper", "random_state", "set_random_state"]


class Keeper:
    """Does with a file what one training asks for; every process of it must make the same calls.

    Weights, optimizer and means are written by the first process, as all have the same. What processes have of their
    own is gathered, `[process, ...]`: states of generators as "random", and buffers that hold what a process has seen
    in its rows as "own." and their name.

    Args:
        kept: The file; None in all processes but the first.
        these: The processes.
    """

    def __init__(self, kept: Kept | None, these: World) -> None:
        self._kept, self._these = kept, these

    @classmethod
    def of(cls, kept: Kept | None, these: World) -> Keeper | None:
        """Returns what keeps a training in this file; None in all processes where the first one has no file."""
        keeps = kept is not None
        if these.messages is not None:
            keeps = json.loads(these.messages.of_first(json.dumps(keeps)))
        return cls(kept if these.first else None, these) if keeps else None

    def open(self, key: str) -> Moment | None:
        """Returns where the training was stopped, as the file of the first process and its key say.

        One of another number of processes goes on, and that is told. Processes that it had not begin what is random in
        their steps as at the start of the epoch.
        """
        found, n = None if self._kept is None else self._kept.open(key), self._these.n_processes
        if found is not None and self._kept is not None:
            before = len(found.tensors["random"])
            if before != n:
                self._kept.on_note(
                    f"The training was by another number of processes until it was stopped ({before}, and now {n}): it "
                    "goes on, and dropout and noise are drawn otherwise from here."
                )
        moment = self._sent(found)
        if moment is not None:
            self._take_own(moment.tensors)
        return moment

    def due(self) -> bool:
        """Returns whether it is time to write, as the first process says."""
        due = torch.tensor([self._kept is not None and self._kept.due])
        self._these.spread(due)  # asked in each step: a seventh of the time of `from_first`
        return bool(due)

    def write(self, moment: Moment, model: nn.Module) -> None:
        """Writes the file, with what each process has of its own."""
        own = self._apart({name for name, _ in model.named_buffers()}, moment.tensors)
        moment.tensors |= {f"own.{name}": self._of_each(value) for name, value in own.items()}
        moment.tensors["random"] = self._of_each(random_state(model))
        moment.tensors = all_whole(moment.tensors)
        if self._kept is not None:
            self._kept.write(moment)

    def seconds(self) -> float:
        """Returns those of training, those before it was stopped included."""
        return self._these.from_first(0.0 if self._kept is None else self._kept.seconds)

    def end(self) -> None:
        """Removes the file."""
        if self._kept is not None:
            self._kept.end()

    def _apart(self, buffers: set[str], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the buffers, of now and of the best weights, in which processes differ; the same ones in each."""
        some = {name: value for name, value in tensors.items() if name.partition(".")[2] in buffers}
        if self._these.n_processes == 1 or not some:
            return {}
        of_all = self._of_each(torch.stack([_digest(value) for value in some.values()]))
        differ = (of_all != of_all[0]).any(0).any(1).tolist()
        return {name: value for (name, value), apart in zip(some.items(), differ, strict=True) if apart}

    def _take_own(self, tensors: dict[str, Tensor]) -> None:
        """Leaves of what is `[process, ...]` what is this process's; the first one's buffers where there is none."""
        rank = self._these.rank
        for name in [name for name in tensors if name == "random" or name.startswith("own.")]:
            each = tensors.pop(name)
            if rank < len(each):
                tensors[name.removeprefix("own.")] = each[rank].clone()

    def _of_each(self, value: Tensor) -> Tensor:
        """Returns what all processes give, `[process, ...]`."""
        return self._these.gathered(value.detach().cpu()[None], self._these.n_processes)

    def _sent(self, found: Moment | None) -> Moment | None:
        """Returns in all processes what the first one has found; the others wait for it however long it takes."""
        messages = self._these.messages
        if messages is None or self._these.n_processes == 1:
            return found
        about = json.loads(messages.of_first(json.dumps(None if found is None else _about(found))))
        if about is None:
            return None
        moment = _room_for(**about) if found is None else found
        for tensor in moment.tensors.values():
            self._these.spread(tensor)
        return moment


def _about(moment: Moment) -> dict[str, Any]:
    """Returns its facts, and shapes and types of its tensors, as JSON takes them."""
    shapes = {name: (tuple(x.shape), str(x.dtype).removeprefix("torch.")) for name, x in moment.tensors.items()}
    return {**vars(moment), "tensors": shapes}


def _room_for(tensors: Mapping[str, tuple[tuple[int, ...], str]], **facts: Any) -> Moment:
    """Returns a moment of which `_about` has told; its tensors are still to be filled."""
    room = {name: torch.empty(shape, dtype=getattr(torch, kind)) for name, (shape, kind) in tensors.items()}
    return Moment(**facts, tensors=room)


def random_state(model: nn.Module) -> Tensor:
    """Returns the states of the generators that a step draws from: the CPU's, and that of the model's GPU."""
    states = [torch.get_rng_state()]
    if next(model.parameters()).is_cuda:
        states.append(torch.cuda.get_rng_state())
    return torch.cat(states)


def set_random_state(state: Tensor | None) -> None:
    """Sets the generators to what `random_state` has returned, a GPU's only where there is one.

    None leaves them: a process that the training did not have before has drawn nothing in this epoch.
    """
    if state is None:
        return
    n = len(torch.get_rng_state())
    torch.set_rng_state(state[:n].clone())  # torch 2.13 reads a part of a tensor from the wrong place, and crashes
    if len(state) > n and torch.cuda.is_available():
        torch.cuda.set_rng_state(state[n:].clone())


def _digest(value: Tensor) -> Tensor:
    held = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return torch.frombuffer(bytearray(hashlib.blake2b(held.data, digest_size=16).digest()), dtype=torch.uint8)
