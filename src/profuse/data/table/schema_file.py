"""What a user says of a table: a YAML file, a dict or a `Schema` -> a `Schema`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from profuse._lookup import nearest
from profuse._options import checked
from profuse._yaml import read_yaml
from profuse.errors import ConfigError
from profuse.schema import Modality, Schema, SplitOptions, Target

__all__ = ["as_schema", "load_schema"]


def as_schema(given: Any) -> Schema:
    """Returns a path, a dict or a `Schema` as a `Schema`; None as one that says nothing."""
    if given is None or isinstance(given, Schema):
        return given or Schema()
    if isinstance(given, (str, Path)):
        return load_schema(given)
    if isinstance(given, Mapping):
        return checked(Schema, given, where="schema")
    raise ConfigError(f"schema: must be a path, a dict or a Schema; got {type(given).__name__}.")


def load_schema(path: str | Path) -> Schema:
    """Returns the schema in a YAML file; keys are the fields of `profuse.schema.Schema`. No code is run.

    Raises:
        DataError: No such file, or it is no YAML.
        ConfigError: Unknown keys or wrong values; all are told together.
    """
    path = Path(path)
    result = read_yaml(path, what="schema", who="load_schema")
    try:
        return Schema.model_validate(result)
    except ValidationError as error:
        faults = "; ".join(_fault(e) for e in error.errors())
        raise ConfigError(
            f"{path.name}: the schema must be valid; got {error.error_count()} fault(s): {faults}."
        ) from error


def _fault(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "tuple_type":
        return f"{place}: must be a list, as [a, b] (got {error['input']!r})"
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        return f"{place}: a name must be text (got {error['input']!r}): write it in quotes"
    if error["type"] != "extra_forbidden":
        return f"{place}: {str(error['msg']).replace('Input should be', 'must be')} (got {error['input']!r})"
    inner: dict[str, type[BaseModel]] = {"target": Target, "split": SplitOptions, "modalities": Modality}
    model = Schema if len(error["loc"]) == 1 else inner.get(str(error["loc"][0]), Schema)
    known = model.model_fields
    close = nearest(str(error["loc"][-1]), known)
    return (
        f"unknown key {place!r} ({'did you mean ' + repr(close[0]) + '?' if close else 'known: ' + ', '.join(known)})"
    )
