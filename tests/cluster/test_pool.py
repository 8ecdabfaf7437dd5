"""Room on a Ray cluster, and what its workers check: the same for all that do fits there."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_ray import FakeRay

from profuse._machine import Machine
from profuse.cluster.joining import joined
from profuse.cluster.options import EngineOptions
from profuse.cluster.pool import Asks, RayPool
from profuse.cluster.worker import Done, Shared, done, folder_here, unpickled
from profuse.comparison.on_ray import RayRunner
from profuse.comparison.ray_fits import board_class
from profuse.errors import ConfigError, ProfuseError
from profuse.training.options import TrainOptions

ROOM = {"CPU": 4.0, "memory": 8e9}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    return FakeRay([ROOM, {**ROOM, "CPU": 3.0}]).installed(monkeypatch)


@pytest.mark.parametrize(
    ("options", "train", "n_jobs", "wanted"),
    [
        ({}, {}, None, 7),
        ({}, {}, 5, 5),
        ({}, {"threads": 3}, None, 2),
        ({"ray_memory": 3.0}, {}, None, 4),
        ({"ray_memory": 9.0}, {}, None, "needs 1 CPU, 9.0 GB, and the most of each on a machine is 4 CPU, 8.0 GB"),
        ({}, {"threads": 5}, None, "needs 5 CPU, 1.1 GB"),
        ({}, {"device": "cuda"}, None, "needs 1 CPU, 1 GPU, 1.1 GB, .* is 4 CPU, 0 GPU, 8.0 GB"),
    ],
)
def test_as_many_fits_are_done_at_a_time_as_machines_have_room_for(
    options: dict[str, float], train: dict[str, Any], n_jobs: int | None, wanted: int | str, fake: FakeRay
) -> None:
    asks = Asks(EngineOptions(engine="ray", **options), TrainOptions(**train), n_jobs, "tune", "tuning", "trial")
    if isinstance(wanted, int):
        pool = RayPool(fake, asks, board_class)
        assert pool.n_jobs == wanted
        assert pool.room() == f"{wanted} trials at a time on 2 machines"
        return
    with pytest.raises(ConfigError, match=rf"^tune: .* of the Ray cluster must have room for a trial; it {wanted}"):
        RayPool(fake, asks, board_class)


def test_a_fit_asks_for_a_share_of_a_gpu_and_for_memory_by_the_largest_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay([{"CPU": 8.0, "memory": 64e9, "GPU": 2.0}]).installed(monkeypatch)
    train = TrainOptions(device="cuda")
    asks = Asks(EngineOptions(engine="ray", ray_gpus=0.5), train, None, "compare", "comparing")
    pool = RayPool(ray, asks, board_class)
    assert pool.n_jobs == 4
    for name, size in (("a", 1_000_000_000), ("b", 5_000_000_000)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    jobs: Any = [SimpleNamespace(prepared=tmp_path / name) for name in "abaa"]
    runner = RayRunner(pool, None)
    assert runner.at_once(jobs[:1]) == 1
    assert runner.at_once(jobs) == 2  # of 1.1 + 5 * 5 GB


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "127.0.0.1:99999", "nowhere.invalid:6379"])
def test_a_cluster_that_does_not_answer_is_told_at_once(address: str) -> None:
    with (
        pytest.raises(ConfigError, match=rf"^tune: the Ray cluster must run.*got address='{re.escape(address)}'"),
        joined(
            SimpleNamespace(is_initialized=bool), EngineOptions(engine="ray", ray_address=address), None, 1, who="tune"
        ),
    ):
        raise AssertionError


@pytest.mark.usefixtures("fake")
def test_a_machine_with_other_packages_is_refused_by_name() -> None:
    versions = {**Machine.here().versions, "torch": "1.0"}  # of the machine that starts
    failed = done(lambda: folder_here(Shared(b"", versions, "t", "tune")), "tune")
    with pytest.raises(ConfigError, match=r"^tune: .* packages of the one that starts; .* torch .*, not 1\.0\."):
        raise unpickled(failed, "tune")


class Stubborn(Exception):
    """An error that cannot be read in another process."""

    def __reduce__(self) -> Any:
        raise TypeError("no")


def test_an_error_that_cannot_travel_is_told_in_words() -> None:
    def fails() -> None:
        raise Stubborn("strange")

    failed = done(fails, "tune")
    assert failed.value is None
    with pytest.raises(ProfuseError, match=r"^tune: Stubborn: strange\nIn a worker of Ray:\nTraceback"):
        raise unpickled(failed, "tune")
    assert done(lambda: 3, "tune") == Done(3)
