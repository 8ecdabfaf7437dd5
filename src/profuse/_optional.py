"""Optional packages: imported when needed, with the extra named when they are absent."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from profuse.errors import MissingDependencyError

__all__ = ["need"]


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
        raise MissingDependencyError(
            f"{why}: the package {name!r} must be installed; it is not. Run: pip install 'profuse[{extra}]'."
        ) from error
