"""Losses where one modality after the other, and all together, are worse by a level: what `noise` and others tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from profuse.errors import ConfigError
from profuse.inspect.answer import Answer, Estimate

if TYPE_CHECKING:
    import numpy as np

    from profuse.inspect.asked import Asked
    from profuse.inspect.intervals import Scores

__all__ = ["LEVELS", "Condition", "answered", "check_levels", "sets_of", "worst"]

LEVELS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Condition:
    """Which modalities are worse, in which way, and how much.

    Attributes:
        modalities: Their names.
        level: 0 to 1.
        how: The name of what is done to them, where there are several; "" otherwise.
    """

    modalities: tuple[str, ...]
    level: float
    how: str = ""

    @property
    def name(self) -> str:
        """Of the estimate."""
        return f"{' + '.join(self.modalities)}, {self.how and self.how + ', '}level {self.level:g}"


def check_levels(levels: float | Sequence[float], who: str) -> tuple[float, ...]:
    """Returns levels, one or several, that are from 0 to 1 and ascending.

    Raises:
        ConfigError: They are not.
    """
    given = tuple(levels) if isinstance(levels, Sequence) else (levels,)
    if not given or not all(a < b for a, b in pairwise(given)) or not all(0.0 <= p <= 1.0 for p in given):
        raise ConfigError(f"{who}: levels must be from 0 to 1, ascending; got levels={list(given)}. 1 is the most.")
    return given


def sets_of(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns each name by itself, then all together."""
    return [*((n,) for n in names), *([tuple(names)] if len(names) > 1 else [])]


def worst(losses: Iterable[Estimate], metric: str) -> str:
    """Returns a note on the condition that costs most."""
    e = max(losses, key=lambda e: e.value)
    return f"Worst: {e.name}: {metric} {e.score:.4f}, {e.value:.4f} lost."


def worst_headline(answer: Answer) -> str:
    """Returns the condition that costs most in one sentence."""
    from profuse.inspect._words import ends_of

    e = max(answer.estimates, key=lambda e: e.value)
    if e.low <= 0:
        return f"Nothing is shown to be lost; most, at {e.name}, {ends_of(e)} of {answer.label}."
    return f"{answer.label} falls behind by at most {ends_of(e)}, at {e.name}."


def answered(
    question: str,
    measures: str,
    asked: Asked,
    predictions: Mapping[Any, np.ndarray],
    *,
    what: str,
    notes: Sequence[str],
) -> Answer:
    """Returns the loss of each condition; a note says what hiding the modalities would cost in its place.

    The residual is the loss of all together at the last level, less the sum of the single losses there; the mean of
    these where several things were done to them.

    Args:
        question: Its name.
        measures: What a value is.
        asked: The rows.
        predictions: By `Condition`; () is none.
        what: What is wrong with a modality, in a word.
        notes: What else must be told.
    """
    from profuse.inspect.asked import hide

    hidden = dict.fromkeys(c.modalities for c in predictions if c != ())
    all_hidden = hide(asked.inputs, {name for names in hidden for name in names})
    said = asked.predictor.predict_exchanged(asked.inputs, all_hidden, hidden)
    scores: Scores = asked.scores({**predictions, **{("hidden", names): p for names, p in said.items()}})
    curves: dict[tuple[str, tuple[str, ...]], list[Condition]] = {}
    for c in predictions:
        if c != ():
            curves.setdefault((c.how, c.modalities), []).append(c)
    conditions = [c for curve in curves.values() for c in curve]
    losses = {c: asked.loss(scores, c.name, c, at=c.level, modalities=c.modalities) for c in conditions}
    last = max(c.level for c in losses)
    differences = [
        e.value - sum(losses[Condition((n,), last, c.how)].value for n in c.modalities)
        for c, e in losses.items()
        if len(c.modalities) > 1 and c.level == last
    ]
    residual = sum(differences) / len(differences) if differences else None
    why = f"A residual is not defined: no two modalities were {what} together."
    if differences:
        why = f"The residual is the loss at level {last:g} in all together, less the sum of the single losses"
        why += f" (the mean over {len(differences)} kinds of noise)." if len(differences) > 1 else "."
    return Answer(
        question=question,
        metric=asked.metric.name,
        n_rows=len(asked.true),
        estimates=tuple(losses.values()),
        residual=residual,
        notes=(worst(losses.values(), asked.metric.name), _instead(scores, hidden), why, *notes, *asked.notes(scores)),
        measures=measures,
        score=scores[()],
    )


def _instead(scores: Scores, hidden: Iterable[tuple[str, ...]]) -> str:
    costs = ", ".join(f"{' + '.join(names)} {scores.gain((), ('hidden', names))[0]:.4f}" for names in hidden)
    return f"Hidden altogether they would cost: {costs}. What costs more than that is better hidden from the model."
