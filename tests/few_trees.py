"""Classical models that take little time, where a test is of something else: in this process, and in its workers."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

_ENTERED = ExitStack()
_FEW: list[bool] = []
"""Whether they are few here: an entry for each `few_trees` that has begun and not ended."""


@contextmanager
def few_trees() -> Iterator[None]:
    """The classical model of one modality chooses among fewer, as on data beyond its bounds; random
    and boosted trees, and penalties of linear models, are few. `tests/classical` tests them as they are.
    """
    from profuse.classical import _boosting, extra_trees, gradient_boosting, linear, yardstick

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yardstick, "_LOGISTIC", 0.0)
        patch.setattr(yardstick, "_TREES", 0.0)
        patch.setattr(extra_trees, "_N_TREES", 10)
        patch.setattr(extra_trees, "_N_TRIED", 2)
        patch.setattr(_boosting, "_MOST_ROUNDS", 10)
        patch.setattr(gradient_boosting, "_MOST_TREES", 10)
        patch.setattr(linear, "_STRENGTHS", linear._STRENGTHS[2::2])
        _FEW.append(True)
        yield
        _FEW.pop()


class _Parts:
    """What workers are given, and whether trees are to be few in them; it is the former once it is unpacked."""

    def __init__(self, parts: bytes) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _unpacked, (self.parts, bool(_FEW))


def _unpacked(parts: bytes, few: bool) -> Any:
    if few != bool(_FEW):  # a worker may live longer than one comparison
        _ENTERED.close()
        if few:
            _ENTERED.enter_context(few_trees())
    return pickle.loads(parts)


def in_workers_too(patch: pytest.MonkeyPatch) -> None:
    """Has trees be few in worker processes where they are in the one that starts them, and nowhere else."""
    from profuse import _workers
    from profuse.comparison import plan, runner, running
    from profuse.portfolio import fits, workers

    def packed() -> bytes:
        *others, parts = pickle.loads(_workers.packed())
        return pickle.dumps((*others, pickle.dumps(_Parts(parts))))

    for module in (plan, runner, running, fits, workers):
        patch.setattr(module, "packed", packed)
