"""Labels <-> what heads compute with; fitted on training rows only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.table.values import match, word, words
from profuse.data.task import check_target, infer_task, no_missing, not_constant, plain_target, read_target
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError
from profuse.schema import Task

__all__ = ["SKEWED", "TargetCodec", "check_target", "infer_task", "read_target", "skewness"]

SKEWED = 1.0
"""From this skewness on, a target that is never below 0 is one of prices, durations, counts."""
_SOME_ZEROS = 0.01  # a share of rows from which on the least number, 0, is where all numbers end


def skewness(numbers: np.ndarray) -> np.ndarray:
    """Returns the third moment of each column of `numbers[row, column]`, standardised."""
    off = numbers - numbers.mean(0)
    return np.asarray(np.mean(off**3, axis=0) / np.maximum(off.std(0), 1e-4) ** 3)


class TargetCodec:
    """Labels <-> class numbers; or y <-> (y - mean) / std, with mean and std of the training rows.

    Attributes:
        task: What kind of target.
        classes: The labels in the order of their numbers (binary, multiclass: sorted; multilabel: the names of
            the labels); empty for regression.
        n_outputs: What a head needs: 2 for binary, the number of classes, of labels, or of numbers.
        names: One name a target column.
        mean, std: Regression only: `[target]`, in the target's units.
        ends_at_zero: Regression only: `[target]`, whether it is one of prices, durations, counts, which are never below
            0: no training row is, and they are skewed, or one in a hundred or more is 0.
        flat: Whether the target is `[row]` and not `[row, target]`.
    """

    def __init__(
        self,
        task: Task,
        classes: np.ndarray,
        *,
        names: Sequence[str] = ("target",),
        mean: np.ndarray | None = None,
        std: np.ndarray | None = None,
        ends_at_zero: np.ndarray | None = None,
        flat: bool = True,
    ) -> None:
        self.task: Task = task
        self.classes = classes
        self.names = tuple(names)
        self.mean = np.zeros(0) if mean is None else mean
        self.std = np.ones(0) if std is None else std
        self.ends_at_zero = np.zeros(len(self.mean), dtype=bool) if ends_at_zero is None else ends_at_zero
        self.flat = flat

    @property
    def n_outputs(self) -> int:
        """Outputs of the head."""
        return len(self.mean) if self.task == "regression" else len(self.classes)

    @classmethod
    def fit(cls, target: np.ndarray, task: Task, *, names: Sequence[str] = ("target",)) -> TargetCodec:
        """Learns classes, or mean and standard deviation, from `target`: training rows only.

        Raises:
            DataError: A value is missing or infinite, or all are equal; or they are no words or numbers.
        """
        target = np.asarray(target)
        no_missing(target)
        target = plain_target(target)
        if task in ("binary", "multiclass"):
            classes = np.array(sorted(set(target.tolist()))) if target.dtype == object else np.unique(target)
            not_constant("target in the training rows", len(classes), target[0])
            if task == "binary" and len(classes) > 2:
                raise DataError(
                    f"target: a binary target must have two values; got {tell_values(classes)}. Use task='multiclass'."
                )
            return cls(task, classes, names=names)
        columns = target.reshape(len(target), -1).astype(np.float64)
        if not np.isfinite(columns).all():
            rows = np.flatnonzero(~np.isfinite(columns).all(1))
            raise DataError(f"target: must be finite; infinite in {tell_rows(rows)}. Correct or drop these rows.")
        if task == "multilabel":
            labels = list(names) if len(names) == columns.shape[1] else [str(j) for j in range(columns.shape[1])]
            return cls(task, np.array(labels), names=labels, flat=False)
        for j in np.flatnonzero((columns == columns[0]).all(0)):
            not_constant(f"target column {j} in the training rows", 1, columns[0, j])
        mean, std = columns.mean(0), columns.std(0)
        # squares of less than 1e-162 are 0
        std = np.where(std > 0, std, np.abs(columns - mean).max(0))
        z = (columns - mean) / std
        ends = (columns >= 0).all(0) & (((columns == 0).mean(0) >= _SOME_ZEROS) | (skewness(z) > SKEWED))
        return cls(task, np.empty(0), names=names, mean=mean, std=std, ends_at_zero=ends, flat=target.ndim == 1)

    def encode(self, target: np.ndarray) -> np.ndarray:
        """Returns what a head's loss takes.

        Returns:
            int64 `[row]` for binary and multiclass; float32 `[row, label]` of 0 and 1 for multilabel; float32
            `[row, target]`, standardised, for regression.

        Raises:
            DataError: A class was not seen in training (the class and its rows are told), or a number is
                missing, infinite, or so far from the training rows that float32 cannot hold it.
        """
        target = np.asarray(target)
        if self.task in ("binary", "multiclass"):
            if target.ndim != 1:
                raise DataError(
                    f"target: a {self.task} target must be one column as in training; got {target.shape[1]}. Name one."
                )
            codes = self.codes(target)
            unseen = np.flatnonzero(codes < 0)
            if len(unseen):
                raise DataError(
                    f"target: every class must occur in the training rows; got {tell_values(pd.unique(target[unseen]))}"
                    f" in {tell_rows(unseen)}. Known: {tell_values(self.classes, n=20)}. "
                    "Correct the labels, drop the rows, or split so that training has every class."
                )
            return codes
        columns = target.reshape(len(target), -1).astype(np.float64)
        if columns.shape[1] != self.n_outputs:
            raise DataError(
                f"target: must have {self.n_outputs} columns as in training; got {columns.shape[1]}. "
                f"Give {tell_values(self.names)}."
            )
        if not np.isfinite(columns).all():
            rows = np.flatnonzero(~np.isfinite(columns).all(1))
            raise DataError(f"target: must be known and finite; it is not in {tell_rows(rows)}. Drop these rows.")
        if self.task == "regression":
            with np.errstate(over="ignore"):
                columns = self.scale(columns)
            far = np.flatnonzero((np.abs(columns) > np.finfo(np.float32).max).any(1))
            if len(far):
                raise DataError(
                    "target: must be less than 3e38 standard deviations of the training rows from their mean; it is "
                    f"farther in {tell_rows(far)}. Correct or drop these rows."
                )
        return columns.astype(np.float32)

    def codes(self, target: np.ndarray) -> np.ndarray:
        """Returns the class number of each label, however it is typed ("1", 1.0 and True may be one), -1 of others."""
        index, found = pd.factorize(words(target))
        return np.append(match(list(found), [str(word(c)) for c in self.classes.tolist()]), -1)[index]

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Returns labels from class numbers `[row]`; 0/1 int64 `[row, label]` unchanged for multilabel; numbers in
        the target's units from standardised ones `[row, target]` (`[row]` if the target had one axis).
        """
        values = np.asarray(values)
        if self.task in ("binary", "multiclass"):
            return np.asarray(self.classes[values.astype(np.int64)])
        if self.task == "multilabel":
            return values.astype(np.int64)
        numbers = self.unscale(values.reshape(len(values), -1))
        return numbers[:, 0] if self.flat else numbers

    @property
    def zero(self) -> np.ndarray | None:
        """Where 0 in the target's unit lies among standardised values, `[target]`; None where they are no numbers."""
        return self.scale(np.zeros(self.n_outputs)) if self.task == "regression" else None

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Returns (y - mean) / std of `values[row, target]`, float64."""
        return np.asarray((np.asarray(values, dtype=np.float64) - self.mean) / self.std)

    def unscale(self, values: np.ndarray) -> np.ndarray:
        """Returns z * std + mean of `values[row, target]`, float64; what float32 cannot tell from 0 is 0."""
        numbers = np.asarray(np.asarray(values, dtype=np.float64) * self.std + self.mean)
        return np.where(np.abs(numbers) <= np.finfo(np.float32).eps * np.abs(self.mean), 0.0, numbers)

    def in_units(self, values: np.ndarray) -> np.ndarray:
        """Returns what a model predicts in the target's units: for regression `unscale(values)`, 0 in place of numbers
        below it where the target ends there; class numbers, 0/1 and probabilities as they are.
        """
        if self.task != "regression":
            return values
        numbers = self.unscale(values)
        return np.where(self.ends_at_zero & (numbers < 0), 0.0, numbers)

    def state(self) -> dict[str, Any]:
        """Returns what was learned as JSON values."""
        return {
            "task": self.task,
            "classes": self.classes.tolist(),
            "dtype": "str" if self.classes.dtype.kind in "OUST" else self.classes.dtype.name,
            "names": list(self.names),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "ends_at_zero": self.ends_at_zero.tolist(),
            "flat": self.flat,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TargetCodec:
        """Returns a codec equal to the one whose `state` this is.

        Raises:
            ValueError: It would not keep that state: a part was changed.
        """
        state = {"ends_at_zero": [False] * len(state["mean"]), **state}  # earlier models do not keep it
        classes = np.array(state["classes"], dtype=state["dtype"])
        mean, std = np.array(state["mean"], dtype=np.float64), np.array(state["std"], dtype=np.float64)
        if classes.ndim != 1 or mean.ndim != 1 or mean.shape != std.shape or not np.isfinite([mean, std]).all():
            raise ValueError("classes, mean and std of the target must be lists of as many numbers each")
        if state["task"] == "regression" and len(state["names"]) not in (1, len(mean)):
            raise ValueError("the target must have a name for each mean")
        ends = np.array(state["ends_at_zero"], dtype=bool)
        if ends.shape != mean.shape:
            raise ValueError("the target must have as many ends as means")
        made = cls(
            state["task"], classes, names=state["names"], mean=mean, std=std, ends_at_zero=ends, flat=state["flat"]
        )
        if made.state() != state:
            raise ValueError("the target's state must be what a codec keeps")
        return made
