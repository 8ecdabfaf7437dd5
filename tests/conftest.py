"""What several tests need."""

from __future__ import annotations

import os
from pathlib import Path

# before anything loads OpenMP: test processes run side by side, and threads that fight for cores wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that need it skip without it."""
    if "PROFUSE_DATA" not in os.environ:
        pytest.skip("PROFUSE_DATA is not set")
    return Path(os.environ["PROFUSE_DATA"])
