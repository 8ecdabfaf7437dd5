"""What `Imputer` is told, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from profuse._lookup import resolve
from profuse._options import faults_of, in_one, misread
from profuse.data.new_rows import as_table
from profuse.data.table.named_target import named_once
from profuse.data.table.schema_file import as_schema
from profuse.errors import ConfigError, DataError
from profuse.imputation.making import METHODS
from profuse.schema import OnBadFile, Schema
from profuse.training.options import TrainOptions

__all__ = ["Options", "options_of", "schema_asked", "table_of"]

_WHO = "Imputer"
_MOST_SEED = 2**32 - 1
_TRAINING = ("epochs", "device", "precision", "threads")
"""What is said of training, and checked there."""


class Options(BaseModel):
    """Parameters of `Imputer`, but its schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: str
    method: str
    n_samples: int = Field(ge=2, le=10_000)
    n_tables: int = Field(ge=0, le=1000)
    target: Any
    ignore: Any
    held_out: float = Field(gt=0, lt=1)
    epochs: Any
    width: int = Field(ge=4)
    device: Any
    precision: Any
    threads: Any
    base_dir: Any
    on_bad_file: OnBadFile
    random_state: int = Field(ge=0, le=_MOST_SEED)

    @property
    def training(self) -> TrainOptions:
        """How networks are trained."""
        same = {name: getattr(self, name) for name in _TRAINING}
        return TrainOptions(**same, seed=self.random_state, refit=False)

    @field_validator("target", "ignore")
    @classmethod
    def _columns(cls, value: Any, info: ValidationInfo) -> tuple[str, ...]:
        if value is None and info.field_name == "target":
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list | tuple | pd.Index | np.ndarray):
            name = info.field_name
            raise ValueError(f"{name} must be the name of a column, or a list of them; got {name}={value!r}")
        return tuple(map(str, value))

    @field_validator("base_dir")
    @classmethod
    def _folder(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, str | Path):
            raise ValueError(f"base_dir must be a path; got base_dir={value!r}")
        return value


def options_of(values: dict[str, Any]) -> Options:
    """Returns the parameters.

    Raises:
        ConfigError: Some are of a wrong type or out of range: all are told together.
        UnknownNameError: There is no such method.
    """
    given = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
    training = {name: given[name] for name in _TRAINING}
    faults = [*faults_of(Options, given), *faults_of(TrainOptions, training)]
    if not faults:
        read = {k: v for k, v in given.items() if k not in ("target", "ignore")}
        faults = [
            *misread(Options.model_validate(given), read),
            *misread(TrainOptions.model_validate(training), training),
        ]
    if faults:
        raise ConfigError(in_one(_WHO, faults))
    options = Options.model_validate(given)
    resolve(options.method, dict.fromkeys(METHODS), where=_WHO, what="method")
    return options


def schema_asked(schema: Any, options: Options) -> Schema:
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
