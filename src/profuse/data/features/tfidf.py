"""Texts as all their words and parts of words: sparse TF-IDF."""

from __future__ import annotations

from typing import Any, Self

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features, Matrix
from profuse.data.features.lsa import Terms
from profuse.data.words import rows_of_words
from profuse.kinds import kind_named

__all__ = ["TfidfFeatures"]


class TfidfFeatures(Features):
    """TF-IDF of words and word pairs, then of 3- to 5-character parts, as `Terms` counts them; sparse.

    Terms of a single training row are kept: they shorten what a row shares with others, and by that tell how much of
    it is known.

    Shape:
        `[row, term]`: up to 20,000 + 20,000; nothing in absent rows and in texts without words.
    """

    takes = "text"
    sparse = True

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Returns whether rows of the kind called `name` are texts."""
        return kind_named(name).is_words

    def fit(self, data: ModalityData) -> None:
        rows = rows_of_words(data, where="TfidfFeatures")
        self._terms = Terms.fitted(rows, where="TfidfFeatures", min_rows=1)

    def transform(self, data: ModalityData) -> Matrix:
        return self._terms.transform(rows_of_words(data, where="TfidfFeatures"))

    def state(self) -> dict[str, Any]:
        return self._terms.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls()
        made._terms = Terms.from_state(state)
        return made
