"""What a search has found, in words: for the terminal and for the page."""

from __future__ import annotations

from profuse.metrics import Metric
from profuse.report import numbers
from profuse.tuning.result import Found, TrialFacts

__all__ = ["answer", "best_trials", "counted", "named", "scored", "shown", "test_lines"]

_SHOWN = 5


def answer(found: Found, metric: Metric) -> str:
    """Returns in a few words whether tuning helped, by the test rows."""
    held = found.held_out
    if found.trial(found.best).default:
        return "No trial was better than the default options"
    if held.default is None or held.best is None or held.low is None:
        return "What tuning is worth is not known"
    if held.low <= 0:
        return "That tuning helps is not shown"
    gain = numbers.difference(abs(held.best - held.default), metric.name).removeprefix("+")
    return f"Tuning gains {gain} of {metric.label} on test rows"


def test_lines(found: Found, metric: Metric) -> list[str]:
    """Returns what is to be said of the best score: how it was chosen, and what the test rows say."""
    n_scored = sum(t.score is not None for t in found.trials)
    held, lines = found.held_out, []
    if found.trial(found.best).default:
        lines.append(f"None of {len(found.trials) - 1} other trials was better than the default options.")
    elif n_scored > 1:
        lines.append(
            f"The best validation score is the best of {n_scored}: it flatters, as it was chosen by those very rows."
        )
    tied = sum(t.score == found.best_score for t in found.trials)
    if tied > 2 and 2 * tied > n_scored:
        other = "another metric" if metric.name == "log_loss" else "another metric, as log_loss of classes,"
        lines.append(f"{tied} trials have this very score: {metric.label} does not tell them apart here; {other} may.")
    if held.note:
        lines.append(f"Test rows: {held.note}")
    elif held.default is not None and held.best is not None:
        said = (
            f"Test rows ({held.n_rows:,}), {metric.label}: default options {numbers.score(held.default, metric.name)}"
        )
        if not found.trial(found.best).default:
            sign = 1 if metric.higher_is_better else -1
            gain = numbers.difference(sign * (held.best - held.default), metric.name)
            span = "its interval is not known"
            if held.low is not None and held.high is not None:
                span = f"95 % interval {numbers.interval(held.low, held.high, metric.name, of_difference=True)}"
                span += "; better is above 0" if not metric.higher_is_better else ""
            shown = held.low is not None and held.low > 0
            said += (
                f", best {numbers.score(held.best, metric.name)}: gain {gain} ({span})"
                f"{'' if shown else '. That tuning helps is not shown'}"
            )
        lines.append(f"{said}.")
    return lines


def counted(found: Found) -> str:
    """Returns how many trials there were, and what they took."""
    states = [t.state for t in found.trials]
    failed = f", {states.count('failed')} failed" if "failed" in states else ""
    seconds = sum(t.seconds for t in found.trials)
    return f"{len(states)} trials, {states.count('pruned')} ended early{failed}, {numbers.duration(seconds)} in all"


def best_trials(found: Found, metric: Metric) -> list[TrialFacts]:
    """Returns the best trials, the best one first, and the default."""
    sign = -1 if metric.higher_is_better else 1
    ranked = sorted((t for t in found.trials if t.score is not None), key=lambda t: (sign * (t.score or 0.0), t.number))
    return ranked[:_SHOWN] + [t for t in ranked[_SHOWN:] if t.default]


def named(trial: TrialFacts, found: Found) -> str:
    """Returns its number, and whether it is the best or the default one."""
    marks = [word for word, on in (("best", trial.number == found.best), ("default", trial.default)) if on]
    return f"{trial.number}" + (f" ({', '.join(marks)})" if marks else "")


def scored(trial: TrialFacts, metric: Metric) -> str:
    """Returns its validation score."""
    return "" if trial.score is None else numbers.score(trial.score, metric.name)


def shown(value: object) -> str:
    """Returns the value of an option."""
    return "auto" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
