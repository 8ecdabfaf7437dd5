"""Series -> padded, robustly scaled steps, indicators of missing numbers; clocks and pen paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.preprocess._carried import carried, find_sparse, log_ages
from profuse.data.preprocess._paths import along, durations, find_clock, find_path, usual_step
from profuse.data.series import series_rows
from profuse.errors import ConfigError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["SeriesPreprocessor", "StepPreprocessor"]

_BOUND = 8.0
_PATH_POINTS = 128


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

    What three kinds of columns mean is found in the training rows, told in `notes`, and off in `StepPreprocessor`:

    - a **clock**, a channel that never falls and mostly rises, becomes the logarithm of each step's duration (in usual
      ones), and the time since the row's beginning behind all channels; where all steps last alike it is left out;
    - a **path**, two channels of a pen's position (see `profuse.data.preprocess._paths.find_path`), comes first, both
      in one unit, and the row is read at up to 128 even distances along it: as many where a hand was quick as where it
      was slow. How quick it was stays in the durations;
    - a **sparse** channel, which lacks more than half of its numbers, gets two more: at each step the last value that
      was measured (the median before the first), and `log(1 + time since then)`, in usual steps, standardised.

    Args:
        max_length: The largest number of steps.

    Attributes:
        notes: What was counted and changed, told to the user.

    Raises:
        ConfigError: `max_length` below 1.

    Reference:
        Holzmüller et al. 2024, Better by default, appendix C (robust scaling and smooth clipping). Lipton, Kale, Wetzel
        2016, Directly modeling missing data in sequences with RNNs; Che et al. 2018, Recurrent neural networks for
        multivariate time series with missing values (values carried forward, indicators, time since the last).
    """

    takes = "series"
    bound = "max_length"
    looks = True
    """Whether clocks, paths and sparse channels are looked for."""

    def __init__(self, *, max_length: int = 2048) -> None:
        if max_length < 1:
            raise ConfigError(f"SeriesPreprocessor: max_length must be at least 1; got max_length={max_length}.")
        self.max_length = max_length
        self.notes: tuple[str, ...] = ()
        self._clock: int | None = None
        self._path: tuple[int, int] | None = None
        self._usual, self._is_even, self._n_points, self._n_given = 1.0, False, 0, 0
        self._sparse, self._longest = np.zeros(0, dtype=np.int64), 0.0
        self._age_center, self._age_scale = np.zeros(0), np.ones(0)

    def _look(self, rows: list[np.ndarray]) -> tuple[str, ...]:
        """Finds the clock and the path; returns what is told of them."""
        notes: tuple[str, ...] = ()
        self._clock = find_clock(rows)
        if self._clock is not None:
            self._usual, self._is_even = usual_step(rows, self._clock)
        self._path = find_path(rows, self._clock)
        if self._path is not None:
            usual = np.median([len(row) for row in rows if len(row)])
            self._n_points = int(min(_PATH_POINTS, self.max_length, 2 ** np.ceil(np.log2(max(usual, 16)))))
            pair = " and ".join(map(str, self._path))
            notes = (f"channels {pair} are a path: read at {self._n_points} even distances along it.",)
        if self._clock is not None:
            way = "left out, as all steps last alike" if self._is_even and not self._path else "durations of steps"
            notes += (f"channel {self._clock} is a clock: {way}.",)
        return notes

    def _arrange(self, row: np.ndarray) -> np.ndarray:
        """Returns the row with path and durations in place of position and clock."""
        clock, path = self._clock, self._path
        if not len(row) or (clock is None and path is None):
            return row
        row = row if path is None else along(row, path, self._n_points)
        if not len(row):
            return np.zeros((0, self._n_arranged))
        first = [] if path is None else [row[:, c] for c in path]
        others = [c for c in range(row.shape[1]) if c != clock and c not in (path or ())]
        columns = [*first, *(row[:, c] for c in others)]
        if clock is not None and path is not None:
            columns.append(durations(row[:, clock], self._usual))
        elif clock is not None and not self._is_even:
            columns += [durations(row[:, clock], self._usual), row[:, clock] - row[0, clock]]
        return np.stack(columns, axis=1)

    @property
    def _n_arranged(self) -> int:
        if self._clock is None or self._path is not None:
            return self._n_given
        return self._n_given - 1 if self._is_even else self._n_given + 1

    def fit(self, data: ModalityData) -> None:
        rows = series_rows(data, None, "SeriesPreprocessor")
        self._n_given = int(rows[0].shape[1])
        seen = self._look(rows) if self.looks else ()
        rows = [self._arrange(row) if len(row) else np.zeros((0, self._n_arranged)) for row in rows]
        numbers = np.concatenate(rows)
        with np.errstate(invalid="ignore"):
            known = [column[~np.isnan(column)] for column in numbers.T]
        quartiles = [np.percentile(c, [25, 50, 75]) if len(c) else np.zeros(3) for c in known]
        spread = [(q[2] - q[0]) / 1.349 or (c.std() if len(c) else 0.0) for q, c in zip(quartiles, known, strict=True)]
        self._center = np.array([q[1] for q in quartiles])
        self._scale = np.array(
            [s if s > 1e-12 * max(1.0, abs(q[1])) else 1.0 for s, q in zip(spread, quartiles, strict=True)]
        )
        if self._path is not None:
            self._scale[:2] = self._scale[:2].mean()  # one unit for both: a turned pen path stays one
        self._indicated = np.flatnonzero(np.isnan(numbers).any(0))
        lengths = np.array([len(row) for row in rows])
        lengths = lengths[lengths > 0]
        self._stride = int(np.ceil(np.percentile(lengths, 95) / self.max_length))
        shortened = np.minimum(self.max_length, -(-lengths // self._stride))
        self._sparse = find_sparse(numbers) if self.looks else self._sparse
        if len(self._sparse):
            self._fit_ages([self._shorten(row) for row in rows if len(row)])
            given = [
                *(self._path or ()),
                *(c for c in range(self._n_given) if c not in (self._clock, *(self._path or ()))),
            ]
            told = ", ".join(str(given[c]) for c in self._sparse[:10]) + (", ..." if len(self._sparse) > 10 else "")
            seen += (
                f"channels {told} lack more than half of their numbers: two more channels hold the last that was "
                "measured, and how long ago that was.",
            )
        self.spec = Spec(
            kind="series",
            n_channels=numbers.shape[1] + len(self._indicated) + 2 * len(self._sparse),
            max_length=int(shortened.max()),
            is_path=self._path is not None,
        )
        n_long = int((lengths > self.max_length).sum())
        self.notes = seen
        if n_long:
            self.notes += (
                f"{n_long} of {len(lengths)} series are longer than {self.max_length} steps: shortened by means.",
            )
        n_missing = int(np.isnan(numbers).sum())
        if n_missing:
            self.notes += (f"{n_missing} of {numbers.size} numbers are missing: set to the median, with indicators.",)

    def _times(self, row: np.ndarray) -> np.ndarray:
        """Returns when each step of an arranged and shortened row was, in usual steps."""
        if self._clock is not None and self._path is None and not self._is_even:
            return np.asarray(np.maximum.accumulate(np.nan_to_num(row[:, -1])) / self._usual)
        return np.arange(len(row)) * float(self._stride)

    def _fit_ages(self, rows: list[np.ndarray]) -> None:
        times = [self._times(row) for row in rows]
        self._longest = max(float(t[-1]) for t in times) + 1.0
        logs = log_ages([carried(r, self._sparse, t)[1] for r, t in zip(rows, times, strict=True)], self._longest)
        self._age_center, self._age_scale = logs.mean(0), np.maximum(logs.std(0), 1e-6)

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
        rows = [self._shorten(self._arrange(row)) for row in series_rows(data, self._n_given, "SeriesPreprocessor")]
        rows = [row if len(row) else np.zeros((0, len(self._center))) for row in rows]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
        numbers = np.concatenate(rows) if rows else np.zeros((0, len(self._center)))
        z = _bounded((numbers - self._center) / self._scale)
        missing = np.isnan(z)
        parts = [np.where(missing, 0.0, z), missing[:, self._indicated]]
        if len(self._sparse) and rows:
            both = [carried(row, self._sparse, self._times(row)) for row in rows]
            last = (np.concatenate([v for v, _ in both]) - self._center[self._sparse]) / self._scale[self._sparse]
            ages = (log_ages([a for _, a in both], self._longest) - self._age_center) / self._age_scale
            parts += [np.nan_to_num(_bounded(last)), ages]
        steps = np.concatenate(parts, axis=1)
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
            "n_given": self._n_given,
            "clock": self._clock,
            "path": None if self._path is None else list(self._path),
            "usual": self._usual,
            "is_even": self._is_even,
            "n_points": self._n_points,
            "sparse": self._sparse,
            "longest": self._longest,
            "age_center": self._age_center,
            "age_scale": self._age_scale,
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
        self._n_given = int(state["n_given"])
        self._clock = None if state["clock"] is None else int(state["clock"])
        self._path = None if state["path"] is None else (int(state["path"][0]), int(state["path"][1]))
        self._usual, self._is_even = float(state["usual"]), bool(state["is_even"])
        self._n_points = int(state["n_points"])
        if "sparse" in state:  # models saved before there were any lack them
            self._sparse, self._longest = np.asarray(state["sparse"], dtype=np.int64), float(state["longest"])
            self._age_center = np.asarray(state["age_center"], dtype=np.float64)
            self._age_scale = np.asarray(state["age_scale"], dtype=np.float64)
        self.notes = tuple(state["notes"])
        return self


def _bounded(z: np.ndarray) -> np.ndarray:
    return np.asarray(z / np.sqrt(1.0 + np.square(z / _BOUND)))


class StepPreprocessor(SeriesPreprocessor):
    """As `SeriesPreprocessor`, with every channel as it is given: neither clocks, paths nor sparse ones are looked for.

    Args:
        max_length: The largest number of steps.
    """

    looks = False
