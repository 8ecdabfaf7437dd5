"""Fits on a Ray cluster give the numbers of local ones, whatever is killed, and leave nothing behind."""

from __future__ import annotations

import io
import json
import pickle
import re
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_ray import FakeRay
from rich.console import Console
from typer.testing import CliRunner

import profuse
from profuse.cli import app
from profuse.cli._progress import LineDisplay, LiveDisplay
from profuse.comparison import on_ray, ray_fits
from profuse.comparison.options import EngineOptions
from profuse.comparison.results import Machine
from profuse.comparison.runner import attempt
from profuse.comparison.running import Event
from profuse.errors import ConfigError, MissingDependencyError, ProfuseError
from profuse.training.options import TrainOptions

SMALL: dict[str, Any] = {
    "target": "ill", "seeds": 1, "rounds": (), "singles": (), "model": {"width": 8}, "train": {"epochs": 1},
    "portfolio": "none", "questions": (), "profile": False,
}  # fmt: skip
ROOM = {"CPU": 4.0, "memory": 8e9}


def rows(n: int = 100) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x, word = rng.normal(size=n), rng.choice(["late", "kind"], n)
    ill = np.where(x + (word == "late") + 0.3 * rng.normal(size=n) > 0, "yes", "no")
    return pd.DataFrame({"x": x, "note": [f"it was {w} {i}" for i, w in enumerate(word)], "ill": ill})


def found(out: Path) -> dict[str, Any]:
    """What does not hang on the clock of a run in `out`: scores, notes, predictions, and the names of its fits."""
    results = json.loads((out / "results.json").read_text())
    scores = [
        {k: v for k, v in s.items() if k not in ("fit_seconds", "predict_rows_per_second")} for s in results["scores"]
    ]
    return {
        "scores": scores,
        "skipped": results["skipped"],
        "ablation": results["ablation"],
        "notes": results["dataset"]["notes"],
        "predictions": (out / "predictions.csv").read_bytes(),
        "fits": sorted(p.name for p in (out / "work").glob("*")),
        "models": sorted(p.name for p in (out / "models").iterdir()),
    }


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of its own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> FakeRay:
    return FakeRay([ROOM, {**ROOM, "CPU": 3.0}]).installed(monkeypatch)


