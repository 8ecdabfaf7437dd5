"""What a worker of Ray needs for a fit: the packages and parts of the machine that starts, and a folder of its own."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profuse._machine import Machine
from profuse._saving import shared_scratch
from profuse._workers import unpack
from profuse.errors import ConfigError, ProfuseError
from profuse.training.scratch import keep

__all__ = ["Done", "Shared", "done", "file_here", "folder_here", "folder_name", "unpickled"]


@dataclass(frozen=True)
class Shared:
    """What all fits of a run need to know.

    Attributes:
        parts: What was registered where the run was started.
        versions: Of the packages there.
        token: Of the run.
        who: Asks: messages begin with it.
    """

    parts: bytes
    versions: Mapping[str, str]
    token: str
    who: str


@dataclass(frozen=True)
class Done:
    """What comes back of a fit: its value, or an error that ends all."""

    value: Any = None
    error: bytes = b""
    trace: str = ""


def done(call: Callable[[], Any], who: str) -> Done:
    """Returns what `call` returns, or the error that it raises: as in a local process, it is raised where all began."""
    try:
        return Done(call())
    except Exception as error:
        try:
            pickle.loads(content := pickle.dumps(error))
        except Exception:
            content = pickle.dumps(ProfuseError(f"{who}: {type(error).__name__}: {error}"))
        return Done(error=content, trace=traceback.format_exc())


def unpickled(failed: Done, who: str) -> Exception:
    """Returns the error that a worker met, with where it met it.

    Raises:
        ProfuseError: It cannot be read here.
    """
    try:
        error: Exception = pickle.loads(failed.error)
    except Exception as problem:
        raise ProfuseError(f"{who}: a fit failed on another machine: {failed.trace}") from problem
    error.add_note(f"In a worker of Ray:\n{failed.trace}")
    return error


def folder_name(token: str, node: str) -> str:
    """Returns what the temporary folder of a run on a machine is called; see `shared_scratch`."""
    return f"{token}-{node[:12]}"


def folder_here(shared: Shared) -> Path:
    """Returns the folder that fits of the run share on this machine, once the run's own parts are registered here.

    Raises:
        ConfigError: This machine has other packages, or parts cannot be imported.
    """
    import ray

    here, node = Machine.here().versions, ray.get_runtime_context().get_node_id()
    if here != shared.versions:
        names = [name for name in sorted({*here, *shared.versions}) if here.get(name) != shared.versions.get(name)]
        other = [f"{name} {here.get(name)}, not {shared.versions.get(name)}" for name in names]
        raise ConfigError(
            f"{shared.who}: machines of a Ray cluster must have the packages of the one that starts; "
            f"{os.uname().nodename} has {'; '.join(other)}. Install the same there."
        )
    unpack(shared.parts)
    return shared_scratch(folder_name(shared.token, node))


def file_here(path: Path, content: Any, made: Callable[[Any], Any]) -> Path:
    """Has a file on this machine that the first fit which needs it makes of the object store.

    Args:
        path: In the folder of the run.
        content: A reference to a pickle.
        made: What the file holds, of what the pickle holds.
    """
    import ray

    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        keep(part, made(pickle.loads(ray.get(content))))
        part.replace(path)  # whole or not there, whoever asks at the same time
    return path
