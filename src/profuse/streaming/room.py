"""Tensors that stand on disk, and the rows of a modality written to them piece by piece."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from profuse.errors import DataError
from profuse.tokens import Raw

__all__ = ["Room", "Rows", "no_room"]

_SPARE = 1.25  # more positions than asked for, so that few longer rows do not each move all rows before them
_MOVED = 4096  # rows that are copied at a time


class Room:
    """Makes tensors whose values are in a file of `folder`, which the system reads and writes as they are used.

    The file has no name once it is open, so that nothing stays behind, whatever ends the process.

    Args:
        folder: It must be there; on a disk, as memory is what is to be spared.
        named: Is called with the path of each file while it has one, and with all of its numbers, `[number]`.
    """

    def __init__(self, folder: Path, named: Callable[[str, Tensor], None] = lambda path, numbers: None) -> None:
        self.folder, self._named = folder, named

    def zeros(
        self, *shape: int, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> Tensor:
        """Returns zeros, as `torch.zeros` does.

        Raises:
            DataError: The disk has no room for them.
        """
        n = prod(shape)
        if n == 0 or (device is not None and torch.device(device).type != "cpu"):
            return torch.zeros(shape, dtype=dtype, device=device)
        size = n * torch.empty(0, dtype=dtype).element_size()
        try:
            handle, name = tempfile.mkstemp(prefix="profuse-rows-", dir=self.folder)
        except OSError as error:
            raise DataError(
                f"{self.folder}: the folder for preprocessed rows must be writable; got {error.strerror}. Name another "
                "one (--scratch)."
            ) from error
        try:
            self._take(handle, size)
            made = torch.from_file(name, shared=True, size=n, dtype=dtype)
            self._named(name, made)
        finally:
            os.close(handle)
            os.unlink(name)
        return made.view(shape)

    def _take(self, handle: int, size: int) -> None:
        """Gives the file its size: a page that finds no room later would end the process."""
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)
                return
            if shutil.disk_usage(self.folder).free < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.truncate(handle, size)
        except OSError as error:
            raise no_room(self.folder, f"preprocessed rows need {size / 1e6:,.1f} MB more on disk", error) from error


def no_room(folder: Path, what: str, error: OSError) -> DataError:
    """Returns the error of a disk that has no room for `what`."""
    return DataError(
        f"{folder}: {what}; got {error.strerror}. Name a folder that has room (--scratch), or use fewer rows."
    )


class Rows:
    """All rows of a modality, written to disk piece by piece.

    Args:
        n_rows: How many there will be.
        room: Where.
    """

    def __init__(self, n_rows: int, room: Room) -> None:
        self.n_rows, self._room = n_rows, room
        self._values: Tensor | None = None
        self._mask = torch.zeros(0, dtype=torch.bool)

    def put(self, first: int, raw: Raw) -> None:
        """Writes the rows from number `first` on; those written before become as long as the longest of these."""
        values, mask = raw.values, raw.mask
        if self._values is None:
            self._values = self._room.zeros(self.n_rows, *values.shape[1:], dtype=values.dtype)
            self._mask = self._room.zeros(self.n_rows, *mask.shape[1:], dtype=torch.bool)
        here = slice(first, first + len(values))
        if mask.ndim == 1:
            self._values[here], self._mask[here] = values, mask
            return
        length = values.shape[1]
        if length > self._values.shape[1]:
            longer = int(length * _SPARE) + 1
            self._values, self._mask = self._moved(self._values, longer), self._moved(self._mask, longer)
        self._values[here, :length], self._mask[here, :length] = values, mask

    def _moved(self, rows: Tensor, length: int) -> Tensor:
        """Returns the same rows with more positions."""
        made = self._room.zeros(self.n_rows, length, *rows.shape[2:], dtype=rows.dtype)
        for start in range(0, self.n_rows, _MOVED):
            made[start : start + _MOVED, : rows.shape[1]] = rows[start : start + _MOVED]
        return made

    @property
    def raw(self) -> Raw:
        """All rows."""
        assert self._values is not None
        return Raw(self._values, self._mask)
