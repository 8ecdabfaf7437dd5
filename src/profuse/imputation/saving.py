"""A fitted imputer -> facts and weights of a folder, and back. Of classes, only those of a list are made."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from profuse._folder import Format
from profuse._weights import with_weights
from profuse.data.features import Features as HandMade
from profuse.data.features import features_named
from profuse.data.table.cells import object_array
from profuse.errors import CheckpointError
from profuse.imputation.blocks import Block, Features, Inputs
from profuse.imputation.choice import Choice
from profuse.imputation.coding import Coding, Part, Target
from profuse.imputation.methods import MeanMethod, NearestMethod
from profuse.imputation.quality import Quality
from profuse.imputation.regressions import NETWORKS, NetworkMethod, RidgeMethod
from profuse.imputation.residuals import Residuals
from profuse.imputation.ridge import Ridge
from profuse.imputation.settings import TRAINING
from profuse.imputation.words import Words
from profuse.layers.generators import Generator

__all__ = ["IMPUTER", "facts_of", "learned_of"]

IMPUTER = Format("imputer", 1, "Imputer.load", "'profuse impute --out-model' or Imputer.save")
_PARTS: dict[str, type] = {
    part.__name__: part
    for part in (
        Block, Coding, Features, Inputs, MeanMethod, NearestMethod, NetworkMethod, Part, Residuals, Ridge, RidgeMethod,
        Target, Words,
    )
}  # fmt: skip
_LEARNED = ("_coding", "_blocks", "_method", "_of_tables", "_kinds", "_rates")
_TOLD = ("method_", "n_learned_", "notes_")
_WHAT, _OF = "what", "of"


class _Writer:
    """Parts -> JSON values and arrays; a part that is used twice is written once."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self._numbers: dict[int, int] = {}
        self._kept: list[object] = []  # so that no number is given twice
        self._weights = weights

    def write(self, value: Any, owner: Any = None) -> Any:
        if value is None or isinstance(value, bool | int | float | str | np.ndarray):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, list | tuple):
            return {_WHAT: type(value).__name__, _OF: [self.write(one) for one in value]}
        if isinstance(value, Mapping):
            return {_WHAT: "dict", _OF: [[name, self.write(one)] for name, one in value.items()]}
        if id(value) in self._numbers:
            return {_WHAT: "again", _OF: self._numbers[id(value)]}
        self._numbers[id(value)] = len(self._kept)
        self._kept.append(value)
        if isinstance(value, HandMade):
            return {_WHAT: "features", _OF: [owner.feature_set, value.state()]}
        if isinstance(value, Generator):
            number = self._numbers[id(value)]
            self._weights.update({f"{number}.{name}": tensor for name, tensor in value.state_dict().items()})
            return {_WHAT: "generator", _OF: number}
        return {_WHAT: type(value).__name__, _OF: {name: self.write(one, value) for name, one in vars(value).items()}}


class _Reader:
    """The way back."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._made: list[object] = []
        self._weights = weights

    def read(self, state: Any) -> Any:
        if not isinstance(state, dict):
            return state
        what, of = state[_WHAT], state[_OF]
        if what in ("list", "tuple"):
            return (list if what == "list" else tuple)(self.read(one) for one in of)
        if what == "dict":
            return {name: self.read(one) for name, one in of}
        if what == "again":
            return self._made[of]
        place = len(self._made)
        if what == "features":
            self._made.append(features_named(of[0]).from_state(of[1]))
        else:
            part: object = object.__new__(_PARTS[what])
            self._made.append(part)
            for name, one in of.items():
                vars(part)[name] = self._generator(of, int(one[_OF])) if name == "generator" else self.read(one)
        return self._made[place]

    def _generator(self, of: Mapping[str, Any], number: int) -> Generator:
        """Returns the generator of a network's method, whose other attributes say its name and sizes."""
        self._made.append(None)
        start = f"{number}."
        weights = {n.removeprefix(start): t for n, t in self._weights.items() if n.startswith(start)}
        sizes = [int(size) for size in of["sizes"][_OF]]
        made = with_weights(lambda: NETWORKS[of["network"]](*sizes).double(), weights)
        self._made[-1] = made
        return made


def _to_state(value: Any) -> tuple[Any, dict[str, Tensor]]:
    """Returns what is learned as JSON values and arrays, and the weights of networks."""
    weights: dict[str, Tensor] = {}
    return _Writer(weights).write(value), weights


def _from_state(state: Any, weights: Mapping[str, Tensor]) -> Any:
    """Returns what `_to_state` was given."""
    with torch.random.fork_rng():
        return _Reader(weights).read(state)


def facts_of(imputer: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns what a fitted imputer has learned: JSON values, arrays among them, and weights.

    Raises:
        CheckpointError: A cell that is copied is of a type that cannot be saved.
    """
    has = vars(imputer)
    learned, weights = _to_state({name: has[name] for name in _LEARNED})
    copied = [part.column for part in has["_coding"].parts if part.kind in ("cell", "category")]
    choice = has["choice_"]
    facts = {
        "parameters": {
            **has["_options"].model_dump(exclude={"target", "ignore", "base_dir"}),  # these stand in the schema
            **{name: getattr(has["_training"], name) for name in TRAINING},
        },
        "schema": has["schema_"].model_dump(mode="json"),
        "choice": None if choice is None else vars(choice),
        "quality": [vars(quality) for quality in has["quality_"]],
        "told": {name: list(has[name]) if name == "notes_" else has[name] for name in _TOLD},
        "learned": learned,
        "cells": {name: [_cell(name, one) for one in has["_donors"][name].to_numpy(dtype=object)] for name in copied},
    }
    return facts, weights


def learned_of(facts: dict[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the attributes of the imputer whose `facts_of` these are."""
    learned = _from_state(facts["learned"], weights)
    cells = {name: object_array([_cell_of(one) for one in cells]) for name, cells in facts["cells"].items()}
    choice = facts["choice"]
    return {
        **{name: learned[name] for name in _LEARNED},
        **{name: facts["told"][name] for name in _TOLD},
        "notes_": tuple(facts["told"]["notes_"]),
        "choice_": None if choice is None else Choice(**choice),
        "quality_": tuple(Quality(**quality) for quality in facts["quality"]),
        "_donors": pd.DataFrame(cells),
    }


def _cell(column: str, value: Any) -> Any:
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        value = value.item()
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {_WHAT: "array", _OF: value}
    if isinstance(value, list | tuple | np.ndarray):
        return {_WHAT: "list", _OF: [_cell(column, one) for one in value]}
    if isinstance(value, pd.Timestamp):
        zone = None if value.tz is None else str(value.tz)
        return {_WHAT: "time", _OF: [value.tz_localize(None).isoformat(), zone, value.unit]}
    if isinstance(value, datetime.date):
        return {_WHAT: "date", _OF: value.isoformat()}
    raise CheckpointError(
        f"Imputer.save: cells of {column!r} must be text, numbers, times, lists or arrays; got a "
        f"{type(value).__name__}. Fill and save the table instead."
    )


def _cell_of(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    what, of = state[_WHAT], state[_OF]
    if what == "array":
        return np.asarray(of)
    if what == "list":
        return [_cell_of(one) for one in of]
    if what == "date":
        return datetime.date.fromisoformat(of)
    words, zone, unit = of
    time = pd.Timestamp(words).as_unit(unit)
    return time if zone is None else time.tz_localize(zone, ambiguous=False)
