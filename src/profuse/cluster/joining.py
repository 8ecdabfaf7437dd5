"""Joins a Ray cluster, or starts one on this machine, for as long as fits are done."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from profuse._cores import usable_cores
from profuse._optional import need
from profuse.cluster.options import EngineOptions
from profuse.cluster.pool import Asks, RayPool
from profuse.errors import ConfigError

__all__ = ["joined", "joined_pool"]

_ANSWER = 10.0  # seconds, for a cluster


@contextmanager
def joined_pool(asks: Asks, board: Callable[[Any], Any], tell: Callable[[str], None]) -> Iterator[RayPool]:
    """Gives room for fits on a cluster; what was started for it is stopped in the end.

    Args:
        asks: What is asked for.
        board: Makes the class of the actor that fits talk to; see `RayPool`.
        tell: Told where the fits are done.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: There is no such cluster, or a fit finds no room in it.
    """
    if sys.platform == "win32":
        raise ConfigError(
            f"{asks.who}: engine 'ray' needs Linux or macOS; got engine='ray' on Windows. Use engine='local'."
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to others
    ray = need("ray", "ray", f"{asks.doing} on a cluster (engine='ray')")
    with joined(ray, asks.options, asks.n_jobs, asks.train.threads, who=asks.who) as said:
        pool = RayPool(ray, asks, board)
        try:
            tell(f"{said}; {pool.room()}")
            yield pool
        finally:
            pool.close()


@contextmanager
def joined(ray: Any, options: EngineOptions, n_jobs: int | None, threads: int, *, who: str) -> Iterator[str]:
    """Joins a cluster or starts one, and gives in words which; one that the caller has joined stays.

    Raises:
        ConfigError: There is none.
    """
    if ray.is_initialized():
        yield "Ray: the cluster that this process had joined"
        return
    address = options.ray_address or os.environ.get("RAY_ADDRESS") or "local"
    how: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        how["num_cpus"] = max(usable_cores(), (n_jobs or 0) * threads)
    _check_answers(address, who)
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        context = ray.init(**how)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise _no_cluster(address, error, who) from error
    try:
        if in_main and handler is not None:  # Ray takes the signal, and would end without a word
            signal.signal(signal.SIGTERM, handler)
        dashboard = str(getattr(context, "dashboard_url", "") or "")
        where = "Ray on this machine" if address == "local" else f"Ray at {address}"
        yield where + (f", dashboard http://{dashboard}" if dashboard else "")
    finally:
        ray.shutdown()


def _check_answers(address: str, who: str) -> None:
    """Checks that somebody answers at host:port: Ray would try for minutes.

    Raises:
        ConfigError: Nobody.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, error, who) from error


def _no_cluster(address: str, error: Exception, who: str) -> ConfigError:
    message = " ".join(str(error).split())[:300].rstrip(".")
    return ConfigError(
        f"{who}: the Ray cluster must run, with the versions of Python and Ray that are here; got "
        f"address={address!r}, {type(error).__name__}: {message}. Start it with 'ray start --head', or leave "
        "ray_address and RAY_ADDRESS out."
    )
