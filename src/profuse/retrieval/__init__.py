"""Finding rows of one modality by another: fit a common space, embed, index, search, measure."""

from __future__ import annotations

from profuse.retrieval.index import Found, Index
from profuse.retrieval.retriever import SPACES, Retriever

__all__ = ["SPACES", "Found", "Index", "Retriever"]
