"""Shards of a text table as text again, for the reader of text tables that are larger than memory."""

from __future__ import annotations

import io

from profuse.data.table.shards import Shards
from profuse.data.table.text_pieces import TextBytes

__all__ = ["ShardText"]

_BYTES = 1 << 20


class ShardText:
    """The rows of shards whose cells are the words of a text file; read as `TextPieces` are.

    Args:
        shards: They are of such a file.
    """

    separator = ","

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def stream(self) -> io.BufferedReader:
        """Returns all rows as bytes, UTF-8, for `pandas.read_csv`."""
        return io.BufferedReader(TextBytes(self._shards.text(), strip=False), _BYTES)

    def open_quote(self) -> int | None:
        """Returns None: each quote is closed."""
        return None
