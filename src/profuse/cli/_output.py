"""Where commands write: checked before the work, and held against other processes until the command ends."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from profuse._files import check_source
from profuse._saving import claimed, write_file
from profuse.errors import DataError

__all__ = ["check_output", "hold_model", "release_outputs", "write_text"]

_HELD = ExitStack()
"""The places of output that the command which runs holds against other processes."""


def check_output(path: Path, *, reads: Iterable[Path | None]) -> None:
    """Checks, before the work is done, that a file can stand at `path`, and is no file of, or in a folder of, `reads`.

    The place is then held against other processes until `release_outputs`.

    Raises:
        DataError: It cannot, or is, or another process writes there.
    """
    try:
        if not path.parent.is_dir():
            raise DataError(f"there is no folder {path.parent}")
        if path.exists():
            check_source(path)
        place = path.parent.resolve() / path.name
        parts = [p for p in (place, *place.parents) if p.exists()]
        reads = [p for p in reads if p is not None and p.exists() and any(part.samefile(p) for part in parts)]
    except (DataError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: must be readable, or writable for output; {why}. Name another path.") from error
    if reads:
        raise DataError(f"{path}: it must not be, or lie in, what is read: {reads[0]}. Name another path.")
    _HELD.enter_context(claimed(os.path.realpath(path)))


def hold_model(folder: Path) -> None:
    """Checks, before the work is done, that a model can be saved in `folder`, and holds it until `release_outputs`.

    Raises:
        CheckpointError: It cannot, or another process writes there.
    """
    from profuse._folder import held_folder

    _HELD.enter_context(held_folder(folder))


def release_outputs() -> None:
    """Gives back the places that the command has held."""
    _HELD.close()


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    write_file(path, text)
