"""`profuse fit --devices`: processes that are started, watched and ended; what they say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from profuse import load_model
from profuse.cli import _launch
from profuse.training.options import ProcessOptions
from profuse.training.world import World

Run = Callable[..., Any]

SAYS = "import os, sys; rank = int(os.environ['RANK']); "


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launch, "_GRACE", 0.5)


def run_python(code: str, n: int = 2) -> int:
    return _launch._run([sys.executable, "-S", "-c", SAYS + code], n)


def test_each_process_is_told_its_place_and_the_first_alone_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"]
    assert run_python(f"print(*(os.environ[n] for n in {names}))", n=3) == 0
    assert capfd.readouterr().out == "0 0 3 3 127.0.0.1\n"


def test_all_processes_have_one_port(tmp_path: Path) -> None:
    assert run_python(f"open(r'{tmp_path}/' + str(rank), 'w').write(os.environ['MASTER_PORT'])") == 0
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text() != ""


def test_a_process_that_was_started_ends_with_the_one_that_started_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_python("print(os.environ['PROFUSE_LAUNCHER'])") == 0
    assert capfd.readouterr().out == f"{os.getpid()}\n"
    followed: list[int] = []
    monkeypatch.setattr(_launch, "follow", followed.append)
    for name, value in {"PROFUSE_LAUNCHER": "41", "RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2",
                        "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert not _launch.launched(ProcessOptions(devices=2), "cpu")
    assert followed == [41]
    assert "PROFUSE_LAUNCHER" not in os.environ  # a command that it starts itself is none of those


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        # another fails while the first one waits for it, or has nothing to say
        ("rank == 1 and sys.exit('Error: no disk'); import time; time.sleep(60)", 1,
         "Error: process 2 of 2 has failed: no disk\n"),
        ("rank == 1 and sys.exit('Error: no disk')", 1, "Error: process 2 of 2 has failed: no disk\n"),
        ("rank == 1 and os._exit(7); import time; time.sleep(60)", 7,
         "Error: process 2 of 2 has failed: it ended with exit code 7.\n"),
        # both fail alike: it is told once, by the first
        ("sys.exit('Error: no column')", 1, "Error: no column\n"),
        # the first is ended from outside
        ("rank == 0 and os.kill(os.getpid(), 9); import time; time.sleep(60)", 137,
         "Error: process 1 of 2 has failed: signal 9 has ended it (9: memory may be used up).\n"),
    ],
)  # fmt: skip
def test_a_process_that_fails_ends_all_and_its_message_is_told_once(
    code: str, exit_code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    start = time.monotonic()
    assert run_python(code) == exit_code
    assert capfd.readouterr().err == said
    assert time.monotonic() - start < 30


def test_processes_are_ended_when_the_command_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    running: list[Any] = []

    def interrupted(processes: list[Any]) -> None:
        running.extend(processes)
        raise KeyboardInterrupt

    monkeypatch.setattr(_launch, "_first_to_fail", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_python("import time; time.sleep(60)")
    assert len(running) == 2
    assert all(each.poll() is not None for each in running)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--devices", "2"], "several processes must go with one network, not with a portfolio; got devices=2. Add"),
        (
            ["--network", "--nodes", "2"],
            "nodes=2, and 1 started. Start them with: torchrun --nnodes 2 ",
        ),
        (["--network", "--devices", "0"], "devices must be greater than or equal to 1"),
        (["--network", "--strategy", "zero"], "strategy must be 'auto', 'ddp' or 'fsdp'"),
    ],
)
def test_processes_that_cannot_be_are_told_before_anything_is_read(
    run: Run, files: Path, tmp_path: Path, more: list[str], message: str
) -> None:
    result = run("fit", files / "mine.csv", "--target", "my label", "--out", tmp_path / "m", *more)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_torchrun_with_a_portfolio_is_an_error(
    run: Run, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.setenv(name, "2")
    result = run("fit", files / "mine.csv", "--target", "my label", "--out", tmp_path / "m")
    assert "not with a portfolio; got 2 processes. Add --network" in result.stderr


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_each_process_gets_the_strategy(strategy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.setenv(name, "2")
    asked: list[Any] = []

    @contextmanager
    def recorded(options: ProcessOptions, *, device: str) -> Iterator[World]:
        asked.append((options.strategy, device))
        yield World()

    monkeypatch.setattr("profuse.training.world.processes", recorded)
    with _launch.together(ProcessOptions(strategy=strategy), "cpu"):
        assert asked == [(strategy, "cpu")]


@pytest.mark.slow
def test_two_processes_that_the_command_starts_save_one_model_and_speak_once(files: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "profuse",
        "fit",
        files / "mine.csv",
        "--schema",
        files / "schema.yaml",
    ]
    command += ["--network", "--epochs", "1", "--members", "1", "--device", "cpu", "--devices", "2"]
    command += ["--strategy", "fsdp"]
    done = subprocess.run([*command, "--out", tmp_path / "m"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Validation accuracy") == done.stdout.count("Model: ") == 1
    assert done.stderr.count("mine: 90 rows") == 1
    assert "Warning" not in done.stderr
    assert len(load_model(tmp_path / "m").predict_frame(pd.read_csv(files / "test.csv"))) == 30
