"""Documents: long texts, from text and PDF files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from profuse.data.media.documents import DOCUMENT_SUFFIXES, read_document
from profuse.errors import DataError
from profuse.kinds import CellReader, Drawing, Given, Kind, ModalityData, Spec, Unit, kind_named, object_array
from profuse.kinds.noise.words import WORDS

__all__ = ["DOCUMENT", "DocumentKind"]

_SHOWN = 20_000  # characters of a drawing


class DocumentKind(Kind):
    """An object array of str, as texts are; a row is longer, and stands in a file."""

    name = "document"
    noun = "documents"
    suffixes = DOCUMENT_SUFFIXES
    preprocessor = "document"
    feature_sets = ("lsa", "tfidf")
    encoder = "words"
    is_words = True
    corruptions = WORDS
    usual = ("mistyped", "dropped", "swapped")

    def check(self, value: Any) -> np.ndarray:
        raise DataError("documents must be given all together, as a list of str")

    def read_cells(
        self, cells: CellReader, name: str, columns: Sequence[str], kinds: Mapping[str, str]
    ) -> ModalityData:
        def one(cell: Any) -> str:
            if not isinstance(cell, str):
                raise DataError("a document must be the path of a file; texts of a cell are of kind text")
            return read_document(cells.path(cell), tell=cells.tell)

        values = cells.each(columns[0], one, self.noun)
        present = np.array([v is not None for v in values], dtype=bool)
        return ModalityData(self.name, object_array([v or "" for v in values]), present)

    def read_arrays(self, given: Given) -> ModalityData:
        return replace(_text().read_arrays(given), kind=self.name)

    def describe(self, spec: Spec) -> str:
        return _text().describe(spec)

    def units(self, data: ModalityData, row: int, most: int) -> Sequence[Unit]:
        """Passages of words. `where` is (start, stop) in the text; a label is how a passage begins and ends."""
        found = _text().units(data, row, most)
        return [Unit(f"{i + 1}: {_ends(u.label)}", u.where) for i, u in enumerate(found)]

    def keep(self, data: ModalityData, row: int, units: Sequence[Unit], kept: np.ndarray) -> ModalityData:
        """Leaves passages out."""
        return _text().keep(data, row, units, kept)

    def draw(self, data: ModalityData, row: int, units: Sequence[Unit]) -> Drawing:
        """The text itself, where it is short enough to be shown; else its passages are listed."""
        return _text().draw(data, row, units) if len(data.values[row]) <= _SHOWN else Drawing()

    def number_columns(self, name: str, data: ModalityData) -> Iterator[tuple[str, np.ndarray, bool]]:
        """Which texts are the same, and how long they are."""
        yield from _text().number_columns(name, data)
        lengths = [len(v) if p else np.nan for v, p in zip(data.values, data.present, strict=True)]
        yield f"{name!r}, number of characters", np.array(lengths, dtype=np.float64), False

    def equal_columns(self, data: ModalityData, like: ModalityData) -> list[list[object]]:
        return _text().equal_columns(data, like)


def _text() -> Kind:
    """Returns the kind of texts, which reads the words of a document as its own."""
    return kind_named("text")


def _ends(passage: str) -> str:
    words = passage.split()
    return " ".join(words) if len(words) <= 8 else f"{' '.join(words[:4])} ... {' '.join(words[-3:])}"


DOCUMENT = DocumentKind()
