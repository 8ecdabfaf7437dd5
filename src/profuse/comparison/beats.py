"""How far a fit of a comparison is: a file that is written anew, for the progress display."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from profuse.training.callbacks import Callback
from profuse.training.history import Epoch

if TYPE_CHECKING:
    from profuse.comparison.jobs import Job

__all__ = ["Beats", "Heartbeat", "beat"]


class Heartbeat(Protocol):
    """Where a fit tells how far it is: a file, or what stands for one."""

    def write_text(self, data: str, encoding: str | None = None) -> int:
        """Takes what is told now, as JSON."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Takes that the fit has ended."""


def beat(job: Job, **facts: Any) -> None:
    """Tells that the job runs, and how far it is."""
    if job.heartbeat is not None:
        told = {"method": job.method.name, "seed": job.seed, **facts}
        with suppress(OSError):  # a display that stands still must not end a fit
            job.heartbeat.write_text(json.dumps(told), encoding="utf-8")


class Beats(Callback):
    """Tells of each epoch."""

    def __init__(self, job: Job, trial: int, began: float) -> None:
        self.job, self.trial, self.began = job, trial, began

    def on_fit_start(self) -> None:
        self.start = time.perf_counter()

    def on_first_steps(self) -> None:
        beat(self.job, trial=self.trial, **self._so_far())

    def on_epoch_end(self, epoch: Epoch) -> None:
        beat(self.job, trial=self.trial, epoch=epoch.epoch, score=epoch.valid_score, **self._so_far())

    def _so_far(self) -> dict[str, float]:
        """Returns how much of the job is done, the seconds spent in it, and those left of this trial."""
        now = time.perf_counter()
        share = (self.trial + (now - self.start) / (now - self.start + self.seconds_likely)) / self.job.trials
        return {"share": share, "spent": now - self.began, "left": self.seconds_likely}
