"""A fit to a file that is read in pieces is, by two processes, the fit of one; and one of them reads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forks import Forks
from streamed_by_two import CASES, fitted, write

pytestmark = pytest.mark.slow


def run_by_two(forks: Forks, folder: Path, name: str, left: str, n_local: int = 2) -> list[Any]:
    """Runs a function of `streamed_by_two` so, and returns what both have left."""
    code = f"from streamed_by_two import *\n{name}(Path({str(folder)!r}))\nraise SystemExit"
    forks.run_two(before=code, n_local=n_local, ended=[0, 0])
    return [json.loads((folder / f"{left}{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("streamed")
    write(made)
    return made


@pytest.fixture(scope="module")
def two(folder: Path, forks: Forks) -> list[dict[str, Any]]:
    return run_by_two(forks, folder, "main", "")


def check_alike(got: dict[str, Any], one: dict[str, Any]) -> None:
    np.testing.assert_allclose(got["curve"], one["curve"], rtol=0, atol=1e-5)
    assert {n: got[n] for n in ("best", "solved", "notes", "about")} == {
        n: list(one[n]) if n == "notes" else one[n] for n in ("best", "solved", "notes", "about")
    }
    assert one["best"] > 0
    # of a weight with hardly a gradient the step is one of rounding
    assert np.quantile(np.abs(np.subtract(got["weights"], one["weights"])), 0.95) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_losses_the_scores_and_the_weights_of_one(
    name: str, two: list[dict[str, Any]], folder: Path
) -> None:
    check_alike(two[0][name]["model"], fitted(folder, name)["model"])
    assert json.dumps(two[0][name]["model"]) == json.dumps(two[1][name]["model"])


@pytest.mark.parametrize("name", CASES)
def test_the_first_process_reads_and_the_other_maps_its_files(name: str, two: list[dict[str, Any]]) -> None:
    first, second = (each[name] for each in two)
    assert first["reads"] > 3
    assert second["reads"] == 0
    assert second["on_disk"] == first["on_disk"] == [True] * 3
    assert first["left"] == second["left"] == []


def test_processes_of_two_machines_read_each_its_own_file_and_have_the_model_of_one(folder: Path, forks: Forks) -> None:
    (first, message), (second, own) = run_by_two(forks, folder, "read_apart", "apart", n_local=1)
    check_alike(first["model"], fitted(folder, "csv")["model"])
    assert json.dumps(first["model"]) == json.dumps(second["model"])
    assert first["reads"] == second["reads"] > 3
    wanted = "all machines must read the same rows in the same order; machine 2 of 2 reads others than the first one"
    assert wanted in own
    assert message == f"process 2 of 2 has failed: {own}"


@pytest.mark.parametrize(
    ("name", "left", "message"),
    [
        ("fail_by_a_cell", "cell", "row 317 (counted from 0), column 'a': vectors must be readable"),
        ("fail_by_disk", "disk", "MB more on disk; got No space left on device. Name a folder that has room"),
    ],
)
def test_a_fault_of_the_process_that_reads_ends_both_with_its_message(
    name: str, left: str, message: str, folder: Path, forks: Forks
) -> None:
    first, second = run_by_two(forks, folder, name, left)
    assert message in first
    assert second == f"process 1 of 2 has failed: {first}"
    assert [p for p in folder.iterdir() if p.name.startswith("profuse-rows")] == []


def test_a_process_that_leaves_early_is_told_to_who_waits_for_it(folder: Path, forks: Forks) -> None:
    first, second = run_by_two(forks, folder, "leave", "left")
    assert "another has ended without a message" in first
    assert second == ""


OPTIONS = ("--target", "y", "--stream", "--device", "cpu", "--epochs", 1, "--members", 1, "--width", 8)


def test_the_command_in_two_processes_saves_one_model_and_speaks_once(
    folder: Path, forks: Forks, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "model"
    first, second = forks.run_two("fit", folder / "rows.csv", *OPTIONS, "--out", out, ended=[0, 0])
    assert first.stdout.count("Validation R2") == first.stdout.count("Model: ") == 1
    assert first.stderr.count("rows: 337 rows") == 1
    assert second.stdout == ""
    assert "rows" not in second.stderr  # a warning of torch comes, as it was loaded before
    assert [p.name for p in out.parent.iterdir()] == ["model"]


def test_a_cell_that_cannot_be_read_ends_the_command_in_both_processes(
    folder: Path, forks: Forks, tmp_path: Path
) -> None:
    first, second = forks.run_two("fit", folder / "bad.csv", *OPTIONS, "--out", tmp_path / "model", ended=[2, 2])
    assert first.stderr.splitlines()[-1].startswith("Error: row 317 (counted from 0), column 'a'")
    assert "Error: process 1 of 2 has failed: row 317" in second.stderr
    assert os.listdir(tmp_path) == []
