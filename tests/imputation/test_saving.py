"""A saved imputer fills as the one that was saved, in every cell; nothing in its folder is run."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from profuse._folder import digest_of
from profuse.cli import app
from profuse.errors import CheckpointError
from profuse.imputation import METHODS, Imputer
from profuse.models.trainable import Trainable
from profuse.retrieval import Retriever
from profuse.training.callbacks import Callback

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::profuse.errors.ProfuseWarning")]
SCHEMA = {
    "modalities": {
        "one": {"columns": ["a"]},
        "two": {"columns": ["b", "c"]},
        "lab": {"columns": ["t1", "t2"]},
        "note": {"columns": ["note"]},
        "when": {"columns": ["when"]},
    }
}


def table(n: int = 90, *, zone: str | None = None) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "a": z + 0.3 * rng.normal(size=n),
            "b": z**2,
            "c": np.where(z > 0, "up", "down"),
            "t1": 2 * z + 0.1 * rng.normal(size=n),
            "t2": np.where(z > 0.5, "x", "y"),
            "note": [f"word {i % 9} and {i % 4}" for i in range(n)],
            "when": pd.Series(pd.date_range("2020-01-05", periods=n, tz=zone)),
        }
    )
    frame.loc[::5, ["t1", "t2"]] = None
    frame.loc[3, "t1"] = None
    return frame


def quick(modality: str = "lab", **options: Any) -> Imputer:
    return Imputer(modality, **{"schema": SCHEMA, "epochs": 2, "n_samples": 4, "width": 8, "device": "cpu", **options})


def same(one: Any, other: Any) -> None:
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    pd.testing.assert_frame_equal(one.samples, other.samples, check_exact=True)
    assert len(one.tables) == len(other.tables)
    for mine, theirs in zip(one.tables, other.tables, strict=True):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    assert one.notes == other.notes


@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_imputer_fills_every_cell_as_the_one_that_was_saved(method: str, tmp_path: Path) -> None:
    made = quick(method=method, n_tables=1).fit(table())
    made.save(tmp_path / "m")
    again = Imputer.load(tmp_path / "m")
    for frame in (table(), table()[40:].reset_index(drop=True)):
        same(made.fill(frame), again.fill(frame))
    for name in ("method_", "choice_", "quality_", "notes_", "n_learned_", "schema_"):
        assert getattr(again, name) == getattr(made, name), name
    assert again.get_params()["method"] == method
    again.save(tmp_path / "m")  # in its own place
    same(made.fill(table()), Imputer.load(tmp_path / "m").fill(table()))


@pytest.mark.parametrize("modality", ["note", "when", "two"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_cells_that_are_copied_are_the_same_in_value_and_type(modality: str, zone: str | None, tmp_path: Path) -> None:
    frame = table(zone=zone)
    frame.loc[2::7, SCHEMA["modalities"][modality]["columns"]] = None
    made = quick(modality).fit(frame)
    made.save(tmp_path / "m")
    same(made.fill(frame), Imputer.load(tmp_path / "m").fill(frame))


@pytest.mark.parametrize(
    "cells",
    [
        [[1.0, 2.0, 3.0 + i % 5] * 4 for i in range(60)],
        [np.arange(12.0) + i % 5 for i in range(60)],
        [datetime.date(2020, 1, 1 + i % 9) for i in range(60)],
        [bool(i % 2) for i in range(60)],
    ],
    ids=["lists", "arrays", "dates", "truth"],
)
def test_cells_of_other_types_are_kept_too(cells: list[Any], tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(60) % 5 * 1.0, "cells": pd.Series(cells, dtype=object)})
    frame.loc[::6, "cells"] = None
    schema = {"modalities": {"one": {"columns": ["a"]}, "kept": {"columns": ["cells"]}}}
    made = Imputer("kept", schema=schema, n_samples=3).fit(frame)
    made.save(tmp_path / "m")
    mine, theirs = made.fill(frame).table["cells"], Imputer.load(tmp_path / "m").fill(frame).table["cells"]
    assert [type(cell) for cell in mine] == [type(cell) for cell in theirs]
    assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.slow
def test_it_fills_in_a_fresh_process(tmp_path: Path) -> None:
    made = quick(method="flow").fit(table())
    made.save(tmp_path / "m")
    table().to_parquet(tmp_path / "t.parquet")
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\nimport pandas as pd\n"
        "from profuse.imputation import Imputer\n"
        "Imputer.load(sys.argv[1]).fill(pd.read_parquet(sys.argv[2])).table.to_parquet(sys.argv[3])"
    )
    places = [str(tmp_path / name) for name in ("m", "t.parquet", "out.parquet")]
    subprocess.run([sys.executable, "-c", code, *places], check=True)
    expected = made.fill(pd.read_parquet(tmp_path / "t.parquet")).table
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), expected, check_exact=True)


def tampered(folder: Path, change: Any) -> None:
    file = folder / "model.json"
    facts = json.loads(file.read_text())
    change(facts)
    facts["digests"]["model.json"] = digest_of(facts)
    file.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts["learned"].update(what="Popen"),
        lambda facts: facts["learned"].update(what="Imputer"),
        lambda facts: facts["learned"]["of"].pop(),
        lambda facts: facts.pop("cells"),
        lambda facts: facts["parameters"].update(n_samples=-1),
        lambda facts: facts["parameters"].update(unknown=1),
        lambda facts: facts["schema"].update(modalities=3),
    ],
)
def test_a_folder_that_was_changed_is_told_when_it_is_read(change: Any, tmp_path: Path) -> None:
    quick(method="ridge").fit(table()).save(tmp_path / "m")
    tampered(tmp_path / "m", change)
    with pytest.raises(CheckpointError, match="Imputer.load: .* its parts must fit each other"):
        Imputer.load(tmp_path / "m")


def test_a_folder_that_was_changed_and_can_be_read_is_told_where_it_does_not_fit(tmp_path: Path) -> None:
    quick(method="ridge").fit(table()).save(tmp_path / "m")

    def change(facts: Any) -> None:
        learned = dict(facts["learned"]["of"])
        del learned["_method"]["of"]["_coding"]

    tampered(tmp_path / "m", change)
    with pytest.raises(CheckpointError, match="what is saved there must fit these data"):
        Imputer.load(tmp_path / "m").fill(table())


def test_other_folders_are_neither_read_nor_replaced(tmp_path: Path) -> None:
    made = quick(method="mean").fit(table())
    rng = np.random.default_rng(0)
    Retriever(method="ridge").fit({"l": rng.normal(size=(60, 3)), "r": rng.normal(size=(60, 3))}).save(tmp_path / "r")
    with pytest.raises(CheckpointError, match="Imputer.load: .* must be the folder of a saved imputer"):
        Imputer.load(tmp_path / "r")
    with pytest.raises(CheckpointError, match="Imputer.save: .* must be new, empty or a saved imputer"):
        made.save(tmp_path / "r")
    made.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match="must be the folder of a saved retriever; it holds a saved imputer"):
        Retriever.load(tmp_path / "m")


# -- on the command line


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["impute", *map(str, words)])


def test_the_command_saves_and_fills_another_table_alike(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "schema.yaml").write_text(json.dumps(SCHEMA))
    learn = run(
        tmp_path / "t.csv", "-m", "lab", "--schema", tmp_path / "schema.yaml", "--out", tmp_path / "one.csv",
        "--out-model", tmp_path / "m", "--method", "regression", "--epochs", 2, "--tables", 1,
    )  # fmt: skip
    assert learn.exit_code == 0, learn.output
    assert f"Model: {tmp_path / 'm'}" in learn.output
    again = run(tmp_path / "t.csv", "--model", tmp_path / "m", "--out", tmp_path / "two.csv")
    assert again.exit_code == 0, again.output
    for one, two in (("one.csv", "two.csv"), ("one_1.csv", "two_1.csv")):
        assert (tmp_path / one).read_bytes() == (tmp_path / two).read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "must name what is filled; got none, and no --model"),
        (("--model", "m", "--method", "ridge"), "must go without what a saved imputer knows; got also method"),
        (("--model", "m", "-m", "lab", "--samples", "3"), "got also n_samples, modality"),
        (("--model", "m"), "m must be the folder of a saved imputer"),
        (("-m", "lab", "--out-model", "other"), "must be new, empty or a saved"),
    ],
)
def test_what_does_not_go_together_is_told_and_nothing_is_written(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table().to_csv("t.csv", index=False)
    Path("other").mkdir()
    Path("other/file").write_text("mine")
    done = run("t.csv", "--out", "out.csv", *words)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
    assert "Traceback" not in done.output
    assert not Path("out.csv").exists()


# -- where it is trained


def test_networks_are_trained_on_the_device_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    from lightning_fabric import Fabric

    make = Fabric.__init__

    def noted(self: Any, **options: Any) -> None:
        seen.append(options)
        make(self, **options)

    monkeypatch.setattr(Fabric, "__init__", noted)
    watched: list[Trainable[Any]] = []

    class Watch(Callback):
        def on_fit_start(self) -> None:
            watched.append(self.model)

    quick(method="regression", precision="bf16-mixed", n_tables=1).fit(table(), callbacks=[Watch()])
    assert len(watched) == 2  # itself, and the completed table's
    assert {(o["accelerator"], o["precision"]) for o in seen} == {("cpu", "bf16-mixed")}
