"""Text -> words, each the ids of the whole word and of its hashed character n-grams (fastText's subwords)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.data.terms import MOST_TEXTS, counted
from profuse.data.words import bucket, ngrams, rows_of_words
from profuse.errors import ConfigError, DataError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["SubwordPreprocessor"]

_MAX_IDS = 1 << 26  # of a transformed training set, 8 bytes each: beyond it the slots of a word are cut


class SubwordPreprocessor(Preprocessor):
    """Text -> `Raw` long `[row, word, subword]`, mask `[row, word]`; a text without words is absent.

    Slot 0 of a word is its id in the training vocabulary (0 if unseen or rare), the other slots are
    `1 + n_words + crc32(n-gram) mod n_buckets` for the 3- to 5-character parts of `<word>`: an unseen word still has
    its parts. 0 = no subword. Words are case-folded; see `profuse.data.words.tokenise`.

    Sizes that `fit` chooses: words a text, the 99th percentile, at most `max_words` (a longer text keeps its
    beginning); subwords a word, the 99th percentile, 4 to 40; buckets, the first power of 2 from the number of
    distinct n-grams on, 1,024 to 32,768 (more cost time in every optimiser step and gained nothing).

    The spec also tells in how many training texts words, word pairs and parts stand, and which of these become columns
    of what a linear path reads (`profuse.data.terms.counted`).

    Args:
        min_count: Occurrences in train that make a word part of the vocabulary.
        max_vocabulary: The largest number of words, the most frequent ones.
        max_words: The largest number of words of a text.

    Raises:
        ConfigError: A number below 1.

    Reference:
        Bojanowski et al. 2017, Enriching word vectors with subword information, section 3.2.
    """

    takes = "text"
    bound = "max_words"

    def __init__(self, *, min_count: int = 2, max_vocabulary: int = 20_000, max_words: int = 256) -> None:
        if min(min_count, max_vocabulary, max_words) < 1:
            raise ConfigError(
                "SubwordPreprocessor: min_count, max_vocabulary and max_words must be at least 1; got "
                f"min_count={min_count}, max_vocabulary={max_vocabulary}, max_words={max_words}."
            )
        self.min_count = min_count
        self.max_vocabulary = max_vocabulary
        self.max_words = max_words

    def fit(self, data: ModalityData) -> None:
        rows = [row for row in rows_of_words(data, where="SubwordPreprocessor") if row]
        if not rows:
            raise DataError(
                "SubwordPreprocessor: at least one training row must hold a word; got none. "
                "Leave this modality out, or give it another kind."
            )
        counts = Counter(chain.from_iterable(rows))
        frequent = sorted((w for w, n in counts.items() if n >= self.min_count), key=lambda w: (-counts[w], w))
        self._words = {w: i + 1 for i, w in enumerate(frequent[: self.max_vocabulary])}
        parts = {w: list(ngrams(w)) for w in counts}
        n_ngrams = len(set(chain.from_iterable(parts.values())))
        self._n_buckets = int(np.clip(1 << max(0, n_ngrams - 1).bit_length(), 1 << 10, 1 << 15))
        n_words = int(np.ceil(np.percentile([len(row) for row in rows], 99)))
        self._max_words = min(n_words, self.max_words)
        n_long = sum(len(row) > self.max_words for row in rows) if n_words > self.max_words else 0
        self.notes = (f"{n_long} of {len(rows)} texts are longer than {self.max_words} words: cut.",) if n_long else ()
        by_occurrence = np.repeat([1 + len(parts[w]) for w in counts], list(counts.values()))
        n_slots = int(np.clip(np.ceil(np.percentile(by_occurrence, 99)), 4, 40))
        self._n_slots = max(4, min(n_slots, _MAX_IDS // (len(data) * self._max_words)))
        vocabulary = 1 + len(self._words) + self._n_buckets
        some = self._raw(rows[:: -(-len(rows) // MOST_TEXTS)])
        terms = counted(some, n_words=len(self._words), vocabulary=vocabulary)
        self.spec = Spec(kind="text", vocabulary=vocabulary, max_length=self._max_words, **terms)

    def _ids(self, word: str) -> list[int]:
        first = 1 + len(self._words)
        parts = [first + bucket(part, self._n_buckets) for part in islice(ngrams(word), self._n_slots - 1)]
        return [self._words.get(word, 0), *parts]

    def transform(self, data: ModalityData) -> Raw:
        return self._raw(rows_of_words(data, where="SubwordPreprocessor"))

    def _raw(self, rows: Sequence[list[str]]) -> Raw:
        rows = [row[: self._max_words] for row in rows]
        index: dict[str, int] = {}  # n-grams are cut and hashed once a word
        flat = np.array([index.setdefault(w, len(index)) for row in rows for w in row], dtype=np.int64)
        table = np.zeros((len(index), self._n_slots), dtype=np.int64)
        for word, i in index.items():
            ids = self._ids(word)
            table[i, : len(ids)] = ids
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        mask = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
        values = np.zeros((*mask.shape, self._n_slots), dtype=np.int64)
        values[mask] = table[flat]
        return Raw(torch.from_numpy(values), torch.from_numpy(mask))

    def state(self) -> dict[str, Any]:
        return {
            "spec": self.spec.model_dump(mode="json"),
            "options": {
                "min_count": self.min_count,
                "max_vocabulary": self.max_vocabulary,
                "max_words": self.max_words,
            },
            "words": list(self._words),
            "n_buckets": self._n_buckets,
            "n_slots": self._n_slots,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SubwordPreprocessor:
        self = cls(**state["options"])
        self.spec = Spec.model_validate(state["spec"])
        self._words = {w: i + 1 for i, w in enumerate(state["words"])}
        self._n_buckets = int(state["n_buckets"])
        self._n_slots = int(state["n_slots"])
        self._max_words = self.spec.max_length
        return self
