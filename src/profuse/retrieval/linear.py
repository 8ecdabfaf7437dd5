"""Linear CCA and ridge: maps of classical features into one space for all modalities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.features import FEATURES, Features, features_named
from profuse.data.features.lsa import LsaFeatures
from profuse.errors import DataError
from profuse.kinds import kind_named
from profuse.layers.correlation import canonical
from profuse.retrieval.measure import Validation, reciprocal_rank

__all__ = ["LINEAR", "LinearSpace", "fit_linear"]

_N_DIMS = 128
_N_TERMS = 512
"""Components of texts: far more than classical models take, as names are told apart by rare words."""
_RIDGES, _POWERS = (0.01, 0.1, 1.0), (1.0, 4.0)
_STRENGTHS = (0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True, eq=False)
class View:
    """Features of one modality -> places: `((x - mean) / scale) @ map`, a missing number at the mean.

    Attributes:
        source: Gives the features.
        mean, scale: `[feature]`.
        map: `[feature, dim]`, None where the source gives places less an offset, `mean`, at once.
    """

    source: Features
    mean: np.ndarray
    scale: np.ndarray
    map: np.ndarray | None = None

    def through(self, map: np.ndarray) -> View:
        """Returns the view whose places are this one's standardised features times `map`."""
        if not isinstance(self.source, LsaFeatures):
            return View(self.source, self.mean, self.scale, map)
        axes = map / self.scale[:, None]  # words straight into the space: a few columns instead of hundreds
        return View(self.source.projected(axes), self.mean @ axes, np.ones(map.shape[1]))

    def standard(self, x: np.ndarray) -> np.ndarray:
        """Returns features, standardised."""
        return np.asarray(np.nan_to_num((x - self.mean) / self.scale, nan=0.0))

    def places(self, data: ModalityData) -> np.ndarray:
        """Returns float32 `[row, dim]` of length 1; 0 where the modality is absent."""
        x = np.asarray(self.source.transform(data), dtype=np.float64)
        known = data.present & ~np.isnan(x).all(1)
        z = self.standard(x)
        z = z if self.map is None else z @ self.map
        z[~known] = 0.0
        return _unit(z).astype(np.float32)


def _unit(z: np.ndarray) -> np.ndarray:
    return np.asarray(z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12))


