"""Which methods a summary speaks of: chosen by validation scores, never by those of the test rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profuse.comparison.results import MethodInfo

if TYPE_CHECKING:
    from profuse.comparison.summary import Evidence, Row

__all__ = ["FUSED", "choose", "default_of", "plain_of"]

FUSED = ("baseline", "fusion")
"""Roles of networks that fuse."""


def choose(rows: Sequence[Row], roles: Sequence[str], what: str, evidence: Evidence) -> str | None:
    """The method of these roles with the best validation score, of equals the smallest; never by its test score."""
    candidates = [r for r in rows if r.method.role in roles]
    if len(candidates) == 1:
        return candidates[0].method.name
    known = [r for r in candidates if r.valid is not None]
    if candidates and len(known) < len(candidates):
        lacking = len(candidates) - len(known)
        evidence.notes.append(
            f"{lacking} of {len(candidates)} without a validation score: not chosen as the best {what}."
        )
    if not known:
        return None
    return min(known, key=lambda r: (-evidence.sign * (r.valid or 0.0), r.n_parameters, r.method.name)).method.name


def default_of(rows: Sequence[Row]) -> str | None:
    """What `fit` makes where no operator is named, if it was fitted and fuses."""
    return next((r.method.name for r in rows if r.method.default and r.method.role in FUSED), None)


def plain_of(method: MethodInfo, methods: Sequence[MethodInfo]) -> str | None:
    """The plain method with the same fusion, level and modalities."""
    if method.rounds == 1:
        return None
    key = (method.fusion, method.level, method.modalities)
    return next((m.name for m in methods if m.rounds == 1 and (m.fusion, m.level, m.modalities) == key), None)
