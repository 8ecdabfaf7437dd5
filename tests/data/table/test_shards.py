"""Shards of others: columns found in members, and what does not fit told with shard and key."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from profuse.data.table.pieces import TablePieces
from profuse.data.table.read import read_table
from profuse.data.table.reader import TableReader
from profuse.data.table.shards import kept_schema, shards_at
from profuse.errors import DataError


def shard(path: Path, members: dict[str, bytes | str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            raw = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return path


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def row(key: str, **endings: Any) -> dict[str, bytes | str]:
    made = {f"{key}.{end.replace('_', '.')}": content for end, content in endings.items()}
    return {name: json.dumps(c) if isinstance(c, dict) else c for name, c in made.items()}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Two shards, the second of which has columns and types of its own; numbers in names are in their order."""
    folder = tmp_path / "wild"
    folder.mkdir()
    first: dict[str, bytes | str] = {"README": "of a person", "./__meta__.json": "{}"}
    for i in range(4):
        first |= row(
            f"./some.folder/{i}", JPG=picture(i), cls=f" {i % 2}\n", left_txt=f"say {i}", json={"size": i, "ok": True}
        )
    second: dict[str, bytes | str] = {}
    for i in range(4, 7):
        cells = {"size": i + 0.5, "ok": None, "word": "007", "list": [1, 2]}
        second |= row(f"{i}", json=cells, jpg=picture(i), cls="1", right_nii_gz="x", nii_gz="x")
    shard(folder / "train-9.tar", first)
    shard(folder / "train-10.tar", second)
    return folder


def test_columns_are_found_in_the_members_of_all_shards(foreign: Path) -> None:
    frame = read_table(foreign)
    assert list(frame.columns) == ["jpg", "cls", "left", "size", "ok", "word", "list", "right", "nii.gz"]
    assert frame["size"].tolist() == [0, 1, 2, 3, 4.5, 5.5, 6.5]
    assert frame["cls"].tolist() == [0, 1, 0, 1, 1, 1, 1]
    assert frame.dtypes[["cls", "size", "ok"]].astype(str).tolist() == ["int64", "float64", "object"]
    assert frame["left"].dropna().tolist() == ["say 0", "say 1", "say 2", "say 3"]
    assert frame["word"].dropna().tolist() == ["007"] * 3
    assert frame["list"].tolist()[4:] == [[1, 2]] * 3
    assert frame["jpg"].tolist()[3:5] == ["wild/train-9.tar/some.folder/3.JPG", "wild/train-10.tar/4.jpg"]
    assert frame["right"].iloc[4] == "wild/train-10.tar/4.right.nii.gz"
    assert frame.attrs["notes"] == [
        "wild: 2 members have no key and ending, and are not read: 'README', '__meta__.json'."
    ]
    assert kept_schema(foreign).model_fields_set == set()


def test_pieces_hold_what_a_whole_read_does(foreign: Path) -> None:
    pieces = TablePieces(foreign, n_rows=2)
    assert (pieces.n_total, len(list(pieces))) == (7, 4)
    assert list(pieces.notes) == read_table(foreign).attrs["notes"]
    pd.testing.assert_frame_equal(pd.concat(list(pieces), ignore_index=True), read_table(foreign))


def test_types_are_those_that_json_lines_give(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"a": 1, "b": True, "c": 1, "d": "x", "e": 2.5, "f": None, "g": [1], "h": 1, "i": "é"},
        {"a": 2, "b": False, "c": None, "d": None, "e": 1, "f": None, "g": None, "h": "x"},
    ]
    shard(tmp_path / "x.tar", {f"{i}.json": json.dumps(of) for i, of in enumerate(rows)})
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pd.testing.assert_frame_equal(read_table(tmp_path / "x.tar"), read_table(tmp_path / "x.jsonl"))


def test_whole_numbers_that_floats_would_merge_stay_exact(tmp_path: Path) -> None:
    rows = [{"a": 2**60 + 1, "b": 2**70}, {"a": None, "b": -1}, {"a": 2**60, "b": 0}]
    shard(tmp_path / "x.tar", {f"{i}.json": json.dumps(of) for i, of in enumerate(rows)})
    frame = read_table(tmp_path / "x.tar")
    assert frame["a"].tolist() == [2**60 + 1, None, 2**60]
    assert frame["b"].tolist() == [2**70, -1, 0]


