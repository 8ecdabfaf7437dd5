"""The card with what is measured on rows: its figures are those of `evaluate` and `ask`; its page holds them all."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import HOSTILE, STEERING
from made_predictors import NETWORKS, PORTFOLIO, data, inputs, labelled, predictor

from profuse.data.dataset import Dataset
from profuse.errors import ConfigError, DataError, UnknownNameError
from profuse.inspect import ask
from profuse.metrics import metrics_for
from profuse.predictor import Predictor
from profuse.predictor.card import Blank, Card, Section, Table
from profuse.predictor.described import card_of
from profuse.predictor.trained import TrainedOn
from profuse.report import card_html, model_card

ASKED = {
    "binary": ("calibration", "importance", "contribution", "missing", "conformal"),
    "multilabel": ("importance", "contribution", "missing"),
    "two numbers": ("importance", "contribution", "missing", "conformal"),
}


def rows_of(task: str, n: int = 110) -> Dataset:
    return predictor("linear", task).read(labelled(task, n, seed=5), need_target=True)


def section(card: Card, title: str) -> Section:
    return next(s for s in card.sections if s.title == title)


def tables(part: Section) -> list[Table]:
    return [block for block in part.blocks if isinstance(block, Table)]


def said(part: Section) -> str:
    return " ".join(block for block in part.blocks if isinstance(block, str))


def texts(card: Card) -> list[str]:
    """Every text of a card."""
    found = [card.title, card.lede]
    for part in card.sections:
        found.append(part.title)
        for block in part.blocks:
            if isinstance(block, Table):
                found += [block.title, *block.columns, *(cell for row in block.rows for cell in row)]
            else:
                found.append(block.asks if isinstance(block, Blank) else block)
    return [text for text in found if text]


def have(n: int) -> str:
    return "has" if n == 1 else "have"


class Page(HTMLParser):
    """Tags with names of attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, *sorted(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*NETWORKS, PORTFOLIO, "linear"])
@pytest.mark.parametrize("task", list(ASKED))
def test_its_figures_are_those_of_evaluate_and_of_the_questions(kind: str, task: str) -> None:
    made, rows = predictor(kind, task), rows_of(task)
    card, measured = model_card(made, rows, seed=3), made.evaluate(rows).values
    shown = {row[0]: row[1:] for row in tables(section(card, "Measured on other rows"))[0].rows}
    metrics = {m.name: m for m in metrics_for(made.task) if m.name in measured}
    assert len(shown) == len(metrics) > 2
    for name, metric in metrics.items():
        better, value, interval = shown[f"{metric.label}{f', {metric.unit}' if metric.unit else ''}"]
        assert float(value) == pytest.approx(measured[name], rel=1e-3, abs=1e-4)
        assert (better == "higher") == metric.higher_is_better
        low, high = map(float, interval.split(" to "))
        assert low - 1e-4 <= float(value) <= high + 1e-4
    for name in ASKED[task]:
        answer = ask(made, rows, name, seed=3)
        part = section(card, name.capitalize())
        lines = tables(part)[0].rows
        assert [line[0] for line in lines] == [e.name for e in answer.estimates]
        for line, e in zip(lines, answer.estimates, strict=True):
            assert float(line[1]) == pytest.approx(e.value, rel=1e-3, abs=1e-4)
            assert line[-1] == f"{e.n}"
        if answer.residual is not None:
            found = re.search(r"Residual: (\S+)\.", said(part))
            assert found is not None
            assert float(found[1]) == pytest.approx(answer.residual, rel=1e-3, abs=1e-4)
    assert len(card.sections) == 7 + len(ASKED[task])
    assert [s.title for s in card.sections if s.title in {p.title for p in card_of(made).sections}] == [
        s.title for s in card_of(made).sections
    ]


def test_without_rows_it_is_the_card_of_the_folder(tmp_path: Path) -> None:
    predictor(PORTFOLIO, "binary").save(tmp_path / "m")
    text = (tmp_path / "m" / "card.md").read_text()
    assert model_card(tmp_path / "m").markdown() == text
    assert model_card(predictor(PORTFOLIO, "binary")).markdown() == text


def test_few_rows_are_told_and_have_no_coverage() -> None:
    card = model_card(predictor("linear", "binary"), rows_of("binary", 60))
    assert "It was measured on 60 rows" in said(section(card, "Limits"))
    assert "Conformal" not in [s.title for s in card.sections]


def test_rows_of_one_class_are_told_and_what_is_not_defined_is_no_number() -> None:
    made = predictor("linear", "binary")
    frame = labelled("binary", 200, seed=5)
    rows = made.read(frame[frame["size"] == "big"], need_target=True)
    card = model_card(made, rows)
    assert "No row that it was measured on is of 'small'." in said(section(card, "Limits"))
    shown = [row[0] for row in tables(section(card, "Measured on other rows"))[0].rows]
    assert "AUROC" not in shown
    assert "accuracy" in shown
    assert "Not measured. " in said(section(card, "Importance"))


