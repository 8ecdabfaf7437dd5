"""Where files are looked for, and fetching from a server of our own: digests are checked, failures leave nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from profuse.datasets import _files, load
from profuse.datasets._files import CACHE_VARIABLE, ROOT_VARIABLE, Entry, entries, fetch, find, folder_digest, is_here
from profuse.errors import DataError, MissingDependencyError


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Says nothing: pytest's output is for the tests."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no other place to look."""
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _everything(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def test_a_file_is_fetched_to_its_place(served: tuple[Path, str], base: Path) -> None:
    folder, address = served
    (folder / "a.csv").write_bytes(b"1,2\n")
    got = fetch(Entry(_sha(b"1,2\n"), 1, "set/a.csv", (f"{address}/a.csv",)), base)
    assert got == base / "set" / "a.csv"
    assert got.read_bytes() == b"1,2\n"
    assert _everything(base) == [got]


def test_a_file_that_is_kept_compressed_is_checked_as_published(served: tuple[Path, str], base: Path) -> None:
    folder, address = served
    (folder / "a.csv").write_bytes(b"1,2\n")
    got = fetch(Entry(_sha(b"1,2\n"), 1, "set/a.csv.gz", (f"{address}/a.csv",)), base)
    assert gzip.decompress(got.read_bytes()) == b"1,2\n"


def test_a_wrong_digest_is_an_error_that_tells_it_and_leaves_nothing(served: tuple[Path, str], base: Path) -> None:
    folder, address = served
    (folder / "a.csv").write_bytes(b"other\n")
    wanted = _sha(b"1,2\n")
    with pytest.raises(DataError, match=rf"set/a.csv: the file must come with its published digest {wanted}") as caught:
        fetch(Entry(wanted, 1, "set/a.csv", (f"{address}/a.csv",)), base)
    assert _sha(b"other\n") in str(caught.value)
    assert ROOT_VARIABLE in str(caught.value)
    assert list(base.iterdir()) == []


def test_the_second_address_serves_where_the_first_fails(served: tuple[Path, str], base: Path) -> None:
    folder, address = served
    (folder / "a.csv").write_bytes(b"1,2\n")
    got = fetch(Entry(_sha(b"1,2\n"), 1, "set/a.csv", (f"{address}/none.csv", f"{address}/a.csv")), base)
    assert got.read_bytes() == b"1,2\n"


def test_no_server_is_an_error_that_names_the_address_and_leaves_nothing(base: Path) -> None:
    address = "http://127.0.0.1:1/a.csv"
    with pytest.raises(DataError, match=address):
        fetch(Entry("0" * 64, 1, "set/a.csv", (address,)), base)
    assert list(base.iterdir()) == []


def _archive(folder: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(folder / "all", "w:gz") as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))


def _combined(members: dict[str, bytes]) -> str:
    return _sha("".join(f"{_sha(content)}  {name}\n" for name, content in sorted(members.items())).encode())


def test_a_folder_is_taken_from_an_archive_and_only_the_files_asked_for(served: tuple[Path, str], base: Path) -> None:
    folder, address = served
    _archive(folder, {"r-1/x/b": b"B", "r-1/x/a": b"A", "r-1/x/no": b"N", "r-1/other/a": b"O", "r-1/x/y/a": b"D"})
    entry = Entry(_combined({"a": b"A", "b": b"B"}), 2, "set/x/", (f"{address}/all#x",))
    got = fetch(entry, base, members={"a", "b"})
    assert sorted(path.name for path in got.iterdir()) == ["a", "b"]
    assert folder_digest(got) == entry.digest
    assert entry.complete(base)


def test_an_archive_with_one_changed_file_is_refused_and_leaves_nothing(served: tuple[Path, str], base: Path) -> None:
    folder, address = served
    _archive(folder, {"r-1/x/a": b"A", "r-1/x/b": b"changed"})
    entry = Entry(_combined({"a": b"A", "b": b"B"}), 2, "set/x/", (f"{address}/all#x",))
    with pytest.raises(DataError, match=r"2 of 2 files of 'x' with the combined digest"):
        fetch(entry, base)
    assert list(base.iterdir()) == []


