"""How far a question is: predictions are counted where they are made, and all are known where that is said."""

from __future__ import annotations

import io
from typing import Any

import pytest
from made_predictors import PORTFOLIO, data, predictor
from rich.console import Console

from profuse.cli._asking import asking_line, told
from profuse.inspect import ask, question
from profuse.predictor.watching import planned, predicted, watched

KINDS = ("network", "linear", PORTFOLIO)


def seen_of(kind: str, name: str, **options: Any) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    model, (rows, _) = predictor(kind, "binary"), data("binary")
    ask(model, rows, name, on_progress=lambda *at: seen.append(at), n_resamples=20, **options)
    return seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "options"), [("contribution", {}), ("importance", {}), ("subsets", {}), ("interaction", {"unit": "bits"})]
)
def test_where_all_are_planned_the_first_one_knows_how_many(kind: str, name: str, options: dict[str, Any]) -> None:
    assert question(name)(**options).plans_all
    seen = seen_of(kind, name, **options)
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert {needed for _, needed in seen} == {len(seen)}


@pytest.mark.parametrize(
    ("name", "options"),
    [("contribution", {"how": "permuted", "repeats": 2}), ("interaction", {"n_rows": 20}), ("missing", {})],
)
def test_elsewhere_those_known_so_far_are_never_fewer_than_those_done(name: str, options: dict[str, Any]) -> None:
    assert not question(name)(**options).plans_all
    seen = seen_of(PORTFOLIO, name, **options)
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert all(needed >= done for done, needed in seen)
    assert seen[0][1] < len(seen)


def test_a_plan_within_a_plan_is_part_of_it_and_none_is_told_when_nobody_listens() -> None:
    seen: list[tuple[int, int]] = []
    with watched(lambda *at: seen.append(at)):
        with planned(3), planned(2):
            predicted()
            predicted()
        predicted()
        with planned(5), watched(None):
            predicted()
    predicted()
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("done", "needed", "seconds", "all_planned", "message"),
    [
        (5, 20, 10.0, True, "5 of 20 predictions, 10 s, about 30 s left"),
        (5, 20, 0.5, True, "5 of 20 predictions, 0.5 s"),
        (20, 20, 40.0, True, "20 of 20 predictions, 40 s"),
        (1500, 1500, 40.0, False, "1,500 predictions, 40 s"),
    ],
)
def test_it_is_told_in_words(done: int, needed: int, seconds: float, all_planned: bool, message: str) -> None:
    assert told(done, needed, seconds, all_planned=all_planned).replace("\xa0", " ") == message


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_and_nothing_else(terminal: bool) -> None:
    stream = io.StringIO()
    with asking_line("row", Console(file=stream, force_terminal=terminal, width=90), all_planned=False) as tell:
        assert (tell is not None) is terminal
        if tell is not None:
            tell(7, 7)
    assert ("row: 7 predictions" in stream.getvalue()) is terminal
    assert terminal or not stream.getvalue()
