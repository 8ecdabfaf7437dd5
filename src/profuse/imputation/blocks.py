"""A modality of any kind as plain numbers: what imputation is told, and what it is measured in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.preprocess import DEFAULTS, preprocessor

__all__ = ["SAME", "Block", "Told", "blocks_of", "told_of"]

SAME = 1e-14
"""Numbers with a smaller standard deviation than this part of the largest are one number, but for rounding."""
_REACH = 5.0  # standard deviations at which a number is held
_MOST_CATEGORIES = 50


class Block:
    """One modality -> `[row, feature]`: its preprocessor's description, of mean 0 and variance 1 where it was fitted.

    Categories are one column each (the most frequent 50); what is missing is 0, the mean.
    """

    def __init__(self, data: ModalityData) -> None:
        """Learns from all rows of `data`."""
        self._preprocessor = preprocessor(data.preprocess or DEFAULTS[data.kind])()
        self._preprocessor.fit(data)
        raw = self._preprocessor.features(data)
        self._codes = np.flatnonzero(self._preprocessor.category_features)
        self._kept = [_frequent(raw[:, j]) for j in self._codes]
        x = self._spread_out(raw)
        known = x[data.present]
        with np.errstate(invalid="ignore"):
            count = np.maximum(1, (~np.isnan(known)).sum(0))
            self._mean = np.nansum(known, axis=0) / count
            std = np.sqrt(np.nansum((known - self._mean) ** 2, axis=0) / count)
        self._std = np.where(std > SAME * np.abs(np.nan_to_num(known)).max(0, initial=0.0), std, np.inf)

    def __call__(self, data: ModalityData) -> np.ndarray:
        """Returns `[row, feature]`, 0 in absent rows."""
        z = (self._spread_out(self._preprocessor.features(data)) - self._mean) / self._std
        held: np.ndarray = np.clip(np.nan_to_num(z, nan=0.0), -_REACH, _REACH)
        held[~data.present] = 0.0
        return held

    def _spread_out(self, raw: np.ndarray) -> np.ndarray:
        """Returns numbers first, then a column of 0 and 1 for each category that is kept."""
        parts = [np.delete(raw, self._codes, axis=1)]
        parts += [
            (raw[:, j, None] == kept[None]).astype(np.float64) for j, kept in zip(self._codes, self._kept, strict=True)
        ]
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, eq=False)
class Told:
    """What is known of rows beside the modality that is filled.

    Attributes:
        blocks: `[row, feature]` by modality.
        present: Bool `[row]` by modality.
    """

    blocks: Mapping[str, np.ndarray]
    present: Mapping[str, np.ndarray]

    @property
    def anything(self) -> np.ndarray:
        """Bool `[row]`: whether any of them is there."""
        return np.asarray(np.stack([*self.present.values()]).any(0))

    def rows(self, index: np.ndarray) -> Told:
        """Returns the rows `index`."""
        return Told({k: v[index] for k, v in self.blocks.items()}, {k: v[index] for k, v in self.present.items()})

    def matrix(self) -> np.ndarray:
        """Returns all blocks side by side, and a column for each modality that tells whether it is there; float32."""
        parts: list[Any] = [*self.blocks.values(), *(p[:, None] for p in self.present.values())]
        return np.concatenate(parts, axis=1).astype(np.float32)


def blocks_of(dataset: Dataset, names: list[str]) -> dict[str, Block]:
    """Returns a block for each of the modalities `names` that `dataset` has in any row."""
    return {n: Block(dataset.modalities[n]) for n in names if dataset.modalities[n].present.any()}


def told_of(dataset: Dataset, blocks: Mapping[str, Block]) -> Told:
    """Returns what the rows of `dataset` hold beside the modality that is filled."""
    given = {name: dataset.modalities[name] for name in blocks}
    return Told({n: blocks[n](data) for n, data in given.items()}, {n: data.present for n, data in given.items()})


def _frequent(codes: np.ndarray) -> np.ndarray:
    values, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    kept: np.ndarray = np.sort(values[np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]])
    return kept
