"""The page of a search: its course, what each option does, and what the test rows say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from profuse._escape import visible
from profuse.metrics import Metric
from profuse.report import numbers
from profuse.report.figures import axis, mark, stretched, ticks
from profuse.report.pages import page_template
from profuse.tuning.result import Found, TrialFacts, Tuning
from profuse.tuning.words import answer, best_trials, counted, named, scored, shown, test_lines

__all__ = ["tuning_html"]

_LOG = ("learning_rate", "weight_decay")


def tuning_html(tuning: Tuning) -> str:
    """Returns the page: self-contained, no script, no network."""
    metric = tuning.metric
    n = sum(len(f.trials) for f in tuning.found.values())
    return page_template("tune.html").render(
        name=visible(tuning.name),
        metric=visible(metric.label),
        n_trials=n,
        judged=f"{tuning.n_splits} folds" if tuning.n_splits > 1 else "one validation part",
        mark=mark,
        searches=[_search(found, metric) for found in tuning.found.values()],
        yaml=visible(tuning.yaml(), lines=True),
        notes=[visible(note) for note in tuning.notes],
        versions=", ".join(f"{k} {v}" for k, v in tuning.machine.versions.items()),
    )


def _search(found: Found, metric: Metric) -> dict[str, Any]:
    tried = list(found.trial(found.best).options)
    # the best one is drawn last, above others
    scored_ones = sorted(
        (t for t in found.trials if t.score is not None), key=lambda t: (t.number == found.best, t.default)
    )
    low, high = _range([t.score for t in scored_ones if t.score is not None])
    largest = max(found.importance.values(), default=0.0) or 1.0
    return {
        "fusion": visible(found.fusion),
        "answer": visible(answer(found, metric)),
        "counted": counted(found),
        "lines": [visible(line) for line in test_lines(found, metric)],
        "tried": tried,
        "rows": [
            {"name": named(t, found), "score": scored(t, metric), "cells": [shown(t.options.get(n)) for n in tried]}
            for t in best_trials(found, metric)
        ],
        "history": _history(found, metric, low, high),
        "slices": [
            {"name": name, "plot": plot}
            for name in sorted(tried, key=lambda n: -found.importance.get(n, 0.0))
            if (plot := _slice(found, scored_ones, name, metric, low, high)) is not None
        ],
        "importance": [
            {"name": name, "share": f"{100 * share:.0f}\N{NO-BREAK SPACE}%", "width": round(100 * share / largest, 1)}
            for name, share in found.importance.items()
        ],
    }


def _range(scores: Sequence[float]) -> tuple[float, float]:
    """Returns where the scores lie; a few that are far worse do not squeeze the others."""
    low, high = min(scores), max(scores)
    pad = max(0.06 * (high - low), 1e-3)
    return low - pad, high + pad


def _at(value: float, low: float, high: float) -> float:
    return min(max(100 * (high - value) / (high - low), 0.0), 100.0)


def _role(trial: TrialFacts, found: Found) -> str:
    return "portfolio" if trial.number == found.best else "baseline" if trial.default else "fusion"


def _history(found: Found, metric: Metric, low: float, high: float) -> dict[str, Any]:
    """Validation scores in the order of trials, and the best so far as a line."""
    last = max(len(found.trials) - 1, 1)
    marks, line = Markup(), []
    best: float | None = None
    better, worst = (max, 97) if metric.higher_is_better else (min, 3)  # where those without a score stand
    for i, trial in enumerate(found.trials):
        x = 2 + 96 * i / last
        if trial.score is None:
            marks += mark(
                "trivial", x, worst, f"trial {trial.number}: {'ended early' if trial.state == 'pruned' else 'failed'}"
            )
            continue
        before, best = best, trial.score if best is None else better(best, trial.score)
        line += [] if before is None else [(x, _at(before, low, high))]
        line.append((x, _at(best, low, high)))
        title = f"trial {trial.number}: {numbers.score(trial.score, metric.name)}"
        marks += mark(_role(trial, found), x, _at(trial.score, low, high), title)
    points = " ".join(f"{x:.2f},{y:.2f}" for x, y in [*line, (98.0, line[-1][1])])
    return {
        "svg": stretched(f'<polyline class="frontier" points="{points}"/>') + marks,
        "x": [
            {"at": round(2 + 96 * i / last, 2), "text": f"{found.trials[int(i)].number}"}
            for i in ticks(0, last, 6)
            if i == int(i) and i < len(found.trials)
        ],
        "y": axis(low, high, metric.name),
    }


def _slice(
    found: Found, trials: Sequence[TrialFacts], name: str, metric: Metric, low: float, high: float
) -> dict[str, Any] | None:
    """Validation scores against the values of an option; None where all have one value."""
    values = [t.options.get(name) for t in trials]
    if len(set(values)) < 2:
        return None
    if all(isinstance(v, float) for v in values):
        turn = math.log10 if name in _LOG else float
        at = [turn(float(v)) for v in values if v is not None]
        left, right = min(at), max(at)
        x = [4 + 92 * (a - left) / (right - left) for a in at]
        ends = [(4.0, left), (50.0, (left + right) / 2), (96.0, right)]
        marks_x = [{"at": p, "text": f"{10**v if name in _LOG else v:.2g}"} for p, v in ends]
    else:
        known = sorted(set(values), key=lambda v: (v is not None, v or 0))
        place = {v: 10 + 80 * i / (len(known) - 1) for i, v in enumerate(known)}
        x = [place[v] for v in values]
        marks_x = [{"at": round(place[v], 2), "text": shown(v)} for v in known]
    marks = Markup()
    for trial, across in zip(trials, x, strict=True):
        assert trial.score is not None
        title = f"{name} {shown(trial.options.get(name))}: {numbers.score(trial.score, metric.name)}"
        marks += mark(_role(trial, found), across, _at(trial.score, low, high), title)
    return {"svg": marks, "x": marks_x, "y": axis(low, high, metric.name, 3)}
