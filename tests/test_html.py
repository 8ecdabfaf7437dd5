"""Pieces of HTML for notebooks: numbers are where they should be, and text of the data is text."""

from __future__ import annotations

import math
import re

import pytest
from hostile import HOSTILE
from page_tags import Tags

from profuse._html import Cell, axis_of, html_range, html_table, html_text
from profuse.inspect.answer import Answer, Estimate
from profuse.predictor.card import Blank, Card, Section, Table


@pytest.mark.parametrize("name", HOSTILE)
def test_text_of_the_data_adds_no_tag(name: str) -> None:
    usual = Tags(html_table(["a", "b"], [["word", "1"]], title="word"))
    wild = Tags(html_table([HOSTILE[name], "b"], [[HOSTILE[name], "1"]], title=HOSTILE[name]))
    assert wild.tags == usual.tags
    assert wild.text.count(html_text("1")) >= 1


def test_words_stand_left_and_numbers_right_and_one_row_is_bold() -> None:
    table = html_table(["name", "value"], [["a", "1"], ["b", "2"]], bold=1)
    assert re.findall(r'<td style="text-align:(\w+)[^"]*?(;font-weight:bold)?">(\w)</td>', table) == [
        ("left", "", "a"),
        ("right", "", "1"),
        ("left", ";font-weight:bold", "b"),
        ("right", ";font-weight:bold", "2"),
    ]


def test_a_cell_of_html_is_kept_and_text_is_not() -> None:
    assert '<td style="text-align:left"><b>x</b></td>' in html_table(["a"], [[Cell("<b>x</b>")]])
    assert "<b>" not in html_table(["a"], [["<b>x</b>"]])


def test_an_axis_holds_0_and_all_that_is_finite() -> None:
    low, high = axis_of([0.2, None, math.nan, math.inf, 0.5])
    assert low < 0 < 0.5 < high < 0.6
    low, high = axis_of([])
    assert low < 0 < high


def test_a_drawing_has_its_parts_in_proportion() -> None:
    drawn = html_range(0.5, 0.0, 1.0, (-1.0, 1.0), "half")
    x = {name: float(v) for name, v in re.findall(r'\b(cx|x1|x2)="([\d.]+)"', drawn.split("</line>")[-1])}
    zeros = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)"', drawn)
    assert zeros[0] == ("90.0", "90.0")
    assert zeros[1] == ("90.0", "180.0")
    assert x["cx"] == 135.0
    assert 'aria-label="half"' in drawn


def test_an_interval_that_is_not_known_is_not_drawn() -> None:
    assert html_range(0.5, None, math.nan, (-1.0, 1.0), "").count("<line") == 1
    assert html_range(0.5, 0.4, 0.6, (-1.0, 1.0), "").count("<line") == 2
    assert "<circle" not in html_range(math.nan, None, None, (-1.0, 1.0), "")


def test_an_answer_shows_every_estimate_its_interval_and_its_notes() -> None:
    estimates = (
        Estimate("text", 0.25, 0.125, 0.375, 40, score=0.75),
        Estimate("picture", -0.5, math.nan, math.nan, 40, score=0.5),
    )
    made = Answer("importance", "accuracy", 40, estimates, 0.0625, ("A note.",), "what is lost", 0.875, shown=("text",))
    page = made._repr_html_()
    text = Tags(page).text
    for part in (
        "importance",
        "accuracy 0.8750",
        "what is lost",
        "0.1250 to 0.3750",
        "not known",
        "-0.5000",
        "A note.",
    ):
        assert part in text
    assert "Residual: 0.0625" in text
    assert page.count("<svg") == 2
    assert [("shown" in row) for row in page.split("<tbody>")[1].split("</tr>")[:2]] == [True, False]


def test_a_card_has_all_its_sections_and_only_the_first_is_open() -> None:
    blocks = ("A sentence.", Table(("a", "b"), (("x", "1"),), title="Numbers"), Blank("Who uses it?"))
    card = Card("y", "It predicts y.", (Section("What", blocks), Section("How", ("Somehow.",))))
    page = card.html()
    assert [attrs for tag, attrs in Tags(page).tags if tag == "details"] == [("open",), ()]
    assert Tags(page).text.split("What")[1] == ("A sentence.Numbersabx1To be filled in. Who uses it?HowSomehow.")


@pytest.mark.parametrize("name", HOSTILE)
def test_an_answer_and_a_card_take_no_markup_from_the_data(name: str) -> None:
    def pages(word: str) -> list[object]:
        answer = Answer(word, word, 4, (Estimate(word, 0.0, 0.0, 0.0, 4),), None, (word,), word)
        card = Card(word, word, (Section(word, (word, Blank(word), Table((word,), ((word,),), title=word))),))
        return [Tags(answer._repr_html_()).tags, Tags(card.html()).tags]

    assert pages(HOSTILE[name]) == pages("word")
