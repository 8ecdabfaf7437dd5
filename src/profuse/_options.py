"""Options from outside (Python, YAML, the command line) to a pydantic model: all faults told together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, ValidationInfo

from profuse._lookup import nearest
from profuse.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)

_ASKED = {"asked": True}

__all__ = ["asked_for", "check_keywords", "checked", "faults_of", "in_one", "misread"]


def asked_for(info: ValidationInfo) -> bool:
    """Returns whether a user asks for what is validated, so that all it names must be there; a saved model's need not.

    For validators, whose faults `faults_of` and `checked` collect.
    """
    return info.context is _ASKED


def faults_of(model: type[BaseModel], values: Mapping[str, Any], *, prefix: str = "") -> tuple[str, ...]:
    """Returns what is wrong with `values` for `model`, one sentence part each; none if all is well."""
    try:
        model.model_validate(dict(values), context=_ASKED)
    except ValidationError as error:
        return tuple(_fault(model, dict(fault), prefix) for fault in error.errors())
    return ()


def misread(made: BaseModel, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns which of the `values` of `made` are text read as a number, or truth read as one, as `faults_of` does.

    A YAML file and a command line write numbers as text; in Python nobody means that.
    """
    pairs = [(name, value, getattr(made, name)) for name, value in values.items()]
    for name, given, taken in list(pairs):
        if isinstance(given, Mapping) and isinstance(taken, Mapping):
            pairs += [(f"{name}[{key!r}]", value, taken[key]) for key, value in given.items() if key in taken]
    return tuple(
        f"{name} must be {taken!r} if that is meant; got {name}={given!r}"
        for name, given, taken in pairs
        if any(isinstance(given, kind) and not isinstance(taken, kind) for kind in (str, bool))
    )


def in_one(where: str, faults: Iterable[str]) -> str:
    """Returns the message that tells all faults."""
    message = "; ".join(faults)
    return f"{where}: {message}{'' if message.endswith('?') else '.'}"


def check_keywords(
    call: Callable[..., object], asked: Mapping[str, Any], *, who: str, ours: Iterable[str] = ()
) -> None:
    """Checks that all of `asked` are keyword-only arguments of `call`, of the type it says, and none of `ours`.

    Raises:
        ValueError: One is not; for a validator, whose faults are told together.
    """
    parameters = signature(call, eval_str=True).parameters.values()
    known = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in ours}
    for option, value in asked.items():
        if option not in known:
            raise ValueError(f"{who} has the options {', '.join(known) or '(none)'}; got {option!r}")
        try:
            kind = known[option].annotation
            TypeAdapter(Any if kind is Parameter.empty else kind, config=_STRICT).validate_python(value)
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise ValueError(f"{option} of {who} should be {said}; got {value!r}") from None


def checked(model: type[M], values: Mapping[str, Any], *, where: str) -> M:
    """Returns `model` made of `values`.

    Args:
        model: What the options are.
        values: By name, as they came.
        where: Who asks; the message begins with it.

    Raises:
        ConfigError: Values out of range or of the wrong type, unknown names (the nearest are told): all of them.
    """
    faults = faults_of(model, values)
    if faults:
        raise ConfigError(in_one(where, faults))
    return model.model_validate(dict(values))


def _fault(model: type[BaseModel], fault: dict[str, Any], prefix: str) -> str:
    path = prefix + ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _names_at(model, fault["loc"])
        close = nearest(str(fault["loc"][-1]), known)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(sorted(known))}"
        return f"{path!r} is no option ({hint})"
    said = str(fault["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    if fault["type"] == "value_error" and "; got " in said:  # a whole sentence of ours
        said = said.removeprefix("profuse: ").rstrip(".")
        return said if not path or str(fault["loc"][-1]) in said else f"{path}: {said}"
    value = fault["input"]
    return f"{path} {'' if said.startswith('must ') else 'must be '}{said}; got {path}={value!r}"


def _names_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Returns the names of the options among which the last part of `path` was looked for."""
    for part in path[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return list(model.model_fields)