def test_pictures_are_read_where_they_lie(foreign: Path) -> None:
    _, dataset = TableReader.fit(foreign, {"ignore": ["right", "nii.gz", "list"]}, target="cls")
    pictures = dataset.modalities["jpg"].values
    for i in range(7):
        expected = np.asarray(Image.open(io.BytesIO(picture(i))))
        np.testing.assert_array_equal(pictures[i], expected)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (row("a", cls="one"), r"x.tar, row 'a': a.cls must hold a whole number; got 'one'"),
        (row("a", txt=b"\xff"), r"x.tar, row 'a': a.txt must be UTF-8; byte 0 is not"),
        (row("a", json="{"), r"x.tar, row 'a': it must be JSON; got "),
        (row("a", json='{"b": 1, "b": 2}'), r"row 'a': column names must differ; got 'b' more than once"),
        (row("a", json='{"b": 1}', b_txt="x"), r"row 'a': each column must stand in one member; 'b' stands in two"),
        (row("a", jpg="1", JPG="2"), r"row 'a': each column must stand in one member; 'jpg' stands in two"),
        (row("a", json="[" * 100_000), r"row 'a': lists must not be nested so deep"),
        (row("a", json='{"b": ' + "9" * 5000 + "}"), r"row 'a': numbers must be below"),
        (row("a", json='"\\ud800"'), r"row 'a': characters must be whole"),
        ({}, r"the table must have at least one row and one column; got 0 rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_error_with_shard_and_key(
    members: dict[str, bytes | str], message: str, tmp_path: Path
) -> None:
    shard(tmp_path / "x.tar", members)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "x.tar")
    with pytest.raises(DataError, match=message):
        TablePieces(tmp_path / "x.tar")


def test_a_member_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard(tmp_path / "x.tar", row("a", txt="x" * 2000))
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "1K")
    with pytest.raises(DataError, match=r"row 'a': a.txt takes 1.953 KiB in memory"):
        read_table(tmp_path / "x.tar")


def test_a_name_twice_in_a_row_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    with pytest.raises(DataError, match=r"x.tar: members must have names of their own; got 'a.txt' twice"):
        read_table(tmp_path / "x.tar")


def test_a_folder_without_shards_is_told_what_could_be_in_it(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"what": "mine"}')
    (tmp_path / ".hidden.tar").write_text("")
    assert shards_at(tmp_path) is None
    with pytest.raises(DataError, match=r"the path must be a file, or a folder of shards \(.tar\); got the folder"):
        read_table(tmp_path)


PACKED = {
    "tar.gz": "gunzip", "tgz": "gunzip", "TAR.GZ": "gunzip", "tar.bz2": "bunzip2", "tbz": "bunzip2", "tbz2": "bunzip2",
    "tar.xz": "unxz", "txz": "unxz", "tar.zst": "unzstd", "tzst": "unzstd",
}  # fmt: skip


@pytest.mark.parametrize(("ending", "tool"), PACKED.items())
def test_a_packed_shard_is_told_how_to_unpack_it(tmp_path: Path, ending: str, tool: str) -> None:
    (tmp_path / f"a.{ending}").write_bytes(b"\x1f\x8b")
    message = f"a.{ending}: shards must be plain tars .*got a packed one. Unpack it: {tool} a.{ending}$"
    for place in (tmp_path, tmp_path / f"a.{ending}"):
        with pytest.raises(DataError, match=message):
            read_table(place)


def test_packed_shards_beside_plain_ones_are_not_passed_over(foreign: Path) -> None:
    for name in ("b-2.tgz", "b-10.tgz", ".hidden.tgz"):
        (foreign / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match="b-10.tgz: .*got a packed one, and 1 more. Unpack it: gunzip b-10.tgz"):
        read_table(foreign)
    for name in ("b-2.tgz", "b-10.tgz"):
        (foreign / name).unlink()
    (foreign / "train-9.tar.gz").write_bytes(b"\x1f\x8b")  # what `gunzip --keep` leaves
    assert len(read_table(foreign)) == 7


def test_an_index_of_others_is_none_of_ours(foreign: Path) -> None:
    (foreign / "index.json").write_text('["train-9.tar"]')
    assert len(read_table(foreign)) == 7


def test_a_folder_of_parquet_files_is_told_what_reads_it(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"part-{i}.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 Parquet files are read by DuckDB: duckdb:///:memory: --query .*\*.parquet"):
        read_table(tmp_path)
