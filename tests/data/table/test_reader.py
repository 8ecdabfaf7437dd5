"""One door for tables: what is decided of the first one holds for every later one, and nothing is done twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from not_none import not_none
from tables import opened

from profuse.comparison.compare import compare
from profuse.data.new_rows import read_new_rows
from profuse.data.pipeline import Pipeline
from profuse.data.table import infer as inferring
from profuse.data.table import reader as reading
from profuse.data.table.reader import TableReader, look
from profuse.errors import ConfigError, DataError
from profuse.inputs import open_data, training_data
from profuse.retrieval.reading import paired
from profuse.schema import Schema

N = 24


def homes(n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(n)
    return pd.DataFrame(
        {
            "price": [f"{i}.{i * 7 % 1000:03d},50" for i in range(1, n + 1)],
            "zone": [f"{i % 5:02d}" for i in range(n)],
            "area": rng.normal(size=n).round(3),
            "built": [f"{1 + i % 28:02d}.{1 + i % 12:02d}.20{i % 9:02d}" for i in range(n)],
            "kind": [["flat", "NA", None][i % 3] for i in range(n)],
            "y": ["p", "q"] * (n // 2),
        }
    )


def same(one: Any, other: Any) -> bool:
    """Whether two data sets hold the same inputs."""
    return bool(one.modalities["table"].values.equals(other.modalities["table"].values))


@pytest.mark.parametrize("door", ["frame", "file"])
@pytest.mark.parametrize("rows", [slice(None), slice(3, 4)])
def test_later_rows_are_read_as_the_first_ones_from_the_saved_schema_alone(
    tmp_path: Path, door: str, rows: slice
) -> None:
    homes().to_csv(tmp_path / "homes.csv", index=False)
    reader, first = TableReader.fit(tmp_path / "homes.csv", target="y")
    again = TableReader(Schema.model_validate(reader.schema.model_dump(mode="json")))
    homes().iloc[rows].to_csv(tmp_path / "later.csv", index=False)
    later = again.read(tmp_path / "later.csv" if door == "file" else homes().iloc[rows], need_target=True)
    assert same(later, first.rows(np.arange(N)[rows]))
    assert not_none(later.target).tolist() == not_none(first.target)[rows].tolist()
    assert later.target_names == first.target_names


def test_sounds_of_later_rows_have_the_rate_of_the_first(tmp_path: Path) -> None:
    for i in range(8):
        soundfile.write(tmp_path / f"{i}.wav", np.sin(np.arange(800) * (1 + i)), 8000)
    soundfile.write(tmp_path / "later.wav", np.sin(np.arange(1600)), 16000)
    frame = pd.DataFrame({"sound": [f"{i}.wav" for i in range(8)], "y": [0, 1] * 4})
    reader, _ = TableReader.fit(frame, target="y", base_dir=tmp_path)
    data = reader.read(pd.DataFrame({"sound": ["later.wav"]})).modalities["sound"]
    assert (data.rate, len(data.values[0])) == (8000, 800)


def test_an_array_has_the_columns_of_the_first_table_in_their_order() -> None:
    values = np.random.default_rng(0).normal(size=(N, 3))
    reader, first = TableReader.fit(values, with_target=False)
    assert same(reader.read(values), first)
    with pytest.raises(DataError, match="Forest: rows must have the 3 columns of training, in their order; got 2"):
        reader.read(values[:, :2], name="Forest")
    with pytest.raises(DataError, match=r"a file, a DataFrame or a 2-D array; got ndarray\(24,\)"):
        reader.read(values[:, 0])


def test_no_step_is_done_twice_on_the_way_to_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes().to_csv(tmp_path / "homes.csv", index=False)
    calls: Counter[str] = Counter()
    for module in (reading, inferring):
        for name in ("infer", "plain_names", "read_target", "target_cells", "assemble", "read_training_table"):
            if (step := getattr(module, name, None)) is not None and callable(step):

                def counted(*args: Any, _name: str = name, _step: Any = step, **options: Any) -> Any:
                    calls[_name] += 1
                    return _step(*args, **options)

                monkeypatch.setattr(module, name, counted)
    open_data(tmp_path / "homes.csv", "y")
    assert dict(calls) == dict.fromkeys(
        ("read_training_table", "infer", "plain_names", "target_cells", "read_target", "assemble"), 1
    )


def test_look_decides_what_fit_decides(tmp_path: Path) -> None:
    homes().to_csv(tmp_path / "homes.csv", index=False)
    found = look(tmp_path / "homes.csv", target="y")
    assert found.schema == opened(tmp_path / "homes.csv", target="y")[1]
    assert {r.column for r in found.reasons} == set(homes())


DOORS = {
    "reader": lambda frame, schema: TableReader.fit(frame, schema, target="y"),
    "compare": lambda frame, schema: compare(frame, "y", schema=schema),
    "look": lambda frame, schema: look(frame, schema, target="y"),
    "left out": lambda frame, schema: TableReader.fit(frame, schema, target="y", with_target=False),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_target_is_named_once_through_every_door(door: str) -> None:
    with pytest.raises(ConfigError, match=r"target: it must be named once; got \['y'\] and, in the schema, \['kind'\]"):
        DOORS[door](homes(), {"target": {"columns": ["kind"]}})


def test_a_table_without_a_target_says_which_columns_it_has() -> None:
    with pytest.raises(
        ConfigError, match=r"a column to predict must be named; got none. Name one of .*'price', 'zone'"
    ):
        TableReader.fit(homes())


def test_a_target_that_is_left_out_is_neither_input_nor_read() -> None:
    for dataset, schema in (
        opened(homes(), target="y", with_target=False),
        paired(homes(), {"target": {"columns": ["y"]}}),
        opened(homes().assign(y=1), target="y", with_target=False),  # it could not be learned
    ):
        assert dataset.target is None
        assert schema is not None
        assert schema.target is None
        assert "y" in schema.ignore
        assert "y" not in dataset.modalities["table"].values


def test_a_target_beside_a_table_is_no_input_where_the_schema_names_it() -> None:
    schema = {"target": {"columns": ["y"]}}
    dataset = open_data(homes(), homes()["y"], schema=schema).dataset
    assert "y" not in dataset.modalities["table"].values
    again, _ = training_data(homes(), homes()["y"], Schema.model_validate(schema), who="Forest")
    assert same(dataset, again)
    assert not_none(dataset.target).tolist() == not_none(again.target).tolist()


@pytest.mark.parametrize(("options", "message"), [
    ({"on_bad_file": "hide"}, "on_bad_file must be 'raise' or 'skip'; got on_bad_file='hide'"),
    ({"base_dir": 3}, "base_dir must be a path; got base_dir=3"),
])  # fmt: skip
@pytest.mark.parametrize("who", ["TableReader", "compare"])
def test_how_files_are_read_is_checked_by_who_asks(options: dict[str, Any], message: str, who: str) -> None:
    with pytest.raises(ConfigError, match=f"{who}: {message}"):
        TableReader.fit(homes(), target="y", **options) if who == "TableReader" else open_data(homes(), "y", **options)


def test_a_fault_of_the_test_file_names_it(tmp_path: Path) -> None:
    homes().to_csv(tmp_path / "homes.csv", index=False)
    homes().assign(y="new").to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match="test file test.csv: target: every class must occur in the training table"):
        TableReader.fit(tmp_path / "homes.csv", target="y", test=tmp_path / "test.csv")


def test_a_table_among_arrays_means_what_it_meant_in_training() -> None:
    reader, first = TableReader.fit(homes(), target="y")
    pipeline = Pipeline.fit(first, np.arange(N))
    inputs = homes().drop(columns="y").assign(area=["NA", *homes()["area"][1:].astype(str)])
    first = reader.read(inputs)
    assert np.isnan(first.modalities["table"].values["area"][0])
    later = read_new_rows({"table": inputs}, pipeline, reader.schema, who="Forest")
    assert same(later, first)
    alike = read_new_rows(inputs, pipeline, reader.schema, who="Forest")
    assert same(later, alike)


def test_new_categories_are_told_through_every_door(tmp_path: Path) -> None:
    reader, first = TableReader.fit(homes(), target="y")
    pipeline = Pipeline.fit(first, np.arange(N))
    rows = homes().assign(zone=["77", *homes()["zone"][1:]])
    rows.to_csv(tmp_path / "later.csv", index=False)
    for later in (rows, tmp_path / "later.csv", {"table": rows.drop(columns="y")}, opened(rows, target="y")[0]):
        notes = read_new_rows(later, pipeline, reader.schema, who="Forest").notes
        assert sum("1 of 24 filled cells hold categories that training has not seen: '77'" in n for n in notes) == 1
