"""Temporary files that the processes of one comparison leave for each other."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

from profuse.data.features import Features, Matrix
from profuse.errors import DataError
from profuse.training.classical_fits import make_features
from profuse.training.fitting import Prepared

__all__ = ["keep", "shared_features"]


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


def shared_features(prepared: Prepared, scratch: Path, modality: str, name: str) -> tuple[Features, Matrix]:
    """Returns `make_features` of these: made by the first fit of the seed that asks, and left beside `scratch`."""
    digest = hashlib.sha256(json.dumps([modality, name]).encode()).hexdigest()[:12]
    path = scratch.with_name(f"{scratch.stem}-{digest}.features")
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        keep(part, make_features(prepared, modality, name))
        part.replace(path)  # whole or not there, whoever asks at the same time
    # a temporary file of this very run: never a user's
    loaded: tuple[Features, Matrix] = pickle.loads(path.read_bytes())
    return loaded
