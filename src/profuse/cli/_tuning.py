"""How a search is told of: its trials while they run, and the best ones against the default options."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from profuse._escape import visible
from profuse.cli._bar import Bar, Quiet
from profuse.cli._print import print_notes, print_table, say
from profuse.report import numbers

if TYPE_CHECKING:
    from rich.console import Console

    from profuse.metrics import Metric
    from profuse.tuning.result import Tuning
    from profuse.tuning.search import Event

__all__ = ["show_tuning", "trials_display"]


def trials_display(metric: Metric, console: Console) -> _Lines:
    """Returns the display that fits `console`: a line for each trial, and on a terminal a bar below."""
    plain = not console.is_terminal or console.is_dumb_terminal
    return _Lines(metric) if plain else _Bar(metric, console)


class _Lines(Quiet):
    """A line for each trial."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.n_done = self.n_total = 0

    def __call__(self, event: Event) -> None:
        if event.stage == "cluster":
            say(event.said, err=True)
            return
        self.n_done, self.n_total = event.n_done, event.n_total
        if event.stage == "begin" and event.n_done:
            say(f"{event.n_done} of {event.n_total} trials are done already", err=True)
        if event.stage == "trial":
            say(self._line(event), err=True)

    def _line(self, event: Event) -> str:
        at = f"[{event.n_done}/{event.n_total}] {event.fusion}, trial {event.number}"
        if event.failed:
            return f"{at}: failed: {event.failed}"
        said = "ended early" if event.score is None else f"validation {self._score(event.score)}"
        best = "" if event.best is None else f"; best so far {self._score(event.best)}"
        left = "" if not event.left else f"; about {numbers.duration(event.left)} left"
        return f"{at}: {said}{best}{left}"

    def _score(self, value: float) -> str:
        return numbers.score(value, self.metric.name)


class _Bar(_Lines):
    """The same, and a bar with what runs now."""

    def __init__(self, metric: Metric, console: Console) -> None:
        super().__init__(metric)
        self._bar = Bar(console, unit="trials", first="preparing")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if event.stage == "cluster":
            return
        words = {"wait": "other processes finish theirs", "test": "scoring test rows"}
        words["epoch"] = (
            f"{visible(event.fusion)}, trial {event.number}, epoch {event.epoch.epoch if event.epoch else 0}"
        )
        left = "" if event.left is None else f", about {numbers.duration(event.left)} left"
        self._bar.show(words.get(event.stage, "trials"), left=left, done=event.n_done, total=event.n_total)


def show_tuning(tuning: Tuning) -> None:
    """Prints the best trials of each fusion beside the default options, and what the test rows say of them."""
    from profuse.tuning.words import best_trials, counted, named, scored, shown, test_lines

    metric = tuning.metric
    for found in tuning.found.values():
        say(f"\n{found.fusion}: {counted(found)}")
        tried = list(found.trial(found.best).options)
        rows = [
            [named(t, found), scored(t, metric), *(shown(t.options.get(n)) for n in tried)]
            for t in best_trials(found, metric)
        ]
        columns = ["trial", f"validation {metric.label}", *tried]
        print_table(columns, rows, right=columns[1:2], spare=tried[:0:-1])
        for line in test_lines(found, metric):
            say(line)
    if len(tuning.found) > 1:
        print_notes(["Fusions are ranked by their best validation score: each had as many trials."], err=False)
    print_notes(tuning.notes)
