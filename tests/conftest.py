"""What several tests need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# before anything loads OpenMP: test processes run side by side, and threads that fight for cores wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from profuse import registry


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that need it skip without it."""
    if "PROFUSE_DATA" not in os.environ:
        pytest.skip("PROFUSE_DATA is not set")
    return Path(os.environ["PROFUSE_DATA"])


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = {kind: dict(table.registered) for kind, table in registry._TABLES.items()}
    yield
    for kind, table in registry._TABLES.items():
        if table.registered != before.get(kind, {}):
            table.registered, table._loaded = before.get(kind, {}), {}


@pytest.fixture(scope="module")
def few_classical() -> Iterator[None]:
    """The classical model of one modality chooses among fewer in this process, as on data beyond its bounds; and
    random and boosted trees, and penalties of linear models, are few.

    They take most of the time of a small comparison; `tests/classical` tests them.
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
        yield
