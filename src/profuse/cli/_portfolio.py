"""How a portfolio is told of: its fits while they run, and the models that it is made of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from profuse._escape import visible
from profuse.cli._bar import Bar, Quiet
from profuse.cli._print import counted, print_notes, print_table, say
from profuse.report import numbers

if TYPE_CHECKING:
    from rich.console import Console

    from profuse.portfolio.fitted import Event
    from profuse.predictor import NetworkPredictor, PortfolioPredictor

__all__ = ["fits_display", "show_distilled", "show_portfolio"]

_SILENCE = 20.0  # seconds, after which a line says where a slow model is


def fits_display(metric: str, console: Console) -> _Lines:
    """Returns the display that fits `console`: a line for each model that is done, and on a terminal a bar below."""
    plain = not console.is_terminal or console.is_dumb_terminal
    return _Lines(metric, console) if plain else _Bar(metric, console)


class _Lines(Quiet):
    """A line for each model."""

    def __init__(self, metric: str, console: Console) -> None:
        self.metric, self.console, self._n_done = metric, console, 0
        self._said = time.monotonic()

    def __call__(self, event: Event) -> None:
        self._n_done = max(self._n_done, event.n_done) if event.stage in ("fit", "member") else self._n_done
        if line := self._line(event):
            self._said = time.monotonic()
            say(line, err=True)

    def _line(self, event: Event) -> str:
        """Returns what there is to say now; "" if there is nothing."""
        if event.stage == "member":
            return f"{self._at(event)}: {self._done(event)}"
        if event.stage == "plan" and event.left is not None:
            return f"{counted(event.n_total, 'fit')}: {_left(event)}, as a first look at each model tells"
        if event.stage == "more":
            return f"There is time for further folds: {_left(event)}"
        if event.stage not in ("look", "fit") or time.monotonic() - self._said <= _SILENCE:
            return ""
        if event.stage == "look":
            return f"Looked at {event.n_done} of {event.n_total} models"
        return self._at(event) + ("" if event.left is None else f": {_left(event)}")

    def _at(self, event: Event) -> str:
        return f"[{self._n_done}/{event.n_total}] {event.member}"  # what is tried again counted as done before

    def _done(self, event: Event) -> str:
        if event.skipped:
            return f"left out: {event.skipped}"
        score = "not defined" if event.score is None else numbers.score(event.score, self.metric)
        return f"held-out {_label(self.metric)} {score}, {numbers.duration(event.seconds)}"


class _Bar(_Lines):
    """The same, and a bar with what is fitted now."""

    def __init__(self, metric: str, console: Console) -> None:
        super().__init__(metric, console)
        self._bar = Bar(console, unit="fits", first="preparing folds")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        words = {
            "look": f"looking how long models take, {event.n_done} of {event.n_total}",
            "more": "fitting to further folds",
            "distil": f"training network {event.n_done + 1} of {event.n_total}",
            "prepare": f"preparing fold {event.n_done + 1} of {event.n_total}",
            "select": "choosing weights",
        }
        description = words.get(event.stage, visible(event.member))
        left = "" if event.left is None else f", {_left(event)}"
        if event.stage in ("fit", "member"):
            done = min(self._n_done, event.n_total - 1)  # while anything is to come, the last fit is not done
            self._bar.show(description, left=left, done=done, total=event.n_total)
        elif event.stage in words:
            self._bar.show(description)


def show_portfolio(model: PortfolioPredictor) -> None:
    """Prints the members with their weights, and how good the whole is."""
    from profuse.predictor.portfolio_card import logarithms_of

    about = model.about
    metric = str(about["metric"])
    title = _label(metric)
    loss = "squared error" if model.task == "regression" else "log loss"
    rows = [
        [
            f"{100 * m.weight:.0f} %" if m.weight else "",
            m.name,
            "" if m.score is None else numbers.score(m.score, metric),
            "" if m.loss is None else numbers.score(m.loss, loss),
            numbers.duration(m.seconds),
        ]
        for m in sorted(model.members, key=lambda m: -m.weight)
    ]
    columns = ["weight", "model", title, loss, "fits"]
    if all(m.loss is None for m in model.members):
        columns, rows = [c for c in columns if c != loss], [[*row[:3], row[4]] for row in rows]
    print_table(columns, rows, right=["weight", title, loss, "fits"])
    print_notes([*about.get("notes", ()), *filter(None, [logarithms_of(model)])], err=False)
    for line in (*headline(model), *decided(model)):
        say(line)


def show_distilled(model: NetworkPredictor) -> None:
    """Prints which portfolio a network has learned from, and how it stands beside it."""
    about, metric = model.about, str(model.about["metric"])
    members = sorted(((weight, name) for name, weight in about["members"].items() if weight), reverse=True)
    say(f"Learned from {', '.join(f'{name} ({100 * weight:.0f} %)' for weight, name in members)}")
    print_notes(about.get("notes", ()), err=False)
    n_rows = f"{about['n_rows']:,}"
    if "score" in about:
        value, low, high = about["score"]
        say(
            f"A network made so scores {_label(metric)} {numbers.score(value, metric)} "
            f"({numbers.interval(low, high, metric)}) on {n_rows} rows that none of them has learned from."
        )
        say(f"Against the portfolio ({numbers.score(about['portfolio'], metric)}): {_told(about['gain'], metric)}.")
    for line in decided(model):
        say(line)


def _left(event: Event) -> str:
    return numbers.time_left(event.left or 0.0, at_most=event.at_most)


def _label(name: str) -> str:
    """Returns a metric as a reader says it."""
    from profuse.metrics import metric

    return metric(name).label


def decided(model: NetworkPredictor | PortfolioPredictor) -> list[str]:
    """Returns in words which class a model answers, if not the most probable one, and what that is worth."""
    about = model.about.get("decision")
    if about is None:
        return []
    second, decision, lines = str(model.classes[-1]), model.decision, []
    # one network has no folds: its validation rows had a part in the epoch, and none in the weights
    rows, n_rows = ("validation", about["n_rows"]) if "n_rows" in about else ("held-out", model.about["n_rows"])
    if decision.threshold is not None:
        chosen = f", chosen for {_label(about['metric'])} on {n_rows:,} {rows} rows" if "metric" in about else ""
        lines.append(f"{second!r} is answered where its probability is at least {decision.threshold:.3g}{chosen}.")
    else:
        lines.append("The answer is the one with the smallest expected cost.")
    if "n_answered" in about:
        lines.append(
            f"It answers {second!r} in {about['n_answered']:,} of {n_rows:,} {rows} rows, of which "
            f"{about['n_right']:,} are; {about['n_there']:,} are in all."
        )
    if "score" in about:
        metric, (value, low, high) = str(about["metric"]), about["score"]
        before = numbers.score(about["most_probable"], metric)
        label = "mean cost" if decision.cost is not None else _label(metric)
        by = " by thresholds that other rows have chosen" if decision.cost is None else ""
        lines.append(
            f"{rows.capitalize()} {label}{by} {numbers.score(value, metric)} ({numbers.interval(low, high, metric)}) "
            f"instead of {before} of the most probable class: {_told(about['gain'], metric)}."
        )
    return lines


def headline(model: PortfolioPredictor) -> list[str]:
    """Returns in words how good a portfolio is on held-out rows, and whether it is better than its best member."""
    about = model.about
    metric, n_rows = str(about["metric"]), f"{about['n_rows']:,}"
    if "score" not in about:
        return [f"Held-out {_label(metric)} is not defined on these {n_rows} rows."]
    value, low, high = about["score"]
    lines = [
        f"Held-out {_label(metric)} {numbers.score(value, metric)} "
        f"({numbers.interval(low, high, metric)}, {n_rows} rows that had no part in the weights)."
    ]
    if "over_trivial" in about:
        from profuse.metrics import aim_of

        trained = model.trained_on
        same = aim_of(None if trained is None else trained.quantile) if model.task == "regression" else "the same"
        lines.append(f"Against always answering {same}: {_told(about['over_trivial'], metric)}.")
        if about["over_trivial"][1] <= 0:
            lines[-1] += " Nothing was learned that clearly beats it."
    if len(model.members) > 1:
        best = numbers.score(float(about["best_member"]), metric)
        lines.append(f"Against the best model alone, chosen the same way ({best}): {_told(about['gain'], metric)}.")
    return lines


def _told(gain: Sequence[float], metric: str) -> str:
    value, low, high = gain
    shown = "better" if low > 0 else "worse" if high < 0 else "not shown to differ"
    ends = numbers.interval(low, high, metric, of_difference=True)
    return f"{numbers.difference(value, metric)} ({ends}), {shown}"
