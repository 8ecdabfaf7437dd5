"""What profuse raises, and how it words it.

Every message reads *where: what must hold; got name=value. What to do.* Every error is a
`ProfuseError` and also the built-in that Python users expect, so `except ValueError` works.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "MissingDependencyError",
    "NotHereError",
    "ProfuseError",
    "ProfuseWarning",
    "ShapeError",
    "UnknownNameError",
]


class ProfuseError(Exception):
    """The root of all errors that profuse raises on purpose."""


class ShapeError(ProfuseError, ValueError):
    """A tensor has the wrong shape, type, width or set of modalities."""


class ConfigError(ProfuseError, ValueError):
    """An argument or a configuration is out of range or contradicts another."""


class DataError(ProfuseError, ValueError):
    """The data cannot be used as they are: the message names file, row or column, and the remedy."""


class NotHereError(ConfigError):
    """A pretrained model that is named is not on this machine."""


class CheckpointError(ProfuseError, RuntimeError):
    """A saved model is damaged, incomplete, or from a newer version."""


class UnknownNameError(ProfuseError, KeyError):
    """A name is not in its table; the message tells the nearest ones."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class MissingDependencyError(ProfuseError, ImportError):
    """An optional package is needed and not installed; the message tells the extra."""


class ProfuseWarning(UserWarning):
    """A result stands, but not on all that it should: the message tells what is amiss, and the remedy."""
