"""Text -> words -> character n-grams -> stable bucket numbers, for any script."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator

import numpy as np

from profuse.data.dataset import ModalityData
from profuse.errors import DataError
from profuse.kinds import kind_named

__all__ = ["bucket", "ngrams", "rows_of_texts", "rows_of_words", "tokenise"]

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han (and their extensions).
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and accents that `\w` leaves out, though they stand inside words (Hebrew, Arabic, Indic, Tibetan),
# and the joiners of Persian and Hindi.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0730-\u074a"
    "\u08d3-\u08ff\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09d7\u0a01-\u0a03\u0a3c-\u0a51"
    "\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57\u0b82\u0bbe-\u0bd7\u0c00-\u0c04\u0c3e-\u0c56\u0c81-\u0c83"
    "\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d57\u0d81-\u0d83\u0dca-\u0df3\u0f18-\u0f84\u200c\u200d"
)
_TONES = "\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff"
_WORD = re.compile(
    rf"(?P<unspaced>[{_UNSPACED}]+)"
    rf"|(?P<word>(?:(?![{_UNSPACED}])[^\W_])(?:(?![{_UNSPACED}])(?:[^\W_]|[{_MARKS}]))*"
    rf"(?:['’](?:(?![{_UNSPACED}])[^\W_])+)*)"
    rf"|(?P<flag>[\U0001f1e6-\U0001f1ff]{{2}})"
    rf"|(?P<joined>[^\w\s][{_TONES}]*(?:\u200d[^\w\s][{_TONES}]*)+)"
    rf"|(?P<sign>[^\w\s\u200b-\u200f\ufe00-\ufe0f])[{_TONES}]*(?:(?P=sign)[{_TONES}]*)*"
)
_FEW = re.compile(rf"[{_UNSPACED}]{{1,2}}")
_MAX_WORD = 64  # characters of a word that are looked at; longer ones are addresses and noise


def tokenise(text: str) -> list[str]:
    """Returns the words of `text`: NFC, case-folded (case carries little, and is costly to learn from few rows).

    A word is a run of letters, marks and digits, apostrophes inside kept ("don't"), underscores and hyphens
    not; a run of one punctuation mark or symbol ("!!!"); an emoji with its modifiers and joiners. Runs of a script
    without spaces (Han, kana, Thai, ...) become overlapping pairs of characters.
    """
    words: list[str] = []
    for match in _WORD.finditer(unicodedata.normalize("NFC", text).casefold()):
        word = match.group()
        if match.lastgroup == "unspaced" and len(word) > 2:
            words.extend(word[i : i + 2] for i in range(len(word) - 1))
        else:
            words.append(word[:_MAX_WORD])
    return words


def ngrams(word: str) -> Iterator[str]:
    """Yields the 3- to 5-character parts of `<word>`, beginning and end first, short ones before long ones.

    One or two characters of a script without spaces yield themselves one by one instead.
    """
    if _FEW.fullmatch(word):
        yield from word
        return
    marked = f"<{word}>"
    sizes = [n for n in (3, 4, 5) if n <= len(marked)]
    for n in sizes:  # what is cut off when a word has too many parts is the long interior ones
        yield marked[:n]
        if len(marked) > n:
            yield marked[-n:]
    for n in sizes:
        yield from (marked[i : i + n] for i in range(1, len(marked) - n))


def bucket(ngram: str, n_buckets: int) -> int:
    """Returns `crc32(utf-8) mod n_buckets`: the same number in every process, version and machine."""
    return zlib.crc32(ngram.encode("utf-8", "surrogatepass")) % n_buckets


def rows_of_texts(data: ModalityData, *, where: str) -> list[str]:
    """Returns the text of each row of a text modality; that of an absent row is empty.

    Raises:
        DataError: Not text, or a present row that is not a str.
    """
    if not kind_named(data.kind).is_words:
        raise DataError(f"{where}: the modality's kind must be 'text'; got kind={data.kind!r}.")
    present = np.asarray(data.present)
    for i in np.flatnonzero(present).tolist():
        if not isinstance(data.values[i], str):
            raise DataError(
                f"{where}: every present row must be a str; got {type(data.values[i]).__name__} in row {i}. "
                "Convert it, or mark the row as missing."
            )
    return [str(text) if there else "" for text, there in zip(data.values, present, strict=True)]


def rows_of_words(data: ModalityData, *, where: str) -> list[list[str]]:
    """Returns the words of each row of a text modality; absent rows have none.

    Raises:
        DataError: Not text, or a present row that is not a str.
    """
    texts = rows_of_texts(data, where=where)
    known = {text: tokenise(text) for text in dict.fromkeys(texts)}
    return [known[text] for text in texts]
