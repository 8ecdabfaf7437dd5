"""`Dataset`: rows by modalities and a target, whatever door they came through."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from profuse.errors import DataError
from profuse.schema import KINDS, Kind, Task

__all__ = ["Dataset", "ModalityData", "object_array"]


def object_array(values: Sequence[Any]) -> np.ndarray:
    """Returns `[row]` of objects, whatever their shapes."""
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out


@dataclass(frozen=True, eq=False)
class ModalityData:
    """All rows of one modality, not yet preprocessed.

    Attributes:
        kind: One of `profuse.schema.KINDS`.
        values: By kind: table, a DataFrame with a fresh RangeIndex; vector, float `[row, channel]` (NaN = a
            missing number); text, an object array of str; image, audio, series: an object array, or an array
            with rows first, of `[height, width, channel]` (uint8, or float in 0..1), `[sample]` (float in
            -1..1), `[time, channel]` (NaN = a missing number). What stands in an absent row is not read.
        present: Bool `[row]`: False where the modality is missing.
        rate: Audio only: samples a second.
        range: Image only: the levels that became 0 (black) and 1 (white) in pictures of more than 8 bits.
        preprocess: Name of a preprocessor, or None for the kind's default.
        encoder: Name of an encoder, or None for the kind's default.
    """

    kind: Kind
    values: Any
    present: np.ndarray
    rate: int | None = None
    range: tuple[float, float] | None = None
    preprocess: str | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"ModalityData: kind must be one of {', '.join(KINDS)}; got kind={self.kind!r}.")
        if self.present.dtype != bool or self.present.shape != (len(self.values),):
            raise DataError(
                "ModalityData: present must be one bool for each row; got "
                f"present={self.present.dtype}{self.present.shape} for {len(self.values)} rows."
            )

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: np.ndarray) -> ModalityData:
        """Returns the rows `index` (integers)."""
        values = self.values.iloc[index].reset_index(drop=True) if self.kind == "table" else self.values[index]
        return replace(self, values=values, present=self.present[index])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows by modalities, and a target.

    Attributes:
        name: Named in results.
        modalities: Name to data; all have the same number of rows, in the same order.
        target: `[row]` (class labels or numbers), `[row, target]` for multilabel (0/1) or several numbers,
            or None where there is nothing to learn from (prediction).
        task: What kind of target.
        target_names: One name a target column (labels of a multilabel task).
        groups: `[row]`: rows with one value stay on one side of every split.
        times: `[row]`: sortable; a split by time puts the earliest rows into train.
        ids: `[row]`: names of the rows.
        split: `[row]` of "train", "valid", "test": an official split; without "valid" it is cut from train.
        notes: What was counted while reading (skipped files, coerced cells), told to the user.
    """

    name: str
    modalities: Mapping[str, ModalityData]
    target: np.ndarray | None
    task: Task
    target_names: Sequence[str] = ("target",)
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    ids: np.ndarray | None = None
    split: np.ndarray | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if not self.modalities:
            raise DataError(f"Dataset {self.name!r}: at least one modality must be given; got none.")
        n_rows = len(self)
        by_row = [(k, getattr(self, k)) for k in _BY_ROW]
        for what, values in [*self.modalities.items(), *by_row]:
            if values is not None and len(values) != n_rows:
                first = next(iter(self.modalities))
                raise DataError(
                    f"Dataset {self.name!r}: all parts must have one entry a row; got {len(values)} of {what!r} "
                    f"and {n_rows} of {first!r}. Join them by an id first."
                )
        for what, values in by_row:
            if values is not None and what in _ONE_AXIS and np.ndim(values) != 1:
                raise DataError(
                    f"Dataset {self.name!r}: {what} must be one value a row; got shape={np.shape(values)}. Name one "
                    "column."
                )
        if self.target is not None and self.target.dtype.kind in "SO":
            coded = np.flatnonzero([isinstance(v, bytes) for v in self.target.ravel()])
            if len(coded):
                raise DataError(
                    f"Dataset {self.name!r}: labels must be words or numbers; got bytes, "
                    f"{self.target.ravel()[coded[0]]!r} first. Decode them: y.astype(str)."
                )

    def __len__(self) -> int:
        return len(next(iter(self.modalities.values())))

    def rows(self, index: np.ndarray) -> Dataset:
        """Returns the rows `index` (integers) of everything."""
        cut: dict[str, Any] = {k: None if getattr(self, k) is None else getattr(self, k)[index] for k in _BY_ROW}
        return replace(self, modalities={k: v.rows(index) for k, v in self.modalities.items()}, **cut)

    def select(self, names: Sequence[str]) -> Dataset:
        """Returns the same rows with only the modalities `names`."""
        return replace(self, modalities={k: self.modalities[k] for k in names})

    def digest(self) -> str:
        """Returns a fingerprint of all content; equal data give equal digests in every process."""
        digest = hashlib.blake2b(digest_size=16)
        _feed(digest, [self.name, self.task, *self.target_names])
        for name in sorted(self.modalities):
            data = self.modalities[name]
            _feed(digest, [name, data.kind, data.rate, data.preprocess, data.encoder, data.present])
            columns = list(data.values) if data.kind == "table" else []
            _feed(digest, [columns, *(_plain(data.values[c]) for c in columns)] if columns else data.values)
        for part in _BY_ROW:
            _feed(digest, getattr(self, part))
        return digest.hexdigest()


def _plain(cells: pd.Series) -> np.ndarray:
    """Returns a column as an array; times with a zone in UTC, not as objects, which have no words beyond year 9999."""
    if isinstance(cells.dtype, pd.DatetimeTZDtype):
        return np.append(
            cells.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().view(np.int64).astype(object), str(cells.dtype)
        )
    return cells.to_numpy()


def _feed(digest: Any, value: Any) -> None:
    """Adds a value: arrays by their bytes, sequences item by item, all else by its text."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8) if value.dtype.kind in "biufmM" else value.tobytes())
    elif isinstance(value, (list, tuple, np.ndarray)):
        digest.update(f"[{len(value)}]".encode())
        for item in value:
            _feed(digest, item)
    else:
        digest.update(repr(value).encode())


_ONE_AXIS = ("groups", "times", "ids", "split")
_BY_ROW = ("target", *_ONE_AXIS)
