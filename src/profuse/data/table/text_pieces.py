"""A text table that is larger than memory: its text in blocks, with the checks that a whole read makes."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from profuse.data.table.delimited import Widths, layout_of, open_quote
from profuse.data.table.text_file import NOT_UTF_8, encoding_of
from profuse.errors import DataError

__all__ = ["TextBytes", "TextPieces"]

_BYTES = 1 << 20
_HEAD = 4_000_000
"""Characters in which the layout is found: more than a whole read looks at."""


class TextPieces:
    """The text of a CSV or TSV file, read as often as wanted, a block at a time; its layout is found once, in its head.

    Args:
        path: The file.
        packed: Whether it is packed with gzip.
        usual: The separator that its suffix tells.

    Raises:
        DataError: See `read_delimited`; or the file changes between two reads.
    """

    def __init__(self, path: Path, *, packed: bool, usual: str) -> None:
        self.path, self.packed = path, packed
        self._state = self._now()
        with self._binary() as file:
            start = self._bytes(file, 4)
        self._encoding = encoding_of(start)
        head = ""
        for block in self._decoded():
            head += block
            if len(head) > _HEAD:
                break
        if not head.strip():
            raise DataError(f"{path.name}: the table must have at least one row; the file is empty. Name another file.")
        layout = layout_of(head, path.name, usual)
        self.separator, self.header = layout.separator, layout.header
        self._skipped = len(head) - len(layout.text)
        utf_16 = [f"{path.name}: the text is read as UTF-16."] if self._encoding == "utf-16" else []
        self.notes = [*utf_16, *layout.notes]

    def blocks(self) -> Iterator[str]:
        """Yields the text from the line of names on; every block but the last ends where a line does."""
        rest, skipped = "", self._skipped
        for block in self._decoded():
            text = rest + block
            text, skipped = text[skipped:], max(0, skipped - len(text))
            whole = text.rfind("\n") + 1
            rest = text[whole:]
            if whole:
                yield text[:whole]
        if rest:
            yield rest
        if self._now() != self._state:
            raise DataError(f"{self.path.name}: the file must not change while it is read; it did. Read it again.")

    def check(self) -> None:
        """Checks the text as a whole read does: line ends, zero bytes, cells in a line, quotes.

        Raises:
            DataError: One of them is wrong; the line is told.
        """
        widths = Widths(self.separator, len(self.header), self.path, self.open_quote)
        blocks = self.blocks()
        for block in blocks:
            if '"' in block:
                widths.check_lines(line for text in _then(block, blocks) for line in _lines(text))
                return
            widths.check_block(block)

    def stream(self) -> io.BufferedReader:
        """Returns the same text as bytes, UTF-8, for `pandas.read_csv`."""
        return io.BufferedReader(TextBytes(self.blocks(), strip=len(self.header) == 1), _BYTES)

    def open_quote(self) -> int | None:
        """Returns the line in which the last quote opens, if it is never closed."""
        return open_quote((line for block in self.blocks() for line in _lines(block)), self.separator)

    def _decoded(self) -> Iterator[str]:
        """Yields all text, as it comes; the mark at its beginning is left out."""
        decoder = codecs.getincrementaldecoder(self._encoding)()
        n_lines, parity, last = 0, 0, ""
        name = self.path.name
        with self._binary() as file:
            while True:
                raw = self._bytes(file, _BYTES)
                try:
                    text = decoder.decode(raw, final=not raw)
                except UnicodeDecodeError as error:
                    if self._encoding == "utf-16":
                        raise DataError(
                            f"{name}: the text must be UTF-8; got UTF-16 that is cut off. Save it anew."
                        ) from error
                    line = n_lines + error.object[: error.start].count(b"\n") + 1
                    raise DataError(NOT_UTF_8.format(name=name, byte=error.object[error.start], line=line)) from error
                if "\0" in text:
                    line = n_lines + text[: text.index("\0")].count("\n") + 1
                    raise DataError(
                        f"{name}: the file must be text; got a zero byte in line {line}. Is it another format?"
                    )
                text, last = last + text, ""
                if raw and text.endswith("\r"):  # the rest of the line end may follow
                    text, last = text[:-1], "\r"
                if "\r" in text.replace("\r\n", ""):
                    _check_line_ends(text, parity, n_lines, name)
                parity = (parity + text.count('"')) % 2
                n_lines += text.count("\n")
                if text:
                    yield text
                if not raw:
                    return

    def _binary(self) -> Any:
        return gzip.open(self.path) if self.packed else self.path.open("rb")

    def _bytes(self, file: Any, n: int) -> bytes:
        try:
            return bytes(file.read(n))
        except (EOFError, zlib.error, OSError) as error:
            what = "a gzip file that is cut off" if isinstance(error, EOFError) else str(error)
            raise DataError(f"{self.path.name}: the file must be readable; got {what}. Check it.") from error

    def _now(self) -> tuple[int, int, int]:
        about = self.path.stat()
        return about.st_size, about.st_mtime_ns, about.st_ino


class TextBytes(io.RawIOBase):
    """Blocks of text as a stream of bytes."""

    def __init__(self, blocks: Iterator[str], *, strip: bool) -> None:
        super().__init__()
        self._blocks, self._rest, self._strip = blocks, b"", strip

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            if self._strip:  # a blank line is a row of a single column, but not before its name
                block = block.lstrip("\r\n")
                self._strip = not block
            self._rest = block.encode()
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n


def _check_line_ends(text: str, parity: int, n_lines: int, name: str) -> None:
    """Checks that no carriage return stands alone outside quotes; `parity` is 1 where `text` begins within them."""
    outside = text.split('"')[parity::2]
    if any("\r" in part.replace("\r\n", "") for part in outside):
        inside, line = bool(parity), n_lines + 1
        for i, sign in enumerate(text):
            inside ^= sign == '"'
            line += sign == "\n"
            if sign == "\r" and not inside and text[i + 1 : i + 2] != "\n":
                raise DataError(
                    f"{name}: lines must end in \\n or \\r\\n; got a carriage return (\\r) alone in line {line}. "
                    "Put quotes around the cell that holds it, or save the file with other line ends."
                )


def _then(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _lines(text: str) -> Iterator[str]:
    return iter(io.StringIO(text, newline=""))
