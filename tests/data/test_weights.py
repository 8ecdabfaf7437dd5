"""Weights of rows: through which doors they come, what they must be, and that they stay with their rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import opened

from profuse.data.dataset import Dataset
from profuse.data.table.infer import infer
from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_frame, from_tensors
from profuse.errors import ConfigError, DataError
from profuse.imputation import Imputer
from profuse.inputs import open_data, without_test_rows
from profuse.retrieval import Retriever
from profuse.schema import Schema

N = 40
W = np.random.default_rng(1).choice([0.0, 0.5, 1.0, 3.25], N)
SCHEMA: dict[str, Any] = {"target": {"columns": ["y"]}, "weight": "w"}


def frame(**columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    made = {"a": rng.normal(size=N), "b": rng.normal(size=N), "w": W, "y": np.arange(N) % 2}
    return pd.DataFrame(made | columns)


def weights_of(dataset: Dataset) -> np.ndarray:
    assert dataset.weights is not None
    return dataset.weights


class TestDoors:
    def test_a_column_says_them_and_is_no_input(self) -> None:
        dataset, schema = opened(frame(), schema=SCHEMA)
        np.testing.assert_array_equal(weights_of(dataset), W)
        assert list(dataset.modalities["table"].values) == ["a", "b"]
        assert schema.weight == "w"
        reasons = {r.column: r.kind for r in infer(frame(), Schema(target={"columns": ["y"]}, weight="w")).reasons}
        assert reasons["w"] == "weight"

    def test_a_resolved_schema_reads_the_same_again(self) -> None:
        dataset, schema = opened(frame(), schema=SCHEMA)
        again, twice = opened(frame(), schema=schema)
        assert again.digest() == dataset.digest()
        assert twice == schema

    @pytest.mark.parametrize("suffix", ["csv", "jsonl"])
    def test_of_a_file_by_argument_or_schema(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"mine.{suffix}"
        frame().to_csv(path, index=False) if suffix == "csv" else frame().to_json(path, orient="records", lines=True)
        (tmp_path / "s.yaml").write_text("target: {columns: [y]}\nweight: w\n", encoding="utf-8")
        for found in (open_data(path, "y", weight="w"), open_data(path, schema=tmp_path / "s.yaml")):
            np.testing.assert_allclose(weights_of(found.dataset), W)

    def test_the_argument_wins_over_the_schema(self) -> None:
        found = open_data(frame(v=1.0), "y", schema={"weight": "w", "ignore": ["w"][:0]}, weight="v")
        np.testing.assert_array_equal(weights_of(found.dataset), np.ones(N))

    @pytest.mark.parametrize("kind", [np.asarray, list, pd.Series])
    def test_of_arrays(self, kind: Any) -> None:
        one = open_data({"a": frame()[["a"]].to_numpy()}, frame().y, weight=kind(W))
        two = open_data(frame().drop(columns="w"), "y", weight=kind(W))
        three = open_data(frame().drop(columns=["w", "y"]), frame().y, weight=kind(W))
        four = open_data(frame().drop(columns="y"), frame().y, weight="w")
        for found in (one, two, three, four):
            np.testing.assert_array_equal(weights_of(found.dataset), W)
            assert "w" not in found.dataset.modalities.get("table", found.dataset.modalities.get("a")).values  # type: ignore[union-attr]
        np.testing.assert_array_equal(weights_of(from_tensors({"a": W[:, None]}, W, weights=kind(W))), W)

    def test_numbers_may_be_written_as_people_do(self) -> None:
        words = [f"{w:.2f}".replace(".", ",") for w in W]
        np.testing.assert_array_equal(weights_of(opened(frame(w=words), schema=SCHEMA)[0]), W)

    def test_a_test_file_needs_none(self, tmp_path: Path) -> None:
        frame().to_csv(tmp_path / "train.csv", index=False)
        frame(w="rubbish").to_csv(tmp_path / "rubbish.csv", index=False)
        frame().drop(columns="w").to_csv(tmp_path / "none.csv", index=False)
        for name in ("rubbish", "none"):
            dataset = open_data(tmp_path / "train.csv", "y", weight="w", test=tmp_path / f"{name}.csv").dataset
            np.testing.assert_array_equal(weights_of(dataset)[:N], W)
            np.testing.assert_array_equal(weights_of(without_test_rows(dataset)), W)

    @pytest.mark.parametrize("new", [frame().drop(columns="w"), frame(w="rubbish")], ids=["without", "other"])
    def test_new_rows_need_none_and_nothing_is_told_of_theirs(self, new: pd.DataFrame) -> None:
        reader, _ = TableReader.fit(frame(), SCHEMA)
        read = reader.read(new, need_target=True)
        assert read.weights is None
        assert read.notes == ()
        assert list(read.modalities["table"].values) == ["a", "b"]


class TestRows:
    def test_they_stay_with_their_rows(self) -> None:
        order = np.random.default_rng(2).permutation(N)
        shuffled = frame().iloc[order]
        assert shuffled.index[0] != 0
        dataset = open_data(shuffled, "y", weight="w").dataset
        np.testing.assert_array_equal(weights_of(dataset), W[order])
        np.testing.assert_array_equal(weights_of(dataset.rows(np.array([3, 1]))), W[order][[3, 1]])
        np.testing.assert_array_equal(weights_of(dataset.select(["table"])), W[order])

    def test_data_with_other_weights_are_other_data(self) -> None:
        plain = from_tensors({"a": W[:, None]}, W)
        one, two = (replace(plain, weights=w) for w in (W, W + 1))
        assert len({plain.digest(), one.digest(), two.digest()}) == 3


class TestFaults:
    @pytest.mark.parametrize(
        ("cells", "message"),
        [
            (["heavy" if i == 3 else 1.5 for i in range(N)], r"numbers; got 'heavy' in 1 row \(3; counted from 0\)"),
            (np.where(np.arange(N) == 3, np.nan, 1.0), r"stand in every row; empty in 1 row \(3; counted from 0\)"),
            (np.where(np.arange(N) % 20 == 3, -2.0, 1.0), r"at least 0; got -2 first, in 2 rows \(3, 23; counted"),
        ],
    )
    def test_file_column_and_row_are_told(self, tmp_path: Path, cells: Any, message: str) -> None:
        path = tmp_path / "mine.csv"
        frame(w=cells).to_csv(path, index=False)
        with pytest.raises(DataError, match=rf"mine\.csv: weights in column 'w' must .*{message}"):
            open_data(path, "y", weight="w")

    @pytest.mark.parametrize(
        ("schema", "message"),
        [
            ({"weight": "weigth"}, "weight: no column 'weigth' in the table"),
            ({"weight": "y"}, "weight: 'y' is the target"),
            ({"weight": "a", "ignore": ["a"]}, "ignore: 'a' is the weight of rows"),
            ({"weight": "a", "id": "a"}, "id: 'a' is the weight of rows"),
            ({"weight": "a", "split": {"column": "a"}}, "split.column: 'a' is the weight of rows"),
            (
                {"weight": "a", "modalities": {"m": {"columns": ["a", "b"]}}},
                "'a' is the weight of rows, which is no in",
            ),
        ],
    )
    def test_a_column_that_cannot_be_it_is_told(self, schema: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            opened(frame(), schema={"target": {"columns": ["y"]}, **schema})

    @pytest.mark.parametrize(
        ("weights", "message"),
        [
            (W[:-1], "compare: weight must be one number for each of 40 rows; got shape"),
            (-W - 1, "compare: weight must be finite numbers of at least 0"),
            (["heavy"] * N, "compare: weight must be one number for each of 40 rows"),
        ],
    )
    def test_of_arrays_too(self, weights: Any, message: str) -> None:
        for data in ({"a": frame()[["a"]].to_numpy()}, frame()[["a", "b"]]):
            with pytest.raises(DataError, match=message):
                open_data(data, frame().y, weight=weights)
        with pytest.raises(DataError, match="must be|all parts must have one entry a row"):
            from_tensors({"a": W[:, None]}, W, weights=weights)

    def test_what_is_given_twice_or_where_it_does_not_belong_is_told(self, tmp_path: Path) -> None:
        frame().to_csv(tmp_path / "mine.csv", index=False)
        with pytest.raises(ConfigError, match="compare: weight must name a column of the file; got ndarray"):
            open_data(tmp_path / "mine.csv", "y", weight=W)
        with pytest.raises(
            ConfigError, match="weights of rows must be given once; got weight beside those of the data"
        ):
            open_data(frame(), "y", schema={"weight": "w"}, weight=W)
        with pytest.raises(ConfigError, match="weight must not be given with a Dataset"):
            open_data(from_tensors({"a": W[:, None]}, W), weight=W)
        with pytest.raises(ConfigError, match="weight must not be given with the named data set"):
            open_data("synthetic", weight="w")
        with pytest.raises(DataError, match="weight must hold the values, one a row, with a dict of arrays; got 'w'"):
            open_data({"a": W[:, None]}, W, weight="w")

    def test_another_order_of_labels_is_told(self) -> None:
        with pytest.raises(DataError, match="X and weight must be in the same order"):
            open_data(frame()[["a", "b"]], frame().y, weight=pd.Series(W, index=np.arange(N)[::-1]))

    def test_a_frame_beside_its_target_has_the_column_of_its_schema(self) -> None:
        dataset, schema = from_frame(frame().drop(columns="y"), frame().y, schema=Schema(weight="w"))
        np.testing.assert_array_equal(weights_of(dataset), W)
        assert schema.weight == "w"


class TestOthers:
    """What has no use for weights leaves them be."""

    def test_an_imputer_keeps_the_column(self) -> None:
        table = frame(b=2 * frame()["a"]).drop(columns="y")
        table.loc[3, "a"] = np.nan
        schema = {"weight": "w", "modalities": {"left": {"columns": ["a"]}, "right": {"columns": ["b"]}}}
        filled = Imputer("left", schema=schema, epochs=1).fit(table).transform(table)
        np.testing.assert_array_equal(filled["w"], W)
        assert filled["a"].notna().all()

    def test_a_retriever_learns_without(self) -> None:
        rng = np.random.default_rng(0)
        table = pd.DataFrame(rng.normal(size=(60, 16)), columns=[f"{k}_{i}" for k in "ab" for i in range(8)])
        finder = Retriever(schema={"weight": "w"}, epochs=1).fit(table.assign(w=1.0))
        assert finder.index(table, "a").search(table[:2], "b", k=3).ids.shape == (2, 3)
