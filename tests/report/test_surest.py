"""The surest errors of a comparison: the right rows, kept with the results, drawn again without the data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hostile import HOSTILE, STEERING
from page_tags import Tags
from rows_of_kinds import N_ROWS, rows_of_kind

from profuse.comparison.jobs import JobResult
from profuse.comparison.recommended import shown_method
from profuse.comparison.results import Results
from profuse.comparison.summary import summarise
from profuse.comparison.surest import surest_errors
from profuse.data.dataset import Dataset
from profuse.data.tensors import from_tensors
from profuse.errors import DataError
from profuse.kinds import KINDS, kind_named
from profuse.report import collect, render_html

Example = Callable[..., Results]
CLASSES = ["a", "b", "c"]


def rows_of(kind: str, given: Any, task: str, ids: np.ndarray | None = None) -> Dataset:
    rates = {"x": 8_000} if kind_named(kind).has_rate else None
    rows = from_tensors({"x": (kind, given)}, rates=rates)
    return replace(rows, task=task, ids=ids)  # type: ignore[arg-type]


def with_errors(results: Results, rows: Dataset, said: np.ndarray, true: np.ndarray, n: int, **facts: Any) -> Results:
    """Gives results the surest errors of a fit whose test rows are all rows, the last first."""
    method = str(shown_method(results, summarise(results)))
    job = JobResult({"test_rows": list(range(len(rows)))[::-1], "classes": CLASSES, **facts}, said, true)
    run: Any = SimpleNamespace(found={method: {1: job}})
    results.surest = surest_errors(results, run, rows, n)
    return results


def probabilities(answered: list[int], sure: list[float]) -> np.ndarray:
    said = np.repeat((1 - np.array(sure))[:, None] / 2, 3, axis=1)
    said[np.arange(len(sure)), answered] = sure
    return said


def test_the_rows_are_those_that_are_wrong_with_the_highest_probability(example: Example) -> None:
    rows = rows_of("text", [f"row {i}" for i in range(5)], "multiclass")
    said, true = probabilities([0, 1, 2, 0, 1], [0.99, 0.7, 0.9, 0.6, 0.5]), np.array([0, 0, 0, 1, 0])
    surest = with_errors(example(n_test=60, n_classes=3), rows, said, true, 3).surest
    assert surest is not None
    assert (surest.n_wrong, surest.n_rows, surest.seed) == (4, 5, 1)
    assert [r.id for r in surest.rows] == ["2", "3", "1"]  # test rows are numbered from the last
    assert [r.parts[0].text for r in surest.rows] == ["row 2", "row 3", "row 1"]
    assert [(r.predicted, r.truth) for r in surest.rows] == [(["c"], ["a"]), (["b"], ["a"]), (["a"], ["b"])]
    assert [r.sure for r in surest.rows] == pytest.approx([0.9, 0.7, 0.6])


def test_of_numbers_they_are_the_largest_errors(example: Example) -> None:
    rows = rows_of("text", list("vwxyz"), "regression", np.array(list("ABCDE"), dtype=object))
    true = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
    said = true + np.array([[0.1], [-3.0], [0.2], [2.0], [0.0]])
    surest = with_errors(example(task="regression", n_test=60), rows, said, true, 2).surest
    assert surest is not None
    assert surest.n_wrong is None
    assert [(r.id, r.predicted, r.truth) for r in surest.rows] == [("D", [-1.0], [2.0]), ("B", [6.0], [4.0])]
    assert surest.rows[0].sure == pytest.approx(3 / np.std((said - true)[:, 0]))


def test_of_labels_the_surest_wrong_one_counts(example: Example) -> None:
    rows = rows_of("text", list("xyz"), "multilabel")
    true = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 1]])
    said = np.array([[0.9, 0.1, 0.95], [0.1, 0.2, 0.1], [0.9, 0.9, 0.9]])
    surest = with_errors(example(task="multilabel", n_classes=3, n_test=60), rows, said, true, 5).surest
    assert surest is not None
    assert [(r.id, r.predicted, r.truth) for r in surest.rows] == [("2", ["a", "c"], ["a"]), ("1", [], ["b"])]


@pytest.mark.parametrize("n", [0, 4])
def test_there_are_none_where_none_are_asked_for_or_nothing_is_wrong(example: Example, n: int) -> None:
    rows, true = rows_of("text", ["x", "y"], "multiclass"), np.array([0, 1])
    said = probabilities([0, 1] if n else [1, 0], [0.9, 0.9])
    results = with_errors(example(n_test=60, n_classes=3), rows, said, true, n)
    assert results.surest is None
    assert 'id="surest"' not in render_html(collect(results))


@pytest.mark.parametrize("kind", KINDS.builtin)
def test_rows_of_every_kind_are_drawn_again_from_the_folder(example: Example, kind: str, tmp_path: Path) -> None:
    rows = rows_of(kind, rows_of_kind(kind), "multiclass")
    said = probabilities([0] * N_ROWS, [0.9] * N_ROWS)
    results = with_errors(example(n_test=60, n_classes=3), rows, said, np.ones(N_ROWS, dtype=int), N_ROWS)
    results.write(tmp_path)
    page = render_html(collect(Results.read(tmp_path)))
    assert page == render_html(json.loads(json.dumps(collect(results))))
    modality, of = rows.modalities["x"], kind_named(kind)
    there = int(modality.present.sum())
    first = int(np.flatnonzero(modality.present)[0])
    drawing = of.draw(modality, first, of.units(modality, first, 9))
    pictured = drawing.picture is not None or drawing.lines is not None
    assert len(re.findall("<article>", page)) == N_ROWS
    assert len(re.findall('<svg class="seen"', page)) == (there if pictured else 0)
    assert Tags(page).text.count("missing") >= N_ROWS - there
    assert len(page.encode()) < 5_000_000


@pytest.mark.slow
def test_many_large_pictures_make_a_page_below_5_megabytes(example: Example) -> None:
    noise = np.random.default_rng(0).integers(0, 255, size=(24, 500, 500, 3)).astype(np.uint8)
    rows = rows_of("image", noise, "multiclass")
    results = with_errors(
        example(n_test=60, n_classes=3), rows, probabilities([0] * 24, [0.9] * 24), np.ones(24, dtype=int), 24
    )
    page = render_html(collect(results))
    assert len(re.findall("<image ", page)) == 24
    assert 1_000_000 < len(page.encode()) < 5_000_000


@pytest.mark.parametrize("name", ["picture", "script"])
def test_words_of_a_row_stay_text(example: Example, name: str) -> None:
    def page(text: str) -> Tags:
        rows = rows_of("text", [text, "y"], "multiclass", np.array([text, "2"], dtype=object))
        said, true = probabilities([1, 1], [0.9, 0.8]), np.array([0, 0])
        facts = {"classes": [text, "b", "c"]}
        return Tags(render_html(collect(with_errors(example(n_test=60, n_classes=3), rows, said, true, 2, **facts))))

    hostile = page(HOSTILE[name])
    assert hostile.tags == page("usual").tags
    assert not [sign for sign in STEERING if sign in hostile.text.replace("\n", " ")]


@pytest.mark.parametrize("change", [{"png": "bm9uZQ=="}, {"png": '"><script>'}, {"lines": [[1.0], [1.0, 2.0]]}])
def test_a_folder_with_what_is_no_picture_is_refused(example: Example, change: Any, tmp_path: Path) -> None:
    rows = rows_of("text", ["x"], "multiclass")
    results = with_errors(example(n_test=60, n_classes=3), rows, probabilities([1], [0.9]), np.array([0]), 1)
    results.write(tmp_path)
    raw = json.loads((tmp_path / "results.json").read_text())
    raw["surest"]["rows"][0]["parts"][0] |= change
    (tmp_path / "results.json").write_text(json.dumps(raw))
    with pytest.raises(DataError, match=r"surest\.rows\.0\.parts\.0"):
        Results.read(tmp_path)
