"""Texts as TF-IDF of words and characters, reduced by a truncated SVD (latent semantic analysis)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from profuse.data.dataset import ModalityData
from profuse.data.features._base import Features
from profuse.data.words import ngrams, rows_of_words
from profuse.errors import DataError
from profuse.kinds import kind_named

__all__ = ["LsaFeatures", "Terms", "TextDescription"]

Rows = Sequence[Sequence[str]]


def _word_terms(row: Sequence[str]) -> Iterable[str]:
    yield from row
    yield from (f"{a} {b}" for a, b in pairwise(row))


def _counts(rows: Iterable[Iterable[str]], index: dict[str, int], *, grow: bool) -> sparse.csr_matrix:
    """Returns how often each row has each term of `index`; with `grow`, new terms are added to it."""
    indices: list[int] = []
    values: list[int] = []
    ends = [0]
    for row in rows:
        for term, n in Counter(row).items():
            j = index.setdefault(term, len(index)) if grow else index.get(term, -1)
            if j >= 0:
                indices.append(j)
                values.append(n)
        ends.append(len(indices))
    return sparse.csr_matrix(
        (np.array(values, dtype=np.float32), np.array(indices, dtype=np.int32), np.array(ends)),
        shape=(len(ends) - 1, len(index)),
    )


class _Block:
    """TF-IDF of one set of terms: `(1 + ln count) (1 + ln((1 + n) / (1 + n_t)))`, each row of length 1.

    `n` is the number of training rows and `n_t` of those that have the term: scikit-learn's `sublinear_tf` and
    `smooth_idf`.
    """

    def __init__(self, index: dict[str, int], idf: np.ndarray, *, characters: bool) -> None:
        self.index = index
        self.idf = idf
        self.characters = characters

    @classmethod
    def fitted(cls, rows: Rows, *, characters: bool, n_terms: int, min_rows: int) -> Self:
        index: dict[str, int] = {}
        block = cls(index, np.zeros(0, dtype=np.float32), characters=characters)
        rows = [row for row in rows if row]
        in_rows = np.bincount(block._count(rows, grow=True).indices, minlength=len(index))
        kept = np.flatnonzero(in_rows >= min(min_rows, in_rows.max(initial=0)))
        kept = np.sort(kept[np.argsort(-in_rows[kept], kind="stable")[:n_terms]])
        terms = list(index)
        block.index = {terms[old]: new for new, old in enumerate(kept)}
        block.idf = (1.0 + np.log((1 + len(rows)) / (1 + in_rows[kept]))).astype(np.float32)
        return block

    def _count(self, rows: Rows, *, grow: bool) -> sparse.csr_matrix:
        if not self.characters:
            return _counts((_word_terms(row) for row in rows), self.index, grow=grow)
        words: dict[str, int] = {}  # n-grams are cut once a word, not once a row
        by_word = _counts(rows, words, grow=True)
        return (by_word @ _counts((ngrams(word) for word in words), self.index, grow=grow)).tocsr()

    def transform(self, rows: Rows) -> sparse.csr_matrix:
        counts = self._count(rows, grow=False)
        counts.data = (1.0 + np.log(counts.data)) * self.idf[counts.indices]
        length = np.sqrt(np.asarray(counts.multiply(counts).sum(1)).ravel())
        return (sparse.diags(1.0 / np.where(length > 0, length, 1.0)) @ counts).tocsr()


class Terms:
    """TF-IDF of words and word pairs, beside that of 3- to 5-character parts, as one sparse matrix.

    Args:
        blocks: Of words, of parts.
    """

    def __init__(self, blocks: Sequence[_Block]) -> None:
        self._blocks = tuple(blocks)

    @classmethod
    def fitted(cls, rows: Rows, *, where: str, n_terms: int = 20_000, min_rows: int = 2) -> Self:
        """Learns terms and weights from training rows of words.

        Args:
            rows: Words of each row.
            where: Begins messages.
            n_terms: The largest number of terms of each of the two sets, the most frequent ones.
            min_rows: Training rows that must have a term; fewer where none has so many. One of a single row says
                nothing of others by itself.

        Raises:
            DataError: No row holds a word.
        """
        rows = [row for row in rows if row]
        if not rows:
            raise DataError(
                f"{where}: at least one training row must hold a word; got none. Leave this modality out, or give "
                "it another kind."
            )
        return cls([_Block.fitted(rows, characters=c, n_terms=n_terms, min_rows=min_rows) for c in (False, True)])

    def transform(self, rows: Rows) -> sparse.csr_matrix:
        """Returns float32 `[row, term]`; nothing in a row without words."""
        return sparse.hstack([block.transform(rows) for block in self._blocks], format="csr")

    def state(self) -> dict[str, Any]:
        """Returns what was learned as JSON values and arrays."""
        words, characters = self._blocks
        return {
            "words": list(words.index),
            "words_idf": words.idf,
            "characters": list(characters.index),
            "characters_idf": characters.idf,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Returns the terms whose `state` this is."""
        return cls([
            _Block({t: i for i, t in enumerate(state[k])}, np.asarray(state[f"{k}_idf"], np.float32), characters=c)
            for k, c in (("words", False), ("characters", True))
        ])  # fmt: skip


