"""Temporary files that the processes of one comparison leave for each other."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from profuse.errors import DataError

__all__ = ["keep"]


def keep(path: Path, value: Any) -> None:
    """Leaves `value` in a temporary file for the processes of this run.

    Raises:
        DataError: There is no room.
    """
    try:
        path.write_bytes(pickle.dumps(value, protocol=5))
    except OSError as error:
        raise DataError(
            f"compare: temporary files must find room in {path.parent.parent}; {error.strerror or error}. Set TMPDIR "
            "to a folder that has some."
        ) from error
