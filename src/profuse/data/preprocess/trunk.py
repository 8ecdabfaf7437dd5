"""Texts, pictures, sounds -> what a Hugging Face model that is tuned to the target reads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

from profuse.data.dataset import ModalityData
from profuse.data.embeddings import embedding
from profuse.data.embeddings.folders import digest_of, folder_of
from profuse.data.pictures import other_channels
from profuse.data.preprocess._base import Preprocessor
from profuse.data.preprocess._trunk_cells import CELLS, Model
from profuse.errors import CheckpointError, DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["FORMS", "TrunkPreprocessor", "trunk_reader"]

FORMS = ("hf-lora", "hf-last", "hf-whole")
"""What stands before the colon of a name: which weights of the model are tuned."""


class TrunkPreprocessor(Preprocessor):
    """Cells -> `Raw` of what the model in a folder reads: numbers of tokens, pixels, samples or frames.

    A text or a sound keeps its beginning: as many tokens as 99 of 100 training rows have, at most 256. The `Spec` names
    the model's folder (`source`), which its encoder loads. A saved model holds its digest, and needs it where it is
    loaded.

    Raises:
        ConfigError: `fit`: the model has nothing that reads such cells, or reads them otherwise than it must.
        CheckpointError: `from_state`: the model in the folder is not that of training.
    """

    takes = "text"
    source: ClassVar[str]

    @classmethod
    def accepts(cls, name: str) -> bool:
        return name in CELLS

    @classmethod
    def refusal(cls, data: ModalityData) -> str:
        if cls.accepts(data.kind):
            return other_channels(data)
        if not embedding(f"hf:{cls.source}").takes(data.kind):
            return ""
        return (
            f"must get one of {', '.join(CELLS)}; got {data.kind}, to which no model is tuned. Name it frozen: "
            f"hf:{cls.source}, or hf-tokens:{cls.source}."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.source, dict(self.__dict__))

    def fit(self, data: ModalityData) -> None:
        if why := self.refusal(data):
            raise DataError(f"hf: the model in {self.source!r} {why}")
        self.takes, self.digest = data.kind, digest_of(folder_of(self.source))
        self.spec, note = CELLS[self.takes].spec(self._model, data)
        self.notes = (note,) if note else ()

    @property
    def _model(self) -> Model:
        return Model(self.source, folder_of(self.source), self.digest)

    def transform(self, data: ModalityData) -> Raw:
        if why := self.refusal(data):
            raise DataError(f"hf: the model in {self.source!r} {why}")
        return CELLS[self.takes].raw(self._model, data, self.spec)

    def state(self) -> dict[str, Any]:
        return {"spec": self.spec.model_dump(mode="json"), "digest": self.digest}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        self = cls()
        self.digest, self.spec = str(state["digest"]), Spec.model_validate(state["spec"])
        self.takes = self.spec.kind
        if self.spec.source != cls.source or digest_of(folder_of(cls.source)) != self.digest:
            raise CheckpointError(
                f"hf: the model in {cls.source!r} must be the one that was tuned; its files have changed since. Bring "
                "the old ones back, or fit again."
            )
        return self


@lru_cache(maxsize=64)
def trunk_reader(name: str) -> type[TrunkPreprocessor] | None:
    """Returns the preprocessor that a name such as `hf-lora:FOLDER` says; None if it is none."""
    form, _, source = name.partition(":")
    return _class_of(source) if form in FORMS and source else None


@lru_cache(maxsize=64)
def _class_of(source: str) -> type[TrunkPreprocessor]:
    return type("TrunkPreprocessor", (TrunkPreprocessor,), {"source": source, "__module__": __name__})


def _restored(source: str, values: dict[str, Any]) -> TrunkPreprocessor:
    made = _class_of(source)()
    made.__dict__.update(values)
    return made
