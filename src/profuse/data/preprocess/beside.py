"""Texts as words that are learned, and beside them the vector of an embedding: both in one `Raw`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.preprocess.static import StaticPreprocessor
from profuse.data.preprocess.text import SubwordPreprocessor
from profuse.errors import ConfigError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["BesidePreprocessor", "beside", "packed", "parts_of", "unpacked"]

_WORDS: dict[str, type[Preprocessor]] = {"words": SubwordPreprocessor, "static": StaticPreprocessor}
"""The encoders beside which a vector may stand, and what they read."""


def parts_of(name: str) -> tuple[str, str]:
    """`"words+hf:FOLDER"` -> ("words", "hf:FOLDER"); ("", "") for any other name."""
    first, _, rest = name.partition("+")
    return (first, rest) if first in _WORDS and rest else ("", "")


def packed(words: Raw, vector: Raw) -> Raw:
    """Returns words `[row, word, slot]` and a vector `[row, channel]` as one `Raw` `[row, position, slot]`.

    The vector stands before the words, the bits of its float32 as whole numbers, in as many positions as it fills.
    """
    n_slots = words.values.shape[2]
    bits = vector.values.float().contiguous().view(torch.int32).long()
    bits = torch.unflatten(F.pad(bits, (0, -bits.shape[1] % n_slots)), 1, (-1, n_slots))
    there = vector.mask[:, None].expand(bits.shape[:2])
    return Raw(torch.cat([bits, words.values], dim=1), torch.cat([there, words.mask], dim=1))


def unpacked(raw: Raw, n_channels: int) -> tuple[Raw, Raw]:
    """Returns the words and the vector that `packed` has put together."""
    n_before = -(-n_channels // raw.values.shape[2])
    values, mask = raw.values, raw.mask
    if (lacking := n_before + 1 - values.shape[1]) > 0:  # all rows lack it, and what is padding was cut off
        values, mask = F.pad(values, (0, 0, 0, lacking)), F.pad(mask, (0, lacking))
    bits = values[:, :n_before].flatten(1)[:, :n_channels]
    vector: Tensor = bits.to(torch.int32).contiguous().view(torch.float32)
    return Raw(values[:, n_before:], mask[:, n_before:]), Raw(vector, mask[:, 0])


class BesidePreprocessor(Preprocessor):
    """Text -> `Raw` of its words and of the vector of an embedding; see `packed`.

    The `Spec` is that of the words, with the channels of the vector.
    """

    takes = "text"
    name: ClassVar[str]
    words_class: ClassVar[type[Preprocessor]]
    vector_class: ClassVar[type[Preprocessor]]

    def __init__(self) -> None:
        self.words, self.vector = self.words_class(), self.vector_class()

    @classmethod
    def lacking(cls) -> str:
        return cls.vector_class.lacking()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.name, dict(self.__dict__))

    def fit(self, data: ModalityData) -> None:
        self.words.fit(data)
        self.vector.fit(data)
        self._describe()
        self.notes = (*self.words.notes, *self.vector.notes)

    def _describe(self) -> None:
        if self.vector.spec.max_length:
            raise ConfigError(f"{self.name}: what stands beside words must be one vector a text, not tokens.")
        self.spec: Spec = self.words.spec.model_copy(update={"n_channels": self.vector.spec.n_channels})

    def transform(self, data: ModalityData) -> Raw:
        return packed(self.words.transform(data), self.vector.transform(data))

    def state(self) -> dict[str, Any]:
        return {"words": self.words.state(), "vector": self.vector.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        self = cls.__new__(cls)
        self.words = cls.words_class.from_state(state["words"])
        self.vector = cls.vector_class.from_state(state["vector"])
        self._describe()
        return self


@lru_cache(maxsize=64)
def beside(name: str, first: str, vector: type[Preprocessor]) -> type[BesidePreprocessor]:
    """Returns the preprocessor called `name`: `first` names what reads the words, `vector` makes the vector."""
    members = {"name": name, "words_class": _WORDS[first], "vector_class": vector, "__module__": __name__}
    return type("BesidePreprocessor", (BesidePreprocessor,), members)


def _restored(name: str, values: dict[str, Any]) -> BesidePreprocessor:
    vector: Any = type(values["vector"])
    made = beside(name, parts_of(name)[0], vector)
    self = made.__new__(made)
    self.__dict__.update(values)
    return self
