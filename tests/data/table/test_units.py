"""Numbers with a unit of measure stay words, and a note says how to have them read; other words are not told."""

from __future__ import annotations

import pandas as pd
import pytest

from profuse import Schema
from profuse.data.table.infer import infer

NUMBERS = [round(0.7 * i + 3.1, 1) for i in range(40)]


def notes(cells: list[str], **schema: object) -> list[str]:
    frame = pd.DataFrame({"size": cells, "other": NUMBERS, "y": [i % 2 for i in range(len(cells))]})
    found = infer(frame, Schema(target={"columns": ["y"]}, **schema))
    return [note for note in found.notes if "with a unit" in note]


@pytest.mark.parametrize("unit", [" kg", "kg", "k", " °C", "°", "MB", " km/h", " m²", '"', " L"])
def test_a_column_of_one_unit_is_told_and_the_format_that_the_note_names_reads_it(unit: str) -> None:
    cells = [f"{v}{unit}" for v in NUMBERS]
    (note,) = notes(cells)
    form = f"1,234.5 {unit.strip()}"
    assert repr(form) in note
    assert notes(cells, numbers={"size": form}) == []


def test_several_units_in_a_column_are_named() -> None:
    (note,) = notes([f"{v}{'kM'[i % 2]}" for i, v in enumerate(NUMBERS)])
    assert "convert them to one unit; got 'k', 'M'" in note


@pytest.mark.parametrize(
    "cells",
    [
        ["3 rooms", "4 rooms", "5 rooms", "studio"] * 10,
        [f"{i % 20}{'abcdefgh'[i % 8]}" for i in range(40)],
        [f"flat {i} by the sea" for i in range(40)],
        [f"{i % 5}-{i % 3}" for i in range(40)],
    ],
    ids=["a few counts", "house numbers", "sentences", "scores"],
)
def test_codes_and_sentences_are_not_told(cells: list[str]) -> None:
    assert notes(cells) == []
