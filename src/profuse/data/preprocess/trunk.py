"""Text -> numbers of the tokens of a Hugging Face model that is tuned to the target."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
import torch

from profuse._lookup import load
from profuse.data.dataset import ModalityData
from profuse.data.embeddings.folders import digest_of, folder_of
from profuse.data.preprocess._base import Preprocessor
from profuse.data.words import rows_of_texts
from profuse.errors import CheckpointError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["FORMS", "TrunkPreprocessor", "trunk_reader"]

FORMS = ("hf-lora", "hf-last", "hf-whole")
"""What stands before the colon of a name: which weights of the model are tuned."""
_MOST_TOKENS = 256


class TrunkPreprocessor(Preprocessor):
    """Text -> `Raw` long `[row, token, 1]`, mask `[row, token]`; a number is 1 + that of a token, 0 is none.

    A text keeps its first tokens, as many as 99 of 100 training texts have, at most 256. The `Spec` names the model's
    folder (`source`), which its encoder loads. A saved model holds its digest, and needs it where it is loaded.

    Raises:
        CheckpointError: `from_state`: the model in the folder is not that of training.
    """

    takes = "text"
    source: ClassVar[str]

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.source, dict(self.__dict__))

    def fit(self, data: ModalityData) -> None:
        folder = folder_of(self.source)
        self.digest = digest_of(folder)
        lengths = [len(row) for row in self._rows(data) if row]
        most = min(int(np.ceil(np.percentile(lengths, 99))), _MOST_TOKENS)
        n_cut = sum(n > most for n in lengths)
        self.notes = (f"{n_cut} of {len(lengths)} texts are longer than {most} tokens: cut.",) * (n_cut > 0)
        n_words = len(self._tokenizer())
        self.spec = Spec(kind="text", vocabulary=1 + n_words, max_length=most, source=self.source)

    def _tokenizer(self) -> Any:
        made: Any = load("profuse.data.embeddings.frozen:tokenizer_of")
        return made(folder_of(self.source), self.digest)

    def _rows(self, data: ModalityData) -> list[list[int]]:
        """Returns the tokens of each row; none of an absent one."""
        texts = rows_of_texts(data, where="TrunkPreprocessor")
        quiet: Any = load("profuse.data.embeddings.frozen:quiet")
        with quiet():
            tokenizer = self._tokenizer()
            most = min(_MOST_TOKENS, tokenizer.model_max_length)
            read = tokenizer(texts, truncation=True, max_length=most)["input_ids"]
        return [ids if there else [] for ids, there in zip(read, data.present, strict=True)]

    def transform(self, data: ModalityData) -> Raw:
        rows = [row[: self.spec.max_length] for row in self._rows(data)]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
        values = np.zeros((*mask.shape, 1), dtype=np.int64)
        values[mask, 0] = [1 + token for row in rows for token in row]
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))

    def state(self) -> dict[str, Any]:
        return {"spec": self.spec.model_dump(mode="json"), "digest": self.digest}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        self = cls()
        self.digest, self.spec = str(state["digest"]), Spec.model_validate(state["spec"])
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
