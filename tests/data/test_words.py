"""Words, n-grams and buckets."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profuse.data.dataset import ModalityData
from profuse.data.words import bucket, ngrams, rows_of_words, tokenise
from profuse.errors import DataError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP!!! so-called grinning_face", ["don't", "stop", "!!!", "so", "-", "called", "grinning", "face"]),
        ("Straße", ["strasse"]),
        ("cafe\u0301", ["caf\u00e9"]),
        ("\U0001f469\U0001f3fd\u200d\U0001f680 ok", ["\U0001f469\U0001f3fd\u200d\U0001f680", "ok"]),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", ["\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("東京都。日", ["東京", "京都", "。", "日"]),
        ("ok東京", ["ok", "東京"]),
        ("  \t\n", []),
        ("", []),
    ],
)
def test_words_are_what_a_reader_calls_words(text: str, words: list[str]) -> None:
    assert tokenise(text) == words


@given(st.text(max_size=60))
def test_any_text_yields_words_without_spaces(text: str) -> None:
    words = tokenise(text)
    assert all(word and word == word.strip() and len(word) <= 64 for word in words) or not text.strip()
    assert words == tokenise(text)


def test_every_letter_and_digit_of_a_text_stands_in_some_word() -> None:
    text = "The 3 naïve Ωmegas и мир"
    assert "".join(tokenise(text)) == text.casefold().replace(" ", "")


@given(st.text(alphabet="abcdefgh", min_size=1, max_size=12))
def test_ngrams_are_all_parts_of_three_to_five_characters_of_the_marked_word(word: str) -> None:
    marked = f"<{word}>"
    expected = sorted(marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1))
    assert sorted(ngrams(word)) == expected


def test_ngrams_begin_with_the_ends_of_the_word() -> None:
    assert list(ngrams("where"))[:4] == ["<wh", "re>", "<whe", "ere>"]


def test_a_pair_of_characters_of_an_unspaced_script_yields_each_of_them() -> None:
    assert list(ngrams("東京")) == ["東", "京"]


@pytest.mark.parametrize(("ngram", "number"), [("<wh", 957), ("ere>", 1626), ("東", 589), ("\U0001f600", 5444)])
def test_buckets_are_the_same_in_every_process_and_version(ngram: str, number: int) -> None:
    assert bucket(ngram, 8192) == number == zlib.crc32(ngram.encode()) % 8192


def test_absent_rows_are_not_read() -> None:
    data = ModalityData("text", np.array(["a b", None, 3], dtype=object), np.array([True, False, False]))
    assert rows_of_words(data, where="Here") == [["a", "b"], [], []]


def test_a_present_row_that_is_no_text_is_told_with_its_row() -> None:
    data = ModalityData("text", np.array(["a b", 3], dtype=object), np.array([True, True]))
    with pytest.raises(DataError, match=r"^Here: every present row must be a str; got int in row 1\. Convert it"):
        rows_of_words(data, where="Here")


def test_another_kind_is_refused() -> None:
    with pytest.raises(DataError, match=r"^Here: the modality's kind must be 'text'; got kind='vector'"):
        rows_of_words(ModalityData("vector", np.zeros((1, 2)), np.ones(1, bool)), where="Here")
