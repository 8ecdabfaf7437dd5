"""What the chosen methods score where modalities are hidden: as asked of the kept models, on the same gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_answers import make_product

from profuse import compare
from profuse.comparison.compare import Comparison
from profuse.comparison.hidden import RATES
from profuse.comparison.results import HiddenScore, Results
from profuse.data.dataset import Dataset, ModalityData
from profuse.data.split import make_split
from profuse.inspect.missing import drop_modalities
from profuse.metrics import metric
from profuse.report import render_html, render_markdown
from profuse.report.collect import collect
from profuse.report.hidden import hidden_in_words
from profuse.schema import SplitOptions

DATA = make_product(120)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(
        DATA, rounds=(), seeds=2, metric="accuracy", retrain_without=False, model={"members": 1, "width": 8},
        train={"epochs": 1}, n_jobs=1, out=tmp_path_factory.mktemp("hidden"),
    )  # fmt: skip


def by_condition(results: Results, method: str) -> dict[Any, HiddenScore]:
    return {(tuple(h.shown), h.rate): h for h in results.hidden if h.method == method}


def direct(found: Comparison, method: str, condition: tuple[tuple[str, ...], float | None]) -> float:
    """The mean over seeds, computed anew from the kept models and the rows themselves."""
    shown, rate = condition
    values = []
    for seed in (0, 1):
        test = DATA.rows(make_split(DATA, SplitOptions(), seed=seed).test)
        present = np.stack([np.asarray(test.modalities[n].present) for n in ("a", "b")], axis=1)
        kept = drop_modalities(present, rate, seed=seed) if rate else present
        kept = kept & np.array([n in shown for n in ("a", "b")])
        parts = {n: ModalityData("vector", test.modalities[n].values, kept[:, i]) for i, n in enumerate(("a", "b"))}
        rows = Dataset("gaps", parts, None, test.task)
        model = found.predictor(method, seed)
        values.append(metric("accuracy")(model.codec.encode(np.asarray(test.target)), model.predict_proba(rows)))
    return float(np.mean(values))


@pytest.mark.slow
def test_each_condition_is_what_the_kept_models_score_under_it(found: Comparison) -> None:
    verdict = found.summary().verdict
    assert {h.method for h in found.results.hidden} == {verdict.fusion, verdict.classical}
    for method in (verdict.fusion, verdict.classical):
        of = by_condition(found.results, str(method))
        whole = ("a", "b")
        assert set(of) == {(whole, 0.0), *((whole, r) for r in RATES), (("a",), None), (("b",), None)}
        for condition, score in of.items():
            assert score.value == pytest.approx(direct(found, str(method), condition)), (method, condition)


@pytest.mark.slow
def test_with_nothing_hidden_it_is_the_row_of_the_table_with_its_interval(found: Comparison) -> None:
    for method in {h.method for h in found.results.hidden}:
        score = by_condition(found.results, method)[("a", "b"), 0.0]
        row = found.summary().row(method).estimate
        assert (score.value, score.low, score.high) == pytest.approx((row.value, row.low, row.high))
        assert score.n_seeds == 2


@pytest.mark.slow
def test_what_is_reached_is_what_is_missing(found: Comparison) -> None:
    reached = [
        h.reached for h in found.results.hidden if h.rate is not None and h.method == found.results.hidden[0].method
    ]
    assert reached == pytest.approx([0, 0.1, 0.3, 0.5, 0.5], abs=0.06)  # one of two always remains


@pytest.mark.slow
def test_the_report_tells_and_shows_it(found: Comparison) -> None:
    collected = collect(found.results)
    page, text = render_html(collected), render_markdown(collected)
    assert 'id="missing"' in page
    assert page.count('class="gap') == 2
    assert "a + b" in text
    answer = next(a["answer"] for a in collected["answers"] if a["question"] == "What if modalities are missing?")
    half = by_condition(found.results, str(found.summary().verdict.fusion))[("a", "b"), 0.5]
    assert f"to {100 * half.value:.1f}" in answer
    assert "What it can least do without is" in answer


def test_words_name_the_modality_whose_absence_costs_most() -> None:
    def point(reached: float, value: float) -> dict[str, Any]:
        return {"rate": reached, "reached": reached, "value": value, "low": None, "high": None}

    def subset(shown: str, value: float) -> dict[str, Any]:
        return {"shown": shown.split(), "value": value, "low": None, "high": None}

    hidden = {
        "curves": [{"label": "gated", "role": "fusion", "points": [point(0, 0.9), point(0.3, 0.8), point(0.48, 0.7)]}],
        "method": "gated",
        "modalities": ["a", "b", "c"],
        "subsets": [
            subset("a b c", 0.9),
            subset("a b", 0.85),
            subset("a c", 0.5),
            subset("b c", 0.8),
            subset("b", 0.1),
        ],
    }
    words = hidden_in_words(hidden, "accuracy", True).replace("\N{NO-BREAK SPACE}", " ")
    assert words == (
        "Gated falls from 90.0 % to 70.0 % when 48 % of all modalities are missing at random. What it can least do "
        "without is b: 50.0 % is left of gated."
    )
    assert "without is c: " in hidden_in_words(hidden, "mse", False)  # an error that is largest without c


@pytest.mark.slow
def test_results_of_before_and_of_one_modality_have_none(found: Comparison, tmp_path: Path) -> None:
    old = found.results.model_copy(update={"hidden": []})
    assert 'id="missing"' not in render_html(collect(old))
    one = compare(
        DATA.select(["a"]), rounds=(), seeds=1, metric="accuracy", model={"members": 1, "width": 8},
        train={"epochs": 1}, n_jobs=1,
    )  # fmt: skip
    assert one.results.hidden == []
