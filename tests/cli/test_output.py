"""Where results go is checked before anything is learned, and nothing is left where it cannot be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "fit": (("-t", "my label", "--epochs", "1"), "profuse.estimator.fit_model"),
    "compare": (("-t", "my label", "--jobs", "1"), "profuse.evaluate.compare.run_job"),
    "impute": (("-m", "note", "--method", "nearest"), "profuse.imputation.imputer.make_method"),
    "retrieve": (("--epochs", "1"), "profuse.retrieval.retriever.train"),
}
"""Options, and what learns: it must not be called."""


@pytest.fixture
def mine(tmp_path: Path, files: Path) -> Path:
    table = pd.read_csv(files / "mine.csv")
    table["note"] = table["note"].mask(np.arange(len(table)) % 5 == 0)
    table.to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


@pytest.fixture
def refused(run: Any, mine: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that must be refused before it learns, and must leave nothing; returns what it says."""

    def refused(command: str, out: object) -> str:
        def learns(*args: object, **options: object) -> None:
            raise AssertionError("it learns")

        args, learner = COMMANDS[command]
        monkeypatch.setattr(learner, learns)
        before = sorted(mine.parent.rglob("*"))
        done = run(command, mine, *args, "--out", out)
        assert done.exit_code == 2, (done.stderr, done.exception)
        assert sorted(mine.parent.rglob("*")) == before
        return str(done.stderr).splitlines()[-1]

    return refused


@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_below_a_file_is_told_before_anything_is_learned(refused: Any, mine: Path, command: str) -> None:
    told = refused(command, mine / "deep" / "out.csv")
    assert "Not a directory" in told or "there is no folder" in told


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_too_long_is_told_before_anything_is_learned(refused: Any, mine: Path, command: str) -> None:
    n = 300 if command == "compare" else 250  # all others first write beside the place, under a longer name
    assert "File name too long. Name another" in refused(command, mine.with_name("x" * n + ".csv"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_in_which_nothing_can_be_written_is_told_before_anything_is_learned(
    refused: Any, mine: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, mkdir = mine.parent / "locked", os.mkdir
    locked.mkdir()

    def as_others(path: Any, *args: Any, **options: Any) -> None:  # the tests may run as root, who may do all
        if Path(path).is_relative_to(locked):
            raise PermissionError(13, "Permission denied", str(path))
        mkdir(path, *args, **options)

    monkeypatch.setattr(os, "mkdir", as_others)
    assert "must be writable" in (told := refused(command, locked / "out.csv")) or "writable for output" in told
    assert "Permission denied. Name another" in told


def test_a_model_cannot_take_the_place_of_the_working_folder(
    refused: Any, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mine.parent / "empty").mkdir()
    monkeypatch.chdir(mine.parent / "empty")
    assert "it is the working folder. Name a folder in it." in refused("fit", ".")


def test_a_comparison_is_not_begun_where_only_its_work_could_be_kept(
    refused: Any, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = mine.parent / "out"
    (out / "work").mkdir(parents=True)
    mkdir = os.mkdir

    def as_others(path: Any, *args: Any, **options: Any) -> None:
        if Path(path).parent == out:
            raise PermissionError(13, "Permission denied", str(path))
        mkdir(path, *args, **options)

    monkeypatch.setattr(os, "mkdir", as_others)
    assert "must be writable; Permission denied" in refused("compare", out)
