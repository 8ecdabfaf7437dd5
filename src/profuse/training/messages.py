"""What the processes of one fit say to each other beside tensors; who waits for it waits however long it takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

from torch import distributed

from profuse.errors import ProfuseError

__all__ = ["Messages"]

_FAILED, _HEARD, _LEFT = "profuse failed", "profuse failed, which was heard", "profuse left"
_HEARING = 2.0  # seconds in which all processes hear that one has failed
_SHORTEST, _LONGEST = 0.005, 0.2  # seconds between two looks for what another process says


class Messages:
    """Words in a store that all processes reach.

    Collective calls of torch give up after minutes; one process may read a table for hours.

    Args:
        store: Of `torch.distributed`.
        rank: The number of this process.
        n_processes: How many there are.
    """

    def __init__(self, store: Any, rank: int, n_processes: int) -> None:
        self._store, self._rank, self._n = store, rank, n_processes
        self._turns = count()

    def turn(self) -> str:
        """Returns a name that no earlier call has returned, and that all processes get alike in their n-th call."""
        return f"profuse {next(self._turns)}"

    def say(self, name: str, message: str) -> None:
        """Leaves a message for the other processes."""
        self._store.set(name, message)

    def hear(self, name: str) -> str:
        """Waits for a message and returns it.

        Raises:
            ProfuseError: Another process has failed, or left, meanwhile.
        """
        self._wait(lambda: self._store.check([name]))
        return str(self._store.get(name).decode())

    def of_first(self, message: str) -> str:
        """Returns what the first process gives as `message`; all must call it, in the same order.

        Raises:
            ProfuseError: Another process has failed, or left, meanwhile.
        """
        name = self.turn()
        if self._rank == 0:
            self.say(name, message)
        return self.hear(name)

    def arrive(self, name: str) -> None:
        """Says that this process has come to a place of that name."""
        self._store.add(name, 1)

    def await_others(self, name: str, n: int) -> None:
        """Waits until `n` processes have come to a place.

        Raises:
            ProfuseError: Another process has failed, or left, meanwhile.
        """
        self._wait(lambda: self._store.add(name, 0) >= n)

    def check(self) -> None:
        """Goes on where no process has failed.

        Raises:
            ProfuseError: Another process has failed.
        """
        if self._store.check([_FAILED]):
            rank, message = json.loads(self._store.get(_FAILED))
            raise self._of(rank, message)

    def leave(self) -> None:
        """Says that this process has done all it had to."""
        self._store.set(_LEFT, "")

    def fail(self, error: BaseException) -> None:
        """Leaves the message of an error for the other processes.

        Raises:
            ProfuseError: Another process has failed before, and this error comes of it; its message is in this one.
        """
        mine = json.dumps([self._rank, str(error) or type(error).__name__])
        try:
            rank, message = json.loads(self._store.compare_set(_FAILED, "", mine))
            self._store.add(_HEARD, 1)
        except distributed.DistError:  # the process that keeps the messages has ended
            rank, message = self._rank, ""
        if isinstance(error, ProfuseError) or not isinstance(error, RuntimeError):
            return
        if rank != self._rank:
            raise self._of(rank, message) from error
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise self._lost() from error

    def let_hear(self) -> None:
        """Waits a little, until all have heard that this process has failed: it may be the one that keeps messages."""
        until = time.monotonic() + _HEARING
        with suppress(distributed.DistError):
            while self._store.add(_HEARD, 0) < self._n and time.monotonic() < until:
                time.sleep(_SHORTEST)

    def _wait(self, over: Callable[[], bool]) -> None:
        pause = _SHORTEST
        while not over():
            self.check()
            if self._store.check([_LEFT]) and not over():
                raise self._lost()
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST)

    def _of(self, rank: int, message: str) -> ProfuseError:
        return ProfuseError(f"process {rank + 1} of {self._n} has failed: {message}")

    def _lost(self) -> ProfuseError:
        return ProfuseError(
            f"process {self._rank + 1} of {self._n}: all processes must go on to the end; another has ended without a "
            "message. Look for it above, and whether there is enough memory for all."
        )
