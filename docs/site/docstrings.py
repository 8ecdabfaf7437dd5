"""Docstrings that are completed on import (`{parameters}`, from the fields of options) are taken from there."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import griffe

__all__ = ["Completed"]


class Completed(griffe.Extension):
    """Reads all other docstrings from the text of the files, without importing anything."""

    def on_object(self, *, obj: griffe.Object, **how: Any) -> None:
        """Exchanges the text of a docstring that has a place left for parameters."""
        if obj.docstring is not None and "{parameters}" in obj.docstring.value:
            module = importlib.import_module(obj.module.path)
            obj.docstring.value = inspect.getdoc(getattr(module, obj.name)) or ""
