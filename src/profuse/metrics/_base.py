"""What every metric is: a name, a direction, a range, the tasks it is defined for, and its function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from profuse.errors import ConfigError
from profuse.schema import Task

__all__ = ["Array", "Metric", "aim_of"]

Array = np.ndarray


def aim_of(quantile: float | None) -> str:
    """Returns "the mean", "the median" or "the .9 quantile"."""
    if quantile is None:
        return "the mean"
    return "the median" if quantile == 0.5 else f"the {quantile:g} quantile".replace("0.", ".")


class Metric(ABC):
    """One score of a prediction. A metric of your own says the attributes and writes `score`.

    Attributes:
        name: As in `results.csv` and for `--metric`.
        label: As a reader says it.
        higher_is_better: Its direction.
        range: The least and the greatest value it may have.
        unit: "" for a pure number; else words ("squared target units").
        tasks: Those it is defined for.
        proportion: Whether each row contributes 0 or 1.
        second_class: Whether of two classes it speaks of the second, so that another order gives another value.
        of_answers: Whether it looks only at which class is answered, that with the largest probability, not at how sure
            that is: then a threshold, or costs, change it.
        chooses_epochs: Whether, where it is asked for, it chooses a network's epoch too: where a smaller squared error
            or Brier score is no sign of a better value.
        ranks_like: Of one that tells nothing of rows: the name of one that does and ranks alike.
        least_target: Of a regression; where a target is below it, it is not defined.
        quantile: Of a regression: the quantile of what a target may be at which a prediction scores best, 0 to 1, as .5
            for absolute errors; None: the mean. Models that can learn one do, others are moved to it.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    unit: ClassVar[str] = ""
    tasks: ClassVar[tuple[Task, ...]]
    proportion: ClassVar[bool] = False
    second_class: ClassVar[bool] = False
    of_answers: ClassVar[bool] = False
    chooses_epochs: ClassVar[bool] = False
    ranks_like: ClassVar[str] = ""
    least_target: ClassVar[float] = float("-inf")
    quantile: ClassVar[float | None] = None

    @abstractmethod
    def score(self, y: Array, p: Array) -> float:
        """Returns the value for targets y and predictions p, which are checked already (see `profuse.metrics`).

        Raises:
            DataError: The score is not defined on these rows; the message says why.
        """

    def row_scores(self, y: Array, p: Array) -> Array:
        """Returns each row's contribution, `[row]`, whose mean is the metric: for tests between methods.

        Raises:
            ConfigError: The metric is no mean over rows.
        """
        instead = f"Rank by {self.ranks_like!r}, which ranks alike" if self.ranks_like else "Rank by another metric"
        raise ConfigError(
            f"row_scores: the metric must tell what each row contributes; got {self.name!r}, which does not. "
            f"{instead}, or write its row_scores."
        )

    @property
    def by_rows(self) -> bool:
        """Whether it tells what each row contributes: only then differences between methods can be tested."""
        return type(self).row_scores is not Metric.row_scores

    @property
    def aim(self) -> str:
        """At which answer of a number it is best, in words."""
        return aim_of(self.quantile)

    def __call__(self, y_true: Array, prediction: Array) -> float:
        """Returns the score of any arrays, without the checks of `measure`."""
        return self.score(np.asarray(y_true), np.asarray(prediction, dtype=np.float64))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
