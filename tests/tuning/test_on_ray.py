"""Trials on a Ray cluster are those of a local search: the same options, scores and early ends, whatever is killed."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_ray import FakeRay
from rich.console import Console
from tuning.conftest import MODEL, QUICK, kept, states, tried
from typer.testing import CliRunner

from profuse.cli import app
from profuse.cli._tuning import trials_display
from profuse.data.dataset import Dataset
from profuse.errors import ConfigError, MissingDependencyError, ProfuseError
from profuse.metrics import default_metric
from profuse.tuning import trial as trials_module
from profuse.tuning import tune
from profuse.tuning.search import Event

LOG_LOSS: dict[str, Any] = QUICK | {"trials": 7, "seed": 1, "metric": "log_loss"}
"""Trials some of which end early."""


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch, temporary: Path) -> FakeRay:
    room = {"CPU": 2.0, "memory": 8e9}
    return FakeRay([room, room], threads=True).installed(monkeypatch)


@pytest.mark.usefixtures("faked")
def test_one_trial_at_a_time_gives_the_local_search(
    data: Dataset, ray: FakeRay, temporary: Path, tmp_path: Path
) -> None:
    ray.twice = ("gated, trial 2", "gated, trial 6")  # begun again: its steps are kept once
    said: list[Event] = []
    asked: dict[str, Any] = {**LOG_LOSS, "fusions": "gated"}
    local = tune(data, **asked, storage=tmp_path / "local.db")
    there = tune(data, **asked, storage=tmp_path / "ray.db", n_jobs=1, engine="ray", on_event=said.append)
    assert tried(there) == tried(local)
    assert {t.state for t in there.best.trials} == {"complete", "pruned"}
    assert [t.epochs for t in there.best.trials] == [t.epochs for t in local.best.trials]
    assert kept(tmp_path / "ray.db") == kept(tmp_path / "local.db")
    assert there.best.held_out == local.best.held_out
    assert said[0].said == "Ray: the cluster that this process had joined; 1 trial at a time on 2 machines"
    assert [e.stage for e in said[1:]] == ["begin", *["trial"] * 7, "test"]
    assert (ray.most, ray.killed) == (1, 1)
    assert there.notes == [
        *local.notes, "Trials were done on a Ray cluster of 2 machines: their seconds are of different machines."
    ]  # fmt: skip
    room = ray.asked["gated, trial 6"]
    assert (room["num_cpus"], room["num_gpus"], room["max_retries"]) == (1, 0, 3)
    assert 1.1e9 < room["memory"] < 1.2e9  # of such small rows
    assert [p.name for p in temporary.iterdir()] == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["local.db", "ray.db", "tmp"]


@pytest.mark.usefixtures("faked")
def test_as_many_trials_run_at_a_time_as_there_is_room_for_and_not_more_than_asked_for(
    data: Dataset, ray: FakeRay
) -> None:
    made = tune(data, **LOG_LOSS | {"fusions": ["gated", "concat"], "trials": 3}, engine={"engine": "ray"})
    assert 1 < ray.most <= 4
    assert {name: len(f.trials) for name, f in made.found.items()} == {"gated": 3, "concat": 3}
    assert sum(t.default for f in made.found.values() for t in f.trials) == 2


@pytest.mark.slow
def test_networks_are_fitted_as_local_ones_are(data: Dataset, ray: FakeRay) -> None:
    asked: dict[str, Any] = QUICK | {"fusions": "gated", "splits": 2}
    assert tried(tune(data, **asked, engine="ray", n_jobs=1)) == tried(tune(data, **asked))


def test_a_lost_worker_ends_the_search_and_the_next_run_goes_on(
    data: Dataset, faked: None, ray: FakeRay, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {**QUICK, "trials": 5, "fusions": "gated", "storage": tmp_path / "s.db", "n_jobs": 1}
    ray.lost = ("gated, trial 3",)
    with pytest.raises(
        ProfuseError, match=r"^tune: a trial must find a worker that lives.*; gated, trial 3, was begun 4 times \(Lost"
    ):
        tune(data, **asked, engine="ray")
    ray.lost = ()
    events: list[Event] = []
    made = tune(data, **asked, engine="ray", on_event=events.append)
    assert events[1].n_done == 3
    assert [t.number for t in made.best.trials] == [0, 1, 2, 4, 5]
    assert kept(tmp_path / "s.db")[3] == {}


@pytest.mark.usefixtures("faked", "failing", "ray")
def test_faults_of_trials_are_those_of_a_local_search(data: Dataset) -> None:
    made = tune(data, **QUICK, engine="ray")
    assert [t.state for t in made.best.trials] == ["complete", "failed", "failed"]
    assert "finite" in made.best.trials[1].reason
    with pytest.raises(ProfuseError, match=r"finite\.\nIn a worker of Ray:\nTraceback"):
        tune(data, trials=1, model=MODEL, train={"epochs": 1, "learning_rate": 0.5}, engine="ray")


def test_a_search_that_is_stopped_cancels_its_trials_and_queues_them_again(
    data: Dataset, faked: None, ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit: Any = vars(trials_module)["fit_model"]
    over = threading.Event()
    monkeypatch.setattr("profuse.cluster.pool._PATIENCE", 0.05)

    def stays(prepared: Any, model: Any, train: Any, **more: Any) -> Any:
        if train.learning_rate != 1.5e-3:
            over.wait(20)
        return fit(prepared, model, train, **more)

    def stop(event: Event) -> None:
        if event.stage == "trial":
            raise KeyboardInterrupt

    monkeypatch.setattr(trials_module, "fit_model", stays)
    asked: dict[str, Any] = {**QUICK, "fusions": "gated", "storage": tmp_path / "s.db"}
    with pytest.raises(KeyboardInterrupt):
        tune(data, **asked, engine="ray", n_jobs=2, on_event=stop)
    over.set()
    assert ray.cancelled == ["gated, trial 1"]
    assert states(tmp_path / "s.db") == ["COMPLETE", "FAIL", "WAITING"]
    made = tune(data, **asked)  # the local engine goes on
    assert [t.number for t in made.best.trials] == [0, 2, 3]
    assert {t.state for t in made.best.trials} <= {"complete", "pruned"}


def test_a_trial_that_the_time_cuts_off_is_tried_again(
    data: Dataset, faked: None, ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit: Any = vars(trials_module)["fit_model"]
    late: list[bool] = []

    def ends_late(prepared: Any, model: Any, train: Any, **more: Any) -> Any:
        late.extend([True] if train.learning_rate != 1.5e-3 else [])
        return fit(prepared, model, train, **more)

    monkeypatch.setattr(trials_module, "fit_model", ends_late)
    monkeypatch.setattr(trials_module.Under, "is_late", lambda self: bool(late))
    asked: dict[str, Any] = {**QUICK, "fusions": "gated", "storage": tmp_path / "s.db", "engine": "ray"}
    made = tune(data, **asked, n_jobs=1)
    assert [(t.number, t.state) for t in made.best.trials] == [(0, "complete")]
    monkeypatch.setattr(trials_module, "fit_model", fit)
    late.clear()
    again = tune(data, **asked, n_jobs=1)
    assert [t.number for t in again.best.trials] == [0, 2, 3]
    assert again.best.trials[1].state == "complete"


def test_what_cannot_be_is_told(data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for asked, message in (
        ("rai", r"tune: engine must be 'local' or 'ray'; got engine='rai'"),
        ({"ray_memory": 3}, r"ray_memory must go with engine 'ray'"),
    ):
        with pytest.raises(ConfigError, match=message):
            tune(data, **QUICK, engine=asked)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"tuning on a cluster \(engine='ray'\).*'profuse\[ray\]'"):
        tune(data, **QUICK, engine="ray")
    quick = ("--trials", "1", "--epochs", "1", "--width", "8")
    done = CliRunner().invoke(app, ["tune", "synthetic", *quick, "--engine", "ray", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, MissingDependencyError) or "tuning on a cluster" in done.stderr


@pytest.mark.parametrize("terminal", [False, True])
def test_where_trials_are_done_is_shown_once(terminal: bool, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    with trials_display(default_metric("binary"), console) as display:
        display(Event("cluster", 0, 0, said="Ray at [here]:1; 7 trials at a time"))
        display(Event("begin", 0, 24))
        assert (display.n_done, display.n_total) == (0, 24)
    assert capsys.readouterr().err == "Ray at [here]:1; 7 trials at a time\n"
    assert "0/24" in console.file.getvalue() or not terminal  # type: ignore[attr-defined]


def test_a_trial_that_no_machine_has_room_for_is_told(data: Dataset, ray: FakeRay) -> None:
    with pytest.raises(ConfigError, match=r"^tune: .* must have room for a trial; it needs 1 CPU, 9\.0 GB"):
        tune(data, **QUICK, engine={"engine": "ray", "ray_memory": 9})
