"""`Conformal`: sets of classes, or intervals of numbers, for new rows; see the question `conformal` too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset
from profuse.data.new_rows import tell
from profuse.data.wording import tell_values
from profuse.errors import ConfigError, DataError
from profuse.inspect.asked import encoded_target, order_by_content, read_asked
from profuse.inspect.conformal_scores import Said
from profuse.inspect.coverage import check_coverage, check_task
from profuse.inspect.pattern_scores import PatternScores, choices_told, infinite_told, presence, said
from profuse.predictor import Predictor

__all__ = ["Conformal"]

JOINED_BY = "|"


@dataclass(frozen=True, eq=False)
class Conformal:
    """Sets or intervals that hold the target of a share `coverage` of new rows like those that it was fitted to.

    Attributes:
        rows: The calibration rows, scored.
    """

    rows: PatternScores

    @classmethod
    def fit(
        cls, predictor: Predictor, rows: Any, *, target: Any = None, coverage: float = 0.9, by_pattern: bool = True
    ) -> Conformal:
        """Calibrates with rows that the predictor has not learned from. Their order is irrelevant.

        Args:
            predictor: Of classes or numbers.
            rows: As `Predictor.read` takes them; with a target.
            target: See `Predictor.read`.
            coverage: Above 0 and below 1.
            by_pattern: Whether each pattern of modalities has a quantile of its own; see `PatternScores.chosen`.

        Raises:
            ConfigError: The coverage is out of range, or the target is labels.
            DataError: The rows cannot be read, or have no target.

        Example:
            >>> from profuse.inspect.conformal import Conformal
            >>> Conformal.fit(model, "calibration.csv", coverage=0.95).predict_frame("new.csv")  # doctest: +SKIP
        """
        check_coverage(coverage)
        check_task(predictor.task)
        dataset = read_asked(predictor, rows, target, who="Conformal", stacklevel=4)
        dataset = dataset.rows(order_by_content(dataset, predictor.modalities))
        return cls(
            PatternScores.of(
                predictor, predictor.encode(dataset), encoded_target(predictor, dataset),
                coverage=coverage, by_pattern=by_pattern,
            )
        )  # fmt: skip

    @property
    def predictor(self) -> Predictor:
        """Whose predictions it puts into sets."""
        return self.rows.predictor

    def sets(self, rows: Any) -> np.ndarray:
        """Returns which classes are in the set of each row, bool `[row, class]`, in the order of `predictor.classes`.

        Raises:
            ConfigError: The target is numbers.
        """
        if self.predictor.task == "regression":
            raise ConfigError("Conformal.sets: the target must be classes; got task='regression'. Use intervals.")
        then, quantiles, _ = self._said(self._read(rows))
        return then.sets(quantiles)

    def intervals(self, rows: Any) -> np.ndarray:
        """Returns the low and the high end for each row, `[row, 2]`; `[row, target, 2]` for a target of two axes.

        Raises:
            ConfigError: The target is classes.
        """
        if self.predictor.task != "regression":
            raise ConfigError(
                f"Conformal.intervals: the target must be numbers; got task={self.predictor.task!r}. Use sets."
            )
        then, quantiles, _ = self._said(self._read(rows))
        ends = then.intervals(quantiles)
        return ends[:, 0] if self.predictor.codec.flat else ends

    def predict_frame(self, rows: Any) -> pd.DataFrame:
        """Returns `Predictor.predict_frame`, and `set`, classes joined by `|`, or `low` and `high` (`TARGET_low`).

        What the quantiles are of, and how many rows have no bounds, stands in `attrs["notes"]`.

        Raises:
            DataError: A column is called like a target, or a class holds `|`.
        """
        dataset = self._read(rows)
        frame, (then, quantiles, patterns) = self.predictor.predict_frame(dataset), self._said(dataset)
        for name, values in self._columns(then, quantiles):
            if name in frame:
                raise DataError(
                    f"Conformal: names of the columns written must differ; got {name!r} more than once, as a target is "
                    "called so. Rename it in the training table and fit again, or use intervals."
                )
            frame[name] = values
        frame.attrs["notes"] = [*choices_told(self.rows, patterns), *infinite_told(self.rows, quantiles)]
        return frame

    def _columns(self, then: Said, quantiles: np.ndarray) -> list[tuple[str, Any]]:
        codec = self.predictor.codec
        if codec.task == "regression":
            ends = then.intervals(quantiles)
            before: Sequence[str] = [""] if codec.n_outputs == 1 else [f"{name}_" for name in codec.names]
            return [(f"{b}{end}", ends[:, j, k]) for j, b in enumerate(before) for k, end in enumerate(("low", "high"))]
        names = [str(c) for c in codec.classes]
        if bad := [name for name in names if JOINED_BY in name]:
            raise DataError(
                f"Conformal: classes must not hold {JOINED_BY!r}, which joins them in a set; got {tell_values(bad)}. "
                "Use Conformal.sets."
            )
        sets = then.sets(quantiles)
        return [("set", [JOINED_BY.join(n for n, has in zip(names, row, strict=True) if has) for row in sets])]

    def _read(self, rows: Any) -> Dataset:
        if isinstance(rows, Dataset):
            return rows
        dataset = self.predictor.read(rows, who="Conformal")
        tell(dataset.notes, "Conformal")
        return dataset

    def _said(self, dataset: Dataset) -> tuple[Said, np.ndarray, np.ndarray]:
        """Returns what is predicted, the quantile of each row and its pattern."""
        inputs = self.predictor.encode(dataset)
        patterns = presence(inputs, self.rows.names)
        return said(self.predictor, inputs), self.rows.quantiles(patterns), patterns
