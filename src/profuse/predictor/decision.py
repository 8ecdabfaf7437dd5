"""`Decision`: which class is answered, by the probabilities of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from profuse._lookup import resolve
from profuse.errors import ConfigError
from profuse.metrics import Metric
from profuse.schema import Task

__all__ = ["MOST_PROBABLE", "Decision", "check_two_classes"]


class Decision(BaseModel):
    """Answers the most probable class; or by a threshold, or by what wrong answers cost.

    Attributes:
        threshold: Of two classes the second is answered where its probability is at least this.
        cost: `[class, answer]`, 0 on the diagonal: the answer with the smallest `sum_k p_k cost[k, answer]` is given,
            the first of equal ones.

    Reference:
        Elkan, "The Foundations of Cost-Sensitive Learning" (2001), section 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    threshold: float | None = Field(None, gt=0, lt=1)
    cost: tuple[tuple[float, ...], ...] | None = None

    @model_validator(mode="after")
    def _holds(self) -> Decision:
        if self.cost is None:
            return self
        if self.threshold is not None:
            raise ValueError("a decision must have a threshold or costs; got both")
        square = all(len(row) == len(self.cost) for row in self.cost)
        if not square or np.min(self.cost) < 0 or np.diagonal(self.cost).any():
            raise ValueError(f"costs must be square, at least 0, and 0 for right answers; got {self.cost}")
        return self

    @classmethod
    def by(
        cls,
        classes: Sequence[object],
        task: Task,
        *,
        threshold: float | None = None,
        cost: Mapping[str, Mapping[str, float]] | None = None,
        who: str,
    ) -> Decision:
        """Returns the decision by a number, or by costs `{true class: {answer: cost}}`, 1 where not named.

        Args:
            classes: In the order of their numbers.
            task: Of the target.
            threshold: Of the second of two classes.
            cost: By the names of classes.
            who: Asks; messages begin with it.

        Raises:
            ConfigError: The task has no such classes, or the values are out of range.
            UnknownNameError: There is no such class.
        """
        if threshold is not None and cost is not None:
            raise ConfigError(f"{who}: threshold and cost must not go together; got both. Leave one of them out.")
        check_two_classes(threshold, task, who=who)
        if threshold is not None and not 0 < threshold < 1:
            raise ConfigError(
                f"{who}: threshold must be a probability above 0 and below 1; got threshold={threshold!r}. The most "
                "probable class is answered at 0.5."
            )
        if cost is None:
            return cls(threshold=threshold)
        if task not in ("binary", "multiclass"):
            raise ConfigError(f"{who}: cost must go with a target of classes; got a {task} task. Leave it out.")
        numbers = {str(c): k for k, c in enumerate(classes)}
        values = 1.0 - np.eye(len(classes))
        for true, answers in cost.items():
            for answer, price in answers.items():
                at = tuple(resolve(c, numbers, where=f"{who}: cost", what="class") for c in (true, answer))
                if price < 0 or not np.isfinite(price) or (at[0] == at[1] and price):
                    raise ConfigError(
                        f"{who}: costs must be at least 0, and 0 for right answers; got {true}: {{{answer}: {price}}}. "
                        "Give what a wrong answer costs."
                    )
                values[at] = price
        return cls(cost=tuple(map(tuple, values.tolist())))

    @property
    def is_most_probable(self) -> bool:
        """Whether nothing but probabilities decides."""
        return self.threshold is None and self.cost is None

    @property
    def words(self) -> str:
        """How a sentence on it begins: "At the threshold .5"."""
        if self.cost is not None:
            return "With these costs"
        return f"At the threshold {0.5 if self.threshold is None else self.threshold:.3g}".replace(" 0.", " .")

    def check(self, task: Task, n_classes: int) -> None:
        """Checks that it is one of such classes.

        Raises:
            ValueError: It is not.
        """
        if self.threshold is not None and task != "binary":
            raise ValueError(f"a threshold must decide between two classes; got a {task} task")
        if self.cost is not None and (task not in ("binary", "multiclass") or len(self.cost) != n_classes):
            raise ValueError(f"costs must be those of {n_classes} classes; got {len(self.cost)} in a {task} task")

    def codes(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the number of the class that is answered, `[row]`, for probabilities `[row, class]`."""
        if self.threshold is not None:
            return np.asarray(probabilities[:, 1] >= self.threshold, dtype=np.int64)
        if self.cost is not None:
            return np.asarray((probabilities @ np.asarray(self.cost)).argmin(1))
        return np.asarray(probabilities.argmax(1))

    def seen_by(self, metric: Metric, outputs: np.ndarray) -> np.ndarray:
        """Returns outputs as the metric must see them: one that judges answers sees 1 at the class that is answered."""
        if self.is_most_probable or not metric.of_answers:
            return outputs
        return np.asarray(np.eye(outputs.shape[1])[self.codes(outputs)])


MOST_PROBABLE = Decision()


def check_two_classes(threshold: object, task: Task, *, who: str) -> None:
    """Checks that a threshold, where there is one, has two classes to decide between.

    Raises:
        ConfigError: It has not.
    """
    if threshold is not None and task != "binary":
        raise ConfigError(
            f"{who}: threshold must go with a target of two classes; got threshold={threshold!r} in a {task} task. "
            f"{'Use cost.' if task == 'multiclass' else 'Leave it out.'}"
        )
