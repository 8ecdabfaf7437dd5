"""What a worker of Ray does: a fit, from prepared data in the object store to the bytes of its folder."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from profuse._saving import remove, shared_scratch
from profuse._workers import unpack
from profuse.comparison.jobs import Job
from profuse.comparison.results import Machine
from profuse.comparison.runner import attempt
from profuse.errors import ConfigError, ProfuseError
from profuse.models.solved import Solved
from profuse.training.scratch import keep

__all__ = ["Done", "Heart", "Shared", "board_class", "fit", "folder_name", "unpickled"]


@dataclass(frozen=True)
class Shared:
    """What all fits of a run need to know."""

    parts: bytes
    versions: Mapping[str, str]
    token: str


@dataclass(frozen=True)
class Done:
    """What comes back of a fit: why it failed, its seconds, and its folder; or an error that ends all."""

    reason: str = ""
    seconds: float = 0.0
    folder: bytes = b""
    error: bytes = b""
    trace: str = ""


def folder_name(token: str, node: str) -> str:
    """Returns what the temporary folder of a run on a machine is called; see `shared_scratch`."""
    return f"{token}-{node[:12]}"


class Heart:
    """Stands for the file of a fit's progress; it tells twice a second at most."""

    def __init__(self, board: Any, name: str) -> None:
        self._board, self._name, self._last = board, name, 0.0

    def write_text(self, data: str, encoding: str | None = None) -> int:
        """See `Heartbeat`."""
        if time.monotonic() - self._last >= 0.5:
            self._last = time.monotonic()
            self._board.tell.remote(self._name, data)
        return len(data)

    def unlink(self, missing_ok: bool = False) -> None:
        """See `Heartbeat`."""
        self._board.tell.remote(self._name, "")


def board_class(ray: Any) -> Any:
    """Returns the class of the actor that is told how far fits are; made here, it goes by value and loads no torch."""

    @ray.remote
    class Board:
        def __init__(self) -> None:
            self.told: dict[str, str] = {}

        def tell(self, name: str, data: str) -> None:
            self.told[name] = data

        def read(self) -> list[Any]:
            import json

            return [json.loads(data) for _, data in sorted(self.told.items()) if data]

    return Board


def fit(job: Job, shared: Shared, prepared: list[Any], board: Any) -> Done:
    """Does a job in a worker, and returns what it left."""
    try:
        return _fitted(job, shared, prepared[0], board)
    except Exception as error:  # it ends the comparison, as in a local process
        try:
            pickle.loads(content := pickle.dumps(error))
        except Exception:
            content = pickle.dumps(ProfuseError(f"compare: {type(error).__name__}: {error}"))
        return Done(error=content, trace=traceback.format_exc())


def _fitted(job: Job, shared: Shared, prepared: Any, board: Any) -> Done:
    import ray

    here, node = Machine.here().versions, ray.get_runtime_context().get_node_id()
    if here != shared.versions:
        names = [name for name in sorted({*here, *shared.versions}) if here.get(name) != shared.versions.get(name)]
        other = [f"{name} {here.get(name)}, not {shared.versions.get(name)}" for name in names]
        raise ConfigError(
            f"compare: machines of a Ray cluster must have the packages of the one that starts; {os.uname().nodename} "
            f"has {'; '.join(other)}. Install the same there."
        )
    unpack(shared.parts)
    place = shared_scratch(folder_name(shared.token, node))
    path = place / job.prepared.name
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        keep(part, pickle.loads(ray.get(prepared)).sharing(Solved(path.with_suffix(".solved"))))
        part.replace(path)  # whole or not there, whoever asks at the same time
    folder = place / job.folder.name
    heart = Heart(board, job.folder.name)
    try:
        _, reason, seconds = attempt(replace(job, folder=folder, prepared=path, heartbeat=heart))
        return Done(reason) if reason else Done("", seconds, _packed_folder(folder))
    finally:
        remove(folder)


def _packed_folder(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, arcname=".")
    return content.getvalue()


def unpickled(done: Done) -> Exception:
    """Returns the error that a worker met, with where it met it.

    Raises:
        ProfuseError: It cannot be read here.
    """
    try:
        error: Exception = pickle.loads(done.error)
    except Exception as problem:
        raise ProfuseError(f"compare: a fit failed on another machine: {done.trace}") from problem
    error.add_note(f"In a worker of Ray:\n{done.trace}")
    return error
