"""Scores over the number of rows that are learned from, as plain data."""

from __future__ import annotations

from pydantic import Field

from profuse._machine import Plain

__all__ = ["Learning", "ShareGain", "ShareScore"]


class ShareScore(Plain):
    """What a method scores on the test rows, fitted to a share of the rows that are learned from."""

    method: str
    share: float = Field(gt=0, le=1)
    n_train: float = Field(description="Training rows, mean over seeds; validation rows are cut alike.")
    value: float
    low: float | None = None
    high: float | None = None
    n_seeds: int
    n_rows: int


class ShareGain(Plain):
    """By how much a method is better than another at a share of the rows, or than itself at half of them."""

    method: str
    against: str
    share: float = Field(gt=0, le=1)
    value: float = Field(description="Above 0: better.")
    low: float | None = None
    high: float | None = None


class Learning(Plain):
    """Scores over rows: of the best fusion, single modality and classical model."""

    points: list[ShareScore] = []
    gains: list[ShareGain] = Field([], description="Of the first method over the others, at each share.")
    doublings: list[ShareGain] = Field([], description="Of each method over itself at half of all rows.")
