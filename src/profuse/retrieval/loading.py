"""A folder that holds an index -> the index, with the retriever that embeds its queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from profuse._folder import read_folder
from profuse.retrieval.index import Index
from profuse.retrieval.retriever import Retriever
from profuse.retrieval.saving import INDEX, restored

__all__ = ["load_index"]


def load_index(folder: str | Path) -> Index:
    """Returns the index that `Index.save` or `profuse retrieve --index` left in `folder`, with its retriever.

    Raises:
        CheckpointError: No saved index, or a damaged or newer one.
    """

    def restore(facts: dict[str, Any], weights: dict[str, Any]) -> Index:
        held = facts["index"]
        made = Index(Retriever.of(restored(facts, weights)), held["modality"])
        made.vectors, made.rows, made.n_rows = held["vectors"], held["rows"], int(held["n_rows"])
        made.ids = made.rows
        if held["ids"] is not None:
            made.ids = np.empty(len(held["ids"]), dtype=object)
            made.ids[:] = held["ids"]
        if not made.vectors.ndim == 2 or not len(made.vectors) == len(made.ids) == len(made.rows) <= made.n_rows:
            raise ValueError("items, ids and rows differ in number")
        if not np.allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-3):
            raise ValueError("places are not of length 1")
        return made

    return read_folder(folder, restore, INDEX)
