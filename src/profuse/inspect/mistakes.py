"""What a predictor says of rows whose target is known, and how wrong it is about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from profuse.data.dataset import Dataset
from profuse.errors import ConfigError
from profuse.inspect._words import answers, plain
from profuse.inspect.asked import Asked
from profuse.inspect.wrong_labels import Suspects
from profuse.metrics import Metric

__all__ = ["Mistakes"]


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Predictions for rows with a target.

    Attributes:
        asked: The rows, in an order of their content.
        dataset: The same rows.
        numbers: `[row]`: their numbers in the order in which they came.
        outputs: What is predicted.
        loss: `[row]`.
        what: The loss in words.
        sure: `[row]`: how sure of what is wrong; below 0 for a row that is right.
    """

    asked: Asked
    dataset: Dataset
    numbers: np.ndarray
    outputs: np.ndarray
    loss: np.ndarray
    what: str
    sure: np.ndarray

    @classmethod
    def of(cls, asked: Asked, dataset: Dataset, numbers: np.ndarray, metric: Metric | None) -> Mistakes:
        """Predicts.

        Args:
            asked: The rows.
            dataset: The same.
            numbers: Their numbers in the order in which they came.
            metric: A mean over rows; None: the error of answers, or the absolute error.

        Raises:
            ConfigError: The metric is none.
        """
        predictor, true = asked.predictor, asked.true
        outputs = np.asarray(predictor.predict_encoded(asked.inputs), dtype=np.float64)
        if predictor.task == "regression":
            off = np.abs(outputs - true)
            several = true.shape[1] > 1
            loss = (off / np.asarray(predictor.codec.std)).mean(1) if several else off[:, 0]
            what = "absolute error in standard deviations of the targets" if several else "absolute error"
            spread = (outputs - true).std(0)
            sure = (off / np.where(spread > 0, spread, np.inf)).max(1)
        elif predictor.task == "multilabel":
            wrong = (outputs >= 0.5) != (true > 0.5)
            loss, what = wrong.mean(1), "share of wrong labels"
            sure = np.where(wrong, np.maximum(outputs, 1 - outputs), -1.0).max(1)
        else:
            codes = predictor.decision.codes(outputs)
            loss, what = (codes != true).astype(np.float64), "error rate"
            sure = np.where(codes != true, outputs[np.arange(len(codes)), codes], -1.0)
        if metric is not None:
            loss, what = _losses(metric, true, predictor.decision.seen_by(metric, outputs)), metric.label
            if metric.higher_is_better:
                what = f"what is lacking in {what}"
        return cls(asked, dataset, numbers, outputs, np.asarray(loss), what, np.asarray(sure))

    def surest(self, n: int) -> list[dict[str, Any]]:
        """Returns the rows with the surest errors as plain values: classes and labels that are wrong, any numbers."""
        regression = self.asked.predictor.task == "regression"
        most = np.argsort(-self.sure, kind="stable")[:n]
        said = answers(self.asked.predictor, self.outputs[most])
        return [
            {
                **self.told(int(i)),
                "predicted": answer,
                "probability": None if regression else float(self.sure[i]),
                "deviations": float(self.sure[i]) if regression else None,
                "loss": float(self.loss[i]),
            }
            for i, answer in zip(most, said, strict=True)
            if self.sure[i] > 0
        ]

    def suspected(self, suspects: Suspects, n: int) -> list[dict[str, Any]]:
        """Returns the first n targets that look wrong as plain values."""
        predictor, results = self.asked.predictor, []
        for i, column, suggested, margin in zip(
            suspects.rows[:n], suspects.columns, suspects.suggested, suspects.margin, strict=False
        ):
            row, name = self.told(int(i)), ""
            given: Any = row.pop("truth")
            suggest: Any
            if predictor.task == "regression":
                name = str(predictor.codec.names[column])
                given, suggest = float(self.asked.true[i, column]), float(suggested)
            elif predictor.task == "multilabel":
                name = str(predictor.classes[column])
                given, suggest = ("yes" if v > 0.5 else "no" for v in (self.asked.true[i, column], suggested))
            else:
                given, suggest = str(given), str(predictor.classes[int(suggested)])
            results.append({**row, "of": name, "given": given, "suggested": suggest, "margin": float(margin)})
        return results

    def told(self, i: int) -> dict[str, Any]:
        """Returns a row's id, its number in the order in which it came, and its truth."""
        row, dataset = int(self.numbers[i]), self.dataset
        truth = plain(np.asarray(dataset.target)[i])
        if self.asked.predictor.task == "multilabel":
            truth = [str(c) for c, y in zip(self.asked.predictor.classes, self.asked.true[i], strict=True) if y > 0.5]
        return {"id": plain(row if dataset.ids is None else dataset.ids[i]), "row": row, "truth": truth}


def _losses(metric: Metric, true: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Returns what each row lacks, higher where it is worse.

    Raises:
        ConfigError: The metric is no mean over rows, each by itself.
    """
    half = np.arange(len(true)) < (len(true) + 1) // 2
    try:
        scores = metric.row_scores(true, seen)
        same = np.allclose(scores[half], metric.row_scores(true[half], seen[half]))
    except (ConfigError, ValueError):
        same = False
    if not same:
        raise ConfigError(
            f"errors: the metric must be a mean over rows, each by itself; got metric={metric.name!r}. Leave it out, "
            "or use log_loss, brier or mse."
        )
    if not metric.higher_is_better:
        return np.asarray(scores)
    best = metric.range[1]
    return np.asarray(best - scores if np.isfinite(best) else -scores)
