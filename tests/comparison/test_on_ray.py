"""Fits on a Ray cluster give the numbers of local ones, whatever is killed, and leave nothing behind."""

from __future__ import annotations

import io
import json
import pickle
import re
import sys
from pathlib import Path
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
from profuse.comparison import ray_fits
from profuse.comparison.runner import attempt
from profuse.comparison.running import Event
from profuse.errors import ConfigError, MissingDependencyError, ProfuseError

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
