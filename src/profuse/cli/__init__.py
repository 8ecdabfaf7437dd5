"""The command line: one command, one file. Heavy packages are imported inside the commands that compute."""

from __future__ import annotations

from profuse.cli._app import app, main

__all__ = ["app", "main"]
