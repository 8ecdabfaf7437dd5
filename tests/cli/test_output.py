"""Where results go is checked before anything is learned, and nothing is left where it cannot be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from profuse.data.table.schema_file import load_schema


def forbid(monkeypatch: pytest.MonkeyPatch, where: Callable[[Path], bool]) -> None:
    """Has nothing be made where `where` says; the tests may run as root, who may do all."""
    for name in ("mkdir", "open"):
        call = getattr(os, name)

        def forbidding(path: Any, *args: Any, call: Any = call, **options: Any) -> Any:
            makes = call.__name__ == "mkdir" or (args and args[0] & os.O_CREAT)
            if makes and where(Path(os.fsdecode(path))):
                raise PermissionError(13, "Permission denied", os.fsdecode(path))
            return call(path, *args, **options)

        monkeypatch.setattr(os, name, forbidding)


COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "fit": (("-t", "my label", "--epochs", "1"), "profuse.estimators.fusion.fit_model"),
    "compare": (("-t", "my label", "--jobs", "1"), "profuse.comparison.runner.run_job"),
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
    locked = mine.parent / "locked"
    locked.mkdir()
    forbid(monkeypatch, lambda path: path.is_relative_to(locked))
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
    forbid(monkeypatch, lambda path: path.parent == out)
    assert "must be writable; Permission denied" in refused("compare", out)


@pytest.fixture(scope="module")
def model(run: Any, files: Path) -> Path:
    out = files / "kept model"
    done = run("fit", files / "mine.csv", "-t", "my label", "--network", "--epochs", 1, "--width", 8, "--out", out)
    assert done.exit_code == 0, done.stderr
    return out


class TestWhatIsReadIsNotWrittenOver:
    @pytest.fixture
    def kept(self, run: Any, mine: Path, model: Path) -> Callable[..., None]:
        """Runs a command that must be refused and leave every file as it was."""

        def kept(*args: object) -> None:
            def files() -> dict[Path, bytes]:
                return {p: p.read_bytes() for home in (mine.parent, model) for p in home.rglob("*") if p.is_file()}

            before = files()
            done = run(*args)
            assert done.exit_code == 2, (done.stdout, done.stderr)
            assert done.stdout == ""
            assert "must not be, or lie in, what is read" in done.stderr.splitlines()[-1]
            assert files() == before

        return kept

    def test_by_predict(self, kept: Any, mine: Path, model: Path) -> None:
        kept("predict", model, mine, "--out", mine)
        kept("predict", model, mine, "--out", mine.parent / "." / ".." / mine.parent.name / mine.name)
        kept("predict", model, mine, "--out", model / "model.json")
        kept("predict", model, mine, "--out", model / "new.csv")

    def test_by_predict_through_a_link(self, kept: Any, mine: Path, model: Path) -> None:
        (mine.parent / "link.csv").symlink_to(mine)
        (mine.parent / "linked").symlink_to(model)
        kept("predict", model, mine, "--out", mine.parent / "link.csv")
        kept("predict", model, mine, "--out", mine.parent / "linked" / "model.json")

    def test_by_schema(self, run: Any, kept: Any, mine: Path) -> None:
        given = mine.with_name("given.yaml")
        given.write_text("ignore: [shop]\n", encoding="utf-8")
        kept("schema", mine, "--target", "my label", "--out", mine)
        # a schema may be filled in where it stands: it is read whole before
        done = run("schema", mine, "--target", "my label", "--schema", given, "--out", given)
        assert done.exit_code == 0, done.stderr
        assert load_schema(given).ignore == ("shop",)

    def test_by_impute(self, kept: Any, mine: Path) -> None:
        given = mine.with_name("given.csv")
        given.write_text("ignore: [shop]\n", encoding="utf-8")
        args = ("impute", mine, "-m", "note", "--method", "nearest")
        kept(*args, "--out", mine)
        kept(*args, "--out", mine.with_name("f.csv"), "--samples-out", mine)
        kept(*args, "--schema", given, "--out", given)

    def test_a_file_that_is_not_read_is_replaced(self, run: Any, mine: Path, model: Path) -> None:
        out = mine.with_name("answers.csv")
        out.write_text("old", encoding="utf-8")
        assert run("predict", model, mine, "--out", out).exit_code == 0
        assert out.read_text(encoding="utf-8").startswith("id,prediction")
