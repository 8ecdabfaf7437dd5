"""Long texts -> words, as texts are read, but more of them."""

from __future__ import annotations

from typing import Any, Self

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.preprocess.text import SubwordPreprocessor
from profuse.tokens import Raw

__all__ = ["DocumentPreprocessor"]


class DocumentPreprocessor(Preprocessor):
    """What `SubwordPreprocessor` makes of the first words of a document; the encoder takes them in chunks.

    Args:
        max_words: The largest number of words of a document.

    Shape:
        Long `[row, word, subword]` and mask `[row, word]`.
    """

    takes = "document"
    gives = "text"
    bound = "max_words"

    def __init__(self, *, max_words: int = 2048) -> None:
        self._words = SubwordPreprocessor(max_words=max_words)

    def fit(self, data: ModalityData) -> None:
        self._words.fit(data)
        self.spec, self.notes = self._words.spec, self._words.notes

    def transform(self, data: ModalityData) -> Raw:
        return self._words.transform(data)

    def state(self) -> dict[str, Any]:
        return self._words.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        new = cls()
        new._words = SubwordPreprocessor.from_state(state)
        new.spec = new._words.spec
        return new
