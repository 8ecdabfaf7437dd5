"""Names to objects: explicit tables, lazily imported, with near misses told."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TypeVar

from profuse.errors import UnknownNameError

T = TypeVar("T")

__all__ = ["lazily", "load", "nearest", "resolve"]


def nearest(name: str, known: Iterable[str], *, n: int = 3) -> list[str]:
    """Returns up to `n` of the `known` names that look like `name`, best first; only those near the best one."""
    lower, asked = {str(k).lower(): str(k) for k in known}, str(name).lower()
    result = difflib.get_close_matches(asked, lower, n=n, cutoff=0.5)
    likeness = [difflib.SequenceMatcher(None, asked, k).ratio() for k in result]
    return [lower[k] for k, r in zip(result, likeness, strict=True) if r > max(likeness) - 0.1]


def resolve(name: str, table: Mapping[str, T], *, where: str, what: str) -> T:
    """Returns `table[name]`.

    Args:
        name: The name that was asked for.
        table: All known names.
        where: Who asks; the message begins with it.
        what: What kind of thing is named, in the singular ("fusion", "column").

    Raises:
        UnknownNameError: `name` is not in `table`; nearest names, or all of them, are told.
    """
    if name in table:
        return table[name]
    close = nearest(name, table)
    hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Known: {', '.join(sorted(table))}."
    raise UnknownNameError(f"{where}: {what} must be a known name; got {what}={name!r}. {hint}")


def load(path: str) -> object:
    """Imports `"package.module:Name"` and returns the object; tables hold such strings to stay cheap."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Makes the `__getattr__` of a package that imports its names when they are first used.

    Args:
        package: Its name.
        homes: The module in it, by name: `{"Index": "index"}`.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}. It has {', '.join(homes)}.")
        return load(f"{package}.{homes[name]}:{name}")

    return get
