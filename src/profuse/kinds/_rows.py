"""All rows of one modality."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from profuse.errors import DataError
from profuse.kinds._names import KINDS, must_be
from profuse.kinds._spec import LevelRange

__all__ = ["ModalityData", "axis_sizes", "content", "object_array"]


def object_array(values: Sequence[Any]) -> np.ndarray:
    """Returns `[row]` of objects, whatever their shapes."""
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def content(value: str | np.ndarray) -> str:
    """Returns a text, or what stands for the content of an array."""
    if isinstance(value, str):
        return value
    return f"{value.shape} {hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).hexdigest()}"


@dataclass(frozen=True, eq=False)
class ModalityData:
    """All rows of one modality, not yet preprocessed.

    Attributes:
        kind: The name of a kind: a key of `profuse.kinds.KINDS`.
        values: By kind: table, a DataFrame with a fresh RangeIndex; vector, float `[row, channel]` (NaN = a
            missing number); text, document, graph: an object array of str; image, audio, series: an object array, or
            an array with rows first, of `[height, width, channel]` (uint8, or float in 0..1), `[sample]` (float in
            -1..1), `[time, channel]` (NaN = a missing number); points, volume, video: object
            arrays of `[point, channel]`, `[depth, height, width, channel]`, `[frame, height, width, channel]`. What
            stands in an absent row is not read.
        present: Bool `[row]`: False where the modality is missing.
        rate: Of kinds that have a rate (audio): samples a second.
        range: Of kinds that have a range (image): the levels that became 0 (black) and 1 (white) in pictures of
            more than 8 bits, or those of each channel.
        preprocess: Name of a preprocessor, or None for the kind's default.
        encoder: Name of an encoder, or None for the kind's default.
        max_length: The most positions of a row (words, steps, frames, points, nodes) that a network reads, or None for
            the preprocessor's own bound.
    """

    kind: str
    values: Any
    present: np.ndarray
    rate: int | None = None
    range: LevelRange | None = None
    preprocess: str | None = None
    encoder: str | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"ModalityData: kind {must_be(self.kind)}")
        if self.present.dtype != bool or self.present.shape != (len(self.values),):
            raise DataError(
                "ModalityData: present must be one bool for each row; got "
                f"present={self.present.dtype}{self.present.shape} for {len(self.values)} rows."
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def frame(self) -> pd.DataFrame | None:
        """The values of a kind whose rows are cells of columns; None of all others."""
        return self.values if isinstance(self.values, pd.DataFrame) else None

    def rows(self, index: np.ndarray) -> ModalityData:
        """Returns the rows `index` (integers)."""
        values = self.values[index] if self.frame is None else self.frame.iloc[index].reset_index(drop=True)
        return replace(self, values=values, present=self.present[index])


def axis_sizes(data: ModalityData, rows: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns the lengths of the first axes of rows that are arrays, by the axes' names."""
    shapes = [np.shape(data.values[i]) for i in rows]
    return {name: np.array([s[k] for s in shapes], dtype=np.int64) for k, name in enumerate(names)}
