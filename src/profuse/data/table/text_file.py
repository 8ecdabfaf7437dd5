"""Bytes of a table's file -> its text: unpacked within bounds, UTF-8 or UTF-16, without zero bytes."""

from __future__ import annotations

import codecs
import zlib
from pathlib import Path

from profuse._files import check_size, read_source
from profuse.errors import DataError

__all__ = ["NOT_UTF_8", "encoding_of", "read_text"]

_PIECE = 1 << 24
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
NOT_UTF_8 = "{name}: the text must be UTF-8; byte 0x{byte:02x} in line {line} is not. Save the file as UTF-8."


def encoding_of(start: bytes) -> str:
    """Returns the encoding of a text whose first bytes are `start`: UTF-8, or UTF-16 where it says so."""
    return "utf-16" if start.startswith(_UTF_16) and not start.startswith(_UTF_32) else "utf-8-sig"


def read_text(path: Path, *, packed: bool) -> tuple[str, list[str]]:
    """Returns the text of the file `path` and what is to be told of it.

    Args:
        path: The file.
        packed: Whether it is packed with gzip.

    Raises:
        DataError: It is no regular file, too large, damaged, empty, or no text; the line is told.
    """
    try:
        raw = read_source(path)
        raw = _unpacked(raw) if packed else raw
    except (DataError, zlib.error) as error:
        raise DataError(f"{path.name}: the file must be readable; got {error}. Check it.") from error
    if not raw.strip():
        raise DataError(f"{path.name}: the table must have at least one row; the file is empty. Name another file.")
    notes = []
    encoding = encoding_of(raw)
    if encoding == "utf-16":
        notes.append(f"{path.name}: the text is read as UTF-16.")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise DataError(
                f"{path.name}: the text must be UTF-8; got UTF-16 that is cut off. Save it anew."
            ) from error
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(NOT_UTF_8.format(name=path.name, byte=raw[error.start], line=line)) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path.name}: the file must be text; got a zero byte in line {line}. Is it another format?")
    return text, notes


def _unpacked(raw: bytes) -> bytes:
    """Unpacks gzip, all its members, in pieces: a small file may hold gigabytes."""
    pieces: list[bytes] = []
    size = 0
    rest = raw
    while rest.strip(b"\0"):
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            piece = member.decompress(rest, _PIECE)
            rest = member.unconsumed_tail
            size += len(piece)
            check_size(size, "it")
            pieces.append(piece)
            if not piece and not rest and not member.eof:
                raise DataError("a gzip file that is cut off")
        rest = member.unused_data
    return b"".join(pieces)
