"""`calibration`: whether a predictor's probabilities are what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from profuse.errors import ConfigError
from profuse.inspect._base import Question
from profuse.inspect.answer import Answer, Estimate
from profuse.schema import Task

if TYPE_CHECKING:
    import numpy as np

    from profuse.data.dataset import Dataset
    from profuse.metrics import Metric
    from profuse.predictor import Predictor

__all__ = ["Calibration"]

_STREAM = 577_215  # the labels that are drawn have nothing to do with the bootstrap


class Calibration(Question):
    """The expected calibration error, beside that of a calibrated predictor with the same probabilities.

    The error is above 0 for a calibrated predictor too, as the rows are few. How much is measured: labels are drawn
    from the predicted probabilities themselves, and the error of those is taken, again and again. The interval of this
    second estimate holds 95 % of the draws.

    The residual is what is left of the error without it: what the number of rows does not explain.

    Args:
        metric: Must be left out: the metric is the calibration error, "ece".
        seed: Of the labels that are drawn and of the bootstrap.
        n_resamples: See `Question`; also how often labels are drawn.
    """

    name = "calibration"
    description = "The expected calibration error, and how much of it the number of rows explains."

    def metric_for(self, task: Task) -> Metric:
        """See `Question.metric_for`.

        Raises:
            ConfigError: The task has no classes, or another metric was asked for.
        """
        if task not in ("binary", "multiclass"):
            raise ConfigError(f"calibration: the task must have classes; got task={task!r}. Ask another question.")
        if self.metric not in (None, "ece"):
            raise ConfigError(f"calibration: metric must be 'ece'; got metric={self.metric!r}. Leave it out.")
        self.metric = "ece"
        return super().metric_for(task)

    @classmethod
    def headline(cls, answer: Answer) -> str:
        """See `Question.headline`."""
        found, expected = answer.estimates[:2]
        than = "more than chance explains" if found.value > expected.high else "no more than chance explains"
        return (
            f"Probabilities are {found.value:.3f} off on average, {than}: calibrated ones would be "
            f"{expected.low:.3f} to {expected.high:.3f} off."
        )

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        """See `Question.answer`."""
        import numpy as np

        asked = self.asked(predictor, dataset)
        probabilities = predictor.predict_encoded(asked.inputs)
        scores = asked.scores({(): probabilities})
        value, low, high = scores.score(())
        drawn = self._of_calibrated(asked.metric, probabilities)
        expected = float(drawn.mean())
        ends = np.quantile(drawn, [0.025, 0.975])
        n_rows = len(dataset)
        return Answer(
            question=self.name,
            metric=asked.metric.name,
            n_rows=n_rows,
            estimates=(
                Estimate("calibration error", value, low, high, n_rows),
                Estimate(
                    "the same if calibrated", expected, min(expected, float(ends[0])), max(expected, float(ends[1])),
                    n_rows,
                ),
            ),
            residual=value - expected,
            notes=(
                "The residual is what the number of rows does not explain of the error. The error is a mean over 15 "
                "bins of the highest probability: it tells nothing of the other classes, nor of a bin's inside.",
                *asked.notes(scores),
            ),
            measures="how far probabilities are from what happens",
            score=value,
        )  # fmt: skip

    def _of_calibrated(self, metric: Metric, probabilities: np.ndarray) -> np.ndarray:
        """Returns the error of labels drawn from the probabilities, `[draw]`."""
        import numpy as np

        rng = np.random.default_rng([_STREAM, self.seed])
        edges = probabilities.cumsum(1)
        edges[:, -1] = np.inf  # a sum may be a little below 1
        return np.array([
            metric((rng.random((len(edges), 1)) >= edges).sum(1), probabilities) for _ in range(self.n_resamples)
        ])  # fmt: skip
