"""Which encoder reads what an embedding has made; the name of an embedding is that of its encoder too."""

from __future__ import annotations

from profuse.data.embeddings import EMBEDDINGS, embedding
from profuse.data.preprocess.beside import parts_of
from profuse.data.preprocess.trunk import trunk_reader
from profuse.encoders.beside import StaticBesideEncoder, WordsBesideEncoder
from profuse.encoders.embedded_tokens import EmbeddedTokensEncoder
from profuse.encoders.tuned import LastLayersEncoder, LoraEncoder, WholeEncoder
from profuse.encoders.vector import VectorEncoder

__all__ = ["EMBEDDED"]


_TUNED = {"hf-lora": LoraEncoder, "hf-last": LastLayersEncoder, "hf-whole": WholeEncoder}


class _Embedded:
    """Encoders that are called as an embedding is."""

    @staticmethod
    def part(name: str) -> object | None:
        """Returns the encoder, or None if there is no such embedding."""
        if EMBEDDINGS.knows(name):
            return EmbeddedTokensEncoder if embedding(name).tokens else VectorEncoder
        if trunk_reader(name) is not None:
            return _TUNED[name.partition(":")[0]]
        first, rest = parts_of(name)
        if not first or not EMBEDDINGS.knows(rest):
            return None
        return WordsBesideEncoder if first == "words" else StaticBesideEncoder

    @staticmethod
    def fingerprint(name: str) -> str:
        """Returns nothing: the preprocessor of the same name tells it."""
        return ""


EMBEDDED = _Embedded()
