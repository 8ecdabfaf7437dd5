"""Options of one network in a file, as `profuse tune` writes them and `profuse fit --config` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import create_model

from profuse._options import checked
from profuse._yaml import read_yaml
from profuse.estimators.options import FitOptions
from profuse.models.options import ModelOptions
from profuse.training.options import TrainOptions

__all__ = ["read_config"]

_OF_FIT = ("on_bad_file", "validation_fraction", "metric")


def read_config(path: Path) -> dict[str, Any]:
    """Returns the options of a file by name, those of a network, of its training, and of how rows are read.

    Raises:
        DataError: No such file, or it is no YAML.
        ConfigError: Values out of range or unknown names; all are told together.
    """
    values = read_yaml(path, what="options", who="fit")
    of_fit: Any = {
        name: (field.annotation, field) for name, field in FitOptions.model_fields.items() if name in _OF_FIT
    }
    known: Any = create_model("Options", __base__=(ModelOptions, TrainOptions), **of_fit)
    checked(known, values, where=path.name)
    return values
