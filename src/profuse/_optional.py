"""Optional packages: imported when needed, with the extra named when they are absent."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from profuse.errors import MissingDependencyError

__all__ = ["folder_of", "need"]


def need(name: str, extra: str, why: str) -> ModuleType:
    """Imports the optional module `name`.

    Args:
        name: The module, as in `import name`.
        extra: The extra of profuse that installs it.
        why: What needs it, for the message ("reading Parquet files").

    Raises:
        MissingDependencyError: The module is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise _missing(name, extra, why) from error


def folder_of(name: str, extra: str, why: str) -> Path:
    """Returns the folder of an optional package whose files are read; the package is not imported.

    Args:
        name: The package, as in `import name`.
        extra: The extra of profuse that installs it.
        why: What needs it, for the message.

    Raises:
        MissingDependencyError: The package is not installed.
    """
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(name, extra, why)
    return Path(next(iter(spec.submodule_search_locations)))


def _missing(name: str, extra: str, why: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"{why}: the package {name!r} must be installed; it is not. Run: pip install 'profuse[{extra}]'."
    )
