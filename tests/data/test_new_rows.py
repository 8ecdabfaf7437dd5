"""New rows are read as those of training, whatever they would mean alone, through every door."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from not_none import not_none
from PIL import Image

from profuse.data.dataset import Dataset
from profuse.data.new_rows import read_new_rows
from profuse.data.pipeline import Pipeline
from profuse.data.table import reader as reading
from profuse.data.table.reader import TableReader
from profuse.data.target import TargetCodec
from profuse.errors import DataError
from profuse.inputs import training_data
from profuse.kinds import pairs_of
from profuse.schema import Schema

N = 12
NAN = float("nan")
DAYS = [f"{13 + i}.{1 + i:02d}.2021" for i in range(N)]

Fitted = tuple[Dataset, Pipeline, Schema, TargetCodec]


def written(folder: Path, frame: pd.DataFrame, name: str = "table.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def pictures(folder: Path) -> None:
    for i in range(N):
        Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) * (i + 1)).save(folder / f"{i}.png")


def fitted(table: Path | pd.DataFrame, schema: dict[str, Any] | None = None, *, base_dir: Path | None = None) -> Fitted:
    """Reads and learns, as every door does, and keeps the schema as a saved model does."""
    reader, dataset = TableReader.fit(table, schema, target="y", base_dir=base_dir)
    codec = TargetCodec.fit(not_none(dataset.target), dataset.task, names=dataset.target_names)
    kept = Schema.model_validate(reader.schema.model_dump(mode="json"))
    return dataset, Pipeline.fit(dataset, np.arange(len(dataset))), kept, codec


MEANINGS: dict[str, tuple[list[str], dict[str, Any], list[str], list[Any]]] = {
    # name: cells of training, schema, later cells, what these are
    "doubtful words among numbers": (
        [f"{i}.5" for i in range(N)], {}, ["NA", "None", "null", "2.5"], [NAN, NAN, NAN, 2.5],
    ),
    "doubtful words among times": (
        [f"2021-03-{i + 1:02d}" for i in range(N)], {},
        ["NA", "None", "n/a", "2021-03-04"], [pd.NaT, pd.NaT, pd.NaT, pd.Timestamp("2021-03-04")],
    ),
    "doubtful words among words": (
        ["NA", "None", "null", "flat"] * 3, {}, ["NA", "None", "null", "flat"], ["NA", "None", "null", "flat"],
    ),
    "doubtful words that the schema calls missing": (
        ["NA", "None", "null", "flat"] * 3, {"missing": {"x": ["NA", "null"]}},
        ["NA", "None", "null", "flat"], [None, "None", None, "flat"],
    ),
    "numbers that the schema calls missing": (
        [f"{i}" for i in range(N - 1)] + ["-999"], {"missing": {"x": [-999]}, "columns": {"x": "numeric"}},
        ["-999", "1", "2", "3"], [NAN, 1, 2, 3],
    ),
    "a decimal comma": (
        [f"{i + 1}.{i:03d},50" for i in range(N)], {}, ["1.234,50", "2,5", "1.234", "7"], [1234.5, 2.5, 1234, 7],
    ),
    "points of thousands that the schema tells": (
        [f"{i + 1}.{i:03d}" for i in range(N)], {"numbers": {"x": "1.234,5"}},
        ["1.234", "2.500", "1.000", "7"], [1234, 2500, 1000, 7],
    ),
    "days before months": (
        DAYS, {}, ["03.04.2021", "01.02.2021", "05.06.2021", "07.08.2021"],
        [pd.Timestamp(f"2021-{m}") for m in ("04-03", "02-01", "06-05", "08-07")],
    ),
    "months before days that the schema tells": (
        [f"{1 + i:02d}/{1 + i:02d}/2021" for i in range(N)], {"dates": {"x": "month/day/year"}},
        ["03/04/2021", "01/02/2021", "05/06/2021", "07/08/2021"],
        [pd.Timestamp(f"2021-{m}") for m in ("03-04", "01-02", "05-06", "07-08")],
    ),
    "minutes before seconds": (
        [f"{i}:30" for i in range(N)], {"dates": {"x": "minutes:seconds"}},
        ["1:30", "0:10", "2:00", "3:05"], [90, 10, 120, 185],
    ),
    "spellings that are merged": (
        ["Yes ", "no", "YES", "No"] * 3, {"merge_spellings": ["x"]},
        [" YES", "NO", "yes", "no "], ["yes", "no", "yes", "no"],
    ),
    "codes": (["01", "02", "10", "11"] * 3, {}, ["10", "11", "10", "11"], ["10", "11", "10", "11"]),
    "codes that look like fractions": (
        ["1.10", "1.1", "2.0", "2"] * 3, {"columns": {"x": "category"}},
        ["1.10", "1.1", "2.0", "2"], ["1.10", "1.1", "2.0", "2"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("door", ["frame", "file", "columns in another order", "dict"])
@pytest.mark.parametrize("meaning", MEANINGS)
def test_later_cells_mean_what_they_meant_in_training(tmp_path: Path, meaning: str, door: str) -> None:
    cells, schema, later, expected = MEANINGS[meaning]
    frame = pd.DataFrame({"x": cells, "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    _, pipeline, kept, _ = fitted(written(tmp_path, frame), schema)
    rows = pd.DataFrame({"x": later, "area": np.arange(4) / 7})
    given = {
        "frame": rows,
        "file": written(tmp_path, rows, "later.csv"),
        "columns in another order": rows[["area", "x"]],
        "dict": {"table": rows},
    }[door]
    data = read_new_rows(given, pipeline, kept, who="Forest")
    found = data.modalities["table"].values
    assert list(found) == ["x", "area"]
    pd.testing.assert_series_equal(
        found["x"], pd.Series(expected), check_dtype=False, check_names=False, check_exact=True
    )
    assert data.notes == ()


FIRST = {
    "numbers": ([f"{i}.5" for i in range(N - 2)] + ["NA", "null"], {}, ["NA", "null"]),
    "times": ([f"2021-03-{i + 1:02d}" for i in range(N - 2)] + ["None", "n/a"], {}, ["None", "n/a"]),
    "words": (["a", "b", "NA", "None"] * 3, {}, []),
    "words that are missing in the schema": (["a", "b", "NA", "None"] * 3, {"missing": {"x": ["NA"]}}, ["NA"]),
}


@pytest.mark.parametrize("door", ["frame", "file"])
@pytest.mark.parametrize("what", FIRST)
def test_doubtful_words_of_the_first_table_are_missing_where_words_cannot_stand(
    tmp_path: Path, what: str, door: str
) -> None:
    cells, schema, missing = FIRST[what]
    frame = pd.DataFrame({"x": cells, "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    dataset = fitted(written(tmp_path, frame) if door == "file" else frame, schema)[0]
    assert dataset.modalities["table"].values["x"].isna().tolist() == [c in missing for c in cells]
    assert not any("hold no" in note for note in dataset.notes)


@pytest.mark.parametrize("door", ["frame", "file"])
@pytest.mark.parametrize("word", ["NA", "None", "null"])
@pytest.mark.parametrize("kind", ["lists", "files", "text"])
def test_doubtful_words_are_text_but_no_list_and_no_file(tmp_path: Path, kind: str, word: str, door: str) -> None:
    pictures(tmp_path)
    cells = {
        "lists": [str([i / 3, i + 1.0, 2.0]) for i in range(N)],
        "files": [f"{i}.png" for i in range(N)],
        "text": [f"a long sentence about the house number {i} of the street" for i in range(N)],
    }[kind]
    frame = pd.DataFrame({"x": cells, "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    _, pipeline, kept, _ = fitted(written(tmp_path, frame))
    rows = pd.DataFrame({"x": [word, cells[3]], "area": [0.5, 0.1]})
    given = written(tmp_path, rows, "later.csv") if door == "file" else rows
    data = read_new_rows(given, pipeline, kept, base_dir=tmp_path, who="Forest")
    assert data.modalities["x"].present.tolist() == [kind == "text", True]
    assert data.notes == ()


@pytest.mark.parametrize("named", ["as in training", "otherwise"])
@pytest.mark.parametrize("labels", [["01", "02", "1.0"], ["1e1", "10", "10.0"], ["True", "no", "1"]])
def test_labels_that_were_text_are_text_in_every_file(tmp_path: Path, labels: list[str], named: str) -> None:
    frame = pd.DataFrame({"area": np.arange(N) / 7, "y": labels * (N // 3)})
    _, pipeline, kept, codec = fitted(frame)
    only = frame.assign(y=[labels[i % 2 * 2] for i in range(N)])  # alone they could be numbers
    column = "y" if named == "as in training" else "label"
    path = written(tmp_path, only.rename(columns={"y": column}))
    data = read_new_rows(path, pipeline, kept, codec, need_target=True, target=column, who="evaluate")
    assert codec.classes[codec.encode(not_none(data.target))].tolist() == only["y"].tolist()


@pytest.mark.parametrize("labels", [["01", "02", "1.0"], ["NA", "b", "None"]])
def test_labels_that_stood_beside_a_frame_are_text_in_every_file(tmp_path: Path, labels: list[str]) -> None:
    frame = pd.DataFrame({"area": np.arange(N) / 7, "other": ["p", "q"] * (N // 2)})
    y = np.array(labels * (N // 3), dtype=object)
    dataset, schema = training_data(frame, y, Schema(), who="Forest")
    codec = TargetCodec.fit(not_none(dataset.target), dataset.task)
    pipeline = Pipeline.fit(dataset, np.arange(N))
    path = written(tmp_path, frame.assign(label=y))
    data = read_new_rows(path, pipeline, schema, codec, need_target=True, target="label", who="evaluate")
    assert codec.classes[codec.encode(not_none(data.target))].tolist() == y.tolist()


@pytest.mark.parametrize("door", ["frame", "file", "dict"])
def test_pictures_of_later_rows_have_the_levels_of_training(tmp_path: Path, door: str) -> None:
    rng = np.random.default_rng(0)
    for i in range(N):
        pixels = rng.integers(1000, 5000, (6, 6)).astype(np.uint16)
        pixels[0, :2] = 1000, 5000
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    dark = np.full((6, 6), 3000, dtype=np.uint16)
    dark[0, 0] = 1000
    Image.fromarray(dark).save(tmp_path / "dark.png")
    frame = pd.DataFrame({"x": [f"{i}.png" for i in range(N)], "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    dataset, pipeline, kept, _ = fitted(written(tmp_path, frame))
    rows = pd.DataFrame({"x": ["dark.png"], "area": [0.5]})
    given: Any = {"frame": rows, "file": written(tmp_path, rows, "later.csv"), "dict": rows}[door]
    if door == "dict":
        given = {"x": [dark.astype(np.float32)[:, :, None]], "table": rows[["area"]]}
    data = read_new_rows(given, pipeline, kept, base_dir=tmp_path, who="Forest").modalities["x"]
    ((black, white),) = pairs_of(kept.ranges["x"])
    assert data.range == dataset.modalities["x"].range == (black, white)
    shares = np.asarray(data.values[0], dtype=np.float64)[:, :, 0] / (255 if data.values[0].dtype == np.uint8 else 1)
    assert shares == pytest.approx((dark - black) / (white - black), abs=1 / 255)


@pytest.mark.parametrize("door", ["frame", "file"])
def test_sounds_of_later_rows_have_the_rate_of_training(tmp_path: Path, door: str) -> None:
    for i in range(N):
        soundfile.write(tmp_path / f"{i}.wav", np.sin(np.arange(800) * (1 + i)), 8000)
    soundfile.write(tmp_path / "later.wav", np.sin(np.arange(1600) / 9), 16000)
    frame = pd.DataFrame({"x": [f"{i}.wav" for i in range(N)], "y": ["p", "q"] * (N // 2)})
    _, pipeline, kept, _ = fitted(written(tmp_path, frame))
    rows = pd.DataFrame({"x": ["later.wav"]})
    given = written(tmp_path, rows, "later.csv") if door == "file" else rows
    data = read_new_rows(given, pipeline, kept, base_dir=tmp_path, who="Forest").modalities["x"]
    assert (data.rate, len(data.values[0])) == (8000, 800)


RUBBISH: dict[str, Any] = {
    "words among numbers": ["?", "1,5,5", "--", "x"],
    "nothing": [None] * 4,
    "infinite numbers": [np.inf, -np.inf, np.inf, 1.0],
    "new classes": ["r", "s", "t", "u"],
    "lists": ["[1, 2", "[]", "[3]", "[nan]"],
}


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("door", ["frame", "file"])
@pytest.mark.parametrize("rubbish", RUBBISH)
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_target_that_is_not_asked_for_may_be_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, rubbish: str, door: str, beside: bool
) -> None:
    y: Any = ["p", "q"] * (N // 2) if task == "binary" else [f"{i},5" for i in range(N)]
    frame = pd.DataFrame({"area": np.arange(N) / 7, "y": y})
    _, pipeline, kept, codec = fitted(written(tmp_path, frame))
    assert codec.task == task
    rows = frame[:4].assign(y=RUBBISH[rubbish])
    given = written(tmp_path, rows, "later.csv") if door == "file" else rows
    monkeypatch.delattr(reading, "target_cells")
    target = codec.classes[[0, 1, 1, 0]] if task == "binary" else np.arange(4.0)
    data = read_new_rows(
        given, pipeline, kept, codec, who="Forest", need_target=beside, target=target if beside else None
    )
    assert data.modalities["table"].values["area"].tolist() == frame["area"][:4].tolist()
    assert (data.target is not None) == beside
    assert data.notes == ()
    if beside:
        assert not_none(data.target).tolist() == target.tolist()


def test_the_target_of_later_rows_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"area": np.arange(N) / 7, "y": [f"{i},5" for i in range(N)]})
    _, pipeline, kept, codec = fitted(written(tmp_path, frame))
    calls: Counter[str] = Counter()
    for name in ("plain_names", "target_cells", "read_target", "assemble", "read_table"):
        step = getattr(reading, name)

        def counted(*args: Any, _name: str = name, _step: Any = step, **options: Any) -> Any:
            calls[_name] += 1
            return _step(*args, **options)

        monkeypatch.setattr(reading, name, counted)
    data = read_new_rows(tmp_path / "table.csv", pipeline, kept, codec, need_target=True, who="evaluate")
    assert not_none(data.target).tolist() == [i + 0.5 for i in range(N)]
    assert set(calls.values()) == {1}
    assert len(calls) == 5


def test_spellings_of_the_target_are_merged_in_later_rows() -> None:
    frame = pd.DataFrame({"area": np.arange(N) / 7, "y": ["Yes ", "no", "YES", "No"] * 3})
    _, pipeline, kept, codec = fitted(frame, {"merge_spellings": ["y"]})
    assert codec.classes.tolist() == ["no", "yes"]
    rows = frame[:3].assign(y=[" yES", "NO", "yes"])
    data = read_new_rows(rows, pipeline, kept, codec, need_target=True, who="evaluate")
    assert codec.classes[codec.encode(not_none(data.target))].tolist() == ["yes", "no", "yes"]


@pytest.mark.parametrize("door", ["frame", "file"])
@pytest.mark.parametrize(("method", "column", "expected"), [
    ("group", ["07", "08", "10"], ["07", "08", "10"]),
    ("time", ["03.04.2021", "01.02.2021", "05.06.2021"], ["2021-04-03", "2021-02-01", "2021-06-05"]),
])  # fmt: skip
def test_ids_and_the_column_of_the_split_are_those_of_training(
    tmp_path: Path, method: str, column: list[str], expected: list[str], door: str
) -> None:
    by = [f"{i % 4:02d}" for i in range(N)] if method == "group" else DAYS
    frame = pd.DataFrame(
        {"key": [f"{i:03d}" for i in range(N)], "by": by, "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)}
    )
    schema = {"id": "key", "split": {"method": method, "column": "by"}}
    _, pipeline, kept, _ = fitted(written(tmp_path, frame), schema)
    rows = pd.DataFrame({"key": ["012", "013", "014"], "by": column, "area": [0.1, 0.2, 0.3]})
    given = written(tmp_path, rows, "later.csv") if door == "file" else rows
    data = read_new_rows(given, pipeline, kept, who="Forest")
    assert data.ids is not None
    assert data.ids.tolist() == ["012", "013", "014"]
    if method == "group":
        assert data.groups is not None
        assert data.groups.tolist() == expected
    else:
        assert data.times is not None
        assert len(np.unique(data.times)) == 3
        assert np.argsort(data.times).tolist() == [1, 0, 2]
    with pytest.raises(DataError, match="id 'key': each row must have its own; it is again in"):
        read_new_rows(rows.assign(key="012"), pipeline, kept, who="Forest")
    lean = read_new_rows(
        rows.drop(columns=["key", *(["by"] if method == "group" else [])]), pipeline, kept, who="Forest"
    )
    assert lean.ids is None
    assert lean.groups is None


@pytest.mark.parametrize("door", ["frame", "file"])
def test_a_column_that_training_had_not_is_told_and_not_used(tmp_path: Path, door: str) -> None:
    frame = pd.DataFrame({"x": ["a", "b"] * 6, "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    _, pipeline, kept, codec = fitted(frame)
    rows = frame.assign(more=1.0)[["more", "y", "area", "x"]]
    given = written(tmp_path, rows) if door == "file" else rows
    data = read_new_rows(given, pipeline, kept, codec, need_target=True, who="Forest")
    assert data.notes == ("Columns that the schema does not know are not used: 'more'.",)
    assert list(data.modalities["table"].values) == ["x", "area"]
    assert not_none(data.target).tolist() == frame["y"].tolist()


def test_a_column_that_is_lacking_is_told_with_what_is_near() -> None:
    frame = pd.DataFrame({"x": ["a", "b"] * 6, "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    _, pipeline, kept, _ = fitted(frame)
    with pytest.raises(DataError, match="1 are lacking: 'area'. 'aera' is near 'area'"):
        read_new_rows(frame.rename(columns={"area": "aera"}), pipeline, kept, who="Forest")


@pytest.mark.parametrize("door", ["frame", "file", "dict", "Dataset"])
@pytest.mark.parametrize("accepted", [False, True])
def test_nearly_only_new_categories_are_an_error_unless_they_are_expected(
    tmp_path: Path, door: str, accepted: bool
) -> None:
    frame = pd.DataFrame({"x": ["a", "b"] * 6, "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    _, pipeline, kept, _ = fitted(frame)
    rows = frame.assign(x=["c", "d"] * 6).drop(columns="y")
    later = {
        "frame": rows,
        "file": written(tmp_path, rows),
        "dict": {"table": rows},
        "Dataset": TableReader(kept).read(rows),
    }[door]
    if not accepted:
        with pytest.raises(DataError, match="column 'x': 12 of 12 filled cells hold categories that training has not"):
            read_new_rows(later, pipeline, kept, who="Forest")
        return
    by_schema = kept.model_copy(update={"new_categories": ("x",)})
    for options in ({"schema": kept, "new_categories": ["x"]}, {"schema": by_schema}):
        notes = read_new_rows(later, pipeline, who="Forest", **options).notes
        assert sum("12 of 12 filled cells hold categories that training has not seen" in n for n in notes) == 1


def test_a_broken_file_of_later_rows_is_skipped_on_request(tmp_path: Path) -> None:
    pictures(tmp_path)
    frame = pd.DataFrame({"x": [f"{i}.png" for i in range(N)], "y": ["p", "q"] * (N // 2)})
    _, pipeline, kept, _ = fitted(frame, base_dir=tmp_path)
    rows = pd.DataFrame({"x": ["3.png", "gone.png"]})
    with pytest.raises(DataError, match=r"row 1 \(counted from 0\), column 'x'.*gone.png"):
        read_new_rows(rows, pipeline, kept, who="Forest", base_dir=tmp_path)
    data = read_new_rows(rows, pipeline, kept, who="Forest", base_dir=tmp_path, on_bad_file="skip")
    assert data.modalities["x"].present.tolist() == [True, False]
    assert any("could not be read and counts as missing" in note for note in data.notes)


@pytest.mark.parametrize("first", [[str(i) for i in range(N)], [f"{i:03d}" for i in range(N)], list("abcdefghijkl")])
def test_ids_of_a_later_file_are_as_they_are_written(tmp_path: Path, first: list[str]) -> None:
    frame = pd.DataFrame({"key": first, "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    _, pipeline, kept, _ = fitted(written(tmp_path, frame), {"id": "key"})
    rows = pd.DataFrame({"key": ["007", "1.0", "1"], "area": [0.1, 0.2, 0.3]})
    data = read_new_rows(written(tmp_path, rows, "later.csv"), pipeline, kept, who="Forest")
    assert data.ids is not None
    assert data.ids.tolist() == ["007", "1.0", "1"]


@pytest.mark.parametrize("door", ["frame", "file"])
def test_lists_of_labels_have_the_labels_of_training(tmp_path: Path, door: str) -> None:
    frame = pd.DataFrame({"area": np.arange(N) / 7, "y": [["a"], ["a", "b"], ["c"], []] * 3})
    _, pipeline, kept, codec = fitted(frame)
    rows = frame[:2].assign(y=pd.Series([["c"], ["b"]]))
    given = written(tmp_path, rows.assign(y=['["c"]', '["b"]'])) if door == "file" else rows
    data = read_new_rows(given, pipeline, kept, codec, need_target=True, who="evaluate")
    assert codec.encode(not_none(data.target)).tolist() == [[0, 0, 1], [0, 1, 0]]


def test_a_table_in_a_dict_keeps_presence_and_what_was_counted() -> None:
    frame = pd.DataFrame({"x": [f"{i},5" for i in range(N)], "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    _, pipeline, kept, _ = fitted(frame)
    rows = frame[:3].drop(columns="y").assign(x=["1,5", "?", "2,5"])
    presence = {"table": np.array([True, True, False])}
    data = read_new_rows({"table": rows}, pipeline, kept, presence=presence, who="Forest")
    assert data.modalities["table"].present.tolist() == [True, True, False]
    assert data.modalities["table"].values["x"].tolist()[::2] == [1.5, 2.5]
    assert data.notes == ("Column 'x': 1 row (1; counted from 0) holds no number ('?') and counts as missing.",)


def test_how_a_later_file_is_written_is_told_and_changes_nothing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [f"{i},5" for i in range(N)], "area": np.arange(N) / 7, "y": ["p", "q"] * (N // 2)})
    dataset, pipeline, kept, _ = fitted(written(tmp_path, frame))
    frame.to_csv(tmp_path / "later.csv", sep=";", index=False)
    data = read_new_rows(tmp_path / "later.csv", pipeline, kept, who="Forest")
    assert data.notes == ("later.csv: columns are separated by ';', not by a comma.",)
    assert data.modalities["table"].values.equals(dataset.modalities["table"].values)
