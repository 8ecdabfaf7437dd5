"""The answer to a question as a page: all of it is there, escaped, without a script, and in the right places."""

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
from profuse.inspect import Answer, Estimate, ask
from profuse.kinds import KINDS, kind_named
from profuse.report import answer_html


def an_answer(name: str = "text") -> Answer:
    estimates = (
        Estimate(name, 0.2, 0.1, 0.3, 80, 0.7, (name,)),
        Estimate("table", -0.05, -0.1, 0.0, 80, 0.9, ("table",)),
    )
    return Answer("importance", "accuracy", 80, estimates, 0.01, (f"A note on {name}.",), "what is lost", 0.85)


def row_answer(name: str, given: Any) -> tuple[Answer, Any]:
    rates = {"x": 8_000} if kind_named(name).has_rate else None
    rows = from_tensors({"x": (name, given)}, rates=rates)
    units = kind_named(name).units(rows.modalities["x"], 1, 9)
    pieces = [
        {"label": u.label, "where": [], "value": (-1) ** i * 0.1 / (i + 1), "half": 0.01} for i, u in enumerate(units)
    ]
    details = {
        "id": 1, "row": 1, "output": "yes", "scale": "probability", "predicted": "yes", "truth": None, "nothing": 0.5,
        "whole": 0.8, "modalities": {"x": 0.3}, "pieces": {"x": pieces}, "nearest": [],
    }  # fmt: skip
    estimates = (Estimate("x", 0.3, 0.3, 0.3, 1, modalities=("x",)),)
    return Answer("row", "probability of yes", N_ROWS, estimates, 0.0, ("Row 1.",), "what it adds", 0.8, details), rows


def test_a_page_holds_every_estimate_and_note_and_no_script() -> None:
    page = Tags(answer_html(an_answer()))
    assert "script" not in {tag for tag, _ in page.tags}
    for told in ("text", "table", "+0.2000", "\u22120.0500", "0.1000 to 0.3000", "A note on text.", "0.0100", "0.8500"):
        assert told in page.text, told


def test_a_bar_begins_at_zero_and_ends_at_its_value() -> None:
    page = answer_html(an_answer())
    zero = float(re.findall(r'class="zero" style="left:([\d.]+)%', page)[0])
    bars = [
        (k, float(a), float(w))
        for k, a, w in re.findall(r'<b class="(\w+)" style="left:([\d.]+)%;width:([\d.]+)%', page)
    ]
    (up, start, width), (down, left, other) = bars
    assert (up, down) == ("up", "down")
    assert start == pytest.approx(zero)
    assert left + other == pytest.approx(zero)
    assert width / other == pytest.approx(0.2 / 0.05, rel=1e-3)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_the_data_run_nothing_and_hide_nothing(name: str) -> None:
    usual, hostile = Tags(answer_html(an_answer())), Tags(answer_html(an_answer(HOSTILE[name])))
    assert hostile.tags == usual.tags
    assert not [sign for sign in STEERING if sign in hostile.text]


def test_a_hostile_text_is_shown_and_not_run() -> None:
    texts = ["good"] * N_ROWS
    texts[1] = f"{HOSTILE['script']} {HOSTILE['picture']}"
    answer, rows = row_answer("text", texts)
    page = Tags(answer_html(answer, rows))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "img" not in {tag for tag, _ in page.tags}
    assert "RAN" in page.text


@pytest.mark.parametrize("name", KINDS.builtin)
def test_every_kind_is_shown_with_its_pieces(name: str) -> None:
    answer, rows = row_answer(name, rows_of_kind(name))
    pieces = answer.details["pieces"]["x"]
    page = answer_html(answer, rows)
    for piece in pieces:
        assert piece["label"].split(",")[0] in Tags(page).text
    drawing = kind_named(name).draw(rows.modalities["x"], 1, kind_named(name).units(rows.modalities["x"], 1, 9))
    assert len(re.findall("<rect ", page)) == len(drawing.boxes)
    assert len(re.findall("<mark ", page)) == len(drawing.spans)
    for left, right, top, bottom in drawing.boxes:
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


def test_boxes_of_a_picture_cover_it_once() -> None:
    answer, rows = row_answer("image", rows_of_kind("image"))
    units = kind_named("image").units(rows.modalities["x"], 1, 9)
    boxes = np.array(kind_named("image").draw(rows.modalities["x"], 1, units).boxes)
    assert ((boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])).sum() == pytest.approx(1.0)
    assert "<image " in answer_html(answer, rows)


def test_other_rows_are_not_marked() -> None:
    answer, rows = row_answer("text", rows_of_kind("text"))
    others = rows.rows(np.array([0, 2, 3]))
    assert "<mark " not in answer_html(answer, others)
    assert "<mark " not in answer_html(answer)
    assert answer.details["pieces"]["x"][0]["label"] in answer_html(answer)


def test_the_page_of_a_fitted_portfolio_is_whole() -> None:
    rows = data("multiclass")[0]
    answer = ask(predictor("portfolio", "multiclass"), rows, "row", id=3, n_orders=3)
    page = Tags(answer_html(answer, rows))
    assert f"{answer.details['whole']:.4f}" in page.text
    assert all(str(near["id"]) in page.text for near in answer.details["nearest"])
    bare = Tags(answer_html(replace(answer, details={})))
    assert len(bare.tags) < len(page.tags)
