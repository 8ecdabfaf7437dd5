"""Text -> its bytes, for encoders that read strings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.words import rows_of_texts
from profuse.errors import DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["BytePreprocessor"]

_MAX_BYTES = 8_192


def _cut(text: bytes) -> bytes:
    """Returns the beginning of a text that is too long, without a part of a character."""
    end = min(len(text), _MAX_BYTES)
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end -= 1
    return text[:end]


class BytePreprocessor(Preprocessor):
    """Text -> `Raw` int `[row, byte, 1]`, mask `[row, byte]`: 1 + each byte in UTF-8; a blank text is absent.

    `profuse.encoders.own.strings` makes strings of it again, as they were: neither case nor blanks change. A text keeps
    the characters of its first 8,192 bytes.
    """

    takes = "text"

    def fit(self, data: ModalityData) -> None:
        lengths = [len(text) for text in self._texts(data) if text]
        if not lengths:
            raise DataError(
                "BytePreprocessor: at least one training row must hold a character; got none. Leave this modality "
                "out, or give it another kind."
            )
        n_long = sum(n > _MAX_BYTES for n in lengths)
        self.notes = (f"{n_long} of {len(lengths)} texts are longer than {_MAX_BYTES:,} bytes: cut.",) * (n_long > 0)
        self.spec = Spec(kind="text", vocabulary=257, max_length=min(max(lengths), _MAX_BYTES))

    def transform(self, data: ModalityData) -> Raw:
        rows = [_cut(text) for text in self._texts(data)]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
        values = np.zeros((*mask.shape, 1), dtype=np.int32)
        values[mask, 0] = 1 + np.frombuffer(b"".join(rows), dtype=np.uint8).astype(np.int32)
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))

    def _texts(self, data: ModalityData) -> list[bytes]:
        """Returns the text of each row; nothing of an absent or blank one."""
        texts = rows_of_texts(data, where="BytePreprocessor")
        return [text.encode("utf-8", "surrogatepass") if text.strip() else b"" for text in texts]

    def state(self) -> dict[str, Any]:
        return {"spec": self.spec.model_dump(mode="json")}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BytePreprocessor:
        self = cls()
        self.spec = Spec.model_validate(state["spec"])
        return self