def test_rows_beyond_those_of_training_are_counted() -> None:
    dataset, _ = data("regression")
    made = predictor("linear", "regression")
    made = made.with_trained_on(TrainedOn.of(dataset, made.codec, seed=0))
    frame = labelled("regression", 110, seed=5)
    frame.loc[:3, "x"] = 50.0
    frame.loc[4, "price"] = 1e5
    frame.loc[:1, ["x", "colour"]] = np.nan
    card = model_card(made, made.read(frame, need_target=True))
    limits = said(section(card, "Limits"))
    x = labelled("regression")["x"]
    n_beyond = int(((frame["x"] < x.min()) | (frame["x"] > x.max())).sum())
    assert n_beyond >= 2
    assert (
        f"{n_beyond} of 110 rows {have(n_beyond)} 'x' outside of its range in training, {x.min():.4f} to {x.max():.4f}"
        in limits
    )
    price = labelled("regression")["price"]
    n_beyond = int(((frame["price"] < price.min()) | (frame["price"] > price.max())).sum())
    assert f"{n_beyond} of 110 rows {have(n_beyond)} a true value outside" in limits
    n_without = int(frame[["x", "colour"]].isna().all(axis=1).sum())
    assert n_without >= 2
    full = made.trained_on is not None and made.trained_on.present["table"] == 150
    assert full == (f"{n_without} of 110 rows lack 'table', which every training row had." in limits)


def test_a_note_is_told_once() -> None:
    card = model_card(predictor("linear", "binary"), rows_of("binary"))
    lines = [b for s in card.sections for b in s.blocks if isinstance(b, str) and b.startswith("Intervals (95 %)")]
    assert len(lines) == len(set(lines)) > 0


def test_more_questions_are_asked_once_and_unknown_ones_are_told() -> None:
    made, rows = predictor("linear", "binary"), rows_of("binary", 60)
    card = model_card(made, rows, questions=["subsets", "importance"])
    titles = [s.title for s in card.sections]
    assert titles.count("Importance") == 1
    assert titles.count("Subsets") == 1
    with pytest.raises(UnknownNameError, match="importanse"):
        model_card(made, rows, questions=["importanse"])


def test_what_was_asked_for_and_cannot_be_answered_is_an_error() -> None:
    made = predictor("linear", "two numbers")
    with pytest.raises(ConfigError, match="calibration: the task must have classes"):
        model_card(made, rows_of("two numbers", 40), questions=["calibration"])
    made = predictor("linear", "binary")
    with pytest.raises(UnknownNameError, match="color"):
        model_card(made, rows_of("binary", 40), group=["color"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not used. 'shop':profuse.errors.ProfuseWarning")
def test_groups_are_those_of_the_question_audit() -> None:
    made = predictor("linear", "binary")
    frame = labelled("binary", 110, seed=5)
    rows = made.read(frame, need_target=True)
    frame["shop"] = np.where(np.arange(110) % 3, "near", "far")
    for card in (
        model_card(made, rows, group=["colour", "shop"], source=frame),
        model_card(made, frame, group=["colour", "shop"]),
    ):
        answer = ask(made, frame, "audit", group=["colour", "shop"])
        shown = tables(section(card, "Audit"))[0].rows
        assert [row[0].removesuffix(" *") for row in shown] == [e.name for e in answer.estimates]
        assert {row[0] for row in shown if row[0].endswith(" *")} == {f"{name} *" for name in answer.shown or ()}
        assert [float(row[1]) for row in shown] == pytest.approx([e.value for e in answer.estimates], abs=1e-3)
        assert any("shop=far" in row[0] for row in shown)


def test_rows_must_have_a_target() -> None:
    made = predictor("linear", "binary")
    with pytest.raises(DataError, match="target"):
        model_card(made, made.read(inputs(30)))


def test_a_page_holds_every_text_of_the_card_and_no_script() -> None:
    card = model_card(predictor(PORTFOLIO, "binary"), rows_of("binary"))
    page = Page(card_html(card))
    for text in texts(card):
        assert text in page.text, text
    assert page.text.count("To be filled in.") == sum(isinstance(b, Blank) for s in card.sections for b in s.blocks) > 0
    assert not {"script", "img", "link", "iframe"} & {tag for tag, *_ in page.tags}
    assert not [a for _, *names in page.tags for a in names if a.startswith("on")]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_are_text_on_a_page(name: str) -> None:
    def named(word: str) -> str:
        table = Table((word, "b"), ((word, word),), title=word)
        return card_html(Card(word, word, (Section(word, (word, table, Blank(word))),)))

    page = named(name)
    assert Page(page).tags == Page(named("zname")).tags
    assert not [sign for sign in STEERING if sign in page and sign != "\n"]


def test_columns_of_the_rows_that_would_run_are_text() -> None:
    made: Predictor = predictor("linear", "binary")
    assert made.schema is not None
    word = HOSTILE["script"]
    rows = rows_of("binary")
    page = card_html(model_card(made, replace(rows, name=word, notes=(word,))))
    assert word not in page
    assert "<script" not in page
