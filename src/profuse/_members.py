"""Files within a tar: listed with checks, and read where they lie, without unpacking.

A path may lead into a tar: `shards/shard-000003.tar/000000042.photo.jpg` is its member `000000042.photo.jpg`. Of the
tars read last, 24 bytes a member are held to find it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from profuse._files import check_size, check_source
from profuse.errors import DataError

__all__ = ["Member", "as_file", "members_of", "open_member", "tar_of"]

_BLOCK = 512
_LONGEST_HEADER = 1 << 20  # bytes: names and times; more is none
_PLAIN = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)
_HELD = 8  # tars whose places are held at a time
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class Member(NamedTuple):
    """A regular file within a tar.

    Attributes:
        name: Its path there, without `./` before it.
        first: Where its content begins, bytes.
        size: Of its content, bytes.
    """

    name: str
    first: int
    size: int


def members_of(tar: Path) -> Iterator[Member]:
    """Yields the files of a tar, in their order; folders are passed over.

    Raises:
        DataError: It is no plain tar, it is cut off or damaged, or a member is no regular file, or has a name that
            leads out of the folder into which it would be unpacked.
    """
    try:
        check_source(tar)
        with tar.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(_BLOCK)
            packed = [name for mark, name in _PACKED.items() if start.startswith(mark)]
            if packed:
                raise DataError(f"it is packed with {packed[0]}, and members are read from their places: unpack it")
            if start == bytes(_BLOCK):
                return  # a tar without members
            file.seek(0)
            with tarfile.open(fileobj=cast(BinaryIO, _Headers(file)), mode="r:") as read:
                while (info := read.next()) is not None:
                    if not info.isdir():
                        yield _checked(info, size)
                    read.members = []  # type: ignore[attr-defined]  # not needed again; there may be millions
                _check_end(file, read.offset)
    except (DataError, tarfile.TarError, OSError, ValueError) as error:
        what = str(getattr(error, "strerror", None) or error).rstrip(".")
        raise DataError(f"{tar.name}: the shard must be a readable tar; got {what}. Write or copy it anew.") from error


def _checked(info: tarfile.TarInfo, size: int) -> Member:
    if not info.isreg() or info.issparse():
        what = "a link" if info.issym() or info.islnk() else "a sparse file" if info.issparse() else "a device"
        raise DataError(f"the member {info.name!r}, which is {what}, not a regular file")
    if info.offset_data + info.size > size:
        raise DataError(f"the member {info.name!r} cut off")
    return Member(_plain_name(info.name), info.offset_data, info.size)


def _plain_name(name: str) -> str:
    """Returns the name of a member without `./` and doubled slashes, which paths do not keep.

    Raises:
        DataError: It leads out of a folder, or no file can have it.
    """
    if _PLAIN.fullmatch(name):  # as nearly all are: a path costs more than the rest of a header
        return name
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or set("\\\0:\n\r") & set(name):
        raise DataError(f"the member {name!r}, whose name must be a path within the tar")
    return str(path)


def _check_end(file: BinaryIO, at: int) -> None:
    """Checks that a tar ends as one does, with an empty block: else headers from there on are damaged, or lacking."""
    file.seek(at)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise DataError(f"no header of a member, and no end, at byte {at:,}: it is cut off or damaged")
    if file.read(1 << 16).strip(b"\0"):
        raise DataError(f"more behind its end, at byte {at:,}, as where two tars are written one after the other")


def tar_of(path: Path) -> tuple[Path, str] | None:
    """Returns the tar into which a path leads, and the name of the member; None of other paths."""
    parts = path.parts
    for i, part in enumerate(parts[:-1], start=1):
        if part.lower().endswith(".tar") and (tar := Path(*parts[:i])).is_file():
            return tar, "/".join(parts[i:])
    return None


def open_member(tar: Path, name: str) -> BinaryIO:
    """Returns the member `name` of a tar as a file to be read.

    Raises:
        DataError: There is none, or the tar cannot be read.
        OSError: The tar cannot be opened.
    """
    state = tar.stat()
    hashes, firsts, sizes = _places(tar, state.st_size, state.st_mtime_ns)
    asked = _hash(name)
    place = int(np.searchsorted(hashes, asked))
    if place == len(hashes) or hashes[place] != asked:
        raise DataError("there is no such file")
    file = tar.open("rb", buffering=0)
    return io.BufferedReader(_Range(file, int(firsts[place]), int(sizes[place])))


@contextmanager
def as_file(path: Path) -> Iterator[Path]:
    """Gives a path that any reader can open: of a member of a tar a copy, which is gone afterwards.

    Raises:
        DataError: See `open_member`; or it is too large.
    """
    inside = tar_of(path)
    if inside is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="profuse-") as folder:
        copy = Path(folder) / path.name
        with open_member(*inside) as member, copy.open("wb") as file:
            check_size(member.seek(0, os.SEEK_END))
            member.seek(0)
            shutil.copyfileobj(member, file)
        yield copy


@lru_cache(maxsize=_HELD)
def _places(tar: Path, size: int, changed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns hashes of the names of members, ascending, where their contents begin, and sizes."""
    listed = ((_hash(member.name), member.first, member.size) for member in members_of(tar))
    rows = np.fromiter(listed, dtype=[("hash", "u8"), ("first", "u8"), ("size", "u8")])
    rows = rows[np.argsort(rows["hash"], kind="stable")]
    hashes = rows["hash"].copy()
    again = hashes[1:][hashes[1:] == hashes[:-1]]
    if len(again):
        name = next(member.name for member in members_of(tar) if _hash(member.name) in again)
        raise DataError(f"{tar.name}: members must have names of their own; got {name!r} twice. Write the shard anew")
    return hashes, rows["first"].copy(), rows["size"].copy()


def _hash(name: str) -> np.uint64:
    digest = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


class _Headers:
    """A tar as `tarfile` reads its headers: one that says it is very long is not read into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, n: int) -> bytes:
        if n > _LONGEST_HEADER:
            raise DataError(f"a header of {n:,} bytes at byte {self.tell():,}")
        return self._file.read(n)


class _Range(io.RawIOBase):
    """A part of a file as a file; it has no descriptor, so that decoders do not read past it."""

    def __init__(self, file: Any, first: int, size: int) -> None:
        super().__init__()
        self._file, self._first, self._size, self._at = file, first, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError(f"negative seek value {at}")
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._first + self._at)
        content = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
