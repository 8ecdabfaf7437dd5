"""Texts: words in the cell itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.table.lists import ShortenedListError, is_list_text, parse_list
from profuse.data.table.spellings import letters
from profuse.data.table.values import words
from profuse.data.wording import tell_rows
from profuse.errors import DataError
from profuse.kinds import CellReader, Drawing, Given, Kind, ModalityData, Spec, Unit, object_array
from profuse.kinds._units import stretches
from profuse.kinds.noise.words import WORDS

__all__ = ["TEXT", "TextKind"]


_LONGEST_WORD = 30  # characters: what is longer and holds no blank is no word


class TextKind(Kind):
    """An object array of str; a blank text is missing."""

    name = "text"
    noun = "texts"
    preprocessor = "subwords"
    feature_sets = ("lsa", "tfidf")
    encoder = "words"
    is_words = True
    corruptions = WORDS
    usual = ("mistyped", "dropped", "swapped")

    def check(self, value: Any) -> np.ndarray:
        raise DataError("texts must be given all together, as a list of str")

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        values = [_joined(v) for v in words(cells.frame[columns[0]])]
        present = np.array([v is not None and bool(v.strip()) for v in values])
        return ModalityData(
            self.name, object_array([v if p else "" for v, p in zip(values, present, strict=True)]), present
        )

    def read_arrays(self, given: Given) -> ModalityData:
        texts = ["" if not p else v for v, p in zip(given.values, given.present, strict=True)]
        wrong = [i for i, v in enumerate(texts) if not isinstance(v, str)]
        if wrong:
            raise DataError(
                f"modality {given.name!r}: text must be str; got {type(texts[wrong[0]]).__name__} in "
                f"{tell_rows(wrong)}. Use None for a missing text."
            )
        there = np.array([bool(v.strip()) for v in texts])
        return ModalityData(self.name, object_array([str(v) for v in texts]), given.present & there)

    def describe(self, spec: Spec) -> str:
        return f"up to {spec.max_length} words"

    def sizes(self, data: ModalityData, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        texts = [str(data.values[i]) for i in rows]
        return {
            "words": np.array([len(t.split()) for t in texts], dtype=np.int64),
            "characters": np.array([len(t) for t in texts], dtype=np.int64),
        }

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Words; of a text without blanks its characters; neighbours together where there are more than `most`.

        `where` is (start, stop) in the text.
        """
        text = str(data.values[row])
        spans = [m.span() for m in re.finditer(r"\S+", text)]
        if len(spans) == 1 and len(text) > _LONGEST_WORD:
            spans = [(i, i + 1) for i in range(len(text))]
        groups = [(spans[a][0], spans[b - 1][1]) for a, b in stretches(len(spans), most)]
        return [Unit(text[a:b], (a, b)) for a, b in groups]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Leaves words out, and what stands between them with them."""
        text, copies = str(data.values[row]), super().keep(data, row, units, kept)
        pieces = [text[int(u.where[0]) : int(u.where[1])] for u in units]
        glue = " " if any(c.isspace() for c in text.strip()) else ""
        texts = [text if of.all() else glue.join(p for p, k in zip(pieces, of, strict=True) if k) for of in kept]
        return replace(copies, values=object_array(texts))

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """The text itself."""
        return Drawing(str(data.values[row]), [(int(u.where[0]), int(u.where[1])) for u in units])

    def number_columns(self, name: str, data: ModalityData) -> Iterator[tuple[str, np.ndarray, bool]]:
        texts = np.array([v if p else None for v, p in zip(data.values, data.present, strict=True)], dtype=object)
        yield repr(name), pd.factorize(texts)[0].astype(np.float64), True

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        """Words but for case, blanks and signs."""
        return [[letters(str(v)) if p else None for v, p in zip(data.values, data.present, strict=True)]]


def _joined(value: Any) -> str | None:
    """Returns a text cell; a list of words, or the text of one, is its words."""
    if isinstance(value, str) and is_list_text(value):
        try:
            items = parse_list(value)
        except ShortenedListError:
            raise
        except DataError:  # words in brackets
            return value
        value = items if all(isinstance(w, str) for w in items) else value
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    return value if value is None or isinstance(value, str) else ", ".join(map(str, value))


TEXT = TextKind()
