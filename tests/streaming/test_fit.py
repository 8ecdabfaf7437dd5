"""A fit to a file that is read in pieces is the fit to the same file read whole."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from profuse.data.table.database import DatabaseTable
from profuse.errors import ConfigError, DataError
from profuse.estimators.fusion import FusionClassifier
from profuse.inputs import open_data
from profuse.models.options import ModelOptions
from profuse.schema import Schema, SplitOptions
from profuse.streaming.fit import fit_streamed
from profuse.streaming.options import StreamOptions
from profuse.training import world
from profuse.training.options import TrainOptions
from profuse.training.world import World

TRAIN = TrainOptions(epochs=2, refit=False)
MODEL = ModelOptions(width=8)
WORDS = ["apple pie", "green tea with milk", "tea", "a long line of many words that goes on", "milk"]


def table(n: int = 260, seed: int = 0) -> pd.DataFrame:
    """Numbers with gaps, categories and codes, texts of unlike lengths, and three classes that they tell."""
    rng = np.random.default_rng(seed)
    size, kind, text = rng.normal(size=n), rng.choice(["red", "blue", "green"], n), rng.choice(WORDS, n)
    y = np.where(size + (kind == "red") + (text == "tea") > 0.5, "big", np.where(size < -0.5, "small", "middle"))
    frame = pd.DataFrame({"size": size, "age": rng.integers(1, 90, n), "kind": kind, "text": text, "y": y})
    frame.loc[rng.random(n) < 0.1, "size"] = np.nan
    frame.loc[rng.random(n) < 0.1, "text"] = None
    frame["text"] = [
        None if t is None or pd.isna(t) else f"{t} {i % 7} {'more ' * (i % 5)}".strip()
        for i, t in enumerate(frame["text"])
    ]
    frame["person"] = [f"p{i % 40}" for i in range(n)]
    frame["when"] = np.arange(n)[::-1] // 2
    frame["importance"] = 1 + np.arange(n) % 3
    frame["price"] = 3 * size + rng.normal(size=n)
    frame["code"] = np.array(["007", "07", "100"])[np.arange(n) % 3]  # words, and NA is one
    frame["answer"] = np.array(["NA", "yes", "no"])[np.arange(n) // 3 % 3]
    return frame


def write(frame: pd.DataFrame, folder: Path, suffix: str) -> Path:
    path = folder / f"rows{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    return path


CASES = {
    "rows by themselves": Schema(ignore=("person", "when", "importance", "price")),
    "groups": Schema(ignore=("when", "importance", "price"), split=SplitOptions(column="person")),
    "times": Schema(ignore=("person", "importance", "price"), split=SplitOptions(column="when", method="time")),
    "weights": Schema(ignore=("person", "when", "price"), weight="importance"),
}


@pytest.mark.parametrize(
    ("case", "suffix"),
    [
        ("groups", ".csv"),
        ("rows by themselves", ".parquet"),
        *[
            pytest.param(case, suffix, marks=pytest.mark.slow)
            for case, suffix in (("times", ".csv"), ("weights", ".parquet"))
        ],
    ],
)
def test_where_the_sample_is_all_rows_it_predicts_what_a_whole_read_does(
    case: str, suffix: str, tmp_path: Path
) -> None:
    path = write(table(), tmp_path, suffix)
    schema = CASES[case]
    streamed, _ = fit_streamed(
        path, "y", schema=schema, model=MODEL, train=TRAIN, stream=StreamOptions(chunk_rows=47, sample_rows=1000)
    )
    opened = open_data(path, "y", who="test", schema=schema)
    whole = FusionClassifier(epochs=2, width=8, refit=False, schema=opened.schema).fit(opened.dataset).predictor_
    new = table(50, seed=1)
    assert streamed.schema == opened.schema
    np.testing.assert_array_equal(
        streamed.predict_proba(streamed.read(new, who="test")), whole.predict_proba(whole.read(new, who="test"))
    )
    assert streamed.trained_on is not None
    assert streamed.trained_on.model_dump(exclude={"date"}) == whole.trained_on.model_dump(exclude={"date"})  # type: ignore[union-attr]


@pytest.mark.parametrize(("column", "value", "message"), [
    ("y", None, r"must be known in every row; missing in 1 row \(251; counted from 0\)"),
    ("importance", -1.0, r"must be finite numbers of at least 0; got -1 first, in 1 row \(251; counted from 0\)"),
])  # fmt: skip
def test_a_fault_is_told_by_its_place_in_the_file(
    column: str, value: float | None, message: str, tmp_path: Path
) -> None:
    frame = table()
    frame.loc[251, column] = value
    path = write(frame, tmp_path, ".csv")
    with pytest.raises(DataError, match=message):
        fit_streamed(path, "y", schema=CASES["weights"], stream=StreamOptions(sample_rows=100, chunk_rows=50))


def test_a_fault_in_the_sample_is_told_by_its_place_in_the_file(tmp_path: Path) -> None:
    frame = table()
    frame["photo"] = [None] * 40 + [f"{i}.png" for i in range(40, len(frame))]
    with pytest.raises(DataError, match=r"column 'photo'") as caught:
        fit_streamed(write(frame, tmp_path, ".csv"), "y", stream=StreamOptions(sample_rows=100, chunk_rows=50))
    match = re.match(r"row (\d+) \(counted from 0\).* got '(\d+)\.png'", str(caught.value))
    assert match is not None
    assert match[1] == match[2]


def test_the_sample_is_no_draw_of_the_validation_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(500, 3)), columns=["a", "b", "y"])
    fitted, notes = fit_streamed(
        write(frame, tmp_path, ".csv"), "y", model=MODEL, train=TRAIN, stream=StreamOptions(sample_rows=100)
    )
    assert (
        "learned from 100 rows, drawn from 500; the network from all of them but 100 that chose its epoch" in notes[-1]
    )
    assert (
        fitted.trained_on is not None
    )  # with a draw of the same seed no drawn row is a training row, and nothing fits


@pytest.mark.slow
def test_the_network_learns_from_rows_that_the_sample_has_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1500, 16)), columns=[f"x{i}" for i in range(16)])
    frame["y"] = sum(frame[f"x{i}"] * frame[f"x{i + 8}"] for i in range(8))
    rest = frame[1200:]
    path = write(frame[:1200], tmp_path, ".parquet")

    def score(n_sampled: int, epochs: int) -> float:
        fitted, notes = fit_streamed(
            path, "y", model=MODEL, train=TrainOptions(epochs=epochs, learning_rate=0.01, refit=False),
            stream=StreamOptions(sample_rows=n_sampled),
        )  # fmt: skip
        assert any(f"learned from {n_sampled:,} rows, drawn from 1,200;" in note for note in notes)
        assert fitted.trained_on is not None
        assert fitted.history is not None
        assert (fitted.trained_on.n_rows, fitted.history.n_train_rows) == (1200, 960)
        return float(1 - ((fitted.predict(fitted.read(rest, who="test")) - rest["y"]) ** 2).mean() / rest["y"].var())

    assert score(100, 25) > score(100, 1) + 0.2


def test_categories_that_only_rows_beyond_the_sample_have_are_unseen_and_are_told(tmp_path: Path) -> None:
    frame = table(400)
    frame["kind"] = np.where(np.arange(400) % 2 == 0, "even", "odd")
    frame.loc[[3, 77], "kind"] = "rare"
    _, notes = fit_streamed(
        write(frame, tmp_path, ".csv"), "y", schema=CASES["rows by themselves"], model=MODEL, train=TRAIN,
        stream=StreamOptions(sample_rows=100),
    )  # fmt: skip
    assert [n for n in notes if "'kind'" in n and "'rare'" in n and "They count as unseen" in n]


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """The URL of a DuckDB database, beside two Parquet files with halves of its table."""
    duckdb = pytest.importorskip("duckdb")
    frame = table().reset_index(names="nr")
    (tmp_path / "parts").mkdir()
    frame[:100].to_parquet(tmp_path / "parts" / "a.parquet")
    frame[100:].to_parquet(tmp_path / "parts" / "b.parquet")
    with duckdb.connect(str(tmp_path / "shop.db")) as made:
        made.sql(f"create table sales as select * from '{tmp_path}/parts/*.parquet'")
    return f"duckdb:///{tmp_path}/shop.db"


@pytest.mark.parametrize("rows", ["sales", "'{folder}/parts/*.parquet'"])
def test_rows_of_a_database_are_those_of_a_file(rows: str, shop: str, tmp_path: Path) -> None:
    schema = Schema(ignore=("person", "when", "importance", "price", "nr"))
    query = f"select * from {rows.format(folder=tmp_path)} order by nr"
    options = {"schema": schema, "model": MODEL, "train": TRAIN, "stream": StreamOptions(chunk_rows=60)}
    streamed, _ = fit_streamed(DatabaseTable(shop, query), "y", **options)  # type: ignore[arg-type]
    path = write(table().reset_index(names="nr"), tmp_path, ".parquet")
    wanted, _ = fit_streamed(path, "y", **options)  # type: ignore[arg-type]
    new = table(50, seed=1).reset_index(names="nr")
    np.testing.assert_array_equal(
        streamed.predict_proba(streamed.read(new, who="test")), wanted.predict_proba(wanted.read(new, who="test"))
    )


def test_rows_that_come_in_another_order_are_an_error_before_training(shop: str) -> None:
    with pytest.raises(DataError, match="each read must give the same rows in the same order; got others.*ORDER BY"):
        fit_streamed(DatabaseTable(shop, "select * from sales order by random()"), "y", schema=CASES["weights"])


def test_a_class_that_the_sample_hardly_has_is_a_class_all_the_same(tmp_path: Path) -> None:
    frame = table(2000)
    frame["y"] = "no"
    frame.loc[[3, 500, 900, 1400, 1999], "y"] = ["rare", "rare", "rare", "yes", "yes"]
    fitted, _ = fit_streamed(
        write(frame, tmp_path, ".csv"), "y", schema=CASES["rows by themselves"], model=MODEL, train=TRAIN,
        stream=StreamOptions(sample_rows=100),
    )  # fmt: skip
    assert list(fitted.classes) == ["no", "rare", "yes"]


def test_numbers_of_the_target_that_people_wrote_are_read_as_in_a_whole_read(tmp_path: Path) -> None:
    frame = table(300)
    frame["y"] = [f"{1000 + i},{i % 10}0 EUR" for i in range(300)]
    path = write(frame, tmp_path, ".csv")
    schema = CASES["rows by themselves"]
    streamed, _ = fit_streamed(path, "y", schema=schema, model=MODEL, train=TRAIN)
    opened = open_data(path, "y", who="test", schema=schema)
    assert streamed.schema == opened.schema
    assert streamed.task == "regression"


def test_a_split_that_leaves_no_drawn_row_to_learn_from_is_told_so(tmp_path: Path) -> None:
    frame = table(3000)
    frame["person"] = np.where(np.arange(3000) < 4, "few", "many")
    frame.loc[:3, "y"] = ["big", "small", "middle", "big"]
    with pytest.raises(DataError, match=r"one at least of 100 rows that were drawn must be a training row; none is"):
        fit_streamed(
            write(frame, tmp_path, ".csv"), "y", schema=CASES["groups"], model=MODEL,
            train=TRAIN.model_copy(update={"seed": 3}), stream=StreamOptions(sample_rows=100),
        )  # fmt: skip


def test_what_several_processes_cannot_share_is_refused_before_rows_are_preprocessed(tmp_path: Path) -> None:
    read: list[str] = []
    token = world._WORLD.set(World(0, 2))
    try:
        with pytest.raises(ConfigError, match="got 2 processes, and Contrastive compares the rows of a batch"):
            fit_streamed(
                write(table(), tmp_path, ".csv"), "y", schema=CASES["rows by themselves"], train=TRAIN,
                model=MODEL.model_copy(update={"fusion": "contrastive"}),
                progress=lambda what, done, total: read.append(what),
            )  # fmt: skip
    finally:
        world._WORLD.reset(token)
    assert set(read) == {"types of columns", "targets read"}