def test_what_is_no_archive_is_refused(served: tuple[Path, str], base: Path) -> None:
    folder, address = served
    (folder / "all").write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="set/x/"):
        fetch(Entry("0" * 64, 2, "set/x/", (f"{address}/all#x",)), base)
    assert list(base.iterdir()) == []


def test_find_fetches_what_the_cache_lacks_and_nothing_twice(
    served: tuple[Path, str], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    (folder / "a").write_bytes(b"A")
    lines = (Entry(_sha(b"A"), 1, "set/a", (f"{address}/a",)),)
    monkeypatch.setattr(_files, "entries", lambda folder: lines)
    assert not is_here("set")
    assert find("set") == base / "set"
    assert is_here("set")
    (folder / "a").unlink()  # a second fetch would fail
    assert (find("set") / "a").read_bytes() == b"A"


def test_find_wants_only_the_entries_it_is_asked_for(
    served: tuple[Path, str], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    (folder / "a").write_bytes(b"A")
    lines = tuple(Entry(_sha(b"A"), 1, f"set/{name}", (f"{address}/{name}",)) for name in "ab")
    monkeypatch.setattr(_files, "entries", lambda folder: lines)
    assert (find("set", only=lambda entry: entry.path == "set/a") / "a").is_file()


def test_emoji_is_fetched_whole_table_first_then_its_pictures_from_the_archive(
    served: tuple[Path, str], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    table = [
        {"emoji": "\u2764\ufe0f", "description": "red heart", "category": "S", "aliases": ["red_heart"], "tags": []},
        {"emoji": "\U0001f600", "description": "face", "category": "F", "aliases": [], "tags": ["smile"]},
        {"emoji": "\U0001f6a9", "description": "flag", "category": "Flags", "aliases": [], "tags": []},
    ]
    content = json.dumps(table).encode()
    (folder / "emoji.json").write_bytes(content)
    drawn = io.BytesIO()
    Image.new("RGBA", (72, 72), (255, 0, 0, 0)).save(drawn, "png")
    wanted = dict.fromkeys(("emoji_u2764.png", "emoji_u1f600.png"), drawn.getvalue())
    _archive(folder, {f"r-1/png/72/{name}": picture for name, picture in {**wanted, "emoji_uother.png": b""}.items()})
    lines = (
        Entry(_combined(wanted), 2, "emoji/png72/", (f"{address}/all#png/72",)),
        Entry(_sha(content), 1, "emoji/emoji.json", (f"{address}/emoji.json",)),
    )
    monkeypatch.setattr(_files, "entries", lambda folder: lines)
    data = load("emoji")
    assert data.modalities["text"].values.tolist() == ["red heart red heart", "face smile"]
    assert data.modalities["picture"].values.shape == (2, 72, 72, 3)
    assert (data.modalities["picture"].values == 255).all()  # transparent red is white


def test_the_named_folder_comes_before_the_cache_and_is_never_fetched_into(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    (named / "mfeat").mkdir(parents=True)
    monkeypatch.setenv(ROOT_VARIABLE, str(named))
    with pytest.raises(DataError, match=r"mfeat/mfeat-fac.csv, and 5 more are missing. .* leave PROFUSE_DATA away"):
        load("mfeat")
    assert _everything(tmp_path) == []


def test_a_root_that_lacks_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Data set 'mosi': its files must all be in .* leave root away"):
        load("mosi", root=tmp_path)


def test_without_pooch_the_extra_is_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'profuse\[data\]'"):
        fetch(Entry("0" * 64, 1, "set/a", ("http://127.0.0.1:1/a",)), base)


@pytest.mark.parametrize("name", ["avmnist", "beijing-air", "emoji", "mfeat", "mosi", "stocks"])
def test_every_line_of_digests_has_a_digest_and_a_pinned_address(name: str) -> None:
    lines = entries(name)
    assert lines
    for line in lines:
        assert len(line.digest) == 64
        assert int(line.digest, 16) >= 0
        assert line.urls
        for url in line.urls:
            assert url.startswith("https://")
            commit = [part for part in url.partition("#")[0].split("/") if len(part) == 40]
            assert commit or "mnist" in url
