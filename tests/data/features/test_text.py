"""Hand-made features of texts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from profuse.data.dataset import ModalityData
from profuse.data.features.lsa import LsaFeatures, TextDescription
from profuse.data.features.tfidf import TfidfFeatures
from profuse.data.words import ngrams, tokenise
from profuse.errors import DataError

TRAIN = [
    "the cat sat on the mat",
    "the dog sat on the log",
    "a cat and a dog",
    "",
    "mats and logs, cats and dogs!",
    "the cathedral",
    "東京都 the tower",
]


def text(*rows: str | None) -> ModalityData:
    return ModalityData("text", np.array(rows, dtype=object), np.array([row is not None for row in rows]))


def test_texts_without_words_and_absent_ones_are_missing() -> None:
    made = LsaFeatures()
    made.fit(text(*TRAIN))
    x = made.transform(text("the cat", "", "  ", None))
    assert np.isfinite(x[0]).all()
    assert np.isnan(x[1:]).all()


def test_training_texts_without_any_word_are_refused_and_one_is_enough() -> None:
    with pytest.raises(DataError, match="LsaFeatures: at least one training row must hold a word; got none"):
        LsaFeatures().fit(text("", None))
    made = LsaFeatures()
    made.fit(text("hello"))
    assert np.isfinite(made.transform(text("hello", "bye"))).all()


def test_the_terms_are_those_of_scikit_learn() -> None:
    rows = [tokenise(row) for row in TRAIN if row]
    description = TextDescription(4)
    description.fit(rows, where="Here")
    options: dict[str, Any] = {"sublinear_tf": True, "min_df": 2, "lowercase": False}
    words = TfidfVectorizer(analyzer=lambda r: [*r, *map(" ".join, pairwise(r))], **options)
    parts = TfidfVectorizer(analyzer=lambda r: [p for w in r for p in ngrams(w)], **options)
    for block, oracle in zip(description._terms._blocks, (words, parts), strict=True):
        expected = oracle.fit_transform(rows).toarray()
        columns = [block.index[term] for term in oracle.get_feature_names_out()]
        assert sorted(columns) == list(range(len(block.index)))
        np.testing.assert_allclose(block.transform(rows).toarray()[:, columns], expected, rtol=1e-5, atol=1e-7)


def test_the_description_of_a_row_does_not_depend_on_the_other_rows() -> None:
    made = LsaFeatures()
    made.fit(text(*TRAIN))
    alone = made.transform(text("the cat sat"))
    np.testing.assert_allclose(made.transform(text("dogs", "the cat sat", None))[1], alone[0], rtol=1e-5, atol=1e-7)


def test_sparse_terms_are_what_the_components_are_made_of() -> None:
    made, whole = TfidfFeatures(), LsaFeatures(3)
    for features in (made, whole):
        features.fit(text(*TRAIN, *TRAIN))  # no term stands in a single row, so both know the same
    x = made.transform(text("the cats sat on", "zzz", None))
    assert sparse.issparse(x)
    np.testing.assert_allclose(
        (x @ whole._description._components.T)[0], whole.transform(text("the cats sat on"))[0], rtol=1e-5, atol=1e-6
    )
    assert abs(x[[1, 2]]).sum() == 0
    rare = TfidfFeatures()
    rare.fit(text(*TRAIN))
    assert abs(rare.transform(text("tower"))).sum() > 0
    again = TfidfFeatures.from_state(made.state())
    assert (again.transform(text(*TRAIN)) != made.transform(text(*TRAIN))).nnz == 0
