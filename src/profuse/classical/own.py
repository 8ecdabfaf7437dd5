"""Members: any estimator of scikit-learn, by name, in place of a classical model."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

from profuse._lookup import resolve
from profuse.classical import CLASSICAL, classical, fittable
from profuse.classical._own import OwnEstimator
from profuse.errors import ConfigError
from profuse.schema import Task

__all__ = ["asked_members", "members_given", "model_of"]

Members = Sequence[str] | Mapping[str, Any]
"""Names, "module:attr" or "name=module:attr"; or estimators by name."""


def model_of(name: str, value: object) -> type[OwnEstimator] | None:
    """Returns a classical model around an estimator; None if `value` is none.

    Args:
        name: By which it is registered.
        value: The class of an estimator, one (which is cloned), or a function that returns one: it is called with the
            task where it takes an argument without a default, or one called `task`. Types that a saved one may hold
            beside those of scikit-learn stand in its attribute `trusted`, as "module.Class".
    """
    make = _maker(value)
    if make is None:
        return None
    code = _made_of(value)
    return type(
        name,
        (OwnEstimator,),
        {
            "__module__": str(getattr(value, "__module__", __name__)),
            "__doc__": OwnEstimator.__doc__,
            "name": name,
            "make_estimator": staticmethod(make),
            "trusted": tuple(getattr(value, "trusted", ())),
            "made_of": tuple(code),
            "settings": _settings(value),
            "description": _description(value),
        },
    )


def members_given(members: Members | None, *, who: str) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Returns the names, as options hold them, and what stands behind those that are given by value.

    Raises:
        ConfigError: They are neither names nor a mapping.
    """
    if members is None:
        return (), {}
    if isinstance(members, Mapping):
        by_value = {name: value for name, value in members.items() if not isinstance(value, str)}
        return tuple(n if n in by_value else f"{n}={value}" for n, value in members.items()), by_value
    if isinstance(members, str) or not all(isinstance(m, str) for m in members):
        raise ConfigError(
            f"{who}: members must be a list of names or of 'module:attribute', or a mapping of names to estimators; "
            f"got members={members!r}. Give each estimator a name: {{'svm': SVC()}}."
        )
    return tuple(members), {}


@contextmanager
def asked_members(
    asked: Sequence[str], given: Mapping[str, Any] | None = None, *, who: str, task: Task | None = None
) -> Iterator[None]:
    """Has members take part while it lasts: those that had no name are registered, and gone after it.

    Args:
        asked: A registered name, "module:attr", or "name=module:attr".
        given: Estimators by name.
        who: Who asks; a message begins with it.
        task: What is learned, if it is known: all must be able to.

    Raises:
        UnknownNameError: There is no such name, or no such attribute; the nearest are told.
        ConfigError: A module cannot be imported, a name is taken, an estimator is none or of another task.
    """
    values, added = dict(given or {}), []
    try:
        for name, path in [_parsed(a, who) for a in asked]:
            if name not in values and path is None:
                resolve(name, CLASSICAL, where=who, what="member")
            else:
                value = values[name] if path is None else path
                if path is not None:
                    _import(path, who)
                new = name not in CLASSICAL.registered
                CLASSICAL.add(name, value, where=who)
                added += [name] if new and name in CLASSICAL.registered else []
            _check(name, task, who)
        yield
    finally:
        for name in added:
            CLASSICAL.remove(name)


def _parsed(asked: str, who: str) -> tuple[str, str | None]:
    """`"svm=pkg:make"` -> ("svm", "pkg:make"); `"pkg:make"` -> ("make", "pkg:make"); `"svm"` -> ("svm", None)."""
    name, equals, path = asked.strip().rpartition("=")
    if not equals and ":" not in path:
        return path, None
    if not re.fullmatch(r"[\w.]+:\w+", path):
        raise ConfigError(
            f"{who}: a member must be 'module:attribute', 'name=module:attribute', or a name that is registered; got "
            f"member={asked!r}."
        )
    return name or path.rpartition(":")[2], path


def _import(path: str, who: str) -> None:
    module, _, attribute = path.partition(":")
    try:
        home = import_module(module)
    except Exception as error:  # what is imported may fail in any way
        raise ConfigError(
            f"{who}: the module of a member must be importable; got {path!r}, {type(error).__name__}: {error}. Install "
            "it, or put its file where Python finds it (PYTHONPATH; on the command line the working directory too)."
        ) from error
    known = {name: value for name, value in vars(home).items() if not name.startswith("_") or name == attribute}
    resolve(attribute, known, where=who, what=f"attribute of {module}")


def _check(name: str, task: Task | None, who: str) -> None:
    model = classical(name)
    if name not in fittable():
        raise ConfigError(
            f"{who}: member {name!r} must be installed; it needs the package {model.package}. Install it."
        )
    if task is not None and (reason := model.not_for(task)):
        raise ConfigError(
            f"{who}: member {name!r} must be an estimator for a {task} target; got {reason}. Give a function that "
            "takes the task and returns one, or leave it out."
        )


def _maker(value: object) -> Callable[[Task], Any] | None:
    """Returns task -> estimator, if `value` is a class of estimators, an estimator, or a function."""
    if _is_estimator(value):
        cls = cast(Callable[[], Any], value)
        return (lambda task: cls()) if isinstance(value, type) else (lambda task: value)
    if isinstance(value, type) or not callable(value):
        return None
    function: Callable[..., Any] = value

    def make(task: Task) -> Any:
        estimator = function(task) if _takes_task(function) else function()
        if not _is_estimator(estimator) or isinstance(estimator, type):
            raise TypeError(f"{getattr(function, '__name__', function)} must return an estimator; got {estimator!r}")
        return estimator

    return make


def _is_estimator(value: object) -> bool:
    return callable(getattr(value, "fit", None)) and callable(getattr(value, "get_params", None))


def _takes_task(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and (p.default is p.empty or p.name == "task") for p in parameters)


def _made_of(value: object) -> list[object]:
    """Returns one class or function of each package whose code an estimator hangs on."""
    if isinstance(value, type) or not _is_estimator(value):
        return [value]
    every = [value, *cast(Any, value).get_params(deep=True).values()]
    classes = [type(v) if not inspect.isroutine(v) else v for v in every]
    by_package = {str(getattr(c, "__module__", "")).partition(".")[0]: c for c in classes}
    return [c for package, c in by_package.items() if package in sys.modules and package != "builtins"]


def _settings(value: object) -> str:
    if isinstance(value, type) or not _is_estimator(value):
        return ""
    return repr([(name, _said(v)) for name, v in sorted(cast(Any, value).get_params(deep=True).items())])


def _said(value: Any) -> Any:
    """Returns a setting as it is said in any process: a class and a function by where they are."""
    if isinstance(value, list | tuple):
        return [_said(v) for v in value]
    if isinstance(value, Mapping):
        return [(_said(k), _said(v)) for k, v in value.items()]
    made_by = value if isinstance(value, type) or inspect.isroutine(value) else type(value)
    if made_by is value or _is_estimator(value):
        return f"{made_by.__module__}:{made_by.__qualname__}"
    return repr(value)


def _description(value: object) -> str:
    if inspect.isroutine(value):
        return str(inspect.getdoc(value) or getattr(value, "__name__", "")).split("\n\n")[0]
    return value.__name__ if isinstance(value, type) else " ".join(repr(value).split())[:100]
