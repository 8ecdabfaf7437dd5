"""Text -> numbers of word pieces whose vectors carry meaning before anything is learned."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from profuse._optional import folder_of, need
from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.terms import MOST_TEXTS, counted
from profuse.data.words import rows_of_texts
from profuse.errors import CheckpointError, DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["N_PIECES", "StaticPreprocessor", "static_vectors"]

N_PIECES = 32_000
"""Word pieces that have a vector."""
_WHY = "Static text vectors"
_MAX_PIECES = 256


def _file(name: str) -> Path:
    """Returns a file of the package, which is not imported: that would set up the logging of the whole process."""
    return folder_of("wordllama", "pretrained", _WHY) / name


@lru_cache(maxsize=1)
def static_vectors() -> Tensor:
    """Returns float32 `[piece, 256]`, the vectors of the package `wordllama`; nothing is downloaded.

    Raises:
        MissingDependencyError: The package is not installed.
    """
    return load_file(_file("weights/l2_supercat_256.safetensors"))["embedding.weight"].float()


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    tokenizers = need("tokenizers", "pretrained", _WHY)
    return tokenizers.Tokenizer.from_file(str(_file("tokenizers/l2_supercat_tokenizer_config.json")))


@lru_cache(maxsize=1)
def _digest() -> str:
    """Tells these vectors from those of another version of the package."""
    return hashlib.sha256(static_vectors().numpy().tobytes()).hexdigest()


def _raw(rows: list[list[int]], max_length: int) -> Raw:
    rows = [row[:max_length] for row in rows]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    values = np.zeros((*mask.shape, 1), dtype=np.int64)
    values[mask, 0] = [1 + piece for row in rows for piece in row]
    return Raw(torch.from_numpy(values), torch.from_numpy(mask))


class StaticPreprocessor(Preprocessor):
    """Text -> `Raw` long `[row, piece, 1]`, mask `[row, piece]`; a text without words is absent.

    A number is 1 + that of a word piece (bytes stand for what has none), so that 0 is none. Texts are case-folded:
    pieces of capitals have poorer vectors. A text keeps its first pieces, as many as 99 of 100 training texts have, at
    most 256. Besides, `fit` counts in how many training texts each piece and pair of pieces stands (`counted`). A saved
    model holds neither pieces nor vectors, and needs the package `wordllama` (extra `pretrained`) where it is loaded.

    Raises:
        MissingDependencyError: The package is not installed.
        CheckpointError: `from_state`: its vectors are not those of training.

    Reference:
        Miller 2024, WordLlama: recycled token embeddings from large language models.
    """

    takes = "text"

    def __init__(self) -> None:
        static_vectors()  # told at once where the package is missing

    def fit(self, data: ModalityData) -> None:
        rows = [row for row in self._rows(data) if row]
        lengths = [len(row) for row in rows]
        if not lengths:
            raise DataError(
                "StaticPreprocessor: at least one training row must hold a word; got none. Leave this modality out, "
                "or give it another kind."
            )
        longest = int(np.ceil(np.percentile(lengths, 99)))
        n_long = sum(n > _MAX_PIECES for n in lengths) if longest > _MAX_PIECES else 0
        self.notes = (f"{n_long} of {len(lengths)} texts are longer than {_MAX_PIECES} word pieces: cut.",) * (
            n_long > 0
        )
        max_length = min(longest, _MAX_PIECES)
        some = _raw(rows[:: -(-len(rows) // MOST_TEXTS)], max_length)
        terms = counted(some, n_words=N_PIECES, vocabulary=1 + N_PIECES)
        self.spec = Spec(kind="text", vocabulary=1 + N_PIECES, max_length=max_length, **terms)

    def transform(self, data: ModalityData) -> Raw:
        return _raw(self._rows(data), self.spec.max_length)

    def _rows(self, data: ModalityData) -> list[list[int]]:
        """Returns the pieces of each row; none of an absent one."""
        texts = [text.casefold().strip() for text in rows_of_texts(data, where="StaticPreprocessor")]
        return [encoded.ids for encoded in _tokenizer().encode_batch(texts, add_special_tokens=False)]

    def state(self) -> dict[str, Any]:
        return {"spec": self.spec.model_dump(mode="json"), "vectors": _digest()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> StaticPreprocessor:
        self = cls()
        if state["vectors"] != _digest():
            raise CheckpointError(
                "StaticPreprocessor: the vectors of wordllama must be those that the model was fitted with; got others "
                f"(sha256 {_digest()[:12]}, not {str(state['vectors'])[:12]}). Install the version of then."
            )
        self.spec = Spec.model_validate(state["spec"])
        return self
