"""A question."""

from __future__ import annotations

import numpy as np

from profuse.data.dataset import Dataset
from profuse.errors import ConfigError
from profuse.inspect import Answer, Estimate, Question
from profuse.predictor import Predictor

__all__ = ["Confidence"]


class Confidence(Question):
    """How sure the predictor is: the mean over rows of the highest probability.

    Args:
        metric: Only named beside the answer.
        seed: Of nothing: all is counted.
        n_resamples: Of nothing.
    """

    name = "confidence"
    description = "How high the highest probability is."

    def answer(self, predictor: Predictor, dataset: Dataset) -> Answer:
        if predictor.task not in ("binary", "multiclass"):
            raise ConfigError(f"confidence: the task must have classes; got task={predictor.task!r}.")
        top = predictor.predict_encoded(predictor.encode(dataset)).max(1)
        half = 1.96 * float(top.std()) / np.sqrt(len(top))
        value = float(top.mean())
        return Answer(
            question=self.name,
            metric=self.metric_for(predictor.task).name,
            n_rows=len(dataset),
            estimates=(Estimate("highest probability", value, value - half, value + half, len(dataset)),),
            residual=None,
            notes=("The interval is that of a mean over rows; there is no residual.",),
        )
