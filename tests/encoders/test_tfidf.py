"""What a linear path reads of texts: TF-IDF, in which terms of the same training texts are one column."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from profuse.data.dataset import ModalityData
from profuse.data.preprocess import preprocessor
from profuse.data.terms import counted
from profuse.encoders import _tfidf
from profuse.encoders._tfidf import TermWeights
from profuse.encoders.static import StaticEncoder
from profuse.encoders.text import WordEncoder
from profuse.errors import ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw

TEXTS = ["the cat sat on the mat", "the dog sat", "a cat and a dog", "the the dog", "and so on and so on", "a mat"]
NEW = ["the mat sat", "a dog and a cat and a bird", "birds"]


def text(*rows: str | None) -> ModalityData:
    return ModalityData("text", np.array(rows, dtype=object), np.array([row is not None for row in rows]))


def ids(texts: list[str], words: list[str]) -> Raw:
    """Texts as numbers of whole words; a word that is not among `words` is 0."""
    rows = [[1 + words.index(w) if w in words else 0 for w in t.split()] for t in texts]
    values = torch.zeros(len(rows), max(map(len, rows)), 1, dtype=torch.long)
    for i, row in enumerate(rows):
        values[i, : len(row), 0] = torch.tensor(row)
    lengths = torch.tensor([len(row) for row in rows])
    return Raw(values, torch.arange(values.shape[1]) < lengths[:, None])


def test_with_a_column_for_each_term_it_is_the_tf_idf_of_scikit_learn() -> None:
    words = sorted({w for t in TEXTS for w in t.split()})
    raw, new = ids(TEXTS, words), ids(NEW, words)
    spec = Spec(kind="text", vocabulary=1 + len(words), **counted(raw, n_words=len(words), vocabulary=1 + len(words)))
    each = spec.model_copy(update={"term_columns": tuple(range(1, 1 + len(spec.terms)))})
    module = TermWeights(each).double()
    oracle = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+").fit(TEXTS)
    assert len(spec.terms) == len(oracle.vocabulary_)  # no two pairs share a bucket
    a, b = module(raw.values, raw.mask), module(new.values, new.mask)
    x, y = oracle.transform(TEXTS), oracle.transform(NEW)
    np.testing.assert_allclose((a @ a.T).numpy(), (x @ x.T).toarray(), atol=1e-6)
    np.testing.assert_allclose((b @ a.T).numpy(), (y @ x.T).toarray(), atol=1e-6)


def test_terms_that_stand_in_the_same_texts_share_a_column_and_others_do_not() -> None:
    raw = Raw(torch.tensor([[[1, 5]], [[1, 5]], [[2, 5]], [[3, 6]], [[3, 7]]]), torch.ones(5, 1, dtype=torch.bool))
    found = counted(raw, n_words=4, vocabulary=9)
    assert found["terms"] == (1, 2, 3, 5, 6, 7)  # there is no pair
    assert found["term_rows"] == (2, 1, 2, 3, 1, 1)
    assert sorted(found["term_columns"]) == [1, 2, 3, 4, 5, 6]
    merged = Raw(torch.tensor([[[1, 5]], [[2, 6]], [[2, 6]], [[2, 7]]]), torch.ones(4, 1, dtype=torch.bool))
    found = counted(merged, n_words=4, vocabulary=9)
    columns = dict(zip(found["terms"], found["term_columns"], strict=True))
    assert columns[1] == columns[5] != 0
    assert columns[2] != columns[6]
    assert max(columns.values()) == 4


def test_words_and_parts_of_words_are_of_length_one_each_whatever_their_number() -> None:
    data = text(*TEXTS, "mats and cathedrals, cats and dogs!")
    made = preprocessor("subwords")()
    made.fit(data)
    raw = made.transform(data)
    module = TermWeights(made.spec).double()
    module.column = torch.arange(module.n_terms) + 1  # each term alone
    module.n_outputs, module.share = module.n_terms, torch.ones(module.n_terms).double()
    squares = module(raw.values, raw.mask).square()
    torch.testing.assert_close(squares[:, module.is_part].sum(1), torch.ones(7).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(squares[:, ~module.is_part].sum(1), torch.ones(7).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("few", "most"), [(400, 2_048), (399, 1_500)])
def test_only_the_columns_that_vary_most_are_made_and_fewer_of_many_texts(
    few: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_FEW_TEXTS", few), ("_MOST_OF_FEW", 2_048), ("_MOST_COLUMNS", 1_500)):
        monkeypatch.setattr(f"profuse.data.terms.{name}", value)
    draw = np.random.default_rng(0)
    values = torch.from_numpy(np.where(draw.random((400, 30)) < 0.5, 1 + draw.integers(0, 20, (400, 30)), 0))
    values[:, 15:] = torch.from_numpy(21 + draw.integers(0, 8_000, (400, 15)))
    raw = Raw(values[..., None], torch.ones(400, 30, dtype=torch.bool))
    spec = Spec(kind="text", vocabulary=8_100, **counted(raw, n_words=20, vocabulary=8_100))
    module = TermWeights(spec)
    assert module.n_outputs == most
    assert all(spec.term_columns[:20])  # words of many texts
    spread = module(raw.values, raw.mask).var(0, correction=0)
    assert (spread[:-1] >= spread[1:] - 1e-6).all()


@pytest.mark.parametrize("name", ["words", "static"])
def test_rows_in_parts_are_the_rows_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = text(*TEXTS, None, "")
    made = preprocessor("subwords" if name == "words" else "static")()
    made.fit(data)
    encoder = (WordEncoder if name == "words" else StaticEncoder)(made.spec, 8)
    raw = made.transform(data)
    whole = encoder.linear(raw)
    assert whole.shape == (8, encoder.n_linear)
    assert whole[:6].abs().sum(1).min() > 0
    assert not whole[6:].any()
    monkeypatch.setattr(_tfidf, "_MOST_IDS", 2 * raw.values[0].numel())
    torch.testing.assert_close(encoder.linear(raw), whole)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # by a column for each term
    torch.testing.assert_close(encoder.linear(raw), whole)


def test_known_vectors_stand_beside_the_pieces_counts() -> None:
    made = preprocessor("static")()
    made.fit(text(*TEXTS))
    encoder = StaticEncoder(made.spec, 8)
    near, far = encoder.linear(made.transform(text("a kitten", "a cat", "parliament debates taxation")))[:, :256][
        [0, 2]
    ]
    cat = encoder.linear(made.transform(text("a cat")))[0, :256]
    assert cat.norm().item() == pytest.approx(1.0)
    assert near @ cat > far @ cat + 0.2


def test_the_path_is_left_out_on_demand_and_without_counts() -> None:
    spec = Spec(kind="text", vocabulary=50, max_length=9)
    assert WordEncoder(spec, 8).n_linear == 0
    raw = Raw(torch.ones(2, 3, 4, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool))
    counts = spec.model_copy(update=counted(raw, n_words=10, vocabulary=50))
    assert WordEncoder(counts, 8, linear_path=False).linear(raw).shape == (2, 0)
    with pytest.raises(ShapeError, match="values must be long"):
        WordEncoder(counts.model_copy(update={"term_columns": (1,) * len(counts.terms)}), 8).linear(
            Raw(torch.zeros(2, 5, 4), torch.ones(2, 5, dtype=torch.bool))
        )


def test_absent_texts_are_no_texts_in_which_a_term_is_lacking() -> None:
    ids = torch.tensor([[[1], [2]], [[1], [3]], [[2], [3]], [[3], [3]]])
    raw = Raw(ids, torch.ones(4, 2, dtype=torch.bool).index_fill(0, torch.tensor([1, 3]), False))
    there = raw.rows(torch.tensor([0, 2]))
    assert counted(raw, n_words=3, vocabulary=4) == counted(there, n_words=3, vocabulary=4)
