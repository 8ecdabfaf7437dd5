"""Which modalities rows lack: the patterns for each of which weights are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["Pattern", "patterns_of", "rows_to_judge"]

Pattern = tuple[str, ...]
"""The modalities that are absent, sorted; () where none is."""

_MOST = 32
_FEWEST_ROWS = 10  # of a pattern that is asked for of training rows
_ENOUGH = 50


def absent(present: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns bool `[row, modality]`, by sorted names: which modalities a row lacks."""
    return ~np.stack([np.asarray(present[name]) for name in sorted(present)], axis=1)


def patterns_of(present: Mapping[str, np.ndarray], further: Mapping[str, np.ndarray] | None = None) -> list[Pattern]:
    """Returns the patterns to choose weights for: none absent, each modality alone absent, and those that rows have.

    Args:
        present: Bool `[row]` by modality, of the rows that are learned from.
        further: The same of other rows that will be predicted, as far as they are known.
    """
    names = sorted(present)
    found: dict[Pattern, int] = {}
    for rows, fewest in ((present, _FEWEST_ROWS), (further, 1)):
        if rows is None:
            continue
        kinds, counts = np.unique(absent(rows), axis=0, return_counts=True)
        for kind, count in zip(kinds, counts, strict=True):
            pattern = tuple(name for name, gone in zip(names, kind, strict=True) if gone)
            if count >= fewest and len(pattern) < len(names):
                found[pattern] = found.get(pattern, 0) + int(count)
    each: list[Pattern] = [(name,) for name in names] if len(names) > 1 else []
    always: list[Pattern] = [(), *each]
    rest = sorted(set(found) - set(always), key=lambda p: (-found[p], p))
    return [*always, *rest[: max(0, _MOST - len(always))]]


def rows_to_judge(pattern: Pattern, names: Sequence[str], lacking: np.ndarray) -> np.ndarray:
    """Returns the rows by which the weights of a pattern are chosen: those that lack nothing else.

    Where they are few, all rows are.

    Args:
        pattern: Hidden in every row.
        names: Of the modalities, sorted.
        lacking: Bool `[row, modality]`: which modalities rows lack by themselves.
    """
    hidden = np.isin(names, pattern)
    rows = np.flatnonzero(~(lacking & ~hidden).any(1))
    return rows if len(rows) >= _ENOUGH else np.arange(len(lacking))
