"""A modality that is in no row of a part or a class is told as such, never as one that is worth nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from known_answers import make_product

from profuse.comparison.engine import compare_dataset
from profuse.comparison.options import CompareOptions
from profuse.comparison.presence import shares_of_test, tell_absent
from profuse.comparison.results import Results
from profuse.data.dataset import Dataset
from profuse.data.split import Split, make_split
from profuse.inspect import ask
from profuse.report import collect, render_html, render_markdown
from profuse.schema import SplitOptions
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.usefixtures("few_classical")

SMALL = {
    "rounds": (),
    "seeds": 1,
    "retrain_without": False,
    "model": {"width": 8},
    "train": {"epochs": 1, "refit": False},
}


def _without(dataset: Dataset, name: str, rows: np.ndarray) -> Dataset:
    data = dataset.modalities[name]
    present = data.present.copy()
    present[rows] = False
    return replace(dataset, modalities={**dataset.modalities, name: replace(data, present=present)})


def _official(dataset: Dataset) -> Dataset:
    parts = np.repeat(np.array(["train", "valid", "test"], dtype=object), [60, 30, 30])
    return replace(dataset, split=parts)


def _absent_in_test() -> Dataset:
    return _without(_official(make_product(n_rows=120)), "b", np.arange(90, 120))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Results:
    options = CompareOptions.model_validate(SMALL)
    return compare_dataset(_absent_in_test(), options, tmp_path_factory.mktemp("out"), n_jobs=1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.arange(60, 90), "'b' is in none of the 30 validation rows: epochs and choices are made without it."),
        (np.arange(90, 120), "'b' is in none of the 30 test rows: no score tells what it is worth"),
    ],
)
def test_a_part_without_a_modality_is_told(rows: np.ndarray, message: str) -> None:
    dataset = _without(_official(make_product(n_rows=120)), "b", rows)
    notes = tell_absent(dataset, {0: make_split(dataset, SplitOptions(), seed=0)})
    assert [n for n in notes if n.startswith(message)] == notes


def test_seeds_without_a_modality_are_named_where_others_have_it() -> None:
    dataset = _without(make_product(n_rows=9), "b", np.arange(1, 9))
    splits = {
        s: Split(*(np.array(p) for p in parts))
        for s, parts in enumerate([([0, 1, 2], [3, 4], [5, 6]), ([1, 2, 3], [4, 5], [0, 6])])
    }
    notes = tell_absent(dataset, splits)
    assert any("2 test rows of seed 0: no score" in n for n in notes)
    assert shares_of_test(dataset, list(splits.values())) == {"a": 1.0, "b": 0.25}


def test_a_class_without_a_modality_is_told_unless_chance_explains_it() -> None:
    dataset = make_product(n_rows=120)
    splits = {0: make_split(dataset, SplitOptions(), seed=0)}
    same = np.flatnonzero(np.asarray(dataset.target) == "same")
    notes = tell_absent(_without(dataset, "a", same), splits)
    assert any(f"'a' is in none of the {len(same)} rows of 'same' and in 100 % of the others" in n for n in notes)
    rare = _without(dataset, "a", np.setdiff1d(np.arange(120), [int(np.flatnonzero(dataset.target != "same")[0])]))
    assert not any("tells the class" in n for n in tell_absent(rare, splits))
    assert tell_absent(dataset, splits) == []


@pytest.mark.slow
def test_a_report_says_that_no_test_row_has_it_and_not_that_nothing_is_lost(compared: Results) -> None:
    assert {a.modality for a in compared.ablation} == {"a"}
    assert compared.dataset.modalities["b"].test_fraction == 0
    collected = collect(compared)
    assert [p["modality"] for p in collected["ablation"]["parts"]] == ["a"]
    assert collected["ablation"]["absent"] == ["b"]
    page, plain = render_html(collected), render_markdown(collected)
    for text in (page, plain):
        assert "No test row has b: what that is worth cannot be said." in text
        assert "without b" not in text.replace("without b</div>", "") or "no test row has it" in text
        assert "is in none of the 30 test rows" in text.replace("&#39;", "'")
    assert "0.0\N{NO-BREAK SPACE}points without b" not in page


def test_a_single_modality_that_no_test_row_has_is_said_to_answer_without_data(compared: Results) -> None:
    changed = compared.model_copy(deep=True)
    changed._rows.update(compared.rows)
    for s in changed.scores:
        if s.split == "valid" and s.method == "b only":
            s.value = 1.0
    answers = {a["question"]: a["answer"] for a in collect(changed)["answers"]}
    assert "No test row has what b alone needs: it answers without data." in answers["Does fusing help?"]


def test_an_answer_says_what_it_cannot_tell() -> None:
    dataset = _absent_in_test()
    prepared = Prepared.make(dataset, make_split(dataset, SplitOptions(), seed=0))
    options = CompareOptions.model_validate(SMALL)
    model = fit_model(prepared, options.model, TrainOptions(epochs=1, refit=False), modalities=("a", "b"))
    answer = ask(model, dataset.rows(prepared.split.test), "importance")
    assert [e.name for e in answer.estimates] == ["a"]
    assert any("No row has 'b'" in note for note in answer.notes)


def test_a_folder_of_results_keeps_the_share_of_test_rows(compared: Results, tmp_path: Path) -> None:
    compared.write(tmp_path)
    assert Results.read(tmp_path).dataset.modalities["b"].test_fraction == 0
