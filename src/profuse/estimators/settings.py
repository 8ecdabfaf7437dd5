"""An estimator's parameters, checked: all faults are told together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from profuse._lookup import resolve
from profuse._options import faults_of, in_one, misread
from profuse.data.table.schema_file import as_schema
from profuse.encoders import Encoder
from profuse.encoders.own import OwnEncoder
from profuse.errors import ConfigError
from profuse.estimators.options import FitOptions
from profuse.fusion import FUSIONS, Fusion
from profuse.models.options import ModelOptions
from profuse.schema import Schema
from profuse.training.fitting import Prepared
from profuse.training.options import TrainOptions

__all__ = ["Settings", "around", "settings_of"]


@dataclass(frozen=True, eq=False)
class Settings:
    """An estimator's parameters, checked.

    Attributes:
        model: How the model is made.
        train: How it is trained, seed included.
        operator: The user's own fusion operator, None where it is one of ours.
        modules: The user's own encoders, by modality.
        schema: What is known of a table.
    """

    model: ModelOptions
    train: TrainOptions
    operator: Any
    modules: Mapping[str, nn.Module]
    schema: Schema | None


def settings_of(values: Mapping[str, Any], *, who: str) -> Settings:
    """Checks an estimator's parameters.

    Raises:
        ConfigError: Values out of range, unknown names: all are told together; or a level that does not fit.
    """
    name, operator = _named(values["fusion"])
    encoders = values["encoders"] or {}
    modules: dict[str, nn.Module] = {}
    if isinstance(encoders, Mapping):
        modules = {k: v for k, v in encoders.items() if isinstance(v, nn.Module)}
        encoders = {k: v for k, v in encoders.items() if k not in modules}
    given = {**values, "fusion": name, "encoders": encoders}
    given |= {option: values[option] or {} for option in ("encoder_options", "operator_options", "balance_options")}
    faults: list[str] = []
    for kind in (ModelOptions, TrainOptions, FitOptions):
        asked = {k: given[k] for k in kind.model_fields if k in given}
        faults += faults_of(kind, asked) or misread(kind.model_validate(asked), asked)
    if faults:
        raise ConfigError(in_one(who, faults))
    model = ModelOptions.model_validate({k: given[k] for k in ModelOptions.model_fields})
    train = {k: given[k] for k in TrainOptions.model_fields if k in given}
    if operator is None:
        model.resolved_level()
    return Settings(
        model,
        TrainOptions.model_validate({**train, "seed": _seed(values["random_state"])}),
        operator,
        modules,
        None if values["schema"] is None else as_schema(values["schema"]),
    )


def around(modules: Mapping[str, nn.Module], prepared: Prepared, width: int, *, seed: int) -> dict[str, Encoder]:
    """Makes an encoder of each module of the user's."""
    made = {}
    for name, module in modules.items():
        resolve(name, prepared.inputs, where="encoders", what="modality")
        if isinstance(module, Encoder):
            made[name] = module
            continue
        example = prepared.inputs[name].rows(torch.as_tensor(prepared.split.train[:2]))
        spec = prepared.pipeline.specs[name]
        with torch.random.fork_rng():  # its own layers start from the seed, whatever ran before
            torch.manual_seed(seed)
            made[name] = OwnEncoder.around(module, spec, width, example=example, name=name)
    return made


def _named(fusion: Any) -> tuple[Any, Any]:
    """Returns the operator's name, and the object if it has none."""
    if isinstance(fusion, type) and issubclass(fusion, Fusion):
        name = FUSIONS.name_of(fusion)
        if name is not None:
            return name, None
    if isinstance(fusion, Fusion) or callable(fusion):
        return ModelOptions.model_fields["fusion"].default, fusion
    return fusion, None


def _seed(random_state: Any) -> int:
    if random_state is None:
        return int(np.random.default_rng().integers(2**31))
    return int(random_state.randint(2**31 - 1) if isinstance(random_state, np.random.RandomState) else random_state)
