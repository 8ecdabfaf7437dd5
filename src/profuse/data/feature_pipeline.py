"""Hand-made features of several modalities: fitted on training rows, made of any rows, saved without pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from profuse._cores import limit_threads
from profuse.data.dataset import Dataset
from profuse.data.features import Features, Matrix, features_named
from profuse.data.kept import unlike
from profuse.data.kind_part import fit_part
from profuse.kinds import kind_named

__all__ = ["FeaturePipeline"]


class FeaturePipeline:
    """Features of each modality that a classical model takes; the inputs of networks are those of `Pipeline`.

    All is computed in one thread: last digits do not depend on how many cores there are.

    Args:
        parts: Fitted, by modality.
        names: The name of each one's class in the table of features.
    """

    def __init__(self, parts: Mapping[str, Features], names: Mapping[str, str]) -> None:
        self.parts = dict(parts)
        self.names = dict(names)

    @classmethod
    def fit(cls, dataset: Dataset, rows: np.ndarray, names: Mapping[str, str | None]) -> FeaturePipeline:
        """Learns from the rows `rows` of `dataset`.

        Args:
            dataset: All rows.
            rows: Training rows.
            names: By modality, the name of its features; None: the first of its kind.

        Raises:
            DataError: A modality is absent in all of these rows, or its features take another kind.
        """
        fitted, chosen = {}, {}
        for name, asked in names.items():
            data = dataset.modalities[name].rows(rows)
            chosen[name] = asked or kind_named(data.kind).feature_sets[0]
            fitted[name] = features_named(chosen[name])()
            fit_part(fitted[name], data, where="FeaturePipeline", what="features", modality=name, name=chosen[name])
        return cls(fitted, chosen)

    def transform(self, dataset: Dataset) -> dict[str, Matrix]:
        """Returns `[row, feature]` of each modality; see `Matrix`."""
        return {name: self.transform_one(dataset, name) for name in self.parts}

    def transform_one(self, dataset: Dataset, name: str) -> Matrix:
        """Returns the same of the modality `name` alone."""
        data = dataset.modalities[name]
        with limit_threads(1):
            made = self.parts[name].transform(data)
        if isinstance(made, np.ndarray):
            made = np.asarray(made, dtype=np.float64)
            made[~data.present] = np.nan
        return made

    @property
    def categories(self) -> dict[str, tuple[bool, ...]]:
        """For each feature of a modality, whether it holds codes of a category; empty where none does."""
        return {name: part.categories for name, part in self.parts.items()}

    def state(self, put: Callable[[Features], int] | None = None) -> dict[str, Any]:
        """Returns what was learned: JSON values and NumPy arrays, at any depth of dicts.

        Args:
            put: Keeps a part elsewhere and returns its number; None: all is in the state.
        """
        return {
            n: {"name": self.names[n], "state": part.state() if put is None else put(part)}
            for n, part in self.parts.items()
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], take: Callable[[Any, Callable[[Any], Features]], Features] | None = None
    ) -> FeaturePipeline:
        """Returns features equal to those whose `state` this is.

        Args:
            state: Of features.
            take: Returns the part that was kept elsewhere, or makes it of its state.

        Raises:
            ValueError: They would not keep that state: a part was changed, or is of another version.
        """
        parts = {}
        for n, part in state.items():
            make = partial(_made, part["name"], f"features.{n}.state")
            parts[n] = make(part["state"]) if take is None else take(part["state"], make)
            if type(parts[n]) is not features_named(part["name"]):
                raise ValueError(f"features of {n!r} must be {part['name']!r}")
        return cls(parts, {n: part["name"] for n, part in state.items()})


def _made(name: str, where: str, state: Any) -> Features:
    made = features_named(name).from_state(state)
    if (odd := unlike(state, made.state(), where)) is not None:
        raise ValueError(f"{odd} is not what features keep")
    return made
