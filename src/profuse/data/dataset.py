"""`Dataset`: rows by modalities and a target, whatever door they came through."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.time_blocks import time_blocks
from profuse.data.wording import tell_rows
from profuse.errors import DataError
from profuse.kinds import ModalityData, object_array
from profuse.schema import Task

__all__ = ["Dataset", "ModalityData", "check_weights", "clusters_of", "object_array"]


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
        variant: Of a named data set that has several; "" for other data.
        weights: `[row]`, at least 0: how much rows count in learning; None: all alike. No score counts by them.
        subgroups: `[row]`: of which group a row is, where none may be served worse (see `TrainOptions`); unlike those
            of `groups`, its rows may be on all sides of a split.
        reasons: Of a table, by column, and by modality that is made of like columns: what it was taken as, and why.
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
    variant: str = ""
    weights: np.ndarray | None = None
    subgroups: np.ndarray | None = None
    reasons: Mapping[str, tuple[str, str]] = field(default_factory=dict)

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
        if self.weights is not None:
            check_weights(self.weights, who=f"Dataset {self.name!r}", what="weights")
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
            if data.max_length is not None:  # data without keep theirs
                _feed(digest, [data.max_length])
            columns = [] if data.frame is None else list(data.frame)
            _feed(digest, [columns, *(_plain(data.values[c]) for c in columns)] if columns else data.values)
        for part in _BY_ROW:
            if part not in ("weights", "subgroups") or getattr(self, part) is not None:  # data without keep theirs
                _feed(digest, getattr(self, part))
        return digest.hexdigest()


def clusters_of(dataset: Dataset, rows: np.ndarray | None = None) -> np.ndarray:
    """Returns a number for each of the rows, `[row]`; rows with one number are not independent.

    They are of one group; where rows have times and no groups, of one block of time (`time_blocks`), as neighbours in
    time are alike; else each row is by itself. Numbers are 0, 1, ... without gaps.

    Args:
        dataset: The data.
        rows: Which; all if None.
    """
    rows = np.arange(len(dataset)) if rows is None else rows
    if dataset.groups is not None:
        return np.unique(np.asarray(dataset.groups)[rows].astype(str), return_inverse=True)[1]
    if dataset.times is not None and len(rows):
        return np.unique(time_blocks(np.asarray(dataset.times)[rows]), return_inverse=True)[1]
    return np.arange(len(rows))


def check_weights(weights: np.ndarray, *, who: str, what: str) -> None:
    """Checks that weights of rows are finite numbers of at least 0.

    Args:
        weights: `[row]`.
        who: Asks; messages begin with it.
        what: How the weights are called.

    Raises:
        DataError: They are not; the rows are told.
    """
    if weights.dtype.kind not in "buif":
        raise DataError(
            f"{who}: {what} must be numbers, one a row; got dtype {weights.dtype}. Give how much rows count."
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise DataError(
            f"{who}: {what} must be finite numbers of at least 0; got {float(weights[wrong[0]]):g} first, in "
            f"{tell_rows(wrong)}. Correct them: 0 leaves a row out of learning."
        )


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


_ONE_AXIS = ("groups", "times", "ids", "split", "weights", "subgroups")
_BY_ROW = ("target", *_ONE_AXIS)
