"""Where modalities may be fused: the levels, and which of them an operator works at."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["LEVELS", "LEVELS_OF", "Level"]

Level = Literal["raw", "feature", "hierarchical", "decision", "hybrid"]
LEVELS: tuple[str, ...] = get_args(Level)
LEVELS_OF: dict[str, tuple[Level, ...]] = {
    "feature": ("feature", "raw", "hybrid"),
    "hierarchical": ("hierarchical", "hybrid"),
    "decision": ("decision",),
}
"""Where an operator works, by the level that its class names: its own level first."""
