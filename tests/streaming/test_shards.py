"""Shards hold the table that was written, bit for bit, and nothing half-written is ever seen."""

from __future__ import annotations

import datetime
import hashlib
import json
import tarfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import wavfile

from profuse.data.media.source import read_bytes
from profuse.data.table.pieces import TablePieces
from profuse.data.table.read import read_table
from profuse.data.table.reader import TableReader
from profuse.data.table.shards import kept_schema
from profuse.errors import ConfigError, DataError
from profuse.models.options import ModelOptions
from profuse.predictor import RowsInPieces
from profuse.schema import Modality, Schema, SplitOptions, Target
from profuse.streaming.fit import fit_streamed
from profuse.streaming.options import ShardOptions, StreamOptions
from profuse.streaming.shards import write_shards
from profuse.training.options import TrainOptions

N = 24
FEW = ShardOptions(rows_per_shard=10, chunk_rows=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with pictures in a folder of their own, of which some cells name none."""
    folder = tmp_path_factory.mktemp("homes")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(N):
        pixels = rng.integers(0, 255, (9, 8 + i % 3, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{i}.{'PNG' if i % 2 else 'jpg'}")
    rows = [
        {
            "row id": f"{i:04}",
            "size": "" if i % 5 == 4 else f"{rng.normal():.6f}0",
            "code": f"0{i % 3}1",
            "rooms": i % 4 if i % 7 else "",
            "ok": ["true", "TRUE", "False"][i % 3],
            "said": ["None", 'yes, "sure"', "a\r\nline\rend", " NA ", "n/a", "é; ü"][i % 6],
            "when": f"{20 - i % 8}/03/2024",
            "front photo": f"photos/{i}.{'PNG' if i % 2 else 'jpg'}" if i % 6 else "",
            "y": "ab"[i % 2],
        }
        for i in range(N)
    ]
    pd.DataFrame(rows).to_csv(folder / "homes.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def shards(folder: Path) -> Path:
    index, _ = write_shards(folder / "homes.csv", folder / "shards", target="y", options=FEW)
    assert [shard.rows for shard in index.shards] == [10, 10, 4]
    return folder / "shards"


def without_files(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=[c for c in frame if "photo" in str(c)])


def same(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(got, expected, check_exact=True, check_flags=False)


@pytest.mark.parametrize("words", [None, (), ("size", "rooms", "code", "ok")], ids=["to learn from", "none", "some"])
def test_a_text_table_is_read_from_shards_as_from_its_file_whatever_is_asked(
    folder: Path, shards: Path, words: tuple[str, ...] | None
) -> None:
    expected, got = (read_table(path, words=words) for path in (folder / "homes.csv", shards))
    assert list(got.columns) == list(expected.columns)
    same(without_files(got), without_files(expected))
    assert got["front photo"].isna().tolist() == expected["front photo"].isna().tolist()


@pytest.mark.parametrize("words", [(), ("size", "rooms")])
def test_it_is_so_too_in_pieces(folder: Path, shards: Path, words: tuple[str, ...]) -> None:
    expected, got = (list(TablePieces(path, words, n_rows=9)) for path in (folder / "homes.csv", shards))
    assert [len(piece) for piece in got] == [9, 9, 6]
    for one, other in zip(got, expected, strict=True):
        same(without_files(one), without_files(other))
        assert one.attrs == other.attrs


def test_files_are_in_them_byte_for_byte_and_absent_cells_are_absent_members(folder: Path, shards: Path) -> None:
    members: dict[str, bytes] = {}
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                held = tar.extractfile(info)
                assert held is not None
                assert (info.mtime, info.uid, info.gid, info.uname) == (0, 0, 0, "")
                members[info.name] = held.read()
    expected = {
        f"{i:09d}.front-photo.{end}": (folder / "photos" / f"{i}.{end}").read_bytes()
        for i in range(N)
        if i % 6 and (end := "PNG" if i % 2 else "jpg")
    }
    assert {name: content for name, content in members.items() if not name.endswith(".json")} == expected
    row = json.loads(members["000000001.json"])
    assert row["row id"] == "0001"
    assert (type(row["size"]), row["rooms"], row["code"], "front photo" in row) == (float, 1, "011", False)
    assert json.loads(members["000000000.json"])["front photo"] is None


def test_the_index_says_how_long_each_shard_is_and_what_its_digest_is(shards: Path) -> None:
    index = json.loads((shards / "index.json").read_text(encoding="utf-8"))
    assert index["rows"] == N
    for shard in index["shards"]:
        raw = (shards / shard["name"]).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (shard["bytes"], shard["sha256"])
    assert kept_schema(shards).target == Target(columns=("y",))
    assert kept_schema(shards, target=False).target is None
    assert kept_schema(shards / "shard-000001.tar").target == Target(columns=("y",))


def test_one_shard_alone_is_read_by_the_index_beside_it(folder: Path, shards: Path) -> None:
    got, whole = read_table(shards / "shard-000001.tar", words=()), read_table(folder / "homes.csv", words=())
    same(without_files(got), without_files(whole.iloc[10:20].reset_index(drop=True)))
    assert got["front photo"].iloc[1] == "shard-000001.tar/000000011.front-photo.PNG"


def test_shards_are_found_by_a_relative_path_and_from_within(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = Schema(ignore=("row id", "said"))
    for place, path in ((shards.parent, "shards"), (shards, "."), (shards, "../shards"), (shards, "shard-000000.tar")):
        monkeypatch.chdir(place)
        reader, dataset = TableReader.fit(path, schema, target="y")
        assert dataset.modalities["front photo"].present.sum() == (8 if "tar" in path else 20)
        assert reader.schema.modalities["front photo"].kind == "image"


def test_the_same_table_gives_the_same_bytes_and_another_order_holds_the_same_rows(folder: Path, shards: Path) -> None:
    write_shards(folder / "homes.csv", folder / "again", target="y", options=ShardOptions(rows_per_shard=10))
    assert [p.read_bytes() for p in sorted((folder / "again").iterdir())] == [
        p.read_bytes() for p in sorted(shards.iterdir())
    ]
    options = ShardOptions(rows_per_shard=10, chunk_rows=7, shuffle=1)
    write_shards(folder / "homes.csv", folder / "drawn", target="y", options=options)
    write_shards(shards, folder / "drawn again", target="y", options=options)
    assert [p.read_bytes() for p in sorted((folder / "drawn").iterdir())] == [
        p.read_bytes() for p in sorted((folder / "drawn again").iterdir())
    ]
    drawn, plain = read_table(folder / "drawn", words=()), read_table(shards, words=())
    order = drawn["row id"].tolist()
    assert order != sorted(order)
    places = np.random.default_rng(1).permutation(N)  # where each row goes
    assert [order[place] for place in places] == sorted(order)
    same(without_files(drawn.sort_values("row id", ignore_index=True)), without_files(plain))
    tail = drawn.sort_values("row id")["front photo"].dropna().str.rpartition("/")[2].tolist()
    assert tail == plain["front photo"].dropna().str.rpartition("/")[2].tolist()


def typed() -> pd.DataFrame:
    times = pd.Series(np.array(["2024-03-31T01:30:00.123456789", "NaT", "1677-09-22", "2024-01-01"], "M8[ns]"))
    return pd.DataFrame({
        "whole": pd.Series([2**62 + 1, -5, 0, 7], dtype="int64"),
        "gaps": pd.Series([2**60 + 1, None, 3, 4], dtype=object),
        "large": pd.Series([2**64 - 1, 0, 1, 2], dtype="uint64"),
        "small": pd.Series([-128, 127, 0, 1], dtype="int8"),
        "float": [0.1, np.nan, -0.0, 1e-310],
        "single": pd.Series([0.1, np.nan, 3e38, -0.0], dtype="float32"),
        "flag": [True, False, True, True],
        "maybe": pd.Series([True, None, False, None], dtype=object),
        "word": ["007", None, " é\n", "null"],
        "time": times,
        "zoned": times.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"),
        "span": pd.to_timedelta(["1 days 00:00:00.5", None, "-3 days", "0 s"]),
        "kind": pd.Categorical(["b", None, "a", "b"], categories=["b", "a", "c"]),
        "rank": pd.Categorical([3, 1, None, 3], categories=[3, 2, 1], ordered=True),
        "list": pd.Series([[1, 2.5], None, [], [None, 3]], dtype=object),
        "none": pd.Series([None, None, None, None], dtype=object),
    })  # fmt: skip


def test_each_type_of_a_parquet_file_comes_back_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    typed().to_parquet(tmp_path / "t.parquet")
    write_shards(tmp_path / "t.parquet", tmp_path / "s", options=ShardOptions(rows_per_shard=3, chunk_rows=2))
    expected, got = (next(iter(TablePieces(tmp_path / name))) for name in ("t.parquet", "s"))
    lists = [None if v is None else [None if x != x else x for x in v] for v in expected["list"]]
    expected["list"] = pd.Series(lists, dtype=object)
    same(got, expected)
    assert [str(v) for v in got["float"]] == [str(v) for v in expected["float"]]
    same(read_table(tmp_path / "s"), expected)


def test_a_cell_that_holds_nothing_but_a_carriage_return_between_words_is_kept(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'a,b\n"x\ry",1\n"",2\n')
    write_shards(tmp_path / "t.csv", tmp_path / "s")
    same(read_table(tmp_path / "s"), read_table(tmp_path / "t.csv"))
    same(*(next(iter(TablePieces(tmp_path / name))) for name in ("s", "t.csv")))


def test_a_column_of_categories_may_name_files(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    frame = pd.DataFrame({"photo": pd.Categorical(["0.png", None, "0.png"]), "y": [1, 2, 3]})
    frame.to_parquet(tmp_path / "t.parquet")
    schema = Schema(modalities={"photo": Modality(kind="image", columns=("photo",))})
    write_shards(tmp_path / "t.parquet", tmp_path / "s", schema=schema)
    names = read_table(tmp_path / "s")["photo"]
    assert names.isna().tolist() == [False, True, False]
    assert names.iloc[2] == "s/shard-000000.tar/000000002.photo.png"


def test_categories_of_pieces_are_put_together_and_decimals_are_numbers(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    words = pa.array(["a", "b", "b", "c"]).dictionary_encode()
    prices = pa.array([Decimal("1.25"), None, Decimal("3.50"), Decimal("0.10")])
    days = pa.array([datetime.date(2024, 2, d) for d in (1, 2, 3, 4)])
    pq.write_table(pa.table({"w": words, "price": prices, "day": days}), tmp_path / "t.parquet", row_group_size=2)
    write_shards(tmp_path / "t.parquet", tmp_path / "s", options=ShardOptions(chunk_rows=2))
    got = read_table(tmp_path / "s")
    assert (got["w"].tolist(), got["w"].cat.categories.tolist()) == (["a", "b", "b", "c"], ["a", "b", "c"])
    assert got["price"].dtype == np.float64
    assert got["price"].tolist()[2:] == [3.5, 0.1]
    same(got[["day"]], read_table(tmp_path / "t.parquet")[["day"]])


@pytest.mark.parametrize(
    ("cell", "named"), [(float("inf"), "inf"), (1 + 2j, "complex"), (b"\xff\xfe", "bytes"), ({1: 2}, "dict")]
)
def test_a_cell_that_json_cannot_hold_is_one_error_with_its_row(cell: Any, named: str) -> None:
    from profuse.data.table.shard_cells import ColumnWriter

    writer = ColumnWriter("x", as_written=False)
    with pytest.raises(DataError, match=rf"row 12 \(counted from 0\), column 'x': .*{named}"):
        writer.literals(pd.Series([1.0, None, cell], dtype=object), 10)


def of_all_kinds(folder: Path) -> pd.DataFrame:
    """A table of files of many kinds."""
    nibabel = pytest.importorskip("nibabel")
    rng, n = np.random.default_rng(1), 6
    for i in range(n):
        Image.fromarray(rng.integers(0, 60_000, (7, 6), dtype=np.uint16)).save(
            folder / f"{i}.tif", compression="tiff_lzw"
        )
        np.save(folder / f"bands{i}.npy", rng.integers(0, 900, (6, 5, 7)).astype(np.uint16))
        wavfile.write(folder / f"{i}.wav", 8000, rng.normal(0, 2000, 900).astype(np.int16))
        (folder / f"steps{i}.csv").write_text("t,x\n" + "".join(f"{t},{rng.normal():.3f}\n" for t in range(9)))
        nibabel.save(
            nibabel.Nifti1Image(rng.normal(size=(4, 5, 6)).astype(np.float32), np.eye(4)), folder / f"{i}.nii.gz"
        )
        np.save(folder / f"cloud{i}.npy", rng.normal(size=(12, 3)).astype(np.float32))
        (folder / f"{i}.md").write_text(f"# Page {i}\n\nIt says {rng.integers(99)}.\n")
        (folder / f"{i}.off").write_text("OFF\n3 1 3\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    ends = {"deep": "{}.tif", "bands": "bands{}.npy", "sound": "{}.wav", "steps": "steps{}.csv", "scan": "{}.nii.gz",
            "cloud": "cloud{}.npy", "page": "{}.md", "mesh": "{}.off"}  # fmt: skip
    frame = pd.DataFrame({name: [end.format(i) for i in range(n)] for name, end in ends.items()})
    frame["mixed"] = ["steps0.csv", "[1, 2, 3]", "steps1.csv", "[4, 5]", "steps2.csv", "steps3.csv"]
    frame.loc[3, "mesh"] = '{"nodes": [{"id": 0}, {"id": 1}], "links": [{"source": 0, "target": 1}]}'
    frame.loc[2, ["deep", "scan"]] = None
    return frame.assign(y=np.arange(n) * 1.5)


KINDS = {
    "deep": "image", "bands": "image", "sound": "audio", "steps": "series", "scan": "volume", "cloud": "points",
    "page": "document", "mesh": "graph", "mixed": "series",
}  # fmt: skip


def test_files_of_every_kind_are_read_from_shards_as_beside_the_table(tmp_path: Path) -> None:
    frame = of_all_kinds(tmp_path)
    frame["mixed"] = [c if c.startswith("[") else c.replace("steps", "one") for c in frame["mixed"]]
    for i in range(4):
        (tmp_path / f"one{i}.csv").write_text("x\n" + "1\n2.5\n" * (i + 1))
    frame.to_csv(tmp_path / "t.csv", index=False)
    schema = Schema(
        modalities={name: Modality(kind=kind, columns=(name,)) for name, kind in KINDS.items()},
        target=Target(columns=("y",)),
    )
    index, _ = write_shards(tmp_path / "t.csv", tmp_path / "s", schema=schema)
    assert {c.name for c in index.columns if c.member} == set(KINDS)
    expected, got = (TableReader.fit(path, schema)[1] for path in (tmp_path / "t.csv", tmp_path / "s"))
    assert got.notes == tuple(note.replace("t.csv", "s") for note in expected.notes)
    for name, of in expected.modalities.items():
        assert got.modalities[name].present.tolist() == of.present.tolist()
        for a, b in zip(got.modalities[name].values, of.values, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_video_is_read_from_shards_as_beside_the_table(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from made_videos import write_video

    write_video(tmp_path / "a.mp4", np.random.default_rng(0).integers(0, 255, (6, 16, 16, 3), dtype=np.uint8))
    pd.DataFrame({"v": ["a.mp4"] * 3, "y": [1.0, 2.0, 3.0]}).to_csv(tmp_path / "t.csv", index=False)
    write_shards(tmp_path / "t.csv", tmp_path / "s")
    expected, got = (TableReader.fit(tmp_path / name, target="y")[1] for name in ("t.csv", "s"))
    np.testing.assert_array_equal(got.modalities["v"].values[2], expected.modalities["v"].values[0])


def test_a_file_that_is_not_there_is_one_error_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"photo": [f"{i}.png" for i in range(30)], "y": range(30)})
    for i in range(30):
        if i != 25:
            Image.new("RGB", (4, 4), (8 * i, 0, 0)).save(tmp_path / f"{i}.png")
    frame.to_csv(tmp_path / "t.csv", index=False)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(
        DataError, match=r"row 25 \(counted from 0\), column 'photo': .*'25.png': there is no such file"
    ):
        write_shards(tmp_path / "t.csv", tmp_path / "s", options=FEW)
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    index, notes = write_shards(tmp_path / "t.csv", tmp_path / "s", options=FEW, on_bad_file="skip")
    assert (index.rows, read_table(tmp_path / "s")["photo"].isna().sum()) == (30, 1)
    assert "Column 'photo': 1 files could not be read and are left out" in notes[0]


def test_columns_whose_names_no_member_can_have_get_names_of_their_own(tmp_path: Path) -> None:
    names = ["A/b", "a-b", "json", "\u0444\u043e\u0442\u043e", "../x"]
    for i in range(len(names)):
        Image.new("RGB", (4, 4), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
    pd.DataFrame({name: [f"{i}.png"] * 2 for i, name in enumerate(names)}).to_csv(tmp_path / "t.csv", index=False)
    index, _ = write_shards(tmp_path / "t.csv", tmp_path / "s")
    assert [column.member for column in index.columns] == ["a-b", "a-b-2", "json-2", "file", "x"]
    frame = read_table(tmp_path / "s")
    for i, name in enumerate(names):
        assert (tmp_path / f"{i}.png").read_bytes() == read_bytes(tmp_path / frame[name].iloc[1])


def test_a_folder_of_slices_is_no_member(tmp_path: Path) -> None:
    (tmp_path / "scan").mkdir()
    pd.DataFrame({"scan": ["scan", "scan"], "y": [1, 2]}).to_csv(tmp_path / "t.csv", index=False)
    schema = Schema(modalities={"scan": Modality(kind="volume", columns=("scan",))})
    with pytest.raises(DataError, match=r"row 0 .*column 'scan': .*it is a folder"):
        write_shards(tmp_path / "t.csv", tmp_path / "s", schema=schema)


def test_a_shard_ends_before_it_is_larger_than_asked_and_holds_a_row_at_least(folder: Path, tmp_path: Path) -> None:
    index, _ = write_shards(folder / "homes.csv", tmp_path / "s", options=ShardOptions(shard_size="20K"))
    assert len(index.shards) > 1
    assert max(shard.bytes for shard in index.shards) <= 20 * 1024
    index, _ = write_shards(folder / "homes.csv", tmp_path / "s", options=ShardOptions(shard_size="1"))
    assert [shard.rows for shard in index.shards] == [1] * N
    with pytest.raises(ValueError, match="a size above 0; got 'much'"):
        ShardOptions(shard_size="much")


def test_shards_are_replaced_but_nothing_else_is(folder: Path, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="it holds something else"):
        write_shards(folder / "homes.csv", tmp_path)
    with pytest.raises(DataError, match="it holds something else"):
        write_shards(folder / "homes.csv", tmp_path / "file")
    with pytest.raises(DataError, match="must not be written over what is read"):
        write_shards(shards, shards)
    with pytest.raises(DataError, match="must not be written over what is read"):
        write_shards(shards / "shard-000000.tar", shards)
    with pytest.raises(ConfigError, match="must be a column of the table; got 'z'"):
        write_shards(folder / "homes.csv", tmp_path / "s", target="z")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda of: of.update(format=2), "index.json: it must be of format 1; got format=2"),
        (lambda of: of.update(rows="many"), "index.json: it must be readable; got 1 validation error"),
        (lambda of: of["shards"][0].update(name="../x.tar"), "index.json: it must be readable"),
        (lambda of: of["shards"][0].update(rows=9), "must have the 9 rows that index.json names; got 10"),
        (lambda of: of["shards"][0].update(bytes=9), "must have the 9 bytes that index.json names; got "),
        (lambda of: of["shards"][0].update(name="shard-9.tar"), "shard-9.tar: the shard must have .* it is not there"),
        (lambda of: of["shards"].pop(), "shard-000002.tar: each shard must be named in index.json"),
        (lambda of: of.update(schema={"tarjet": 1}), "the schema in index.json must be valid"),
    ],
)
def test_an_index_that_does_not_fit_is_one_error(
    shards: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = shards / "index.json"
    before = path.read_bytes()
    facts = json.loads(before)
    change(facts)
    path.write_text(json.dumps(facts), encoding="utf-8")
    try:
        with pytest.raises(DataError, match=message):
            read_table(shards) if "schema" not in message else kept_schema(shards)
    finally:
        path.write_bytes(before)


def test_values_that_are_not_of_the_type_that_is_named_are_refused() -> None:
    from profuse.data.table.shard_cells import cells_of
    from profuse.data.table.shard_index import ShardColumn

    wrong: dict[str, list[Any]] = {
        "int64": [1.5], "bool": [None], "int8": [400], "str": [1], "float64": ["x"], "datetime64[ns]": ["noon"],
        "datetime64": ["2024-01-01"], "nothing": [1], "timedelta64[s]": ["x"],
    }  # fmt: skip
    for type_, values in wrong.items():
        with pytest.raises(DataError, match="column 'x': its values must be of type"):
            cells_of(values, ShardColumn(name="x", type=type_))


def test_a_fit_to_shards_is_the_fit_to_the_table_with_its_files_beside_it(folder: Path, shards: Path) -> None:
    schema = Schema(
        ignore=("said", "code", "ok"),
        split=SplitOptions(column="row id", method="group"),
        target=Target(columns=("y",)),
    )
    answers = []
    for path in (folder / "homes.csv", shards):
        fitted, notes = fit_streamed(
            path,
            schema=schema,
            model=ModelOptions(width=8, members=1),
            train=TrainOptions(epochs=1, refit=False),
            stream=StreamOptions(chunk_rows=9),
        )
        assert sorted(fitted.modalities) == ["front photo", "table"]
        rows = RowsInPieces(fitted, path, chunk_rows=7, need_target=True)
        frames = [fitted.predict_frame(block.rows) for block in rows]
        answers.append((pd.concat(frames), rows.evaluate().values, fitted.predict_frame(fitted.read(path)), notes))
    (got, scores, whole, notes), (expected, *others) = answers[1], answers[0]
    same(got, expected)
    same(whole, expected)
    assert (scores, notes) == (others[0], others[2])
