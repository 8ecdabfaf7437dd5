"""What a worker of Ray does: a fit, from prepared data in the object store to the bytes of its folder."""

from __future__ import annotations

import io
import tarfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from profuse._saving import remove
from profuse.cluster.worker import Done, Shared, done, file_here, folder_here
from profuse.comparison.jobs import Job
from profuse.comparison.runner import attempt
from profuse.models.solved import Solved

__all__ = ["Fitted", "Heart", "board_class", "fit"]


@dataclass(frozen=True)
class Fitted:
    """What comes back of a fit: why it failed, its seconds, and its folder."""

    reason: str = ""
    seconds: float = 0.0
    folder: bytes = b""


class Heart:
    """Stands for the file of a fit's progress; it tells twice a second at most."""

    def __init__(self, board: Any, name: str) -> None:
        self._board, self._name, self._last = board, name, 0.0

    def write_text(self, data: str, encoding: str | None = None) -> int:
        """See `Heartbeat`."""
        if time.monotonic() - self._last >= 0.5:
            self._last = time.monotonic()
            self._board.tell.remote(self._name, data)
        return len(data)

    def unlink(self, missing_ok: bool = False) -> None:
        """See `Heartbeat`."""
        self._board.tell.remote(self._name, "")


def board_class(ray: Any) -> Any:
    """Returns the class of the actor that is told how far fits are; made here, it goes by value and loads no torch."""

    @ray.remote
    class Board:
        def __init__(self) -> None:
            self.told: dict[str, str] = {}

        def tell(self, name: str, data: str) -> None:
            self.told[name] = data

        def read(self) -> list[Any]:
            import json

            return [json.loads(data) for _, data in sorted(self.told.items()) if data]

    return Board


def fit(job: Job, shared: Shared, prepared: list[Any], board: Any) -> Done:
    """Does a job in a worker, and returns what it left."""
    return done(lambda: _fitted(job, shared, prepared[0], board), shared.who)


def _fitted(job: Job, shared: Shared, prepared: Any, board: Any) -> Fitted:
    place = folder_here(shared)
    path = place / job.prepared.name
    file_here(path, prepared, lambda rows: rows.sharing(Solved(path.with_suffix(".solved"))))
    folder = place / job.folder.name
    heart = Heart(board, job.folder.name)
    try:
        _, reason, seconds = attempt(replace(job, folder=folder, prepared=path, heartbeat=heart))
        return Fitted(reason) if reason else Fitted("", seconds, _packed_folder(folder))
    finally:
        remove(folder)


def _packed_folder(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, arcname=".")
    return content.getvalue()
