"""Questions at the end of a comparison: as asked of the kept model, on its test rows, told in the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profuse import compare
from profuse.comparison.compare import Comparison
from profuse.datasets import load
from profuse.errors import UnknownNameError
from profuse.inspect import ask
from profuse.report import collect, render_html, render_markdown

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("asking", "few_classical")]
HOW: dict[str, Any] = {
    "rounds": (), "seeds": 2, "retrain_without": False, "portfolio": "none", "model": {"members": 1, "width": 8},
    "train": {"epochs": 1}, "n_jobs": 1,
}  # fmt: skip


def data() -> Any:
    whole = load("synthetic", variant="unique")
    return whole.rows(np.random.default_rng(0).permutation(len(whole))[:500])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, asking: None, few_classical: None) -> Comparison:
    return compare(data(), questions=("contribution", "importance"), out=tmp_path_factory.mktemp("asked"), **HOW)


def test_answers_are_those_of_the_best_fusion_on_its_test_rows(found: Comparison) -> None:
    best = found.summary().verdict.fusion
    assert [(a.method, a.seed, a.answer["question"]) for a in found.results.answers] == [
        (best, 0, "contribution"),
        (best, 0, "importance"),
    ]
    ids = found.results.rows[0].ids.astype(int)
    test = data().rows(np.sort(ids))
    again = ask(found.predictor(best, seed=0), test, "importance", seed=0)
    told = found.results.answers[1].answer
    assert told["n_rows"] == len(test)
    assert [e["value"] for e in told["estimates"]] == pytest.approx([e.value for e in again.estimates])


def test_the_report_shows_them(found: Comparison) -> None:
    collected = collect(found.results)
    page, text = render_html(collected), render_markdown(collected)
    for asked in found.results.answers:
        for e in asked.answer["estimates"]:
            assert f"{e['value']:.4f}".lstrip("-") in page
            assert f"{e['value']:.4f}" in text
    bare = collect(found.results.model_copy(update={"answers": []}))
    assert 'id="questions"' in page
    assert 'id="questions"' not in render_html(bare)
    old = {k: v for k, v in bare.items() if k != "asked"}  # collected by an earlier version
    assert render_html(old)
    assert render_markdown(old)


def test_a_question_that_is_none_is_refused_before_anything_is_fitted(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="importance"):
        compare(data(), questions=("importanc",), out=tmp_path / "out", **HOW)
    assert not (tmp_path / "out").exists()


def test_a_question_that_cannot_be_asked_is_told_and_others_are_answered(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=(200, 3))
    given = {"a": numbers[:, :2], "b": numbers[:, 2:]}
    made = compare(given, numbers.sum(1), questions=("calibration", "importance"), out=tmp_path, **HOW)
    assert [a.answer["question"] for a in made.results.answers] == ["importance"]
    assert any("'calibration' was not answered" in note for note in made.results.dataset.notes)


def test_none_is_asked_where_none_is_named(tmp_path: Path) -> None:
    assert compare(data(), questions=("none",), out=tmp_path, **HOW).results.answers == []


def test_a_model_that_would_take_long_is_passed_over_and_the_last_is_asked_of_fewer_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from profuse.comparison import questions as module

    monkeypatch.setattr(module, "_MOST_PREDICTIONS", 1)
    monkeypatch.setattr(module, "_FEWEST_ROWS", 40)
    found = compare(data(), questions=("importance",), out=tmp_path, **HOW)
    (asked,) = found.results.answers
    assert asked.method == found.summary().verdict.classical
    assert asked.answer["n_rows"] == 40
