"""A Ray of this machine; tests that import it are skipped where the package is not installed."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["joined", "ray"]

ray = pytest.importorskip("ray", reason="ray is not installed")


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Ray that this process has joined, and the folder for temporary files of its workers."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("tmp")
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        handler = signal.getsignal(signal.SIGTERM)
        ray.init(
            address="local", num_cpus=2, object_store_memory=200_000_000, include_dashboard=False, log_to_driver=False,
            logging_level="ERROR", _temp_dir="/tmp/ray",  # paths of sockets must be short
        )  # fmt: skip
        signal.signal(signal.SIGTERM, handler)
        yield folder
        ray.shutdown()
