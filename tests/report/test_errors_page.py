"""The page of errors: every row with what it holds, escaped, and small enough to be sent."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hostile import HOSTILE, STEERING
from made_predictors import data, predictor
from page_tags import Tags
from rows_of_kinds import N_ROWS, rows_of_kind

from profuse.data.tensors import from_tensors
from profuse.inspect import Answer, Estimate
from profuse.kinds import KINDS, kind_named
from profuse.report import answer_html

pytestmark = pytest.mark.slow


def errors_of(name: str, given: Any, n: int, said: str = "no") -> tuple[Answer, Any]:
    rates = {"x": 8_000} if kind_named(name).has_rate else None
    rows = from_tensors({"x": (name, given)}, rates=rates)
    surest = [
        {"id": i, "row": i, "truth": "yes", "predicted": said, "probability": 0.9, "deviations": None, "loss": 1.0}
        for i in range(n)
    ]
    suspect = {"id": 1, "row": 1, "of": "", "given": "yes", "suggested": said, "margin": 0.8}
    one = {"name": said, "n": 40, "inside": 0.5, "value": 0.3, "low": 0.1, "high": 0.5, "p": 0.004, "shown": True}
    details = {
        "loss": "error rate", "mean": 0.2, "surest": surest, "slices": [{**one, "parts": []}], "looked_at": 9,
        "labels": {"number": {}, "n": 30, "expected": 1.0, "suspected": [suspect]},
        "equal": {"n": 4, "n_contradictions": 1, "sets": [{"ids": [0, 2], "targets": ["yes", said]}]},
    }  # fmt: skip
    estimates = (Estimate("city = Rome", 0.3, 0.1, 0.5, 40, 0.5),)
    return Answer("errors", "error rate", len(rows), estimates, 0.1, ("A note.",), "error", 0.2, details), rows


def test_the_page_of_a_fitted_portfolio_holds_all_that_was_found() -> None:
    rows = data("multiclass")[0]
    answer = predictor("portfolio", "multiclass").ask("errors", rows, n_resamples=20)
    page = Tags(answer_html(answer, rows))
    assert "script" not in {tag for tag, _ in page.tags}
    for row in answer.details["surest"]:
        assert f"Row {row['id']}" in page.text
    assert all(s["name"] in page.text for s in answer.details["slices"])
    assert len(re.findall("<article>", answer_html(answer, rows))) == len(answer.details["surest"])
    note, first = rows.modalities["note"], answer.details["surest"][0]["row"]
    assert (note.values[first] if note.present[first] else "missing") in page.text


@pytest.mark.parametrize("name", KINDS.builtin)
def test_rows_of_every_kind_are_shown(name: str) -> None:
    answer, rows = errors_of(name, rows_of_kind(name), N_ROWS)
    page, modality = answer_html(answer, rows), rows.modalities["x"]
    kind = kind_named(name)
    there = np.flatnonzero(modality.present)
    drawing = kind.draw(modality, int(there[0]), kind.units(modality, int(there[0]), 9))
    pictured = drawing.picture is not None or drawing.lines is not None
    assert len(re.findall('<svg class="seen"', page)) == (len(there) if pictured else 0)
    assert Tags(page).text.count("missing") >= N_ROWS - len(there)
    if not pictured:
        first = drawing.text or kind.units(modality, int(there[0]), 1000)[0].label
        assert first in Tags(page).text
    assert len(re.findall('<svg class="seen"', answer_html(answer, rows.rows(np.arange(N_ROWS - 1))))) == 0


def test_many_large_pictures_make_a_page_below_5_megabytes() -> None:
    noise = np.random.default_rng(0).integers(0, 255, size=(24, 600, 600, 3)).astype(np.uint8)
    page = answer_html(*errors_of("image", noise, 24))
    assert len(re.findall("<image ", page)) == 24
    assert 2_000_000 < len(page.encode()) < 5_000_000


@pytest.mark.parametrize("name", HOSTILE)
def test_words_of_the_data_run_nothing_and_hide_nothing(name: str) -> None:
    texts = ["usual"] * N_ROWS
    usual = Tags(answer_html(*errors_of("text", texts, 2)))
    hostile = Tags(answer_html(*errors_of("text", [HOSTILE[name] or "x"] * N_ROWS, 2, HOSTILE[name])))
    assert hostile.tags == usual.tags
    assert not [sign for sign in STEERING if sign in hostile.text.replace("\n", " ")]


def test_an_answer_to_another_question_has_no_cards() -> None:
    answer, rows = errors_of("text", ["a"] * N_ROWS, 2)
    bare = answer_html(replace(answer, details={}), rows)
    assert "<article>" not in bare
    assert ".cards" not in bare
