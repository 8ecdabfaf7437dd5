"""Tables with files beside them become data sets; what cannot be read says where it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from not_none import not_none
from PIL import Image
from tables import opened, resolved

from profuse.data.preprocess.vector import VectorPreprocessor
from profuse.data.split import make_split
from profuse.data.table.assemble import check_same_columns
from profuse.data.table.reader import TableReader
from profuse.errors import ConfigError, DataError
from profuse.schema import Modality, Schema, SplitOptions, Target

N = 12
Edit = Callable[[Path, pd.DataFrame], None]


def write(folder: Path, name: str = "films.csv", seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for i in range(N):
        Image.fromarray(rng.integers(0, 255, (9, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        soundfile.write(folder / f"{i}.wav", rng.uniform(-1, 1, 40 + i), 16000 if i == 3 else 8000)
        np.save(folder / f"{i}.npy", rng.normal(size=(3 + i, 2)))
    frame = pd.DataFrame(
        {
            "age": [None, *rng.normal(size=N - 1)],
            "job": ["cook", "smith", None, "baker"] * 3,
            "when": [f"2024-01-{i + 1:02d}" for i in range(N)],
            "plot": ["", *(f"a man walks into bar {i}" for i in range(N - 1))],
            "poster": [None, *(f"{i}.png" for i in range(1, N))],
            "sound": [f"{i}.wav" for i in range(N)],
            "sales": [f"{i}.npy" for i in range(N)],
            "points": ["[1, 2, null]", None, *["[4, 5, 6]"] * (N - 2)],
            "steps": ["[1]", "[]", *["[4, 5, 6]"] * (N - 2)],
            "y": ["good", "bad"] * (N // 2),
        }
    )
    frame.to_csv(folder / name, index=False)
    return frame


def test_a_table_with_files_becomes_a_data_set(tmp_path: Path) -> None:
    write(tmp_path)
    data, schema = opened(tmp_path / "films.csv", target="y")
    kinds = {"table": "table", "plot": "text", "poster": "image", "sound": "audio", "sales": "series"}
    assert {k: m.kind for k, m in data.modalities.items()} == kinds | {"points": "vector", "steps": "series"}
    missing = {k: np.flatnonzero(~m.present).tolist() for k, m in data.modalities.items()}
    assert missing == {"table": [], "plot": [0], "poster": [0], "sound": [], "sales": [], "points": [1], "steps": [1]}
    table = data.modalities["table"].values
    assert list(table.dtypes.astype(str)) == ["float64", "object", "datetime64[us]"]
    assert table["job"].tolist()[:3] == ["cook", "smith", None]
    assert data.modalities["poster"].values[1].shape == (9, 8, 3)
    assert data.modalities["sound"].rate == 8000
    assert len(data.modalities["sound"].values[3]) == 22  # 43 samples at twice the rate
    assert data.modalities["sales"].values[2].shape == (5, 2)
    np.testing.assert_array_equal(data.modalities["points"].values[0], [1, 2, np.nan])
    assert (data.task, data.name, not_none(data.target).tolist()[:2]) == ("binary", "films", ["good", "bad"])
    assert any("1 sounds (1 of 16000 Hz) were resampled to 8000 Hz" in n for n in data.notes)
    assert schema == resolved(pd.read_csv(tmp_path / "films.csv"), schema)


def test_a_test_file_in_another_folder_finds_its_own_files(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", "t.csv", seed=1)
    data, schema = opened(tmp_path / "a" / "films.csv", target="y", test=tmp_path / "b" / "t.csv")
    alone, _ = opened(tmp_path / "b" / "t.csv", target="y")
    assert len(data) == 2 * N
    assert np.array_equal(data.modalities["poster"].values[N + 2], alone.modalities["poster"].values[2])
    split = make_split(data, schema.split, seed=0)
    assert np.array_equal(split.test, np.arange(N, 2 * N))


def change(column: str, value: Any, row: int = 2) -> Edit:
    def edit(folder: Path, frame: pd.DataFrame) -> None:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value

    return edit


def spoil(name: str) -> Edit:
    def edit(folder: Path, frame: pd.DataFrame) -> None:
        (folder / name).write_bytes(b"rubbish")

    return edit


BAD_FILES: list[tuple[Edit, str, str]] = [
    (change("poster", "nowhere.png"), "row 2 (counted from 0), column 'poster'", "there is no such file"),
    (change("poster", "."), "column 'poster'", "it is a folder, not a regular file"),
    (spoil("2.png"), "row 2 (counted from 0), column 'poster': pictures must be readable; got '2.png'", "no picture"),
    (spoil("4.wav"), "row 4 (counted from 0), column 'sound'", "the sound is broken"),
    (spoil("5.npy"), "row 5 (counted from 0), column 'sales'", "the array is broken"),
    (change("points", "[1, 2"), "row 2 (counted from 0), column 'points'", "a bracket of the list is not closed"),
    (change("steps", '["a"]'), "row 2 (counted from 0), column 'steps'", "it must be a list of numbers"),
    (change("steps", "[[1], [2, 3]]"), "column 'steps'", "or of lists of one length"),
]


@pytest.mark.parametrize(("edit", "place", "why"), BAD_FILES)
def test_a_bad_file_is_told_with_its_row_or_skipped_and_counted(
    tmp_path: Path, edit: Edit, place: str, why: str
) -> None:
    frame = write(tmp_path)
    edit(tmp_path, frame)
    frame.to_csv(tmp_path / "films.csv", index=False)
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "films.csv", target="y")
    assert place in str(caught.value)
    assert why in str(caught.value)
    assert "--on-bad-file skip" in str(caught.value)
    data, _ = opened(tmp_path / "films.csv", target="y", on_bad_file="skip")
    note = next(n for n in data.notes if "could not be read and counts as missing" in n)
    assert "1 row (" in note
    assert why in note


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("points", "[1, 2]"), "vectors must be lists of one length, here 3; got shape (2,) in 1 row (2;"),
        (change("points", "[1, 2, Infinity]"), "column 'points': numbers must be finite; infinite in 1 row (2;"),
        (change("steps", "[[1, 2]]"), "all series must have the same channels, here 1; got 2 in 1 row (2;"),
        (change("age", "old"), "got words in 1 row (2;"),
        (change("age", "inf"), "column 'age': numbers must be finite; infinite in 1 row (2;"),
        (change("y", None), "target 'y': must be known in every row; missing in 1 row (2;"),
        (change("y", "odd"), "every class must have at least two rows; 1 of 3 classes have one: 'odd'"),
    ],
)
def test_a_bad_cell_is_an_error_even_with_skip(tmp_path: Path, edit: Edit, message: str) -> None:
    frame = write(tmp_path)
    edit(tmp_path, frame)
    frame.to_csv(tmp_path / "films.csv", index=False)
    schema = Schema(columns={"points": "vector"})
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "films.csv", target="y", schema=schema, on_bad_file="skip")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("names", "error", "note"),
    [
        (["right", "left"], "the channels of all series must be in one order; got right, left, where others have", ""),
        (["up", "down"], "", "1 row (4; counted from 0): the channels of the series have other names than those of"),
    ],
)
def test_channels_in_another_order_are_refused_and_other_names_told(
    tmp_path: Path, names: list[str], error: str, note: str
) -> None:
    frame = write(tmp_path).assign(sales=[f"{i}.csv" for i in range(N)])
    frame.to_csv(tmp_path / "films.csv", index=False)
    for i in range(N):
        steps = pd.DataFrame(np.ones((4, 2)) / 3, columns=names if i == 4 else ["left", "right"])
        steps.to_csv(tmp_path / f"{i}.csv", index=False)
    if error:
        with pytest.raises(DataError, match=f"row 4 .*column 'sales'.*{error}"):
            opened(tmp_path / "films.csv", target="y")
    else:
        data, _ = opened(tmp_path / "films.csv", target="y")
        assert any(note in n for n in data.notes)


def test_a_modality_that_is_always_missing_is_an_error(tmp_path: Path) -> None:
    frame = write(tmp_path).assign(poster=[f"no{i}.png" for i in range(N)])
    frame.to_csv(tmp_path / "films.csv", index=False)
    with pytest.raises(DataError, match=f"modality 'poster': must be present .* missing in all {N}"):
        opened(tmp_path / "films.csv", target="y", on_bad_file="skip")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d, f: f.insert(0, "Age", f.pop("age")), "1 are lacking: 'age'. 'Age' is near 'age'"),
        (lambda d, f: f.__delitem__("y"), "1 are lacking: 'y'. It is the target"),
        (change("y", "odd"), "must occur in the training table; got 'odd' in 1 row (2;"),
        (change("poster", "no.png"), "test file t.csv: row 2 (counted from 0), column 'poster'"),
        (lambda d, f: f.__setitem__("points", "[1, 2]"), "vectors must be of one length in both tables; got 3 and 2"),
    ],
)  # fmt: skip
def test_a_test_file_that_does_not_fit_says_why(tmp_path: Path, edit: Edit, message: str) -> None:
    frame = write(tmp_path)
    edit(tmp_path, frame)
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "films.csv", target="y", test=tmp_path / "t.csv")
    assert message in str(caught.value)


def test_more_columns_in_a_test_file_are_told(tmp_path: Path) -> None:
    write(tmp_path).assign(more=1).to_csv(tmp_path / "t.csv", index=False)
    data, _ = opened(tmp_path / "films.csv", target="y", test=tmp_path / "t.csv")
    assert "t.csv: Columns that the schema does not know are not used: 'more'." in data.notes


@pytest.mark.parametrize(("target", "schema"), [(None, None), ("y", Schema(target=Target(columns=("job",))))])
def test_the_target_is_named_exactly_once(tmp_path: Path, target: Any, schema: Any) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError, match="target:"):
        opened(tmp_path / "films.csv", target=target, schema=schema)


def test_prediction_needs_no_target_and_a_modality_may_be_missing_throughout(tmp_path: Path) -> None:
    frame = write(tmp_path)
    schema = resolved(frame, Schema(target=Target(columns=("y",))))
    new = frame.drop(columns="y").assign(poster=None)[:1]
    data = TableReader(schema, {"sound": 16000}, base_dir=tmp_path).read(new)
    assert data.target is None
    assert not data.modalities["poster"].present.any()
    assert data.modalities["sound"].rate == 16000
    assert check_same_columns(schema, new, need_target=False) == ()


def test_words_in_a_column_set_to_numbers_are_counted() -> None:
    frame = pd.DataFrame({"x": ["1", "two", "", "4"], "c": [1.0, 2.0, None, 1.0], "y": [0, 1, 0, 1]})
    schema = resolved(frame, Schema(target=Target(columns=("y",)), columns={"x": "numeric", "c": "category"}))
    data = TableReader(schema).read(frame, need_target=True)
    np.testing.assert_array_equal(data.modalities["table"].values["x"], [1, np.nan, np.nan, 4])
    assert data.modalities["table"].values["c"].tolist() == ["1", "2", None, "1"]
    assert "1 row (1; counted from 0) holds no number ('two')" in data.notes[0]


@pytest.mark.parametrize(
    ("split", "field", "values"),
    [
        (SplitOptions(column="who"), "groups", [0, 0, 1, 1]),
        (
            SplitOptions(column="day"),
            "times",
            np.array(["2024-01-04", "2024-01-03", "2024-01-02", "2024-01-01"], "M8[ns]"),
        ),
        (SplitOptions(method="time", column="who"), "times", [0, 0, 1, 1]),
        (SplitOptions(method="group", column="day"), "groups", [f"2024-01-0{4 - i}" for i in range(4)]),
    ],
)
def test_the_column_of_the_split_becomes_groups_or_times(split: SplitOptions, field: str, values: Any) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.0, 3.0], "who": [0, 0, 1, 1], "y": [0, 1, 0, 1]})
    frame["day"] = [f"2024-01-0{4 - i}" for i in range(4)]
    schema = resolved(frame, Schema(target=Target(columns=("y",)), split=split))
    data = TableReader(schema).read(frame, need_target=True)
    assert np.array_equal(getattr(data, field), values)
    assert (data.groups is None) != (data.times is None)


def dates_of(frame: pd.DataFrame, schema: Schema) -> list[str]:
    data = TableReader(schema).read(frame)
    return list(data.modalities["table"].values["d"].dt.strftime("%Y-%m-%d").fillna("none"))


def test_the_order_of_dates_in_training_holds_for_every_later_table_and_row() -> None:
    schema = resolved(pd.DataFrame({"d": ["25/12/2024", "05/03/2024"], "x": [1.0, 2.0]}))
    later = pd.DataFrame({"d": ["05/03/2024", "05/03/2024 10:30", "2024-03-06", "06.03.2024", "12/25/2024"], "x": 1.0})
    read = ["2024-03-05", "2024-03-05", "2024-03-06", "2024-03-06", "none"]
    assert dates_of(later, schema) == read
    assert [dates_of(later[i : i + 1], schema)[0] for i in range(len(later))] == read
    with pytest.raises(DataError, match="which fit month/day/year and day/month/year"):
        dates_of(later[:1], schema.model_copy(update={"dates": {}}))  # a model saved by an older version


def test_the_order_of_dates_in_training_holds_for_the_test_file_and_the_times_of_the_split(tmp_path: Path) -> None:
    frame = pd.DataFrame({"d": [f"{i + 11}/03/2024" for i in range(8)], "x": [1.0, 2.0] * 4, "y": ["a", "b"] * 4})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.assign(d="05/03/2024").to_csv(tmp_path / "b.csv", index=False)
    schema = Schema(split=SplitOptions(column="d"))
    data, _ = opened(tmp_path / "a.csv", target="y", schema=schema, test=tmp_path / "b.csv")
    assert data.modalities["table"].values["d"].iloc[8] == pd.Timestamp("2024-03-05")
    assert data.times is not None
    assert data.times[8] == np.datetime64("2024-03-05")


def test_a_category_means_the_same_in_every_file(tmp_path: Path) -> None:
    train = {
        "truth": ["true", "false", "unknown", "true"],
        "code": ["1.10", "1.20", "free", "pro"],
        "set": ["1.10", "1.20", "1.10", "2"],
        "zip": ["00501", "90210", "00501", "90210"],
        "y": ["01", "10", "01", "10"],
    }
    frame = pd.DataFrame(train)
    frame.to_csv(tmp_path / "a.csv", index=False)
    few = frame.iloc[[1, 1]].assign(truth="false")
    few.to_csv(tmp_path / "b.csv", index=False)
    given = Schema(columns={"code": "category", "set": "category"})
    data, schema = opened(tmp_path / "a.csv", target="y", schema=given, test=tmp_path / "b.csv")
    table = data.modalities["table"].values
    assert table.iloc[4].to_dict() == {"truth": "false", "code": "1.20", "set": "1.20", "zip": "90210"}
    assert set(table.iloc[:4]["set"]) == {"1.10", "1.20", "2"}
    assert not_none(data.target).tolist() == ["01", "10"] * 2 + ["10"] * 2
    assert (
        TableReader(schema).read(tmp_path / "b.csv").modalities["table"].values.iloc[0].to_dict()
        == table.iloc[4].to_dict()
    )


def test_whole_numbers_set_as_categories_do_not_mind_missing_cells(tmp_path: Path) -> None:
    frame = pd.DataFrame({"shop": [1, 2, None, 1], "x": [1.5, 2.5, 3.5, 0.5], "y": ["a", "b"] * 2})
    frame.to_csv(tmp_path / "a.csv", index=False)  # 1.0, 2.0
    (tmp_path / "b.csv").write_text("shop,x\n1,2.5\n")
    _, schema = opened(tmp_path / "a.csv", target="y", schema=Schema(columns={"shop": "category"}))
    assert TableReader(schema).read(tmp_path / "b.csv").modalities["table"].values["shop"].tolist() == ["1"]


def test_true_and_false_are_labels_and_numbers_where_these_are_asked_for(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [True, False, None, True], "a": [True, False] * 2, "b": [False, False, True, True]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    data, _ = opened(tmp_path / "a.csv", target=["a", "b"], schema=Schema(columns={"x": "numeric"}))
    assert (data.task, not_none(data.target)[0].tolist()) == ("multilabel", [1, 0])
    np.testing.assert_array_equal(data.modalities["table"].values["x"], [1, 0, np.nan, 1])


def test_columns_that_are_empty_throughout_may_be_predicted_from(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "d": ["25/12/2024", "05/03/2024"] * 2, "v": ["[1, 2, 3]", "[4, 5, 6]"] * 2, "s": ["[1]", "[1, 2]"] * 2,
        "x": [1.5, 2.5, 3.0, 4.0], "y": ["a", "b"] * 2,
    })  # fmt: skip
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.assign(d=None, v=None, s=None).to_csv(tmp_path / "b.csv", index=False)
    data, schema = opened(tmp_path / "a.csv", target="y", test=tmp_path / "b.csv")
    assert data.modalities["table"].values["d"].isna().tolist() == [False] * 4 + [True] * 4
    assert data.modalities["v"].values.shape == (8, 3)
    assert data.modalities["v"].present.tolist() == [True] * 4 + [False] * 4
    new = TableReader(schema).read(pd.read_csv(tmp_path / "b.csv"))
    train = data.rows(np.arange(4)).modalities["v"]
    made = VectorPreprocessor()
    made.fit(train)
    assert made.transform(new.modalities["v"]).values.shape == made.transform(train).values.shape
    assert not made.transform(new.modalities["v"]).present.any()


@pytest.mark.parametrize(("ids", "what"), [(["7", "7"], "again in 1 row (1;"), (["7", None], "missing in 1 row (1;")])
def test_an_inferred_id_that_is_no_id_later_is_told_and_not_used(ids: list[Any], what: str) -> None:
    frame = pd.DataFrame({"user_id": ["u1", "u2", "u3", "u4"], "x": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1]})
    later = pd.DataFrame({"user_id": ids, "x": 1.0})
    target = Target(columns=("y",))
    found = resolved(frame, Schema(target=target))
    data = TableReader(found).read(later)
    assert data.ids is None
    assert f"Column 'user_id': as an id it is {what}" in data.notes[0]
    named = resolved(frame, Schema(target=target, id="user_id"))
    with pytest.raises(DataError, match="id 'user_id': each row must have its own"):
        TableReader(named).read(later)


def test_ids_keep_their_leading_zeros(tmp_path: Path) -> None:
    schema = resolved(pd.DataFrame({"id": range(20), "x": np.arange(20.0) ** 2}))
    (tmp_path / "new.csv").write_text("id,x\n0007,1\n0008,2\n")
    assert not_none(TableReader(schema).read(tmp_path / "new.csv").ids).tolist() == ["0007", "0008"]


def test_an_id_that_is_not_unique_is_refused() -> None:
    frame = pd.DataFrame({"who": ["a", "a", "b", "c"], "x": [1.0, 2.0, 3.0, 4.0], "y": [0, 1, 0, 1]})
    schema = resolved(frame, Schema(target=Target(columns=("y",)), id="who"))
    with pytest.raises(DataError, match=r"id 'who': each row must have its own; it is again in 1 row \(1;"):
        TableReader(schema).read(frame, need_target=True)


def test_a_schema_that_is_not_resolved_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be resolved"):
        TableReader(Schema(modalities={"m": Modality(columns=("a",))}))


def test_pictures_sounds_and_series_with_the_same_content_are_the_same_wherever_they_stand(tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        write(tmp_path / folder, "t.csv", seed=seed)
    told = {}
    for folder in ("b", "c"):
        data, _ = opened(tmp_path / "a" / "t.csv", target="y", test=tmp_path / folder / "t.csv")
        told[folder] = [n for n in data.notes if "training row in every modality" in n]
    assert [f"{N} rows (0, 1, 2, 3, 4, ...; counted from 0) of {N}" in n for n in told["b"]] == [True]
    assert told["c"] == []
