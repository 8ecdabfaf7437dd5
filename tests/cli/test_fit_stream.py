"""`profuse fit --stream`: the model of a whole read, and what does not go with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import profuse
from profuse.cli import _launch

QUICK = ("--epochs", 1, "--width", 8, "--members", 1)


@pytest.fixture(scope="module")
def streamed(run: Any, files: Path) -> Path:
    out = files / "streamed"
    done = run(
        "fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK,
        "--stream", "--chunk-rows", 50, "--threshold", "balanced_accuracy",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert re.search(
        r"learned from all \d+ rows; the network from all of them, of which \d+ chose its epoch", done.stderr
    )
    assert [p.name for p in files.iterdir() if p.name.startswith("profuse-rows")] == []
    return out


def test_its_answers_are_those_of_a_network_whose_rows_are_read_whole(
    streamed: Path, run: Any, files: Path, tmp_path: Path
) -> None:
    whole = files / "whole"
    done = run(
        "fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", whole, *QUICK,
        "--network", "--threshold", "balanced_accuracy",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    answers = []
    for model in (streamed, whole):
        done = run("predict", model, files / "mine.csv", "--out", tmp_path / f"{model.name}.csv")
        assert done.exit_code == 0, done.stderr
        answers.append((tmp_path / f"{model.name}.csv").read_bytes())
    assert answers[0] == answers[1]


def test_the_saved_model_is_one_that_estimators_load(streamed: Path) -> None:
    assert profuse.FusionClassifier.load(streamed).classes_.tolist() == ["big", "small"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sample-rows", 500), "options of reading in pieces must go with stream; got sample_rows=500."),
        (("--stream", "--nodes", 2), "nodes=2, and 1 started. Start them with: torchrun --nnodes 2 "),
        (("--stream", "--members", 1, "--folds", 4), "options of a portfolio must not go with --stream"),
        (("--stream", "--scratch", "not there"), "scratch must be a folder that is there"),
        (("--stream", "--validation-fraction", 1.5), "validation_fraction"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_it_is_one_error(
    options: tuple[object, ...], message: str, run: Any, files: Path, tmp_path: Path
) -> None:
    done = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", tmp_path / "m", *options)
    assert done.exit_code != 0
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "m").exists()


def test_devices_start_the_command_in_as_many_processes_before_anything_is_read(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_launch, "_run", lambda command, n: 10 + n)
    options = ("--target", "y", "--stream", "--devices", 3, "--device", "cpu")
    assert run("fit", "not-there.csv", *options, "--out", tmp_path / "m").exit_code == 13


def test_a_named_data_set_is_not_streamed(run: Any, tmp_path: Path) -> None:
    done = run("fit", "glyphs", "--stream", "--out", tmp_path / "m")
    assert done.exit_code != 0
    assert "stream must go with a file; got the named data set 'glyphs'" in " ".join(done.stderr.split())
