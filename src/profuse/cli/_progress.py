"""How far a comparison is: a live display on a terminal, a line a fit elsewhere. Told from several threads."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from profuse._escape import visible
from profuse.cli._bar import Quiet
from profuse.report.numbers import time_left

if TYPE_CHECKING:
    from rich.console import Console

    from profuse.comparison.engine import Event

__all__ = ["LineDisplay", "LiveDisplay", "display"]


_MEASURING = "all fits are done; modalities are hidden, questions are asked, the report is written"


class Display(Protocol):
    """A context that is told of events."""

    n_done: int
    n_total: int

    def __enter__(self) -> Display: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __call__(self, event: Event) -> None: ...


def display(name: str, console: Console) -> Display:
    """Returns the display that fits `console`."""
    plain = not console.is_terminal or console.is_dumb_terminal
    return LineDisplay(name, console) if plain else LiveDisplay(name, console)


class _Best:
    """The best validation score of the fits that have finished, by the metric that counts."""

    def __init__(self) -> None:
        self.metric, self.score, self.method = "", float("nan"), ""

    def see(self, facts: dict[str, Any]) -> float:
        """Takes a fit's facts and returns its validation score."""
        from profuse.metrics import metric

        scores = facts["scores"]["valid"]
        name = facts.get("metric") or next(iter(scores))
        score = scores.get(name, float("nan"))
        sign = 1 if metric(name).higher_is_better else -1
        better = not self.method or sign * score > sign * self.score
        if better and facts.get("role") not in ("ablation", "share"):
            self.metric, self.score, self.method = name, score, facts["method"]
        return float(score)

    def told(self) -> str:
        if not self.method:
            return ""
        return f"best so far {self.method}, validation {self.metric.replace('_', ' ')} {self.score:.3f}"


def _running(beat: dict[str, Any]) -> str:
    message = f"{beat['method']}, seed {beat['seed']}"
    if beat.get("trial"):
        message += f", trial {beat['trial'] + 1}"
    if beat.get("epoch") is not None:
        message += f", epoch {beat['epoch']}"
    if beat.get("score") is not None:
        message += f", validation {beat['score']:.3f}"
    if beat.get("left") is not None:
        message += f", {time_left(beat['left'])}"
    return message


class LineDisplay(Quiet):
    """One line for each finished fit, without control codes."""

    def __init__(self, name: str, console: Console) -> None:
        self.name, self.console = name, console
        self.n_done, self.n_total = 0, 0
        self._best = _Best()
        self._lock = threading.Lock()
        self._prepared = False

    def __call__(self, event: Event) -> None:
        with self._lock:
            self.n_done, self.n_total = event.n_done, event.n_total
            if event.said:
                self._say(f"{self.name}: {event.said}")
            for facts in event.kept:
                self._best.see(facts)
            if event.stage == "prepare" and not self._prepared:
                self._prepared = True
                again = f", {event.n_done} of them done before" if event.n_done else ""
                again += f"; {self._best.told()}" if event.kept else ""
                self._say(f"{self.name}: {event.n_total} fits{again}; preparing the data")
            if event.stage == "plan" and event.left is not None:
                self._say(
                    f"{self.name}: {time_left(event.left)}, as far as the first steps of the default network tell; "
                    "classical models are not timed yet"
                )
            if event.stage == "measure":
                self._say(f"{self.name}: {_MEASURING}")
            if event.finished is not None:
                facts = event.finished
                score = self._best.see(facts)
                self._say(
                    f"[{event.n_done}/{event.n_total}] {facts['method']}, seed {facts['seed']}: "
                    f"validation {score:.3f}, {facts['fit_seconds']:.1f} s; {self._best.told()}"
                    + ("" if event.left is None or event.n_done == event.n_total else f"; {time_left(event.left)}")
                )

    def _say(self, line: str) -> None:
        from rich.text import Text

        self.console.print(Text(visible(line)), soft_wrap=True)


class LiveDisplay:
    """A bar with elapsed and remaining time, what runs, and the best so far; redrawn in place."""

    def __init__(self, name: str, console: Console) -> None:
        from rich.live import Live
        from rich.markup import escape
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        self.n_done, self.n_total = 0, 0
        self._best = _Best()
        self._lock = threading.Lock()
        self._stage = "starting"
        self._beats: tuple[dict[str, Any], ...] = ()
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("fits,"),
            TimeElapsedColumn(),
            TextColumn("elapsed{task.fields[left]}"),
            console=console,
        )
        self._task = self._progress.add_task(escape(visible(name)), total=None, left="")
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self.n_done, self.n_total = event.n_done, event.n_total
            self._stage, self._beats = event.stage, event.running
            for facts in event.kept:
                self._best.see(facts)
            if event.finished is not None:
                self._best.see(event.finished)
        if event.said:
            self._live.console.print(visible(event.said), markup=False, highlight=False, soft_wrap=True)
        under_way = sum(beat.get("share", 0.0) for beat in event.running)
        left = "" if event.left is None else f", {time_left(event.left)}"
        self._progress.update(self._task, total=event.n_total or None, completed=event.n_done + under_way, left=left)

    def _draw(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            stage, beats, best = self._stage, self._beats, self._best.told()
        if stage == "measure":
            lines = [_MEASURING]
        elif stage == "prepare":
            lines = ["preparing: split, preprocessing fitted on the training rows"]
        else:
            lines = [f"running     {_running(beat)}" for beat in beats[:8]]
            if len(beats) > 8:
                lines.append(f"            and {len(beats) - 8} more")
        if best:
            lines.append(best)
        return Group(
            self._progress.get_renderable(),
            *(Text(f"  {visible(line)}", overflow="ellipsis", no_wrap=True) for line in lines),
        )
