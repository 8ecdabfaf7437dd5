"""The bytes of one file, and how what could be doubted in it is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from profuse._files import read_source
from profuse.errors import DataError, ProfuseWarning

__all__ = ["Tell", "read_bytes", "warn"]

Tell = Callable[[str], None]
"""Takes a sentence, without a place, on a file that was read in a way that could be doubted."""


def warn(remark: str) -> None:
    """Gives the remark as a warning: what readers do who have no notes to write it into."""
    warnings.warn(f"{remark}.", ProfuseWarning, stacklevel=4)


def read_bytes(path: Path) -> bytes:
    """Returns the bytes of the file `path`.

    Raises:
        DataError: It is no regular file, it cannot be read, it is empty, or it is too large.
    """
    data = read_source(path)
    if not data:
        raise DataError("the file is empty")
    return data
