"""An embedding."""

from __future__ import annotations

from profuse.data.embeddings import Embedding

__all__ = ["COUNTS"]


def counts(texts: list[str]) -> list[list[int]]:
    """Letters and words of each text."""
    return [[len(text), len(text.split())] for text in texts]


COUNTS = Embedding(counts, kinds=("text",))
