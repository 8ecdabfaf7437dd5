"""Worker processes of a portfolio, started before there is work for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from profuse._workers import begin, outputs_of, packed

__all__ = ["workers_started"]


@contextmanager
def workers_started(n_jobs: int) -> Iterator[None]:
    """Has the worker processes of `Fits` load what they need while this process does the work inside of the `with`."""
    if n_jobs == 1:
        yield
        return
    with outputs_of(_ready, [(os.getpid(), packed())] * n_jobs, n_jobs, who="fit") as outputs:
        yield
        for _ in outputs:
            pass


def _ready(parent: int, parts: bytes) -> None:
    begin(parent, parts)
    # they cost seconds, which are not the first model's
    import lightning_fabric  # noqa: F401
    import sklearn.ensemble  # noqa: F401

    import profuse.portfolio.fits  # noqa: F401
