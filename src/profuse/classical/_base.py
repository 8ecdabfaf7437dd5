"""What a classical model is: fitted once on the features of all modalities together, and kept as plain data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np

from profuse.data.features import Matrix
from profuse.metrics import Metric
from profuse.schema import Task

__all__ = ["ClassicalModel", "Problem"]


@dataclass(frozen=True, eq=False)
class Problem:
    """What a classical model learns from.

    Attributes:
        x: `[row, feature]`, NaN = missing; a feature that no training row has is 0. Sparse where features are so: then
            the dense features come first, and NaN is stored.
        target: Encoded: class codes `[row]`, 0/1 `[row, label]`, standardised values `[row, target]`.
        train_rows: Learned from.
        valid_rows: Choose among fits.
        codes: Which features hold codes of a category.
        folds: Of the known rows, by which a model may choose where validation rows are few: rows to learn from, and
            rows held out. None where validation rows are enough.
        metric: By which a model that has a choice chooses; the task's primary one if None.
        widths: Of a sparse `x`: how many features each sparse part has, behind the dense ones, in their order.
        zero: `[target]`: where 0 of the target's own unit lies among standardised values; None: not known.
        weights: `[row]`: how much a row counts in losses; above 0 for training rows. Validation rows of weight 0 are
            predicted and take no other part. None: all count alike.
    """

    x: Matrix
    target: np.ndarray
    train_rows: np.ndarray
    valid_rows: np.ndarray
    codes: np.ndarray
    folds: Sequence[tuple[np.ndarray, np.ndarray]] | None = None
    metric: Metric | None = None
    widths: tuple[int, ...] = ()
    zero: np.ndarray | None = None
    weights: np.ndarray | None = None

    @property
    def quantile(self) -> float | None:
        """The quantile of numbers at which the metric is best; None: the mean."""
        return None if self.metric is None else self.metric.quantile

    @property
    def choosing_rows(self) -> np.ndarray:
        """Validation rows that count."""
        return self.valid_rows if self.weights is None else self.valid_rows[self.weights[self.valid_rows] > 0]

    @property
    def known_rows(self) -> np.ndarray:
        """Training and validation rows that count."""
        return np.concatenate([self.train_rows, self.choosing_rows])

    def weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Returns the weights of rows; None where all count alike."""
        return None if self.weights is None else self.weights[rows]


class ClassicalModel(ABC):
    """A model that is no network. Add yours: one file, one line in `profuse.classical`, or `register`.

    Args:
        task: What kind of target.
        n_outputs: Classes, labels or values.

    Attributes:
        trials: Configurations: the first is the default, and a comparison with more trials takes the first so many.
        role: Where it stands in a report: a "single" one is fitted to each modality by itself, and to each of the
            feature sets of its kind.
        sparse: Whether it takes sparse features. One of all modalities then gets the sparse set of a kind that has one;
            one that takes none never gets any.
        weighted: Whether it learns with `Problem.weights`; one that does not is left out where rows have weights.
        quantiles: Whether it predicts `Problem.quantile` as it is; what others predict of numbers is moved there.
        scales: Whether a skewed target that is never below 0 is learned on its logarithm too, and the mean of both is
            predicted.
        package: The optional package that fits it: where it is missing, comparisons leave the model out.
        row: What stands behind the modality's name in the rows of a "single" one; the model's name if empty.
        slow: Whether a fit takes longer than most: among several it comes last.
        widest: Among several, the most features of one modality that it is given where the kind has fewer; 0: all.
        stands_for: Among several, the name of a model that is left out beside it.
        brief: Which of the trials is taken where a quick fit will do.
        choice: Of a fitted one, by what it was chosen, the smaller the better, where fits to several feature sets can
            be compared by that; None: they are compared by the metric that counts, on validation rows.
    """

    trials: ClassVar[Sequence[Mapping[str, Any]]] = ({},)
    role: ClassVar[Literal["classical", "trivial", "single"]] = "classical"
    sparse: ClassVar[bool] = False
    weighted: ClassVar[bool] = False
    quantiles: ClassVar[bool] = False
    scales: ClassVar[bool] = False
    package: ClassVar[str] = ""
    row: ClassVar[str] = ""
    slow: ClassVar[bool] = False
    widest: ClassVar[int] = 0
    stands_for: ClassVar[str] = ""
    brief: ClassVar[int] = 0
    choice: tuple[float, ...] | None = None

    def __init__(self, task: Task, n_outputs: int) -> None:
        self.task: Task = task
        self.n_outputs = n_outputs

    @classmethod
    def not_for(cls, task: Task) -> str:
        """Returns why it cannot learn a task, and is left out of a comparison; "" if it can."""
        return ""

    @abstractmethod
    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        """Learns from the training rows.

        Args:
            problem: Rows and their target.
            settings: One of `trials`.
            seed: Of all that is drawn.
            refit: Whether to learn anew from all known rows, with what validation rows have chosen.

        Returns:
            What it predicts for the validation rows before it has learned from them, as `predict` does.
        """

    @abstractmethod
    def predict(self, x: Matrix) -> np.ndarray:
        """Returns probabilities `[row, class or label]`, or standardised values `[row, target]`."""

    @property
    def of_logarithms(self) -> bool:
        """Whether it has learned the logarithm of a target, and predicts by it, alone or in part."""
        return False

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Coefficients, or leaves."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Returns what was learned: JSON values and NumPy arrays of numbers, at any depth of dicts."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        """Returns a model that predicts as the one whose `state` this is.

        Raises:
            ValueError: It is the state of no such model.
        """
