"""Finding rows of one modality by another: fit a common space, embed, index, search, measure."""

from __future__ import annotations

from profuse.retrieval.index import Found, Index
from profuse.retrieval.loading import load_index
from profuse.retrieval.retriever import METHODS, SPACES, Retriever

__all__ = ["METHODS", "SPACES", "Found", "Index", "Retriever", "load_index"]