class LinearSpace:
    """A space into which every modality has a linear map.

    Args:
        views: By modality.
    """

    def __init__(self, views: Mapping[str, View]) -> None:
        self.views = dict(views)

    def embed(self, name: str, data: ModalityData) -> np.ndarray:
        """Returns the places of one modality's rows, float32 `[row, dim]` of length 1; 0 where it is absent."""
        return self.views[name].places(data)

    def state(self) -> dict[str, Any]:
        """Returns what was learned: JSON values and arrays."""
        return {
            name: {
                "mean": view.mean,
                "scale": view.scale,
                "map": view.map,
                "features": {"name": FEATURES.name_of(type(view.source)), "state": view.source.state()},
            }
            for name, view in self.views.items()
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Returns the space whose `state` this is."""
        return cls({
            name: View(
                features_named(v["features"]["name"]).from_state(v["features"]["state"]),
                v["mean"], v["scale"], v["map"],
            )
            for name, v in state.items()
        })  # fmt: skip


class _Features:
    """The features of all rows, standardised by those of `rows`."""

    def __init__(self, dataset: Dataset, rows: np.ndarray, raw: dict[str, tuple[Features, np.ndarray]]) -> None:
        self.views: dict[str, View] = {}
        self.known: dict[str, np.ndarray] = {}
        self.x: dict[str, np.ndarray] = {}
        for name, data in dataset.modalities.items():
            words = kind_named(data.kind).is_words
            if words:  # the description knows the words of the rows that are learned from, and no others
                source: Features = LsaFeatures(_N_TERMS)
                source.fit(data.rows(rows[data.present[rows]]))
                x = np.asarray(source.transform(data), dtype=np.float64)
            else:
                if name not in raw:
                    source = features_named(kind_named(data.kind).feature_sets[0])()
                    source.fit(data.rows(rows))
                    raw[name] = source, np.asarray(source.transform(data), dtype=np.float64)
                source, x = raw[name]
            self.known[name] = data.present & ~np.isnan(x).all(1)
            self.views[name] = _scaled(source, x[rows[self.known[name][rows]]], as_one=words)
            self.x[name] = self.views[name].standard(x)

    def space(self, maps: Mapping[str, np.ndarray]) -> LinearSpace:
        return LinearSpace({name: self.views[name].through(m) for name, m in maps.items()})

    def places(self, maps: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: _unit(self.x[name][rows] @ m) for name, m in maps.items()}


def _scaled(source: Features, x: np.ndarray, *, as_one: bool) -> View:
    """Scales each feature by its deviation, or, as components that keep their sizes, all by one."""
    known = np.isfinite(x)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, x, 0).sum(0) / count
    scale = np.sqrt((np.where(known, x - mean, 0) ** 2).sum(0) / count)
    scale = np.full_like(scale, np.sqrt((scale**2).mean())) if as_one else scale
    return View(source, mean, np.where(scale > 0, scale, 1.0))


def fit_linear(
    methods: Sequence[str], dataset: Dataset, codes: Mapping[str, np.ndarray],
    learn: np.ndarray, choose: np.ndarray, *, refit: bool,
) -> dict[str, tuple[LinearSpace, Validation]]:  # fmt: skip
    """Fits spaces of all modalities, and scores them on rows that were not learned from.

    - *cca*: canonical correlation of the features (of more than two modalities, all at once); variates are weighted by
      a power of their correlations (Gong et al. 2014). Ridge and power are chosen.
    - *ridge*: the space is the features of one modality, the others are mapped onto them by ridge regression. The
      modality and the strength are chosen.

    Args:
        methods: Of `LINEAR`.
        dataset: All rows; texts are TF-IDF of words and parts of words, others the first features of their kind.
        codes: `content` by modality.
        learn: Rows that are learned from.
        choose: Rows by which settings are chosen: their mean reciprocal rank.
        refit: Whether to fit anew on both with what was chosen.

    Returns:
        By method, the space and its mean reciprocal rank on `choose`.

    Raises:
        DataError: Ridge is the only method, and no modality shares rows with all others.
    """
    raw: dict[str, tuple[Features, np.ndarray]] = {}
    features = _Features(dataset, learn, raw)
    both = np.sort(np.concatenate([learn, choose]))
    again = _Features(dataset, both, raw) if refit else features
    asked = {name: codes[name][choose] for name in features.x}
    known = {name: features.known[name][choose] for name in features.x}
    results: dict[str, tuple[LinearSpace, Validation]] = {}
    for method in methods:
        best, setting, kept = Validation(-1.0, {}), None, {}
        for tried, maps in LINEAR[method](features, learn, None):
            score = reciprocal_rank(features.places(maps, choose), known, asked)
            if score.mean > best.mean:
                best, setting, kept = score, tried, maps
        if setting is None:
            if len(methods) == 1:
                raise DataError(
                    f"Retriever: for method={method!r} one modality must share rows with every other one; got none "
                    "that does. Use another method, or fewer modalities."
                )
            continue
        if refit:
            ((_, kept),) = LINEAR[method](again, both, setting)
        results[method] = (again.space(kept), best)
    return results


Tried = tuple[tuple[Any, ...], dict[str, np.ndarray]]


def _cca(features: _Features, rows: np.ndarray, only: tuple[Any, ...] | None) -> Iterator[Tried]:
    names = list(features.x)
    x = [torch.as_tensor(features.x[name][rows]) for name in names]
    known = torch.as_tensor(np.stack([features.known[name][rows] for name in names], axis=1))
    n_dims = min(_N_DIMS, *(v.shape[1] for v in x))
    for ridge in _RIDGES if only is None else (only[0],):
        made = canonical(x, known, n_dims, ridge=ridge)
        for power in _POWERS if only is None else (only[1],):
            maps = [(m * made.correlations**power).numpy() for m in made.maps]
            yield (ridge, power), dict(zip(names, maps, strict=True))


def _ridge(features: _Features, rows: np.ndarray, only: tuple[Any, ...] | None) -> Iterator[Tried]:
    for anchor in features.x if only is None else (only[0],):
        others = [name for name in features.x if name != anchor]
        shared = {name: rows[(features.known[name] & features.known[anchor])[rows]] for name in others}
        if min(map(len, shared.values())) < 2:
            continue
        own = np.eye(features.x[anchor].shape[1])
        for strength in _STRENGTHS if only is None else (only[1],):
            maps = {n: _regression(features.x[n][shared[n]], features.x[anchor][shared[n]], strength) for n in others}
            yield (anchor, strength), {anchor: own, **maps}


def _regression(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """Returns the ridge regression of `y` on `x`; the strength counts in mean variances of `x`."""
    gram = x.T @ x
    shift = strength * max(float(np.trace(gram)) / len(gram), 1e-12)
    return np.asarray(np.linalg.solve(gram + shift * np.eye(len(gram)), x.T @ y))


LINEAR = {"cca": _cca, "ridge": _ridge}
"""By method, what yields settings and maps by modality: all settings, or the one given."""
