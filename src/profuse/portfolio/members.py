"""The models that may take part, and the fit of one of them to the rows of a fold."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from profuse.classical import classical, fittable
from profuse.data.features import features_named
from profuse.metrics import Metric
from profuse.models.options import ModelOptions
from profuse.portfolio.options import Preset
from profuse.predictor import Part, Predictor
from profuse.predictor.classical import features_of
from profuse.training.alternatives import short_names
from profuse.training.callbacks import Callers
from profuse.training.classical_fits import best_fit, features_tried
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions
from profuse.training.scratch import shared_features

__all__ = ["Member", "loaded", "members_of"]


@lru_cache(maxsize=1)
def loaded(path: Path) -> Prepared:
    """Returns the prepared rows of a fold, which a process of this run has left there."""
    prepared: Prepared = pickle.loads(path.read_bytes())
    return prepared


@dataclass(frozen=True)
class Member:
    """A model.

    Attributes:
        name: Unique.
        modalities: The ones it uses.
        classical: The name of a classical model; "" for a network.
        model: How a network is made.
    """

    name: str
    modalities: tuple[str, ...]
    classical: str = ""
    model: ModelOptions | None = None

    @property
    def is_trivial(self) -> bool:
        """Whether it answers the same for every row."""
        return self.model is None and classical(self.classical).role == "trivial"

    @property
    def chooses_features(self) -> bool:
        """Whether it is tried with each set of features of its one modality."""
        return self.model is None and len(self.modalities) == 1 and classical(self.classical).role == "single"

    def fit(
        self,
        fold: Path,
        sets: Mapping[str, tuple[str, int]],
        train: TrainOptions,
        metric: Metric,
        callbacks: Callers = (),
        every: int = 1,
    ) -> tuple[Predictor, Mapping[str, Part], Mapping[str, tuple[str, int]]]:
        """Fits it to a fold; returns it, the rows held out as it takes them, and the features that it has chosen.

        Args:
            fold: File of the prepared rows; test rows of their split are those held out.
            sets: By modality, the features that are taken, where some were chosen, and how many they are.
            train: Of networks; the seed is of all that is drawn.
            metric: By which classical models choose, and a network where `fit_model` says so.
            callbacks: Of a network's training.
            every: A classical model learns from every so manieth training row, to see how long it takes.
        """
        prepared = loaded(fold)
        if self.model is not None:
            prepared = prepared.reading(self.model.encoders)
            held = torch.as_tensor(prepared.split.test)
            network = fit_model(
                prepared, self.model, train, modalities=self.modalities, callbacks=callbacks, metric=metric
            )
            return network, {name: raw.rows(held) for name, raw in prepared.inputs.items()}, {}
        made = partial(shared_features, prepared, fold)  # of all rows, however few it learns from
        if every > 1:  # of rows that count, as those of weight 0 take no time
            rows, weights = prepared.split.train, prepared.dataset.weights
            counted = rows if weights is None else rows[weights[rows] > 0]
            prepared = replace(prepared, split=replace(prepared.split, train=counted[::every]))
        best = best_fit(
            self.classical, self.modalities, prepared, train, trials=1, seed=train.seed, metric=metric,
            made=made, sets=self._asked(sets), brief=True,
        )  # fmt: skip
        predictor = best.predictor(self.classical, self.modalities, prepared, threads=train.threads)
        inputs = features_of(best.x, prepared.inputs, prepared.split.test)
        chosen = {m: (name, best.x[m].shape[1]) for m, name in best.features.names.items()}
        return predictor, inputs, chosen if self.chooses_features else {}

    def make_features(self, fold: Path, sets: Mapping[str, tuple[str, int]]) -> None:
        """Makes the features that a classical model reads of a fold, for its fits and those of others."""
        prepared = loaded(fold)
        for modality, name in features_tried(self.classical, self.modalities, prepared, self._asked(sets)):
            shared_features(prepared, fold, modality, name)

    def _asked(self, sets: Mapping[str, tuple[str, int]]) -> dict[str, str] | None:
        """Returns the features that a classical model is to read, by modality; None where it chooses them."""
        if self.chooses_features:
            return None
        widest = classical(self.classical).widest or math.inf
        return {
            m: name
            for m, (name, width) in sets.items()
            if m in self.modalities and not features_named(name).sparse and width <= widest
        }


def members_of(
    modalities: Sequence[str],
    preset: Preset,
    base: ModelOptions,
    able: Sequence[str] | None = None,
    others: Mapping[str, Sequence[str]] | None = None,
) -> list[Member]:
    """Returns the models that may take part, in the order of their fits: quick ones first, then the network.

    Args:
        modalities: Of the data.
        preset: See `PortfolioOptions`.
        base: Options that all networks share.
        able: Classical models that can learn the task; all if None.
        others: Encoders by modality, besides those of `base`, of which a network takes part; not in a quick one.
    """
    names = tuple(sorted(modalities))
    roles: Mapping[str, Any] = {name: classical(name).role for name in (fittable() if able is None else able)}
    singles = [name for name, role in roles.items() if role == "single"]
    made = [Member(name, (), name) for name, role in roles.items() if role == "trivial"]
    made += [Member(f"{m} {classical(s).row or s}", (m,), s) for s in singles for m in names]
    if len(names) > 1:
        made += [Member(f"all {classical(s).row or s}", names, s) for s in singles]
    every = [name for name, role in roles.items() if role == "classical"]
    beside = {classical(name).stands_for for name in every}
    quick = [name for name in every if name not in beside]
    made += [Member(name, names, name) for name in quick if not classical(name).slow]
    if preset != "quick":
        made.append(Member("network", names, model=base))
        short = short_names(e for several in (others or {}).values() for e in several)
        made += [_encoded(names, base, m, e, short[e]) for m, several in (others or {}).items() for e in several]
    made += [Member(name, names, name) for name in quick if classical(name).slow]
    if preset == "best" and len(names) > 1:
        made += [_network(names, base, fusion) for fusion in ("concat", "mean_logits")]
        made += [_alone(m, base) for m in names]
    return made


def _network(names: tuple[str, ...], base: ModelOptions, fusion: str) -> Member:
    changes: dict[str, Any] = {"fusion": fusion, "level": None, "operator_options": {}}
    return Member(f"network ({fusion})", names, model=base.model_copy(update=changes))


def _encoded(names: tuple[str, ...], base: ModelOptions, modality: str, encoder: str, short: str) -> Member:
    """Returns the network with another encoder of a modality."""
    options = {name: told for name, told in base.encoder_options.items() if name != modality}
    changes: dict[str, Any] = {"encoders": {**base.encoders, modality: encoder}, "encoder_options": options}
    return Member(f"network ({modality}: {short})", names, model=base.model_copy(update=changes))


def _alone(name: str, base: ModelOptions) -> Member:
    """Returns a network of one modality."""
    changes: dict[str, Any] = {
        "fusion": None, "level": None, "rounds": 1, "operator_options": {}, "into": None,
        "encoders": {k: v for k, v in base.encoders.items() if k == name},
        "encoder_options": {k: v for k, v in base.encoder_options.items() if k == name},
    }  # fmt: skip
    return Member(f"network ({name} only)", (name,), model=base.model_copy(update=changes))
