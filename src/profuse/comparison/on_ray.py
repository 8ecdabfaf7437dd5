"""Fits on a Ray cluster: any machine of it does them, and this one keeps what they leave.

The prepared data of a seed go into Ray's object store once; the first fit on a machine that needs them leaves them in
a temporary folder there, where the fits of that machine share linear paths and features as local processes do. A fit
comes back as the bytes of its folder, which this process puts in its place, whole or not at all.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import signal
import socket
import sys
import tarfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from profuse._cores import usable_cores
from profuse._optional import need
from profuse._saving import drop_shared_scratch, new_folder
from profuse._workers import packed
from profuse.comparison.jobs import Job
from profuse.comparison.options import EngineOptions
from profuse.comparison.ray_fits import Done, Shared, board_class, fit, folder_name, unpickled
from profuse.comparison.results import Machine
from profuse.comparison.runner import Attempt, LocalRunner, Runner
from profuse.comparison.running import Event
from profuse.errors import ConfigError, ProfuseError
from profuse.training.options import TrainOptions

__all__ = ["RayRunner", "opened_runner"]

_RETRIES = 3  # of a fit whose worker was ended
_BYTES, _COPIES = 1_100_000_000, 5  # as measured: of a fit of few data, and what each byte of prepared data adds
_POLL, _PATIENCE = 1.0, 3.0  # seconds between looks, and for what is cancelled to end
_ANSWER = 10.0  # seconds, for a cluster


@contextmanager
def opened_runner(
    options: EngineOptions, train: TrainOptions, n_jobs: int | None, scratch: Path, tell: Callable[[Event], None]
) -> Iterator[Runner]:
    """Gives what does the fits, ready to begin; what was started for it is stopped in the end.

    Args:
        options: What is asked for.
        train: How a fit is trained: its threads and its device.
        n_jobs: Fits at a time; as many as there is room for if None.
        scratch: The folder of temporary files of this run.
        tell: Told where the fits are done, if not here.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: There is no such cluster, or a fit finds no room in it.
    """
    if options.engine == "local":
        yield LocalRunner(train.threads, n_jobs, scratch)
        return
    if sys.platform == "win32":
        raise ConfigError(
            "compare: engine 'ray' needs Linux or macOS; got engine='ray' on Windows. Use engine='local'."
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to others
    ray = need("ray", "ray", "comparing on a cluster (engine='ray')")
    with _connected(ray, options, n_jobs, train.threads) as said:
        runner = RayRunner(ray, options, train, n_jobs)
        try:
            tell(Event("cluster", 0, 0, said=f"{said}; {runner.room()}"))
            yield runner
        finally:
            runner.close()


@contextmanager
def _connected(ray: Any, options: EngineOptions, n_jobs: int | None, threads: int) -> Iterator[str]:
    """Joins a cluster or starts one, and gives in words which; one that the caller has joined stays."""
    if ray.is_initialized():
        yield "Ray: the cluster that this process had joined"
        return
    address = options.ray_address or os.environ.get("RAY_ADDRESS") or "local"
    how: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        how["num_cpus"] = max(usable_cores(), (n_jobs or 0) * threads)
    _check_answers(address)
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(**how)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise _no_cluster(address, error) from error
    try:
        if in_main and handler is not None:  # Ray takes the signal, and would end without a word
            signal.signal(signal.SIGTERM, handler)
        dashboard = str(getattr(context, "dashboard_url", "") or "")
        where = "Ray on this machine" if address == "local" else f"Ray at {address}"
        yield where + (f", dashboard http://{dashboard}" if dashboard else "")
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Checks that somebody answers at host:port: Ray would try for minutes.

    Raises:
        ConfigError: Nobody.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ConfigError:
    told = " ".join(str(error).split())[:300].rstrip(".")
    return ConfigError(
        "compare: the Ray cluster must run, with the versions of Python and Ray that are here; got "
        f"address={address!r}, {type(error).__name__}: {told}. Start it with 'ray start --head', or leave ray_address "
        "and RAY_ADDRESS out."
    )


class RayRunner:
    """Does fits on the cluster that this process has joined; see `Runner`.

    Args:
        ray: The package.
        options: What is asked for.
        train: How a fit is trained.
        n_jobs: Fits at a time; as many as there is room for if None.

    Raises:
        ConfigError: A fit finds no room.
    """

    def __init__(self, ray: Any, options: EngineOptions, train: TrainOptions, n_jobs: int | None) -> None:
        self._ray, self._options, self._asked = ray, options, n_jobs
        self._token = secrets.token_hex(4)
        self._needs: dict[str, float] = {"CPU": train.threads}
        if train.device == "cuda":
            self._needs["GPU"] = options.ray_gpus
        self._put: dict[Path, Any] = {}
        self._needs["memory"] = self._memory([])
        self._board = board_class(ray).options(num_cpus=0, max_restarts=-1, **self._pinned(self._here())).remote()
        self._beats: tuple[dict[str, Any], ...] = ()
        self.n_jobs = self._places()
        self.n_local = min(self.n_jobs, max(1, usable_cores() // train.threads))
        n = len(self._nodes())
        note = f"Fits were done on a Ray cluster of {n} machines: their seconds are of different machines."
        self.notes: Sequence[str] = [note] if n > 1 else []

    def room(self) -> str:
        """Returns in words how much room there is."""
        n, n_nodes = self.n_jobs, len(self._nodes())
        return f"{n} {'fit' if n == 1 else 'fits'} at a time on {n_nodes} {'machine' if n_nodes == 1 else 'machines'}"

    def at_once(self, jobs: Sequence[Job]) -> int:
        """See `Runner`."""
        self._needs["memory"] = self._memory(jobs)
        return min(self._places(), len(jobs))

    @contextmanager
    def attempts(self, jobs: Sequence[Job], n_jobs: int) -> Iterator[Iterator[Attempt]]:
        """See `Runner`."""
        shared = self._ray.put(Shared(packed(), Machine.here().versions, self._token))
        running: dict[Any, Job] = {}
        try:
            yield self._outputs(deque(jobs), running, shared)
        finally:
            for ref in running:
                with suppress(Exception):  # it may have ended meanwhile
                    self._ray.cancel(ref, force=True)
            if running:
                self._ray.wait(list(running), num_returns=len(running), timeout=_PATIENCE, fetch_local=False)
            self._put.clear()  # the store is free again

    def _outputs(self, waiting: deque[Job], running: dict[Any, Job], shared: Any) -> Iterator[Attempt]:
        while waiting or running:
            while waiting and (self._asked is None or len(running) < self._asked):
                job = waiting.popleft()
                running[self._submitted(job, shared)] = job
            ready, _ = self._ray.wait(list(running), timeout=_POLL)
            for ref in ready:
                yield self._taken(running.pop(ref), ref)

    def _submitted(self, job: Job, shared: Any) -> Any:
        if job.prepared not in self._put:
            self._put[job.prepared] = self._ray.put(np.fromfile(job.prepared, np.uint8))
        task = self._ray.remote(fit).options(
            name=f"{job.method.name}, seed {job.seed}", num_cpus=self._needs["CPU"], memory=int(self._needs["memory"]),
            num_gpus=self._needs.get("GPU", 0), max_retries=_RETRIES,
        )  # fmt: skip
        # a reference in a list is not looked up before the fit asks for it: most find the file
        return task.remote(job, shared, [self._put[job.prepared]], self._board)

    def _taken(self, job: Job, ref: Any) -> Attempt:
        """Returns what has become of a job, once its folder is in its place."""
        try:
            done: Done = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            told = str(error).strip().partition("\n")[0]
            raise ProfuseError(
                f"compare: a fit must find a worker that lives until it is done; {job.method.name}, seed {job.seed}, "
                f"was begun {_RETRIES + 1} times ({type(error).__name__}: {told}). Keep more memory for each fit "
                "(ray_memory); the same call goes on from the fits that are done."
            ) from error
        if done.error:
            raise unpickled(done)
        if not done.reason:
            with new_folder(job.folder) as folder, tarfile.open(fileobj=io.BytesIO(done.folder)) as packed_folder:
                packed_folder.extractall(folder, filter="data")
        return job, done.reason, done.seconds

    def beats(self) -> tuple[dict[str, Any], ...]:
        """See `Runner`."""
        with suppress(self._ray.exceptions.RayError):  # a display that stands still must not end a comparison
            self._beats = tuple(self._ray.get(self._board.read.remote(), timeout=_POLL))
        return self._beats

    def close(self) -> None:
        """Removes the temporary files of all machines."""
        ray, token, refs = self._ray, self._token, []

        def clear(name: str) -> None:  # made here it goes by value, and loads no torch
            drop_shared_scratch(name)

        with suppress(ray.exceptions.RayError):  # where the cluster is gone, each machine clears with its next run
            ray.kill(self._board)
            for node in self._nodes():
                task = ray.remote(clear).options(num_cpus=0, max_retries=0, **self._pinned(node["NodeID"]))
                refs.append(task.remote(folder_name(token, node["NodeID"])))
            ray.wait(refs, num_returns=len(refs), timeout=_PATIENCE, fetch_local=False)

    def _here(self) -> str:
        return str(self._ray.get_runtime_context().get_node_id())

    def _pinned(self, node: str) -> dict[str, Any]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _memory(self, jobs: Sequence[Job]) -> float:
        """Returns the bytes that are kept for a fit: of a process, and of what is done with the prepared data."""
        if self._options.ray_memory is not None:
            return self._options.ray_memory * 1e9
        return _BYTES + _COPIES * max((job.prepared.stat().st_size for job in jobs), default=0)

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
                f"compare: a machine of the Ray cluster must have room for a fit; it needs {_told(self._needs)}, and "
                f"the most of each on a machine is {_told(most)}. Start one that has it, or ask for less (threads, "
                "ray_memory, ray_gpus)."
            )
        return min(places, self._asked or places)


def _told(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{v / 1e9:.1f} GB" if what == "memory" else f"{v:g} {what}" for what, v in amounts.items())
