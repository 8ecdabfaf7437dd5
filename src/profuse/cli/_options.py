"""The options of a command, made of the fields of pydantic models: name, type, range, default and text are theirs."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from profuse._fields import bounds, choices, kind, shown, text
from profuse.cli._arguments import listed, pairs

__all__ = ["From", "Given", "options"]

Given = Mapping[str, Any]
"""What was given on the command line, by the names of the fields."""
MORE = "More"
_SHORT = 45


@dataclass(frozen=True)
class From:
    """A model whose fields are options of a command.

    Args:
        model: The model.
        panel: The heading in the help above those that are common, if any; the others stand under "More".
        only: Names of fields; all if None.
        without: Names of fields that the command has in another form, or not at all.
    """

    model: type[BaseModel]
    panel: str | None = None
    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()

    def fields(self) -> dict[str, FieldInfo]:
        """Returns the fields that are options."""
        names = self.model.model_fields if self.only is None else self.only
        return {name: self.model.model_fields[name] for name in names if name not in self.without}

    def flags(self, given: Given) -> list[str]:
        """Returns the names, on the command line, of what was given."""
        return [_flag(name, field) for name, field in self.fields().items() if name in given]


def options(**groups: From) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a decorator that gives a command the options of models, for typer to read.

    The command is called with a dict for each of the `groups`: the values that were given, by the names of the fields,
    unchecked but for what makes numbers of text. Checking is the model's, so that all faults are told together.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name not in groups]
        fields = [(group, name, field) for group, source in groups.items() for name, field in source.fields().items()]
        fields.sort(key=lambda option: not shown(option[2]).common)  # so that "More" comes last
        many = Counter(name for _, name, _ in fields)
        keys = {(group, name): f"{group}_{name}" if many[name] > 1 else name for group, name, _ in fields}
        every = [*own, *(_parameter(keys[g, name], name, field, groups[g].panel) for g, name, field in fields)]

        def run(**values: Any) -> None:
            given = {
                group: {name: _read(name, field, values[keys[group, name]]) for name, field in source.fields().items()}
                for group, source in groups.items()
            }
            kept = {p.name: values[p.name] for p in own}
            command(**kept, **{group: _given(asked) for group, asked in given.items()})

        run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
        run.__annotations__ = {p.name: p.annotation for p in every}
        run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        return run

    return decorate


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _flag(name: str, field: FieldInfo) -> str:
    return shown(field).flag or f"--{name.replace('_', '-')}"


def _parameter(key: str, name: str, field: FieldInfo, panel: str | None) -> inspect.Parameter:
    """Returns the parameter that typer makes an option of; None, its default, is what was not given."""
    mark, type_ = shown(field), _type(field)
    flag = _flag(name, field)
    flags = [f"{flag}/--no-{flag.removeprefix('--')}" if type_ is bool else flag, *([mark.short] if mark.short else [])]
    option = typer.Option(
        *flags,
        metavar=mark.metavar or _metavar(field, type_),
        help=text(field) + (" Repeat it for more." if type_ == list[str] else ""),
        rich_help_panel=panel if mark.common else MORE,
        show_default=False,
    )
    annotation: Any = Annotated[type_ if field.is_required() else type_ | None, option]
    default = inspect.Parameter.empty if field.is_required() else None
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _type(field: FieldInfo) -> Any:
    """Returns what typer reads; what it does not know comes as text, which `_read` takes apart."""
    type_ = kind(field)
    if type_ == dict[str, str] or shown(field).repeated:
        return list[str]
    return type_ if type_ in (bool, int, float) else str


def _metavar(field: FieldInfo, type_: Any) -> str | None:
    if type_ is bool:
        return None
    if type_ in (int, float):
        return bounds(field, "N" if type_ is int else "X")
    listed = "|".join(choices(field))
    if listed and len(listed) <= _SHORT:
        return listed
    return "YAML" if get_origin(kind(field)) is dict else "NAME"


def _read(name: str, field: FieldInfo, value: Any) -> Any:
    """Returns the value of an option, as the field takes it."""
    type_ = kind(field)
    if value is None or not isinstance(value, str | list):
        return value
    if isinstance(value, list):
        return pairs(value, option=_flag(name, field)) if get_origin(type_) is dict else tuple(value)
    several = [get_origin(part) for part in get_args(type_)]  # a word, or what YAML says
    if get_origin(type_) is dict or (dict in several and value.lstrip().startswith("{")):
        from profuse._yaml import parse_yaml

        return parse_yaml(value, what="value", who=_flag(name, field))
    if get_origin(type_) is tuple:
        return listed(value)
    return int(value) if value.isdecimal() and int in get_args(type_) else value
