"""Noise in texts: in letters, words and their order. A text keeps a word, so that none becomes missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from profuse.kinds.noise.corruption import Corruption, by_row, exchanged

if TYPE_CHECKING:
    from numpy.random import Generator

    from profuse.kinds._rows import ModalityData

__all__ = ["WORDS"]

_REPLACED, _OMITTED, _DOUBLED, _SWAPPED = range(4)


def _letters(data: ModalityData) -> list[str]:
    """Returns all letters and signs of the texts, but blanks, in order."""
    return sorted({c for i in np.flatnonzero(data.present) for c in data.values[i] if not c.isspace()})


def _mistyped(data: ModalityData, p: float, draw: Generator) -> Any:
    letters = _letters(data)

    def change(text: str, own: Generator) -> str:
        hit, what, which = own.random((3, len(text)))
        out, skip = list[str](), False
        for i, letter in enumerate(text):
            if skip or letter.isspace() or hit[i] >= p / 5:
                out += [] if skip else [letter]
                skip = False
                continue
            fate, follows = int(4 * what[i]), text[i + 1 : i + 2]
            if fate == _SWAPPED and follows.strip():
                out += [follows, letter]
                skip = True
            elif fate == _DOUBLED:
                out += [letter, letter]
            elif fate != _OMITTED:
                out.append(letters[int(which[i] * len(letters))])
        made = "".join(out)
        return made if made.strip() else text

    return by_row(data, draw, change)


def _parts(text: str) -> tuple[list[str], list[str]]:
    """Returns the words of a text and the blanks: before the first, between, behind the last one."""
    parts = re.split(r"(\s+)", text.strip())
    before, behind = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return parts[::2], [before, *parts[1::2], behind]


def _joined(words: list[str], blanks: list[str]) -> str:
    return "".join(part for pair in zip(blanks, [*words, ""], strict=True) for part in pair)


def _dropped(data: ModalityData, p: float, draw: Generator) -> Any:
    def change(text: str, own: Generator) -> str:
        words, blanks = _parts(text)
        u = own.random(len(words))
        kept = np.flatnonzero((u >= p / 2) | (u == u.max()))  # the one kept is the last to go
        return _joined([words[i] for i in kept], [blanks[0], *(blanks[i] for i in kept[1:]), blanks[-1]])

    return by_row(data, draw, change)


def _swapped(data: ModalityData, p: float, draw: Generator) -> Any:
    def change(text: str, own: Generator) -> str:
        words, blanks = _parts(text)
        first, hit = int(own.integers(2)), own.random(len(words)) < p
        for i in range(first, len(words) - 1, 2):
            if hit[i]:
                words[i], words[i + 1] = words[i + 1], words[i]
        return _joined(words, blanks)

    return by_row(data, draw, change)


def _shuffled(data: ModalityData, p: float, draw: Generator) -> Any:
    def change(text: str, own: Generator) -> str:
        words, blanks = _parts(text)
        source = exchanged((own.random(len(words)) < p)[:, None], own)[:, 0]
        return _joined([words[i] for i in source], blanks)

    return by_row(data, draw, change)


WORDS = {
    "mistyped": Corruption(
        "Each letter, with probability p/5, is another one, left out, doubled or swapped with the next.", _mistyped
    ),
    "dropped": Corruption("Each word is left out with probability p/2; one is left.", _dropped),
    "swapped": Corruption("Pairs of neighbouring words change places with probability p.", _swapped),
    "shuffled": Corruption("Each word, with probability p, changes places with another one of the text.", _shuffled),
}
