"""What one process of each machine makes of rows, and the others of the machine take over: files are mapped, not read.

The process that makes it names each file of its room to the others, which map it; then the file loses its name. What is
made is handed over in one more such file, a pickle in which tensors of the room are the numbers of their files.
"""

from __future__ import annotations

import json
import pickle
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from profuse.errors import DataError
from profuse.streaming.room import Room, no_room
from profuse.training.messages import Messages
from profuse.training.world import World

__all__ = ["Once"]

T = TypeVar("T")


class Once:
    """Has one process of each machine make what all of its processes need.

    Args:
        folder: For files, on a disk of each machine.
        these: The processes; all of them must make this object, and call `once`, in the same order.

    Attributes:
        room: Makes tensors in `folder`, which `once` hands over without copying them.
    """

    def __init__(self, folder: Path, these: World) -> None:
        self.room = Room(folder, self._name)
        self._these = these
        self._place = "" if these.messages is None else f"{these.messages.turn()} {these.machine}"
        self._n_named = 0
        self._numbers: dict[str, int] = {}  # by path, of the files that this process has named
        self._in_use: dict[int, StorageWeakRef] = {}
        self._mapped: dict[int, Tensor] = {}  # those that another one has named

    def once(self, make: Callable[[], T]) -> T:
        """Returns what `make` returns, which the first process of each machine calls; all come back together.

        Raises:
            DataError: The folder has no room, or is not the same to all processes of a machine.
            ProfuseError: Another process has failed.
        """
        if self._these.messages is None:
            return make()
        if self._these.leads:
            made = make()
            if self._these.n_local > 1:
                self._hand(made)
        else:
            made = self._taken(self._these.messages)
        self._these.meet()
        return made

    def check_alike(self, mark: str, name: str) -> None:
        """Checks that all machines have read the same rows.

        Args:
            mark: What tells them apart.
            name: Of the table.

        Raises:
            DataError: They have not.
        """
        these, messages = self._these, self._these.messages
        if these.n_nodes == 1 or messages is None:
            return
        if messages.of_first(mark) != mark:
            raise DataError(
                f"{name}: all machines must read the same rows in the same order; machine {these.machine + 1} of "
                f"{these.n_nodes} reads others than the first one. Give each the same file, or a query whose rows do "
                "not change, with an ORDER BY that tells each row from the others."
            )
        these.meet()

    def _name(self, path: str, tensor: Tensor | None = None) -> None:
        """Names a file to the other processes of the machine, and waits until all have opened it."""
        messages, n_others = self._these.messages, self._these.n_local - 1
        if messages is None or not n_others:
            return
        self._n_named += 1
        place = f"{self._place} {self._n_named}"
        in_use = [number for number, storage in self._in_use.items() if not storage.expired()]  # type: ignore[no-untyped-call]
        of = None
        if tensor is not None:
            of = len(tensor), str(tensor.dtype).removeprefix("torch.")
            self._numbers[path] = self._n_named
            self._in_use[self._n_named] = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
        messages.say(place, json.dumps([path, of, in_use]))
        messages.await_others(f"{place} taken", n_others)

    def _hand(self, made: object) -> None:
        try:
            with tempfile.NamedTemporaryFile(prefix="profuse-rows-", dir=self.room.folder) as file:
                _Pickler(file, self._numbers).dump(made)
                file.flush()
                self._name(file.name)
        except OSError as error:
            raise no_room(self.room.folder, "what all processes know of rows needs room", error) from error

    def _taken(self, messages: Messages) -> Any:
        """Maps the files that are named, until one comes that holds what was made."""
        while True:
            self._n_named += 1
            place = f"{self._place} {self._n_named}"
            path, of, in_use = json.loads(messages.hear(place))
            self._mapped = {number: tensor for number, tensor in self._mapped.items() if number in in_use}
            with _opened(path, messages) as file:
                if of is not None:
                    size, dtype = of[0], getattr(torch, of[1])
                    self._mapped[self._n_named] = torch.from_file(path, shared=True, size=size, dtype=dtype)
                messages.arrive(f"{place} taken")
                if of is None:
                    return _Unpickler(file, self._mapped).load()  # a temporary file of this very run: never a user's


def _opened(path: str, messages: Messages) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        messages.check()  # a process that fails takes its files along
        raise DataError(
            f"{path}: all processes of a machine must find the preprocessed rows; got {error.strerror}. Name a folder "
            "that all of them see (--scratch)."
        ) from error


class _Pickler(pickle.Pickler):
    """Writes numbers for tensors of files, and one value for an array that repeats it.

    Args:
        file: Written to.
        numbers: Of files, by path.
    """

    def __init__(self, file: IO[bytes], numbers: Mapping[str, int]) -> None:
        super().__init__(file, protocol=5)
        self._numbers = numbers

    def persistent_id(self, value: Any) -> tuple[Any, ...] | None:
        if isinstance(value, np.ndarray) and value.strides == (0,) and len(value):
            return "repeated", value[:1].copy(), value.shape
        if isinstance(value, Tensor):
            number = self._numbers.get(value.untyped_storage().filename or "")
            if number is not None:
                return "mapped", number, value.shape, value.stride(), value.storage_offset()
        return None


class _Unpickler(pickle.Unpickler):
    """Reads what `_Pickler` has written.

    Args:
        file: Read from.
        mapped: The tensors of files, by number.
    """

    def __init__(self, file: IO[bytes], mapped: Mapping[int, Tensor]) -> None:
        super().__init__(file)
        self._mapped = mapped

    def persistent_load(self, known: tuple[Any, ...]) -> Any:
        if known[0] == "repeated":
            return np.broadcast_to(known[1], known[2])
        return self._mapped[known[1]].as_strided(*known[2:])
