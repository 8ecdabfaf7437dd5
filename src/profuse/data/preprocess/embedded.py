"""Cells -> vectors, or tokens, of an embedding: a frozen model, or any function by name."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.embeddings import EMBEDDINGS, embedding
from profuse.data.embeddings.folders import digest_of, folder_of
from profuse.data.embeddings.vectors import cells_of, check_takes, identity_of, vectors_of
from profuse.data.pictures import other_channels
from profuse.data.preprocess._base import Preprocessor
from profuse.data.preprocess.beside import beside, parts_of
from profuse.data.preprocess.trunk import trunk_reader
from profuse.errors import CheckpointError, DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["EMBEDDED", "EmbeddingPreprocessor"]

_MOST_TOKENS = 256


class EmbeddingPreprocessor(Preprocessor):
    """Cells -> `Raw` of what an embedding makes of them: float `[row, channel]`, or `[row, token, channel]`.

    From all numbers the mean of their channel in training rows is taken, and they are divided by one number, so that
    their mean square there is 1: channels keep their relative sizes, which an embedding means. Of tokens a row keeps
    the first, as many as 99 of 100 training rows have, at most 256. A saved model holds neither vectors nor the model
    that made them but its name and its digest, and needs it where it meets cells whose vectors are not kept on disk.

    A class of each embedding is `preprocessor(name)`; this one has no `name`.

    Raises:
        CheckpointError: `from_state`: the embedding is another one than in training.
    """

    name: ClassVar[str]
    """Of the embedding."""

    def __init__(self) -> None:
        self.takes = ""
        self.identity = ""
        self._mean = np.zeros(0, dtype=np.float32)
        self._scale = 1.0

    @classmethod
    def accepts(cls, name: str) -> bool:
        return embedding(cls.name).takes(name)

    @classmethod
    def refusal(cls, data: ModalityData) -> str:
        return other_channels(data) if embedding(cls.name).colours_only else ""

    @classmethod
    def lacking(cls) -> str:
        asked = embedding(cls.name).lacking
        return "" if asked is None else asked()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.name, dict(self.__dict__))

    def fit(self, data: ModalityData) -> None:
        check_takes(self.name, data.kind, "EmbeddingPreprocessor")
        self.takes, self.identity = data.kind, identity_of(self.name)
        rows = self._vectors(data)
        every = np.concatenate([np.atleast_2d(row) for row in rows])
        self._mean = every.mean(0, dtype=np.float64).astype(np.float32)
        spread = float(np.sqrt(np.square(every - self._mean, dtype=np.float64).mean()))
        self._scale = spread or 1.0
        if embedding(self.name).tokens:
            lengths = [len(row) for row in rows]
            most = min(int(np.ceil(np.percentile(lengths, 99))), _MOST_TOKENS)
            n_cut = sum(n > most for n in lengths)
            self.notes = (f"{n_cut} of {len(lengths)} rows have more than {most} tokens: cut.",) * (n_cut > 0)
            self.spec = Spec(kind="series", n_channels=every.shape[1], max_length=most)
        else:
            self.spec = Spec(kind="vector", n_channels=every.shape[1])

    def _vectors(self, data: ModalityData) -> list[np.ndarray]:
        if why := self.refusal(data):
            raise DataError(f"embedding {self.name!r}: it {why}")
        return vectors_of(self.name, cells_of(data))

    def transform(self, data: ModalityData) -> Raw:
        rows = self._vectors(data)
        if odd := [row.shape[-1] for row in rows if row.shape[-1] != self.spec.n_channels]:
            raise DataError(
                f"embedding {self.name!r}: all cells must have {self.spec.n_channels} channels, as in training; got "
                f"{odd[0]}. Correct the function."
            )
        scaled = [(row - self._mean) / np.float32(self._scale) for row in rows]
        present = torch.from_numpy(np.array(data.present))
        if not self.spec.max_length:  # one vector a row
            values = np.zeros((len(data), self.spec.n_channels), dtype=np.float32)
            if scaled:
                values[data.present] = np.stack(scaled)
            return Raw(torch.from_numpy(values), present)
        scaled = [row[: self.spec.max_length] for row in scaled]
        n_tokens = max((len(row) for row in scaled), default=1)
        tokens = np.zeros((len(data), n_tokens, self.spec.n_channels), dtype=np.float32)
        mask = np.zeros((len(data), n_tokens), dtype=bool)
        for i, row in zip(np.flatnonzero(data.present), scaled, strict=True):
            tokens[i, : len(row)], mask[i, : len(row)] = row, True
        return Raw(torch.from_numpy(tokens), torch.from_numpy(mask))

    def state(self) -> dict[str, Any]:
        return {
            "spec": self.spec.model_dump(mode="json"),
            "takes": self.takes,
            "identity": self.identity,
            "mean": self._mean,
            "scale": self._scale,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        self = cls()
        self.spec = Spec.model_validate(state["spec"])
        self.takes, self.identity = str(state["takes"]), str(state["identity"])
        self._mean, self._scale = np.asarray(state["mean"], dtype=np.float32), float(state["scale"])
        now = identity_of(cls.name)
        if now != self.identity:
            raise CheckpointError(
                f"embedding {cls.name!r}: it must be the one that the model was fitted with; its files or its code "
                "have changed since. Bring the old one back, or fit the model again."
            )
        return self


@lru_cache(maxsize=64)
def _class_of(name: str) -> type[EmbeddingPreprocessor]:
    """Returns the preprocessor of one embedding."""
    members = {"name": name, "gives": "series" if embedding(name).tokens else "vector", "__module__": __name__}
    return type("EmbeddingPreprocessor", (EmbeddingPreprocessor,), members)


def _restored(name: str, values: dict[str, Any]) -> EmbeddingPreprocessor:
    made = _class_of(name)()
    made.__dict__.update(values)
    return made


class _Embedded:
    """Preprocessors that are called as an embedding is, or as what it stands beside: `words+hf:FOLDER`."""

    @staticmethod
    def part(name: str) -> object | None:
        """Returns the preprocessor, or None if there is no such embedding."""
        if EMBEDDINGS.knows(name):
            return _class_of(name)
        if (reader := trunk_reader(name)) is not None:
            return reader
        first, rest = parts_of(name)
        return beside(name, first, _class_of(rest)) if first and EMBEDDINGS.knows(rest) else None

    @staticmethod
    def fingerprint(name: str) -> str:
        """Returns that of the embedding."""
        if trunk_reader(name) is not None:
            return digest_of(folder_of(name.partition(":")[2]))
        return EMBEDDINGS.fingerprint(name if EMBEDDINGS.knows(name) else parts_of(name)[1])


EMBEDDED = _Embedded()
