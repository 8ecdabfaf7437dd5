"""Files within a tar: what is listed, what is refused, and that a member is read as the file that it was."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from profuse._members import as_file, members_of, open_member, tar_of
from profuse.data.media.source import opened, read_bytes
from profuse.errors import DataError


def tar_with(path: Path, contents: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] | None = None) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change is not None:
                change(info)
            tar.addfile(info, io.BytesIO(content))
    return path


LONG = f"{'folder/' * 30}a.txt"  # beyond what a plain header holds
CONTENTS = {"a.txt": b"one", "./b.txt": b"", LONG: bytes(range(256)) * 9, "c.txt": b"last"}


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    return tar_with(tmp_path / "x.tar", CONTENTS)


def test_members_are_listed_with_the_places_of_their_contents(tar: Path) -> None:
    raw = tar.read_bytes()
    listed = list(members_of(tar))
    assert [m.name for m in listed] == ["a.txt", "b.txt", LONG, "c.txt"]
    assert [raw[m.first : m.first + m.size] for m in listed] == list(CONTENTS.values())


def test_a_member_is_read_to_its_end_and_not_beyond_whatever_is_asked(tar: Path) -> None:
    content = CONTENTS[LONG]
    with open_member(tar, LONG) as member:
        assert member.read() == content
        assert member.seek(-5, io.SEEK_END) == len(content) - 5
        assert member.read(100) == content[-5:]
        member.seek(7)
        assert (member.read(3), member.tell()) == (content[7:10], 10)
        assert member.seek(len(content) + 9) == len(content) + 9
        assert member.read(4) == b""
        with pytest.raises(OSError, match="fileno"):
            member.fileno()  # a decoder that takes it would read the whole tar


def test_a_path_leads_into_a_tar_only_where_one_is_there(tar: Path) -> None:
    assert tar_of(tar / "folder/a.txt") == (tar, "folder/a.txt")
    assert tar_of(tar) is None
    assert tar_of(tar.parent / "y.tar" / "a.txt") is None
    folder = tar.parent / "z.tar"
    folder.mkdir()
    assert tar_of(folder / "a.txt") is None


def test_readers_of_files_read_members_and_tell_of_those_that_are_not_there_or_empty(tar: Path) -> None:
    assert read_bytes(tar / "a.txt") == b"one"
    with pytest.raises(DataError, match="the file is empty"), opened(tar / "b.txt"):
        raise AssertionError
    with pytest.raises(DataError, match="there is no such file"):
        read_bytes(tar / "d.txt")


def test_a_reader_of_paths_gets_a_copy_that_is_gone_afterwards(tar: Path) -> None:
    with as_file(tar / "c.txt") as copy:
        assert (copy.name, copy.read_bytes()) == ("c.txt", b"last")
    assert not copy.parent.exists()
    with as_file(tar) as same:
        assert same == tar


def test_a_member_above_the_limit_of_memory_is_not_read(tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "1K")
    with pytest.raises(DataError, match="the limit is 1 KiB"):
        read_bytes(tar / LONG)
    with pytest.raises(DataError, match="the limit is 1 KiB"), as_file(tar / LONG):
        raise AssertionError


def test_a_tar_that_changed_is_listed_anew(tar: Path) -> None:
    assert read_bytes(tar / "a.txt") == b"one"
    tar_with(tar, {"x.txt": b"0", "a.txt": b"another"})
    assert read_bytes(tar / "a.txt") == b"another"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.txt", "a/../../b.txt", "C:\\a.txt", "a\\..\\b.txt", "a\nb.txt", "."]
)
def test_names_that_lead_out_of_the_tar_are_refused(name: str, tmp_path: Path) -> None:
    tar = tar_with(tmp_path / "x.tar", {name: b"1"})
    with pytest.raises(DataError, match="whose name must be a path within the tar"):
        list(members_of(tar))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.FIFOTYPE, "is a device"),
    ],
)
def test_links_and_devices_are_refused(kind: bytes, message: str, tmp_path: Path) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "/etc/passwd"

    tar = tar_with(tmp_path / "x.tar", {"a.txt": b""}, change)
    with pytest.raises(DataError, match=rf"x\.tar: .*'a.txt', which {message}, not a regular file"):
        list(members_of(tar))


def test_folders_are_passed_over(tmp_path: Path) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type = tarfile.DIRTYPE if info.name == "a" else info.type

    assert [m.name for m in members_of(tar_with(tmp_path / "x.tar", {"a": b"", "a/b.txt": b"1"}, change))] == [
        "a/b.txt"
    ]


def test_a_name_that_stands_twice_is_refused_where_members_are_found_by_name(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for content in (b"1", b"22"):
            info = tarfile.TarInfo("a.txt")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(DataError, match="got 'a.txt' twice"):
        open_member(tmp_path / "x.tar", "a.txt")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:700], "unexpected end of data|cut off"),
        (lambda raw: raw[:1024], "no header of a member, and no end, at byte 1,024"),
        (lambda raw: raw[:1024] + b"x" * 512 + raw[1536:], "no header of a member, and no end, at byte 1,024"),
        (lambda raw: raw + raw, "more behind its end"),
        (lambda raw: b"\x1f\x8b" + raw, "packed with gzip"),
        (lambda raw: b"", "empty"),
        (lambda raw: b"not a tar" * 100, "."),
    ],
)
def test_a_tar_that_is_cut_off_damaged_or_packed_is_one_error_that_names_it(
    damage: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    path = tar_with(tmp_path / "x.tar", {"a.txt": b"1", "b.txt": b"2"})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"^x\.tar: the shard must be a readable tar; got .*({message})"):
        list(members_of(path))


def test_a_header_that_says_it_is_very_long_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 31
    path = tmp_path / "x.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(20_480))
    with pytest.raises(DataError, match="a header of 2,147,48"):
        list(members_of(path))


def test_a_tar_without_members_has_none(tmp_path: Path) -> None:
    assert list(members_of(tar_with(tmp_path / "x.tar", {}))) == []
