"""What several tests need."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

# before anything loads OpenMP: test processes run side by side, and threads that fight for cores wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # of the few tests that ask for two threads

import pytest
from few_trees import few_trees, in_workers_too
from forks import Forks
from typer.main import get_command

from profuse import registry


def pytest_configure() -> None:
    """Thousands of tests are collected: a third of the time is a search for what none of them lets go."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that need it skip without it."""
    if "PROFUSE_DATA" not in os.environ:
        pytest.skip("PROFUSE_DATA is not set")
    return Path(os.environ["PROFUSE_DATA"])


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of its own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.fixture(autouse=True)
def nothing_stays_registered() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = {kind: dict(table.registered) for kind, table in registry._TABLES.items()}
    yield
    for kind, table in registry._TABLES.items():
        if table.registered != before.get(kind, {}):
            table.registered, table._loaded = before.get(kind, {}), {}


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Iterator[None]:
    """The commands are read from their functions once, not whenever one is run: 30 ms each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("typer.testing._get_command", cache(get_command))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_questions() -> Iterator[None]:
    """Comparisons ask no questions at their end, which takes half of a small one; `asking` has them asked."""
    from profuse.comparison import engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "asked_of_best", lambda *given: [])
        yield


@pytest.fixture(scope="module")
def asking(no_questions: None) -> Iterator[None]:
    """Comparisons ask questions at their end, as they do."""
    from profuse.comparison import engine, questions

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "asked_of_best", questions.asked_of_best)
        yield


@pytest.fixture(scope="module")
def few_classical() -> Iterator[None]:
    """Classical models take little time: they take most of that of a small comparison."""
    with few_trees():
        yield


@pytest.fixture(scope="session", autouse=True)
def workers_as_this_process() -> Iterator[None]:
    """Where `few_classical` is asked for, it holds in worker processes too."""
    with pytest.MonkeyPatch.context() as patch:
        in_workers_too(patch)
        yield


@pytest.fixture
def offline_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretrained models are read with a cache of the test's own, and the hub is not asked."""
    monkeypatch.setenv("PROFUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Commands in processes of their own, without the imports of a fresh one."""
    made = Forks(tmp_path_factory.mktemp("forks"))
    yield made
    made.close()
