"""Vectors of cells from models that were trained elsewhere: `hf:FOLDER`, or a function of your own by name.

register("embedding", "mine", function)     # list of cells -> [cell, channel]; `encoder: mine` is then an encoder
"""

from __future__ import annotations

from typing import cast

from profuse.data.embeddings._base import Embedding, Sound, embedding_of
from profuse.registry import table

__all__ = ["EMBEDDINGS", "Embedding", "Sound", "embedding", "embedding_of"]

EMBEDDINGS = table("embedding", {}, derived="profuse.data.embeddings.hf:HUGGING_FACE")


def embedding(name: str) -> Embedding:
    """Returns the embedding called `name`, a name such as `hf:FOLDER` too."""
    return cast(Embedding, EMBEDDINGS.part(name))
