"""Finding rows of one modality by another: fit a common space, embed, index, search, measure.

Names are imported when they are first used, so that its options alone load no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from profuse._lookup import lazily

if TYPE_CHECKING:
    from profuse.retrieval.index import Found, Index
    from profuse.retrieval.loading import load_index
    from profuse.retrieval.options import METHODS, SPACES
    from profuse.retrieval.retriever import Retriever

__all__ = ["METHODS", "SPACES", "Found", "Index", "Retriever", "load_index"]

__getattr__ = lazily(
    __name__,
    {
        "METHODS": "options",
        "SPACES": "options",
        "Found": "index",
        "Index": "index",
        "Retriever": "retriever",
        "load_index": "loading",
    },
)
