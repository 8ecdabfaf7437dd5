"""Fits to files that are read in pieces, which a test does in one process, and two do together: `main(FOLDER)`."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from profuse.data.table.database import DatabaseTable
from profuse.errors import ProfuseError
from profuse.models.options import ModelOptions
from profuse.models.solved import key_of
from profuse.schema import Schema
from profuse.streaming import fit as module
from profuse.streaming.fit import fit_streamed
from profuse.streaming.options import ShardOptions, StreamOptions
from profuse.streaming.shards import write_shards
from profuse.training.fitting import fit_model
from profuse.training.options import TrainOptions
from profuse.training.world import processes

N = 337  # 67 of them validate: the shares of two processes are not equal
PLAIN = ModelOptions(width=8, dropout=0.0, members=1, fusion="concat")
TRAIN = TrainOptions(epochs=3, batch_size=50, learning_rate=0.01, device="cpu", refit=False)
STREAM = StreamOptions(sample_rows=120, chunk_rows=60)


def table(n: int = N) -> pd.DataFrame:
    """Two vectors as lists, the second of which some rows lack, a number, and a target that no linear path tells."""
    rng = np.random.default_rng(0)
    a, b, c, there = rng.normal(size=(n, 4)), rng.normal(size=(n, 3)), rng.normal(size=n), rng.random(n) < 0.8
    y = 2 * np.abs(a).sum(1) + 2 * np.abs(b).sum(1) + c - 11
    return pd.DataFrame({
        "a": [json.dumps(row.round(4).tolist()) for row in a],
        "b": [json.dumps(row.round(4).tolist()) if known else None for row, known in zip(b, there, strict=True)],
        "c": c.round(4),
        "importance": 1 + np.arange(n) % 3,
        "y": y.round(4),
    })  # fmt: skip


SCHEMA = Schema(ignore=("importance",))
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "csv": ("rows.csv", {}),
    "parquet, weights, modality dropout": (
        "rows.parquet",
        {"schema": Schema(weight="importance"), "train": TRAIN.model_copy(update={"modality_dropout": 0.3})},
    ),
    "sqlite": ("rows.sqlite", {}),
    "shards, learned anew": ("shards", {"train": TRAIN.model_copy(update={"refit": True})}),
    "lines of JSON, all rows drawn": (
        "rows.jsonl",
        {"stream": StreamOptions(sample_rows=1000, chunk_rows=60), "model": PLAIN.model_copy(update={"fusion": "sum"})},
    ),
    "stacking, out of fold": (
        "rows.csv",
        {"model": PLAIN.model_copy(update={"level": "decision", "fusion": "stacking"})},
    ),
}


def write(folder: Path) -> None:
    """Writes the table in all ways; once with another target, and once with a cell that cannot be read.

    That cell is in no row that is drawn.
    """
    rows = table()
    rows.to_csv(folder / "rows.csv", index=False)
    rows.to_parquet(folder / "rows.parquet")
    rows.to_json(folder / "rows.jsonl", orient="records", lines=True)
    with sqlite3.connect(folder / "rows.sqlite") as made:
        rows.to_sql("numbers", made, index_label="nr")
    made.close()
    write_shards(folder / "rows.csv", folder / "shards", options=ShardOptions(rows_per_shard=100))
    rows.assign(y=rows["y"].replace(rows["y"].max(), 99.0)).to_csv(folder / "changed.csv", index=False)
    rows.loc[317, "a"] = "[1, 2, 3, oops]"
    rows.to_csv(folder / "bad.csv", index=False)


def source(folder: Path, name: str) -> Path | DatabaseTable:
    if name == "rows.sqlite":
        return DatabaseTable(f"sqlite:///{folder / name}", "select a, b, c, importance, y from numbers order by nr")
    return folder / name


class Steps:
    """What has been told of reading."""

    n = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        self.n += 1


def fitted(folder: Path, name: str, **others: Any) -> dict[str, Any]:
    """What a fit comes to: curves, weights, the best epoch; and how its process came by the rows."""
    path, options = CASES[name]
    steps = Steps()
    on_disk: list[bool] = []

    def watched(prepared: Any, *rest: Any, **more: Any) -> Any:
        on_disk.extend(bool(raw.values.untyped_storage().filename) for raw in prepared.inputs.values())
        return fit_model(prepared, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fit_model", watched)
        options = {"schema": SCHEMA, "model": PLAIN, "train": TRAIN, "stream": STREAM, **options, **others}
        options["stream"] = options["stream"].model_copy(update={"scratch": folder})
        made, notes = fit_streamed(source(folder, path), "y", progress=steps, **options)
    assert made.history is not None
    assert made.trained_on is not None
    curve = [[e.train_loss, e.valid_loss, e.valid_error, e.valid_score] for e in made.history.epochs]
    weights = torch.cat([x.flatten().double() for x in made.model.parameters()]).tolist()
    solved = key_of("", made.model.plain.linear_paths.buffers())
    return {
        "model": {"curve": curve, "weights": weights, "solved": solved, "best": made.history.best_epoch, "notes": notes,
                  "about": made.trained_on.model_dump(mode="json", exclude={"date"})},
        "reads": steps.n, "on_disk": on_disk,
        "left": sorted(p.name for p in folder.iterdir() if p.name.startswith("profuse-rows")),
    }  # fmt: skip


def failing(folder: Path, path: str, **others: Any) -> str:
    """The message of a fit that fails."""
    options: dict[str, Any] = {"schema": SCHEMA, "model": PLAIN, "train": TRAIN, "stream": STREAM, **others}
    try:
        with processes(device="cpu"):
            fit_streamed(folder / path, "y", **options)
    except ProfuseError as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    """Does all fits; leaves what each process got."""
    with processes(device="cpu") as these:
        got: dict[str, Any] = {name: fitted(folder, name) for name in CASES}
    (folder / f"{these.rank}.json").write_text(json.dumps(got))


def fail_by_a_cell(folder: Path) -> None:
    """A cell behind the rows that are drawn cannot be read."""
    message = failing(folder, "bad.csv")
    (folder / f"cell{os.environ['RANK']}.json").write_text(json.dumps(message))


def fail_by_disk(folder: Path) -> None:
    """The disk of the first process is full when it preprocesses rows."""

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if os.environ["RANK"] == "0":
        os.posix_fallocate = full
    message = failing(folder, "rows.csv")
    (folder / f"disk{os.environ['RANK']}.json").write_text(json.dumps(message))


def read_apart(folder: Path) -> None:
    """Each process is on a machine of its own, and then the second one's file is another."""
    message = ""
    try:
        with processes(device="cpu") as these:
            got = fitted(folder, "csv")
            path = folder / ("rows.csv" if these.first else "changed.csv")
            fit_streamed(path, "y", schema=SCHEMA, model=PLAIN, train=TRAIN, stream=STREAM)
    except ProfuseError as error:
        message = str(error)
    (folder / f"apart{these.rank}.json").write_text(json.dumps([got, message]))


def leave(folder: Path) -> None:
    """The second process leaves, as a caller that catches an error does, and the first one waits for it."""
    message = ""
    try:
        with processes(device="cpu") as these:
            if these.first:
                fit_streamed(folder / "rows.csv", "y", schema=SCHEMA, model=PLAIN, train=TRAIN, stream=STREAM)
    except ProfuseError as error:
        message = str(error)
    (folder / f"left{these.rank}.json").write_text(json.dumps(message))
