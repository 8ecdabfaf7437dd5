"""Worker processes: they know the user's own parts, give back what they have done, and end with their parent."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import Any

from profuse import registry
from profuse.errors import ConfigError, ProfuseError

__all__ = ["begin", "follow", "outputs_of", "packed", "unpack"]


@contextmanager
def outputs_of(
    call: Callable[..., Any], todo: Iterable[tuple[Any, ...]], n_jobs: int, *, who: str = "compare"
) -> Iterator[Iterator[Any]]:
    """Gives what `call` returns, as it comes, from `n_jobs` processes; they are ended if anything goes wrong here."""
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=n_jobs, backend="loky", return_as="generator_unordered", batch_size=1)
    outputs = parallel(delayed(call)(*args) for args in todo)
    try:
        with warnings.catch_warnings():  # a worker that has grown ends, and another one takes its place
            warnings.filterwarnings(
                "ignore", message="A worker stopped while some jobs were given", category=UserWarning
            )
            yield outputs
    except BrokenExecutor as error:
        raise ProfuseError(
            f"{who}: its worker processes must live until they are done; one was ended from outside, perhaps for lack "
            "of memory. Run fewer at a time (jobs, n_jobs); the same call goes on from the fits that are done."
        ) from error
    finally:
        with warnings.catch_warnings():  # of work that is cancelled, as it is meant to be
            warnings.simplefilter("ignore")
            outputs.close()


_FOLLOWS: set[int] = set()
"""The process that this one ends with, if it is a worker."""


def begin(parent: int, parts: bytes) -> None:
    """Gives a worker process the registered parts, and has it end soon after `parent`, however that ends."""
    if os.getpid() == parent:
        return
    unpack(parts)
    follow(parent)


def follow(parent: int) -> None:
    """Has this process end soon after `parent`, however that ends (on Windows it does not)."""
    if parent in _FOLLOWS:
        return
    _FOLLOWS.add(parent)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.3)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def packed() -> bytes:
    """Returns what was registered here, for `unpack` in another process: by reference where it can be imported there.

    Raises:
        ConfigError: A part cannot go there.
    """
    from joblib import (
        wrap_non_picklable_objects,  # a class of a script or a notebook goes by value, as joblib's work does
    )

    parts, digests = registry.registered(), {}
    for kind, named in parts.items():
        for name, part in named.items():
            try:
                pickle.dumps(wrap_non_picklable_objects({name: part}, keep_wrapper=False))
            except Exception as error:  # any object may say in its own way that it cannot
                raise ConfigError(
                    f"compare: {kind} {name!r} must reach worker processes by its module or by value; got "
                    f"{type(error).__name__}: {error}. Define it at the top of a module, or use one process (n_jobs=1)."
                ) from error
            digests[kind, name] = _package(part), registry.table(kind).code_of(name)
    return pickle.dumps((sys.path, digests, pickle.dumps(wrap_non_picklable_objects(parts, keep_wrapper=False))))


_UNPACKED: dict[tuple[str, str, str], str] = {}
"""The code of each part that this worker has been given; it may live longer than one comparison."""


def unpack(packed: bytes) -> None:
    """Registers in this process what `packed` returned in another one.

    Raises:
        ConfigError: A part cannot be imported here.
    """
    paths, digests, parts = pickle.loads(packed)
    # in that process's order: a folder of an earlier comparison may hold a module of the same name
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    for named, (package, digest) in digests.items():
        key = (*named, package)
        if _UNPACKED.setdefault(key, digest) != digest:  # its code has changed since it was imported here
            for module in [m for m in sys.modules if m.partition(".")[0] == package]:
                del sys.modules[module]
            _UNPACKED[key] = digest
    try:
        registry.receive(pickle.loads(parts))
    except Exception as error:  # what is imported may fail in any way
        raise ConfigError(
            f"compare: registered parts must be importable in worker processes; got {type(error).__name__}: {error}. "
            "Install their module, or put it where Python finds it (PYTHONPATH)."
        ) from error


def _package(part: object) -> str:
    """Returns the package, or the module that is in none, of a part or of its path."""
    return str(part if isinstance(part, str) else getattr(part, "__module__", "")).partition(":")[0].partition(".")[0]