class TextDescription:
    """`Terms` times V, of a truncated SVD of train.

    Args:
        n_components: Columns wanted; fewer where the rows or the terms are fewer.
    """

    def __init__(self, n_components: int) -> None:
        self.n_components = n_components

    def fit(self, rows: Rows, *, where: str) -> None:
        """Learns terms, weights and components from training rows of words.

        Raises:
            DataError: No row holds a word.
        """
        self._terms = Terms.fitted(rows, where=where)
        terms = self._terms.transform([row for row in rows if row])
        k = max(1, min(self.n_components, terms.shape[0] - 1, terms.shape[1]))
        self._components = randomized_svd(terms, k, n_iter=4, random_state=0)[2].astype(np.float32)

    def transform(self, rows: Rows) -> np.ndarray:
        """Returns float32 `[row, component]`; a row without words is 0."""
        return np.asarray(self._terms.transform(rows) @ self._components.T, dtype=np.float32)

    def projected(self, axes: np.ndarray) -> TextDescription:
        """Returns the description whose columns are those of this one times `axes`, `[component, column]`."""
        made = TextDescription(axes.shape[1])
        made._terms = self._terms
        made._components = np.asarray(axes.T @ self._components, dtype=np.float32)
        return made

    def state(self) -> dict[str, Any]:
        """Returns what was learned as JSON values and arrays."""
        return {"n_components": self.n_components, **self._terms.state(), "components": self._components}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Returns the description whose `state` this is."""
        self = cls(int(state["n_components"]))
        self._terms = Terms.from_state(state)
        self._components = np.asarray(state["components"], dtype=np.float32)
        return self


class LsaFeatures(Features):
    """Components of a `TextDescription`; a text without words is missing.

    Args:
        n_components: Columns wanted.
    """

    takes = "text"
    alone = False

    @classmethod
    def accepts(cls, name: str) -> bool:
        """Returns whether rows of the kind called `name` are texts."""
        return kind_named(name).is_words

    def __init__(self, n_components: int = 128) -> None:
        self._description = TextDescription(n_components)

    def fit(self, data: ModalityData) -> None:
        self._description.fit(rows_of_words(data, where="LsaFeatures"), where="LsaFeatures")

    def transform(self, data: ModalityData) -> np.ndarray:
        rows = rows_of_words(data, where="LsaFeatures")
        values = self._description.transform(rows).astype(np.float64)
        values[[not row for row in rows]] = np.nan
        return values

    def projected(self, axes: np.ndarray) -> LsaFeatures:
        """Returns fitted features that are these times `axes`, `[component, column]`."""
        made = LsaFeatures(axes.shape[1])
        made._description = self._description.projected(axes)
        return made

    def state(self) -> dict[str, Any]:
        return self._description.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        made = cls(int(state["n_components"]))
        made._description = TextDescription.from_state(state)
        return made
