"""Room for fits on a Ray cluster that this process has joined: how many at a time, and where each finds its place."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from profuse._cores import usable_cores
from profuse._machine import Machine
from profuse._saving import drop_shared_scratch
from profuse._workers import packed
from profuse.cluster.options import EngineOptions
from profuse.cluster.worker import Done, Shared, folder_name, unpickled
from profuse.errors import ConfigError, ProfuseError
from profuse.training.options import TrainOptions

__all__ = ["Asks", "LostError", "RayPool"]

_RETRIES = 3  # of a fit whose worker was ended
_BYTES, _COPIES = 1_100_000_000, 5  # as measured: of a fit of few data, and what each byte of prepared data adds
_PATIENCE = 3.0  # seconds, for what is cancelled to end


@dataclass(frozen=True)
class Asks:
    """What is asked of a cluster.

    Attributes:
        options: Of the cluster, and of room in it.
        train: How a fit is trained: its threads and its device.
        n_jobs: Fits at a time; as many as there is room for if None.
        who: Asks: messages begin with it.
        doing: What it does, in words.
        what: A fit is called by it.
    """

    options: EngineOptions
    train: TrainOptions
    n_jobs: int | None
    who: str
    doing: str
    what: str = "fit"


class RayPool:
    """Does fits on the cluster.

    Args:
        ray: The package.
        asks: What is asked for.
        board: Makes the class of the actor that fits talk to while they run.

    Attributes:
        board: That actor.
        n_jobs: Fits at a time, at most.
        notes: What is to be told of where fits are done.

    Raises:
        ConfigError: A fit finds no room.
    """

    def __init__(self, ray: Any, asks: Asks, board: Callable[[Any], Any]) -> None:
        self.ray, self._asks = ray, asks
        self._token = secrets.token_hex(4)
        self._needs: dict[str, float] = {"CPU": asks.train.threads}
        if asks.train.device == "cuda":
            self._needs["GPU"] = asks.options.ray_gpus
        how = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, **self._pinned(self._here())}
        self._keep_memory(0)
        self.board = board(ray).options(**how).remote()
        self.n_jobs = self._places()
        n = len(self._nodes())
        note = f"{asks.what.capitalize()}s were done on a Ray cluster of {n} machines: their seconds are of different "
        self.notes: Sequence[str] = [f"{note}machines."] if n > 1 else []

    @property
    def n_local(self) -> int:
        """Processes that prepare data on this machine."""
        return min(self.n_jobs, max(1, usable_cores() // self._asks.train.threads))

    def room(self) -> str:
        """Returns in words how much room there is."""
        n, n_nodes, what = self.n_jobs, len(self._nodes()), self._asks.what
        machines = f"{n_nodes} {'machine' if n_nodes == 1 else 'machines'}"
        return f"{n} {what if n == 1 else f'{what}s'} at a time on {machines}"

    def at_once(self, n_bytes: int) -> int:
        """Returns how many fits of prepared data of so many bytes are done at a time; memory is kept for them.

        Raises:
            ConfigError: None.
        """
        self._keep_memory(n_bytes)
        return self._places()

    def shared(self) -> Any:
        """Returns a reference to what all fits need to know."""
        return self.ray.put(Shared(packed(), Machine.here().versions, self._token, self._asks.who))

    def put(self, path: Path) -> Any:
        """Returns a reference to the content of a file, which goes into the object store."""
        return self.ray.put(np.fromfile(path, np.uint8))

    def submit(self, call: Callable[..., Done], *args: Any, name: str) -> Any:
        """Has a fit done where there is room, and returns a reference to what will come of it."""
        task = self.ray.remote(call).options(
            name=name, num_cpus=self._needs["CPU"], memory=int(self._needs["memory"]),
            num_gpus=self._needs.get("GPU", 0), max_retries=_RETRIES,
        )  # fmt: skip
        return task.remote(*args)

    def result(self, ref: Any, name: str) -> Any:
        """Returns what has come of a fit that has ended; an error that its worker met is raised here.

        Raises:
            LostError: Its workers were ended, time and again.
        """
        try:
            done: Done = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            message = str(error).strip().partition("\n")[0]
            who, what = self._asks.who, self._asks.what
            raise LostError(
                f"{who}: a {what} must find a worker that lives until it is done; {name}, was begun {_RETRIES + 1} "
                f"times ({type(error).__name__}: {message}). Keep more memory for each {what} (ray_memory); the same "
                f"call goes on from the {what}s that are done."
            ) from error
        if done.error:
            raise unpickled(done, self._asks.who)
        return done.value

    def cancel(self, refs: Collection[Any]) -> None:
        """Ends fits that run or wait."""
        for ref in refs:
            with suppress(Exception):  # it may have ended meanwhile
                self.ray.cancel(ref, force=True)
        if refs:
            self.ray.wait(list(refs), num_returns=len(refs), timeout=_PATIENCE, fetch_local=False)

    def close(self) -> None:
        """Removes the temporary files of all machines."""
        ray, token, refs = self.ray, self._token, []

        def clear(name: str) -> None:  # made here it goes by value, and loads no torch
            drop_shared_scratch(name)

        with suppress(ray.exceptions.RayError):  # where the cluster is gone, each machine clears with its next run
            ray.kill(self.board)
            for node in self._nodes():
                task = ray.remote(clear).options(num_cpus=0, max_retries=0, **self._pinned(node["NodeID"]))
                refs.append(task.remote(folder_name(token, node["NodeID"])))
            ray.wait(refs, num_returns=len(refs), timeout=_PATIENCE, fetch_local=False)

    def _here(self) -> str:
        return str(self.ray.get_runtime_context().get_node_id())

    def _pinned(self, node: str) -> dict[str, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self.ray.nodes() if node["Alive"]]

    def _keep_memory(self, n_bytes: int) -> None:
        """Keeps for each fit the memory of a process, and of what is done with the prepared data."""
        asked = self._asks.options.ray_memory
        self._needs["memory"] = _BYTES + _COPIES * n_bytes if asked is None else asked * 1e9

    def _places(self) -> int:
        """Returns how many fits are done at a time, at most.

        Raises:
            ConfigError: None.
        """
        has = [node["Resources"] for node in self._nodes()]
        places = sum(min(int(node.get(what, 0) // n) for what, n in self._needs.items()) for node in has)
        if not places:
            most = {what: max((node.get(what, 0) for node in has), default=0) for what in self._needs}
            raise ConfigError(
                f"{self._asks.who}: a machine of the Ray cluster must have room for a {self._asks.what}; it needs "
                f"{_told(self._needs)}, and the most of each on a machine is {_told(most)}. Start one that has it, or "
                "ask for less (threads, ray_memory, ray_gpus)."
            )
        return min(places, self._asks.n_jobs or places)


class LostError(ProfuseError):
    """The workers of a fit were ended, time and again."""


def _told(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{v / 1e9:.1f} GB" if what == "memory" else f"{v:g} {what}" for what, v in amounts.items())
