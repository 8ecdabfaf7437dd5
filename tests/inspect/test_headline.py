"""The head of an answer's page is a sentence that answers, not the text of the catalogue."""

from __future__ import annotations

from dataclasses import replace

import pytest
from page_tags import Tags

from profuse.inspect import QUESTIONS, Answer, Estimate, question
from profuse.report import answer_html


def estimate(name: str, value: float, half: float = 0.02, score: float | None = None, *of: str) -> Estimate:
    return Estimate(name, value, value - half, value + half, 80, score, of or (name,))


def answer(name: str, *estimates: Estimate, metric: str = "accuracy", residual: float | None = 0.0) -> Answer:
    return Answer(name, metric, 80, estimates, residual, ("The first note.",), "what is measured", 0.8)


A, B = estimate("text", 0.1), estimate("table", 0.05)
NEITHER = estimate("text", 0.01), estimate("table", -0.01)
PAIR = ("a", "b")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answer("importance", A, B), "text matters most: without it accuracy loses 0.1000 (0.0800 to 0.1200)."),
        (answer("importance", *NEITHER), "No modality is shown to matter: text most, "),
        (answer("contribution", B, A, estimate("text: word", 0.3, 0.02, None, "text")), "text contributes most"),
        (answer("subsets", estimate("a", 0.3, 0.1, 0.7), estimate("b", 0.4, 0.1, 0.8),
                estimate("a + b", 0.5, 0.1, 0.9, *PAIR)),
         "a + b scores accuracy 0.9000; the best with fewer modalities, b, 0.8000."),
        (answer("interaction", estimate("a + b", 0.1, 0.02, None, *PAIR)), "a + b need each other most: together "),
        (answer("interaction", estimate("a + b", -0.1, 0.02, None, *PAIR)),
         "a + b say most alike: together they gain 0.1000 (0.0800 to 0.1200) accuracy less"),
        (answer("interaction", estimate("a + b", 0.0, 0.02, None, *PAIR)), "No pair is shown"),
        (answer("missing", replace(B, at=0.1), replace(A, at=0.3)),
         "accuracy falls behind by at most 0.1000 (0.0800 to 0.1200), at text."),
        (answer("noise", *NEITHER), "Nothing is shown to be lost; most, at text, "),
        (answer("misaligned", A), "accuracy falls behind by at most 0.1"),
        (answer("worth", B, A, metric="log_loss"), "Collecting text gains most: 0.1"),
        (answer("worth", *NEITHER), "Collecting a modality is not shown to gain"),
        (answer("rounds", A), "The model has one round"),
        (answer("rounds", estimate("round 1", 0.3), estimate("round 2", 0.1)), "After the first, round 2 gains most: "),
        (answer("rounds", estimate("round 1", 0.3), estimate("round 2", 0.01)), "No round after the first is shown"),
        (answer("errors", A, B, estimate("(share of targets that look wrong)", 0.5)),
         "2 slices are predicted worse than other rows, first text: by 0.1000"),
        (answer("errors", estimate("(share of targets that look wrong)", 0.5)), "No slice of the rows is shown"),
        (answer("membership", A), "Predictions give away which rows"),
        (answer("membership", *NEITHER), "Predictions are not shown to give away"),
        (answer("calibration", A, estimate("the same if calibrated", 0.03)),
         "Probabilities are 0.100 off on average, more than chance explains: calibrated ones would be 0.010 to 0.050"),
        (answer("calibration", A, estimate("the same if calibrated", 0.09)), "Probabilities are 0.100 off on average"),
        (answer("conformal", estimate("all rows", 0.91), estimate("text hidden", 0.6), residual=0.01),
         "Sets hold the truth in 91.0 % of the rows (89.0 to 93.0 %), 90 % were asked for; at worst, text hidden, in"),
        (answer("conformal", estimate("all rows", 0.91), metric="width", residual=0.01), "Intervals hold the truth in"),
        (replace(answer("audit", A), shown=("sex=f", "sex: equalised odds")),
         "Groups are shown to differ: sex=f, sex: equalised odds."),
        (replace(answer("audit", A), shown=tuple("abcde")), "Groups are shown to differ: a, b, c and 2 more."),
        (replace(answer("audit", A), shown=()), "No difference between groups is shown."),
        (answer("row", B, replace(A, value=-0.3, low=-0.3, high=-0.3)), "What is measured: most, -0.3000, for text."),
    ],
)  # fmt: skip
def test_the_headline_says_what_was_found(given: Answer, said: str) -> None:
    headline = question(given.question).headline(given)
    assert headline.startswith(said)
    assert headline.endswith(".")


def test_every_question_is_held_in_this_file() -> None:
    held = test_the_headline_says_what_was_found.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {given.question for given, _ in held} == set(QUESTIONS)


def test_without_an_estimate_the_headline_is_what_the_question_asks() -> None:
    bare = replace(answer("row"), estimates=(estimate("a", float("nan")),))
    assert question("row").headline(bare) == question("row").description


def test_a_single_estimate_is_told_by_itself() -> None:
    one = replace(answer("row"), estimates=(A,), measures="")
    assert question("row").headline(one) == "Text: 0.1000 (0.0800 to 0.1200)."


def test_the_page_is_headed_by_the_sentence() -> None:
    page = answer_html(answer("importance", A, B))
    head = page.split("<h1>")[1].split("</h1>")[0]
    assert head == "text matters most: without it accuracy loses 0.1000 (0.0800 to 0.1200)."
    assert question("importance").description in Tags(page).text
