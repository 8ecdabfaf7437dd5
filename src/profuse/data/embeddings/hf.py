"""`hf:FOLDER` and `hf-tokens:FOLDER`: frozen Hugging Face models as embeddings. Nothing heavy is loaded by the name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from profuse._lookup import load
from profuse.data.embeddings._base import Embedding
from profuse.data.embeddings.folders import digest_of, folder_of, lacking

__all__ = ["HUGGING_FACE"]

_FORMS = {"hf": False, "hf-tokens": True}
"""What stands before the colon, and whether all tokens are kept."""


class _HuggingFace:
    """Embeddings whose names begin with `hf:` or `hf-tokens:`."""

    @staticmethod
    @lru_cache(maxsize=64)
    def part(name: str) -> Embedding | None:
        """Returns the embedding that the name says, or None."""
        form, _, source = name.partition(":")
        if form not in _FORMS or not source:
            return None
        return Embedding(
            partial(_embed, source, _FORMS[form]),
            kinds=("text", "image", "audio", "video"),
            tokens=_FORMS[form],
            batch_size=32,
            colours_only=True,
            identity=partial(_identity, form, source),
            lacking=partial(lacking, source),
        )

    @staticmethod
    def fingerprint(name: str) -> str:
        """Returns the digest of the model's files."""
        return digest_of(folder_of(name.partition(":")[2]))


HUGGING_FACE = _HuggingFace()


def _identity(form: str, source: str) -> str:
    return f"{form} {digest_of(folder_of(source))}"


def _embed(source: str, tokens: bool, cells: Sequence[Any]) -> list[Any]:
    frozen: Any = load("profuse.data.embeddings.frozen:frozen")
    vectors: list[Any] = frozen(folder_of(source), cells, tokens=tokens)
    return vectors
