"""The bytes of one file, or of a member of a tar, and how what could be doubted in it is told."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from profuse._files import check_size, check_source
from profuse._members import open_member, tar_of
from profuse.errors import DataError, ProfuseWarning

__all__ = ["Tell", "opened", "read_bytes", "read_whole", "warn"]

Tell = Callable[[str], None]
"""Takes a sentence, without a place, on a file that was read in a way that could be doubted."""


def warn(remark: str) -> None:
    """Gives the remark as a warning: what readers do who have no notes to write it into."""
    warnings.warn(f"{remark}.", ProfuseWarning, stacklevel=4)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Opens the file `path`, which may be a member of a tar (`profuse._members`).

    Raises:
        DataError: It is no regular file, it cannot be read, or it is empty.
    """
    inside = tar_of(path)
    try:
        if inside is None:
            check_source(path)
        with path.open("rb") if inside is None else open_member(*inside) as file:
            if file.seek(0, os.SEEK_END) == 0:
                raise DataError("the file is empty")
            file.seek(0)
            yield file
    except OSError as error:
        raise DataError(f"it cannot be read ({error.strerror or error})") from error


def read_bytes(path: Path) -> bytes:
    """Returns the bytes of the file `path`.

    Raises:
        DataError: It is no regular file, it cannot be read, it is empty, or it is too large.
    """
    with opened(path) as file:
        return read_whole(file)


def read_whole(file: BinaryIO) -> bytes:
    """Returns all bytes of an open file.

    Raises:
        DataError: It is too large.
    """
    check_size(file.seek(0, os.SEEK_END))
    file.seek(0)
    return file.read()
