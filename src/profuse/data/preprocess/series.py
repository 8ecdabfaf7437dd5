"""Series -> padded, robustly scaled steps with indicators of missing numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.series import series_rows
from profuse.errors import ConfigError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["SeriesPreprocessor"]

_BOUND = 8.0


class SeriesPreprocessor(Preprocessor):
    """Series -> `Raw` float `[row, time, channel]`, mask `[row, time]`.

    Each channel is scaled, `z = (x - median) / (IQR / 1.349)` (the standard deviation where the IQR is 0), and
    bounded smoothly, `z / sqrt(1 + (z / 8)^2)`: nearly the identity within +-3, never beyond +-8, so that heavy tails
    do not rule the loss; what is beyond +-1e150 counts as that. A missing number is 0 (the median), and a channel that
    has missing numbers in train gets one more channel, 1 where the number is missing. A series without any number is
    absent.

    A series longer than `max_length` is shortened by the mean over `s` steps in a row, never cut:
    `s = max(ceil(L95 / max_length), ceil(L / max_length))`, `L` its own length and `L95` the 95th percentile in
    train, so that all but the longest keep one unit of time.

    Args:
        max_length: The largest number of steps.

    Attributes:
        notes: What was counted and changed, told to the user.

    Raises:
        ConfigError: `max_length` below 1.

    Reference:
        Holzmüller et al. 2024, Better by default, appendix C (robust scaling and smooth clipping).
    """

    takes = "series"

    def __init__(self, *, max_length: int = 512) -> None:
        if max_length < 1:
            raise ConfigError(f"SeriesPreprocessor: max_length must be at least 1; got max_length={max_length}.")
        self.max_length = max_length
        self.notes: tuple[str, ...] = ()

    def fit(self, data: ModalityData) -> None:
        rows = series_rows(data, None, "SeriesPreprocessor")
        numbers = np.concatenate(rows)
        with np.errstate(invalid="ignore"):
            known = [column[~np.isnan(column)] for column in numbers.T]
        quartiles = [np.percentile(c, [25, 50, 75]) if len(c) else np.zeros(3) for c in known]
        spread = [(q[2] - q[0]) / 1.349 or (c.std() if len(c) else 0.0) for q, c in zip(quartiles, known, strict=True)]
        self._center = np.array([q[1] for q in quartiles])
        self._scale = np.array(
            [s if s > 1e-12 * max(1.0, abs(q[1])) else 1.0 for s, q in zip(spread, quartiles, strict=True)]
        )
        self._indicated = np.flatnonzero(np.isnan(numbers).any(0))
        lengths = np.array([len(row) for row in rows])
        lengths = lengths[lengths > 0]
        self._stride = int(np.ceil(np.percentile(lengths, 95) / self.max_length))
        shortened = np.minimum(self.max_length, -(-lengths // self._stride))
        self.spec = Spec(
            kind="series", n_channels=numbers.shape[1] + len(self._indicated), max_length=int(shortened.max())
        )
        n_long = int((lengths > self.max_length).sum())
        self.notes = ()
        if n_long:
            self.notes += (
                f"{n_long} of {len(lengths)} series are longer than {self.max_length} steps: shortened by means.",
            )
        n_missing = int(np.isnan(numbers).sum())
        if n_missing:
            self.notes += (f"{n_missing} of {numbers.size} numbers are missing: set to the median, with indicators.",)

    def _shorten(self, row: np.ndarray) -> np.ndarray:
        """Returns the means over `s` steps in a row, of the numbers that are there."""
        s = max(self._stride, -(-len(row) // self.max_length))
        if s == 1 or not len(row):
            return row
        starts = np.arange(0, len(row), s)
        n_known = np.add.reduceat((~np.isnan(row)).astype(np.float64), starts)
        total = np.add.reduceat(np.nan_to_num(row), starts)
        return np.where(n_known > 0, total / np.maximum(n_known, 1), np.nan)

    def transform(self, data: ModalityData) -> Raw:
        rows = [self._shorten(row) for row in series_rows(data, len(self._center), "SeriesPreprocessor")]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
        numbers = np.concatenate(rows) if rows else np.zeros((0, len(self._center)))
        z = (numbers - self._center) / self._scale
        z /= np.sqrt(1.0 + np.square(z / _BOUND))
        missing = np.isnan(z)
        steps = np.concatenate([np.where(missing, 0.0, z), missing[:, self._indicated]], axis=1)
        values = np.zeros((*mask.shape, steps.shape[1]), dtype=np.float32)
        values[mask] = steps
        unexpected = int(missing.sum() - missing[:, self._indicated].sum())
        if unexpected:
            note = f"{unexpected} numbers are missing in channels that were complete in train: set to the median."
            self.notes = (*(n for n in self.notes if not n.endswith("in train: set to the median.")), note)
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))

    def state(self) -> dict[str, Any]:
        return {
            "spec": self.spec.model_dump(mode="json"),
            "max_length": self.max_length,
            "stride": self._stride,
            "center": self._center,
            "scale": self._scale,
            "indicated": self._indicated,
            "notes": list(self.notes),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SeriesPreprocessor:
        self = cls(max_length=int(state["max_length"]))
        self.spec = Spec.model_validate(state["spec"])
        self._stride = int(state["stride"])
        self._center = np.asarray(state["center"], dtype=np.float64)
        self._scale = np.asarray(state["scale"], dtype=np.float64)
        self._indicated = np.asarray(state["indicated"], dtype=np.int64)
        self.notes = tuple(state["notes"])
        return self
