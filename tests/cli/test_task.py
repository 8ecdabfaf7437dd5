"""`--task`: what kind of target it is, where its values do not tell; from the command line to the saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import profuse
from profuse import Schema, load_model
from profuse.data.table.shards import kept_schema
from profuse.errors import ConfigError, DataError
from profuse.inputs import open_data

NETWORK = ("--network", "--epochs", 1, "--width", 8)
N = 90


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of 0 to 5, the largest in one row only: no classes that could be learned."""
    folder = tmp_path_factory.mktemp("counts")
    counts().to_csv(folder / "mine.csv", index=False)
    (folder / "task.yaml").write_text("target: {task: regression}\n", encoding="utf-8")
    (folder / "classes.yaml").write_text("target: {columns: [visits], task: multiclass}\n", encoding="utf-8")
    return folder


def counts() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    visits = np.minimum(np.arange(N) % 9, 4)
    visits[7] = 5
    return pd.DataFrame({"size": rng.normal(size=N) + visits, "age": rng.normal(size=N), "visits": visits})


def test_without_it_the_error_names_it(run: Any, files: Path, tmp_path: Path) -> None:
    for command in ("schema", "fit", "compare"):
        done = run(command, files / "mine.csv", "-t", "visits", "--out", tmp_path / "m")
        assert done.exit_code == 2
        assert "--task regression" in " ".join(done.stderr.split())


@pytest.mark.parametrize("how", [("-t", "visits", "--task", "regression"), ("-t", "visits", "--schema", "task.yaml"),
                                 ("--schema", "classes.yaml", "--task", "regression")], ids=" ".join)  # fmt: skip
def test_it_is_that_of_the_model(run: Any, files: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    """A schema may say the task alone; the command line wins over it."""
    asked = [files / word if word.endswith(".yaml") else word for word in how]
    done = run("fit", files / "mine.csv", *asked, *NETWORK, "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    assert load_model(tmp_path / "m").task == "regression"


def test_a_schema_is_written_with_it(run: Any, files: Path, tmp_path: Path) -> None:
    done = run("schema", files / "mine.csv", "-t", "visits", "--task", "regression", "--out", tmp_path / "s.yaml")
    assert done.exit_code == 0, done.stderr
    written = yaml.safe_load((tmp_path / "s.yaml").read_text(encoding="utf-8"))
    assert written["target"] == {"columns": ["visits"], "task": "regression"}


def test_a_task_without_a_target_is_no_target(run: Any, files: Path, tmp_path: Path) -> None:
    done = run("schema", files / "mine.csv", "--schema", files / "task.yaml")
    assert done.exit_code == 0, done.stderr
    done = run("fit", files / "mine.csv", "--task", "regression", "--out", tmp_path / "m")
    assert done.exit_code == 2
    assert "a column to predict must be named" in " ".join(done.stderr.split())


def test_shards_keep_it_and_streams_have_it(run: Any, files: Path, tmp_path: Path) -> None:
    asked = ("-t", "visits", "--task", "regression")
    done = run("shard", files / "mine.csv", *asked, "--out", tmp_path / "shards")
    assert done.exit_code == 0, done.stderr
    kept = kept_schema(tmp_path / "shards").target
    assert kept is not None
    assert kept.task == "regression"
    done = run("fit", files / "mine.csv", *asked, "--stream", "--epochs", 1, "--width", 8, "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    assert load_model(tmp_path / "m").task == "regression"


@pytest.mark.slow
def test_a_comparison_and_a_search_have_it(run: Any, files: Path, tmp_path: Path) -> None:
    asked = ("-t", "visits", "--task", "regression", "--epochs", 1, "--width", 8, "--jobs", 1)
    few = ("--seeds", 1, "--fusions", "gated", "--rounds", "none", "--no-retrain-without", "--no-refit")
    done = run("compare", files / "mine.csv", *asked, *few, "--questions", "none", "--out", tmp_path / "c")
    assert done.exit_code == 0, done.stderr
    assert "R²" in done.stdout
    done = run("tune", files / "mine.csv", *asked, "--trials", 1, "--fusion", "gated", "--out", tmp_path / "t")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("door", ["file", "frame", "frame and values", "dict"])
def test_every_door_of_python_takes_it(files: Path, door: str) -> None:
    frame = counts()
    y = frame.pop("visits")
    rows: dict[str, tuple[Any, Any]] = {
        "file": (files / "mine.csv", "visits"),
        "frame": (counts(), "visits"),
        "frame and values": (frame, y),
        "dict": ({"a": frame[["size"]].to_numpy(), "b": frame[["age"]].to_numpy()}, y),
    }
    with pytest.raises(DataError, match="every class must have at least two rows"):
        open_data(*rows[door])
    assert open_data(*rows[door], task="regression").dataset.task == "regression"


def test_what_it_cannot_go_with_is_told() -> None:
    with pytest.raises(ConfigError, match=r"task must be one of .*got task='numbers'"):
        open_data(counts(), "visits", task="numbers")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="task must not be given with the named data set 'synthetic'"):
        profuse.fit("synthetic", task="binary")
    given = profuse.from_tensors({"a": counts()[["size"]].to_numpy()}, counts()["age"])
    with pytest.raises(ConfigError, match="task must not be given with a Dataset"):
        open_data(given, task="regression")
    assert Schema(target={"task": "regression"}).target_columns == ()
