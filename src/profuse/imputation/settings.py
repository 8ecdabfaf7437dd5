"""What `Imputer` is told, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from profuse._lookup import resolve
from profuse._options import faults_of, in_one, misread
from profuse.data.new_rows import as_table
from profuse.data.table.named_target import named_once
from profuse.data.table.schema_file import as_schema
from profuse.errors import ConfigError, DataError
from profuse.imputation.options import METHODS, ImputeOptions, ImputeTraining
from profuse.schema import Schema
from profuse.training.options import TrainOptions

__all__ = ["TRAINING", "schema_asked", "settings_of", "table_of"]

_WHO = "Imputer"
TRAINING = ("epochs", "device", "precision", "threads")
"""Parameters of `Imputer` that are options of training."""


def settings_of(values: Mapping[str, Any]) -> tuple[ImputeOptions, TrainOptions]:
    """Returns an imputer's parameters, and how networks are trained.

    Raises:
        ConfigError: Some are of a wrong type or out of range: all are told together.
        UnknownNameError: There is no such method.
    """
    given = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
    options = {name: given[name] for name in ImputeOptions.model_fields}
    training = {name: given[name] for name in TRAINING}
    faults = [*faults_of(ImputeOptions, options), *faults_of(ImputeTraining, training)]
    if not faults:
        read = {k: v for k, v in options.items() if k not in ("target", "ignore")}
        faults = [
            *misread(ImputeOptions.model_validate(options), read),
            *misread(ImputeTraining.model_validate(training), training),
        ]
    if faults:
        raise ConfigError(in_one(_WHO, faults))
    made = ImputeOptions.model_validate(options)
    resolve(made.method, dict.fromkeys(METHODS), where=_WHO, what="method")
    return made, ImputeTraining(**training, seed=made.random_state, refit=False)


def schema_asked(schema: Any, options: ImputeOptions) -> Schema:
    """Returns what is known of the table: the schema with the target and the columns that are left out.

    Raises:
        ConfigError: The schema is none, or names another target.
    """
    asked = named_once(as_schema(schema), options.target or None)
    return asked.model_copy(update={"ignore": tuple(dict.fromkeys([*asked.ignore, *options.ignore]))})


def table_of(X: Any) -> pd.DataFrame:
    """Returns X as a table.

    Raises:
        DataError: It is none.
    """
    if not isinstance(X, pd.DataFrame) and not (isinstance(X, np.ndarray) and X.ndim == 2):
        raise DataError(
            f"{_WHO}: X must be a DataFrame or a 2-D array; got {type(X).__name__}{getattr(X, 'shape', '')}. "
            "Read a file with profuse.data.table.read.read_table."
        )
    return as_table(X, _WHO)
