"""Subwords and TF-IDF."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess import Preprocessor, preprocessor
from profuse.data.preprocess.text import SubwordPreprocessor
from profuse.data.preprocess.tfidf import TfidfPreprocessor
from profuse.data.words import bucket, ngrams
from profuse.errors import ConfigError, DataError

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


def through_json(state: Any) -> Any:
    """Plain values through JSON, arrays as they are: what a saved model goes through."""
    if isinstance(state, np.ndarray):
        return state.copy()
    if isinstance(state, dict):
        return {k: through_json(v) for k, v in state.items()}
    return json.loads(json.dumps(state))


@pytest.fixture(params=["subwords", "tfidf"])
def fitted(request: pytest.FixtureRequest) -> Preprocessor:
    made = preprocessor(request.param)()
    made.fit(text(*TRAIN))
    return made


def test_what_is_rebuilt_from_its_state_is_equal(fitted: Preprocessor) -> None:
    again = type(fitted).from_state(through_json(fitted.state()))
    data = text(*TRAIN, "an unseen caterpillar", None)
    assert again.spec == fitted.spec
    assert torch.equal(again.transform(data).values, fitted.transform(data).values)
    assert torch.equal(again.transform(data).mask, fitted.transform(data).mask)


def test_texts_without_words_and_absent_ones_are_missing(fitted: Preprocessor) -> None:
    data = text("the cat", "", "  ", None)
    assert fitted.transform(data).present.tolist() == [True, False, False, False]


def test_values_are_finite_and_have_the_shape_that_the_spec_tells(fitted: Preprocessor) -> None:
    raw = fitted.transform(text(*TRAIN, None))
    assert torch.isfinite(raw.values.double()).all()
    if fitted.spec.kind == "text":
        assert raw.values.dtype == torch.long
        assert int(raw.values.max()) < fitted.spec.vocabulary
        assert raw.values.shape[1] <= fitted.spec.max_length
    else:
        assert raw.values.shape == (8, fitted.spec.n_channels)


def test_training_texts_without_any_word_are_refused(fitted: Preprocessor) -> None:
    with pytest.raises(DataError, match="at least one training row must hold a word; got none"):
        type(fitted)().fit(text("", None))


def test_one_training_row_is_enough(fitted: Preprocessor) -> None:
    made = type(fitted)()
    made.fit(text("hello"))
    assert made.transform(text("hello", "bye")).present.all()


def test_only_all_absent_rows_to_transform_are_all_masked(fitted: Preprocessor) -> None:
    assert not fitted.transform(text(None, None)).present.any()


def test_a_word_is_its_own_id_and_those_of_its_ngrams() -> None:
    made = SubwordPreprocessor()
    made.fit(text(*TRAIN))
    state = made.state()
    ids = made.transform(text("zebra cat")).values[0].numpy()
    first = 1 + len(state["words"])
    for row, word in zip(ids, ["zebra", "cat"], strict=True):
        parts = [first + bucket(part, state["n_buckets"]) for part in ngrams(word)][: state["n_slots"] - 1]
        assert row[1 : 1 + len(parts)].tolist() == parts
        assert not row[1 + len(parts) :].any()
    assert ids[0, 0] == 0, "unseen in train"
    assert ids[1, 0] == 1 + state["words"].index("cat")


def test_the_vocabulary_is_the_words_seen_twice_most_frequent_first() -> None:
    made = SubwordPreprocessor()
    made.fit(text("b b b a a c", "a b d"))
    assert made.state()["words"] == ["b", "a"]


def test_a_long_text_keeps_its_beginning() -> None:
    made = SubwordPreprocessor(max_words=3)
    made.fit(text("one two three four five", "one two three four"))
    raw = made.transform(text("one two three four five"))
    assert raw.values.shape[1] == 3
    assert torch.equal(raw.values, made.transform(text("one two three")).values)


def test_case_makes_no_difference() -> None:
    made = SubwordPreprocessor()
    made.fit(text(*TRAIN))
    assert torch.equal(made.transform(text("THE Cat")).values, made.transform(text("the cat")).values)


@pytest.mark.parametrize("name", ["min_count", "max_vocabulary", "max_words"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=0"):
        SubwordPreprocessor(**{name: 0})


def test_similar_texts_are_near_in_the_description() -> None:
    made = TfidfPreprocessor()
    made.fit(text(*TRAIN))
    a, b, c = made.transform(text("the cats sat", "the cat sat", "東京都")).values.double()
    assert torch.cosine_similarity(a, b, dim=0) > torch.cosine_similarity(b, c, dim=0) + 0.3


def test_the_mean_square_of_the_vector_is_one_in_train() -> None:
    made = TfidfPreprocessor()
    made.fit(text(*TRAIN))
    raw = made.transform(text(*TRAIN))
    assert float(raw.values[raw.mask].square().mean()) == pytest.approx(1.0, rel=1e-5)
