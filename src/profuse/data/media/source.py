"""The bytes of one file, and how what could be doubted in it is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from profuse._files import check_source, read_source
from profuse.errors import DataError, ProfuseWarning

__all__ = ["Tell", "opened", "read_bytes", "warn"]

Tell = Callable[[str], None]
"""Takes a sentence, without a place, on a file that was read in a way that could be doubted."""


def warn(remark: str) -> None:
    """Gives the remark as a warning: what readers do who have no notes to write it into."""
    warnings.warn(f"{remark}.", ProfuseWarning, stacklevel=4)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Opens the file `path`.

    Raises:
        DataError: It is no regular file, it cannot be read, or it is empty.
    """
    check_source(path)
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise DataError("the file is empty")
            yield file
    except OSError as error:
        raise DataError(f"it cannot be read ({error.strerror or error})") from error


def read_bytes(path: Path) -> bytes:
    """Returns the bytes of the file `path`.

    Raises:
        DataError: It is no regular file, it cannot be read, it is empty, or it is too large.
    """
    data = read_source(path)
    if not data:
        raise DataError("the file is empty")
    return data
