"""Progressive Fusion around a module of someone else's, without changing its code."""

from __future__ import annotations

from profuse.progressive.wrap._wrap import WrappedProgressive

__all__ = ["WrappedProgressive"]
