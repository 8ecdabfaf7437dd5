"""A modality of any kind as plain numbers: what imputation is given, and what it is measured in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.features import features_named
from profuse.kinds import kind_named

__all__ = ["SAME", "Block", "Features", "Inputs", "blocks_of", "inputs_of"]

SAME = 1e-14
"""Numbers with a smaller standard deviation than this part of the largest are one number, but for rounding."""
_REACH = 5.0  # standard deviations at which a number is held
_MOST_CATEGORIES = 50
_MARKED = 0.05  # share of the rows in which a feature is missing, from which on that itself is an input


@dataclass(frozen=True, eq=False)
class Features:
    """One modality of some rows.

    Attributes:
        values: `[row, feature]`, 0 (the mean) where it is not known.
        known: Bool `[row, feature]`.
        marked: Numbers of the features of which it is an input itself whether they are known.
    """

    values: np.ndarray
    known: np.ndarray
    marked: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Bool `[row]`: whether anything of it is known."""
        return np.asarray(self.known.any(1))

    def rows(self, index: np.ndarray) -> Features:
        """Returns the rows `index`."""
        return Features(self.values[index], self.known[index], self.marked)


class Block:
    """One modality -> its hand-made features, of mean 0 and variance 1 where it was fitted.

    Categories are one column each (the most frequent 50).
    """

    def __init__(self, data: ModalityData) -> None:
        """Learns from all rows of `data`."""
        self.feature_set = kind_named(data.kind).feature_sets[0]
        self._source = features_named(self.feature_set)()
        self._source.fit(data)
        raw = np.asarray(self._source.transform(data), dtype=np.float64)
        self._codes = np.flatnonzero(self._source.categories)
        self._kept = [_frequent(raw[:, j]) for j in self._codes]
        x = self._spread_out(raw)
        known = x[data.present]
        with np.errstate(invalid="ignore"):
            count = np.maximum(1, (~np.isnan(known)).sum(0))
            self._mean = np.nansum(known, axis=0) / count
            std = np.sqrt(np.nansum((known - self._mean) ** 2, axis=0) / count)
        self._std = np.where(std > SAME * np.abs(np.nan_to_num(known)).max(0, initial=0.0), std, np.inf)
        self._marked = np.flatnonzero(np.isnan(known).mean(0) >= _MARKED) if len(known) else np.zeros(0, dtype=int)

    def __call__(self, data: ModalityData) -> Features:
        """Returns the features of all rows."""
        x = self._spread_out(np.asarray(self._source.transform(data), dtype=np.float64))
        known = ~np.isnan(x) & data.present[:, None]
        values = np.clip((x - self._mean) / self._std, -_REACH, _REACH)
        return Features(np.where(known, values, 0.0), known, self._marked)

    def _spread_out(self, raw: np.ndarray) -> np.ndarray:
        """Returns numbers first, then a column of 0 and 1 for each category that is kept."""
        parts = [np.delete(raw, self._codes, axis=1)]
        for j, kept in zip(self._codes, self._kept, strict=True):
            codes = raw[:, j, None]
            parts.append(np.where(np.isnan(codes), np.nan, codes == kept[None]))
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What rows hold beside the modality that is filled, by modality."""

    features: Mapping[str, Features]

    def __len__(self) -> int:
        return len(next(iter(self.features.values())).values)

    @property
    def anything(self) -> np.ndarray:
        """Bool `[row]`: whether any modality is there."""
        return np.asarray(np.stack([f.present for f in self.features.values()]).any(0))

    def rows(self, index: np.ndarray) -> Inputs:
        """Returns the rows `index`."""
        return Inputs({name: f.rows(index) for name, f in self.features.items()})

    def matrix(self) -> np.ndarray:
        """Returns all features side by side; then whether each modality is there, and each feature that is marked."""
        parts = [f.values for f in self.features.values()]
        parts += [f.present[:, None] for f in self.features.values()]
        parts += [f.known[:, f.marked] for f in self.features.values()]
        return np.concatenate(parts, axis=1, dtype=np.float64)


def blocks_of(dataset: Dataset, names: list[str]) -> dict[str, Block]:
    """Returns a block for each of the modalities `names` that `dataset` has in any row."""
    return {n: Block(dataset.modalities[n]) for n in names if dataset.modalities[n].present.any()}


def inputs_of(dataset: Dataset, blocks: Mapping[str, Block]) -> Inputs:
    """Returns what the rows of `dataset` hold beside the modality that is filled."""
    return Inputs({name: block(dataset.modalities[name]) for name, block in blocks.items()})


def _frequent(codes: np.ndarray) -> np.ndarray:
    values, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    kept: np.ndarray = np.sort(values[np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES]])
    return kept