@pytest.mark.slow
@pytest.mark.usefixtures("few_classical")
def test_fits_on_a_cluster_give_what_local_fits_give_and_ask_for_the_room_they_need(
    fake: FakeRay, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def seen(job: Any) -> Any:
        shared = pickle.loads(job.prepared.read_bytes()).solved.folder  # where fits of a machine leave linear paths
        assert {job.prepared.parent, shared.parent, job.folder.parent} == {temporary / job.prepared.parent.name}
        assert re.fullmatch(r"profuse-[0-9a-f]{8}-node0", job.prepared.parent.name)
        assert not list(job.prepared.parent.glob("*-seed0-*"))  # the fit before has left nothing there
        return attempt(job)

    monkeypatch.setattr(ray_fits, "attempt", seen)
    on_cluster: dict[str, Any] = {"engine": "ray", "on_event": lambda event: told.append(event.said)}
    profuse.compare(rows(), **SMALL, out=tmp_path / "local", n_jobs=1)
    profuse.compare(rows(), **SMALL, out=tmp_path / "ray", n_jobs=1, **on_cluster)
    local, cluster = found(tmp_path / "local"), found(tmp_path / "ray")
    assert [n for n in cluster["notes"] if n not in local["notes"]] == [
        "Fits were done on a Ray cluster of 2 machines: their seconds are of different machines."
    ]
    assert {**cluster, "notes": local["notes"]} == local
    assert "Ray: the cluster that this process had joined; 1 fit at a time on 2 machines" in told
    assert fake.most == 1
    assert set(fake.asked) == {f"{s['method']}, seed 0" for s in local["scores"]}
    asked = fake.asked["hybrid concat, seed 0"]
    assert (asked["num_cpus"], asked["num_gpus"], asked["max_retries"]) == (1, 0, 3)
    assert 1.1e9 < asked["memory"] < 1.2e9  # such small data
    assert not [p.name for p in temporary.iterdir() if "profuse" in p.name]


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
    asked = fake, EngineOptions(engine="ray", **options), TrainOptions(**train), n_jobs
    if isinstance(wanted, int):
        assert on_ray.RayRunner(*asked).n_jobs == wanted
        return
    with pytest.raises(ConfigError, match=rf"^compare: a machine of the Ray cluster must have room.*{wanted}"):
        on_ray.RayRunner(*asked)


def test_a_fit_asks_for_a_share_of_a_gpu_and_for_memory_by_the_largest_of_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay([{"CPU": 8.0, "memory": 64e9, "GPU": 2.0}]).installed(monkeypatch)
    train = TrainOptions(device="cuda")
    runner = on_ray.RayRunner(ray, EngineOptions(engine="ray", ray_gpus=0.5), train, None)
    assert runner.n_jobs == 4
    for name, size in (("a", 1_000_000_000), ("b", 5_000_000_000)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    jobs: Any = [SimpleNamespace(prepared=tmp_path / name) for name in "abaa"]
    assert runner.at_once(jobs[:1]) == 1
    assert runner.at_once(jobs) == 2  # of 1.1 + 5 * 5 GB


def test_how_far_a_fit_is_reaches_this_process(fake: FakeRay) -> None:
    board = ray_fits.board_class(fake).options(num_cpus=0).remote()
    heart = ray_fits.Heart(board, "b")
    heart.write_text('{"method": "b", "seed": 1, "share": 0.1}')
    heart.write_text('{"method": "b", "seed": 1, "share": 0.2}')  # at once: twice a second are enough
    ray_fits.Heart(board, "a").write_text('{"method": "a", "seed": 0}')
    assert fake.get(board.read.remote()) == [
        {"method": "a", "seed": 0},
        {"method": "b", "seed": 1, "share": 0.1},
    ]
    heart.unlink()
    assert fake.get(board.read.remote()) == [{"method": "a", "seed": 0}]


class Odd(Exception):
    """An error that is not of this project."""


@pytest.mark.slow
@pytest.mark.usefixtures("few_classical")
def test_what_goes_wrong_in_a_worker_is_told_as_a_local_process_tells_it(
    fake: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(job: Any) -> Any:
        raise Odd("strange")

    how = {**SMALL, "engine": "ray", "out": tmp_path / "out"}
    fake.lost = ("linear, seed 0",)
    with pytest.raises(
        ProfuseError, match=r"a worker that lives.*; linear, seed 0, was begun 4 times \(Lost: The worker died\.\)"
    ):
        profuse.compare(rows(), **how)
    kept = {p.name for p in (tmp_path / "out" / "work").iterdir()}
    assert kept
    assert not [name for name in kept if name.startswith(("linear", "."))]
    assert fake.cancelled  # those that it had been given and were not done
    fake.lost = ()
    monkeypatch.setattr(ray_fits, "attempt", odd)
    with pytest.raises(Odd, match=r"^strange\nIn a worker of Ray:\nTraceback"):
        profuse.compare(rows(), **how)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "127.0.0.1:99999", "nowhere.invalid:6379"])
def test_a_cluster_that_does_not_answer_is_told_at_once(address: str) -> None:
    with (
        pytest.raises(ConfigError, match=rf"the Ray cluster must run.*got address='{re.escape(address)}'"),
        on_ray._connected(
            SimpleNamespace(is_initialized=bool), EngineOptions(engine="ray", ray_address=address), None, 1
        ),
    ):
        raise AssertionError


@pytest.mark.usefixtures("fake")
def test_a_machine_with_other_packages_is_refused_by_name() -> None:
    versions = {**Machine.here().versions, "torch": "1.0"}  # of the machine that starts
    done = ray_fits.fit(SimpleNamespace(), ray_fits.Shared(b"", versions, "t"), [None], None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"must have the packages of the one that starts; .* torch .*, not 1\.0\."):
        raise ray_fits.unpickled(done)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("rai", r"engine must be 'local' or 'ray'; got engine='rai'"),
        ({"ray_memory": 3}, r"ray_memory must go with engine 'ray'"),
        ({"engine": "ray", "ray_memory": 0}, r"ray_memory must be greater than 0"),
        ({"engine": "ray", "ray_adress": "a:1"}, r"did you mean 'ray_address'"),
        ({"engine": "ray", "ray_address": "ray://a:1"}, r"not of a Ray client"),
    ],
)
def test_an_engine_that_cannot_be_is_told(asked: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        profuse.compare(rows(), target="ill", engine=asked)


def test_without_ray_its_extra_is_named_and_no_folder_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"engine='ray'.*pip install 'profuse\[ray\]'"):
        profuse.compare(rows(), **SMALL, engine="ray", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_shard_is_not_divided_again() -> None:
    asked = ["compare", "synthetic", "--shard", "1/2", "--engine", "ray"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code != 0
    assert "engine must be local with shard" in done.stderr + str(done.exception)


@pytest.mark.parametrize(("display", "terminal"), [(LineDisplay, False), (LiveDisplay, True)])
def test_where_fits_are_done_is_shown_once(display: Any, terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    with display("mine", console) as progress:
        progress(Event("cluster", 0, 0, said="Ray at [here]:1; 7 fits at a time"))
        progress(Event("prepare", 0, 24))
    assert console.file.getvalue().count("Ray at [here]:1; 7 fits at a time") == 1  # type: ignore[attr-defined]
