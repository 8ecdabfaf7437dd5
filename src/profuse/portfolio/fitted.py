"""What the fits of a portfolio's models leave, and what is told of them meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from profuse.portfolio.attempt import FitResult
from profuse.portfolio.members import Member
from profuse.portfolio.patterns import Pattern
from profuse.predictor import Predictor
from profuse.training.options import TrainOptions

__all__ = ["Event", "Fitted"]


@dataclass(frozen=True)
class Event:
    """Where a portfolio is: told to `on_event`.

    Attributes:
        stage: "prepare" (folds), "look" (at how long a model takes), "plan" (how long all will take), "fit", "member"
            (one is done, or left out), "more" (further folds, after all models had their turn), "select", "distil" (a
            network learns) or "done".
        n_done: Fits that are done or left out; models that were looked at.
        n_total: Fits in all; models.
        member: Which model is fitted.
        left: Seconds until all fits are done; None before that can be told.
        at_most: Whether `left` is what a time limit leaves, of which fits may take less.
        score: Of a member that is done: of held-out rows.
        seconds: What its fits took.
        skipped: Why it is left out.
    """

    stage: str
    n_done: int = 0
    n_total: int = 0
    member: str = ""
    left: float | None = None
    at_most: bool = False
    score: float | None = None
    seconds: float = 0.0
    skipped: str = ""


@dataclass(eq=False)
class Fitted:
    """A member, and its fits.

    Attributes:
        member: What is fitted.
        train: How, where it is a network.
        done: By fold, what its fit has left.
        seconds: Of all its fits.
        needs: Seconds that a fit of it would take at least, where there was not time enough.
        paths: Of a network: by fold, seconds of linear paths that a fit had solved before it was stopped. They are
            kept: another fit to that fold does not take them, one to another fold does.
        most: Of a network: the epochs that its fits were to have, as far as one was stopped that was to have more.
        predictors: One a fold; one alone where all rows are fitted to.
        held: What was predicted of held-out rows, by pattern, `[row, output]`.
    """

    member: Member
    train: TrainOptions
    done: dict[int, FitResult] = field(default_factory=dict)
    seconds: float = 0.0
    needs: float = 0.0
    paths: dict[int, float] = field(default_factory=dict)
    most: int = 0
    predictors: list[Predictor] = field(default_factory=list)
    held: dict[Pattern, np.ndarray] = field(default_factory=dict)

    def n_done(self, order: Sequence[int]) -> int:
        """Returns how many of the folds are fitted to, in the order of fits, before the first that is not."""
        return next((i for i, fold in enumerate(order) if fold not in self.done), len(order))

    @property
    def a_fit(self) -> float:
        """Seconds, of those that are done on average, linear paths that were kept for them among them."""
        seconds = sum(result.seconds + self.paths.get(fold, 0.0) for fold, result in self.done.items())
        return seconds / max(1, len(self.done))

    @property
    def spared(self) -> float:
        """Seconds that fits to come do not take, as their linear paths are kept."""
        return sum(seconds for fold, seconds in self.paths.items() if fold not in self.done)

    @property
    def an_epoch(self) -> float:
        """Of a network: seconds of its fits by epoch."""
        return sum(r.seconds for r in self.done.values()) / max(1, sum(r.planned for r in self.done.values()))

    def keep(self, folds: Sequence[int]) -> None:
        """Has `held` be of the rows that these folds hold out."""
        each = [self.done[fold].held for fold in folds]
        self.held = {pattern: np.concatenate([held[pattern] for held in each]) for pattern in each[0]}

    @property
    def measured(self) -> np.ndarray:
        """What its score is told by: of held-out rows, by a trivial model one answer for all.

        Its answers differ from fold to fold, by what the others lack: they rank rows against the target.
        """
        held = self.held[()]
        return np.broadcast_to(held.mean(0), held.shape) if self.member.is_trivial else held

    @property
    def epochs(self) -> tuple[int, int]:
        """Of a network: the most that its fits were to have; those that the shortest of them was given."""
        planned = [result.planned for result in self.done.values()] or [0]
        return max(self.most, *planned), min(planned)

    @property
    def note(self) -> str:
        """Says that its training was made shorter; "" if it was not."""
        most, given = self.epochs
        if given == most:
            return ""
        epochs = "1 epoch" if given == 1 else f"{given} epochs"
        return f"{self.member.name} is trained for at most {epochs} instead of {most}, as time was limited."
