"""What a pydantic field says of itself, in words: for help, docstrings and the tables of the docs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = ["Shown", "bounds", "choices", "default", "documented", "kind", "shown", "text"]

T = TypeVar("T", bound=Callable[..., Any])
_PLACE = "{parameters}"


_SIGNS = {"ge": "<=", "gt": "<", "le": "<=", "lt": "<"}


@dataclass(frozen=True)
class Shown:
    """How a field is shown, where the field does not say it.

    Args:
        absent: What holds where the default is None or empty: "all".
        common: Whether a command line shows it among the first options; it stands under "More" otherwise.
        flag: Its name on a command line, where that is not the field's: "--encoder".
        short: A short form: "-m".
        metavar: What stands for the value on a command line, where the type does not say it: "MODALITY,..".
        repeated: Whether each of several values has an option of its own on a command line, as names with commas must.
    """

    absent: str = "none"
    common: bool = False
    flag: str | None = None
    short: str | None = None
    metavar: str | None = None
    repeated: bool = False


def shown(field: FieldInfo) -> Shown:
    """Returns how the field is shown."""
    return next((mark for mark in field.metadata if isinstance(mark, Shown)), Shown())


def kind(field: FieldInfo) -> Any:
    """Returns the type of the field's values but None: `int | None` -> `int`."""
    kinds = [part for part in get_args(field.annotation) if part is not type(None)]
    optional = type(None) in get_args(field.annotation)
    return kinds[0] if optional and len(kinds) == 1 else field.annotation


def choices(field: FieldInfo) -> tuple[str, ...]:
    """Returns the values that the field may have, if it lists them."""
    return get_args(kind(field)) if get_origin(kind(field)) is Literal else ()


def bounds(field: FieldInfo, name: str) -> str:
    """Returns the range of a number: `"4<=N<=4096"`; the `name` alone where there is none."""
    said = {sign: getattr(mark, sign) for mark in field.metadata for sign in _SIGNS if hasattr(mark, sign)}
    said = {sign: f"{limit:g}" if isinstance(limit, float) else str(limit) for sign, limit in said.items()}
    low = next((f"{said[sign]}{_SIGNS[sign]}" for sign in ("ge", "gt") if sign in said), "")
    high = next((f"{_SIGNS[sign]}{said[sign]}" for sign in ("le", "lt") if sign in said), "")
    if low and not high:
        return f"{name}{_SIGNS['ge' if 'ge' in said else 'gt'].replace('<', '>')}{low.rstrip('<=')}"
    return f"{low}{name}{high}"


def default(field: FieldInfo) -> str:
    """Returns the default in words; "required" where there is none."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value == () or value == {} or isinstance(value, BaseModel):
        return shown(field).absent
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def text(field: FieldInfo) -> str:
    """Returns what the option is, and its default: `"Channels of tokens and of the joint vector (64)."`."""
    said = str(field.description).rstrip(".")
    return f"{said}." if field.is_required() else f"{said} ({default(field)})."


def documented(models: Iterable[type[BaseModel]], more: Mapping[str, str]) -> Callable[[T], T]:
    """Makes a decorator that writes parameters into the docstring of a class or function, in place of `{parameters}`.

    Args:
        models: What the parameters are fields of; the last that has a field counts.
        more: What else is said of a parameter, or of one that is no field.
    """
    fields = {name: field for model in models for name, field in model.model_fields.items()}

    def write(made: T) -> T:
        told = {name: [text(fields[name])] for name in signature(made).parameters if name in fields}
        told |= {name: [*told.get(name, []), more[name]] for name in signature(made).parameters if name in more}
        if made.__doc__ is not None:  # python -OO has none
            head, _, rest = made.__doc__.partition(_PLACE)
            indent = " " * (len(head) - len(head.rstrip(" ")))
            lines = [
                textwrap.fill(f"{name}: {' '.join(told[name])}", 120 - len(indent), subsequent_indent=" " * 4)
                for name in signature(made).parameters
                if name in told
            ]
            made.__doc__ = head + textwrap.indent("\n".join(lines), indent).lstrip(" ") + rest
        return made

    return write
