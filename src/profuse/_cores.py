"""Cores: how many this process may use, and how many threads computations in it take."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["limit_threads", "threads_now", "usable_cores"]

_LIMITS = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK")
"""Environment variables that say how many cores are meant; the first may hold a list by level: 4,2."""


def usable_cores(root: Path = Path("/")) -> int:
    """Returns how many cores this process may use: the least of what the machine has and of all that limits it.

    Limits are the affinity (`taskset`), the quota of a container (cgroup 1 and 2), `OMP_NUM_THREADS` and
    `SLURM_CPUS_PER_TASK`.

    Args:
        root: Where `proc` and `sys` are; another one in tests.
    """
    limits = [float(os.cpu_count() or 1), _quota(root)]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    for name in _LIMITS:
        text = os.environ.get(name, "").split(",")[0].strip()
        if text.isdecimal():
            limits.append(int(text))
    return max(1, math.floor(min(limits)))


def _quota(root: Path) -> float:
    """Returns the cores that the process's control groups allow, those above them included; infinite if any number."""
    result = math.inf
    groups = _read(root / "proc/self/cgroup").splitlines()
    for _, controllers, path in (line.split(":", 2) for line in groups if line.count(":") >= 2):
        if not controllers:
            result = min(result, *(_share(_read(p / "cpu.max").split()) for p in _up(root / "sys/fs/cgroup", path)))
        elif "cpu" in controllers.split(","):
            for base in (root / "sys/fs/cgroup/cpu", root / "sys/fs/cgroup/cpu,cpuacct"):
                for place in _up(base, path):
                    names = "cpu.cfs_quota_us", "cpu.cfs_period_us"
                    result = min(result, _share([_read(place / name).strip() for name in names]))
    return result


def _up(base: Path, path: str) -> list[Path]:
    """Returns the folders of a control group and of those that hold it, as far as a container shows them."""
    inner = base.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
    return [inner, *(p for p in inner.parents if p.is_relative_to(base))]


def _share(told: list[str]) -> float:
    quota, period = (int(word) if word.isdecimal() else 0 for word in [*told, "", ""][:2])
    return quota / period if quota and period else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


@lru_cache(maxsize=1)
def _libraries(n_modules: int) -> Any:
    """Returns the libraries that have threads; to look for them costs time, so only where modules were loaded since."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def threads_now() -> int:
    """Returns how many threads computations take here, for libraries that ask for a number."""
    import torch

    return torch.get_num_threads()


@contextmanager
def limit_threads(n: int) -> Iterator[None]:
    """Has torch, trees and linear algebra take `n` threads, and gives back what there was.

    The number of threads changes the last digits of a result, and fits that run side by side must not fight for cores.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with _libraries(len(sys.modules)).limit(limits=n):
            yield
    finally:
        torch.set_num_threads(before)
