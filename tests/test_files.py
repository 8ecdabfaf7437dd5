"""Files of users: special ones are refused, and the bound of memory can be set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from profuse._files import MAX_FILE_SIZE, check_size, check_source, max_file_size, read_source
from profuse.errors import ConfigError, DataError


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_pipe, "a named pipe"),
        (lambda folder: folder, "a folder"),
        (lambda folder: Path("/dev/zero"), "a device"),
        (lambda folder: folder / "absent", "no such file"),
        (lambda folder: folder / ("x" * 300), "no path of a file"),
        (lambda folder: folder / "a\0b", "no path of a file"),
    ],
)
def test_what_is_no_regular_file_is_refused(tmp_path: Path, make: Any, message: str) -> None:
    path = make(tmp_path)
    for use in (check_source, read_source):
        with pytest.raises(DataError, match=message):
            use(path)


def test_a_regular_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    assert read_source(tmp_path / "link") == b"abc"


@pytest.mark.parametrize(("text", "size"), [("10", 10), ("2k", 2048), ("3 MiB", 3 * 2**20), ("8G", 8 * 2**30)])
def test_the_bound_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, size: Any) -> None:
    monkeypatch.setenv(MAX_FILE_SIZE, text)
    assert max_file_size() == size
    check_size(size)
    with pytest.raises(DataError, match=MAX_FILE_SIZE):
        check_size(size + 1)


@pytest.mark.parametrize("text", ["0", "-1", "much", "1.5G", "9" * 400])
def test_a_bound_that_is_no_size_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(MAX_FILE_SIZE, text)
    with pytest.raises(ConfigError, match=MAX_FILE_SIZE):
        max_file_size()


def test_a_file_above_the_bound_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(bytes(100))
    monkeypatch.setenv(MAX_FILE_SIZE, "99")
    with pytest.raises(DataError, match="limit is 99 bytes"):
        read_source(tmp_path / "a")
