"""Texts, pictures, videos, sounds -> what a Hugging Face model that is tuned to the target reads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

from profuse.data.dataset import ModalityData
from profuse.data.embeddings import embedding
from profuse.data.embeddings.folders import digest_of, folder_of, lacking
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

    A text or a sound keeps its beginning: as many tokens as 99 of 100 training rows have, at most `max_length`. A video
    keeps frames that are evenly spaced: as many as a model of videos reads, for a model of pictures at most
    `max_length`. The `Spec` names the model's folder (`source`), which its encoder loads. A saved model holds its
    digest, and needs it where it is loaded.

    Args:
        max_length: The most tokens of a text or a sound (256 if None), or frames of a video (16 if None).

    Raises:
        ConfigError: `fit`: the model has nothing that reads such cells, or reads them otherwise than it must.
        CheckpointError: `from_state`: the model in the folder is not that of training.
    """

    takes = "text"
    bound = "max_length"
    source: ClassVar[str]

    def __init__(self, *, max_length: int | None = None) -> None:
        self.max_length = max_length

    @classmethod
    def accepts(cls, name: str) -> bool:
        return name in CELLS

    @classmethod
    def refusal(cls, data: ModalityData) -> str:
        if cls.accepts(data.kind):
            if (why := other_channels(data)) or data.max_length is None or cls.lacking():
                return why
            if why := CELLS[data.kind].unbounded(_model_of(cls.source)):
                return f"must go without max_length, as {why}; got max_length={data.max_length}. Leave it out."
            return ""
        if not embedding(f"hf:{cls.source}").takes(data.kind):
            return ""
        return (
            f"must get one of {', '.join(CELLS)}; got {data.kind}, to which no model is tuned. Name it frozen: "
            f"hf:{cls.source}, or hf-tokens:{cls.source}."
        )

    @classmethod
    def lacking(cls) -> str:
        return lacking(cls.source)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.source, dict(self.__dict__))

    def fit(self, data: ModalityData) -> None:
        if why := self.refusal(data):
            raise DataError(f"hf: the model in {self.source!r} {why}")
        model = _model_of(self.source)
        self.takes, self.digest = data.kind, model.digest
        self.spec, note = CELLS[self.takes].spec(model, data, self.max_length)
        self.notes = (note,) if note else ()

    def transform(self, data: ModalityData) -> Raw:
        if why := self.refusal(data):
            raise DataError(f"hf: the model in {self.source!r} {why}")
        return CELLS[self.takes].raw(Model(self.source, folder_of(self.source), self.digest), data, self.spec)

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


def _model_of(source: str) -> Model:
    folder = folder_of(source)
    return Model(source, folder, digest_of(folder))


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
