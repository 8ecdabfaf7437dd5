"""What a report advises: the method that the evidence speaks for, and how many rows would tell more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from profuse.comparison.options import CompareOptions
from profuse.comparison.recommended import recommended
from profuse.comparison.results import DatasetFacts, Results
from profuse.comparison.statistics import Sample, paired_difference
from profuse.comparison.summary import Evidence, summarise
from profuse.report import collect, render_html, render_markdown
from profuse.report.advice import advice, collect_gains, gain_plot, rows_to_show
from profuse.report.margin import margin_set
from profuse.report.words import labels_of

Example = Callable[..., Results]
HOW: dict[str, Any] = {"groups": False, "full": False, "resampled": False}


def advised(results: Results) -> tuple[str | None, str]:
    summary = summarise(results)
    return recommended(results, summary), advice(results, summary, labels_of(results))


@pytest.mark.parametrize(
    ("options", "which"),
    [
        ({"gain": 0.1, "n_test": 1200}, "fusion"),
        ({"gain": -0.1, "n_test": 1200}, "single"),
        ({"gain": 0.0, "n_test": 1200}, "single"),
        ({"gain": 0.05, "classical": 0.09, "n_test": 3000}, "classical"),
    ],
)
def test_the_method_is_the_one_that_the_evidence_speaks_for(
    example: Example, options: dict[str, Any], which: str
) -> None:
    results = example(**{**HOW, **options})
    use, text = advised(results)
    verdict = summarise(results).verdict
    assert use == getattr(verdict, which)
    assert text.startswith(f"Use {labels_of(results)[use or '']}: ")
    if which != "single":
        told = Evidence(results).difference(str(use), str(verdict.single))
        assert told is not None
        assert f"{abs(100 * told.value):.1f}\N{NO-BREAK SPACE}points" in text


def test_where_nothing_beats_the_trivial_answer_no_model_is_advised(example: Example) -> None:
    results = example(gain=0.0, n_test=1200, **HOW)
    summary = summarise(results)
    verdict = replace(summary.verdict, learned=False, helps="not shown")
    comparisons = tuple(replace(c, p_holm=0.5) if c.kind == "trivial" else c for c in summary.comparisons)
    told = replace(summary, verdict=verdict, comparisons=comparisons)
    assert verdict.trivial_gain is not None
    assert recommended(results, told) is None
    assert advice(results, told, labels_of(results)).startswith("Use none of these models yet")


def test_a_method_that_is_shown_to_be_better_is_advised_though_validation_rows_chose_none_such(
    example: Example,
) -> None:
    results = example(gain=0.0, n_test=1200, **HOW)
    summary = summarise(results)
    v = summary.verdict
    assert recommended(results, summary) == v.single
    others = [
        c.method
        for c in summary.comparisons
        if c.kind == "single" and c.method not in (v.fusion, v.single, v.classical)
    ]
    first, second = others[:2]
    comparisons = tuple(
        replace(c, p_holm=0.001, estimate=replace(c.estimate, value=0.1, low=0.05, high=0.15))
        if c.kind == "single" and c.method in (first, second)
        else c
        for c in summary.comparisons
    )
    valid = {first: 0.2, second: 0.3}
    rows = tuple(replace(r, valid=valid.get(r.method.name, r.valid)) for r in summary.rows)
    told = replace(summary, comparisons=comparisons, rows=rows)
    assert recommended(results, told) == second
    labels = labels_of(results)
    text = advice(results, told, labels)
    assert text.startswith(f"Use {labels[second]}: ")
    assert f"Validation rows preferred {labels[str(v.fusion)]}" in text


def test_so_many_rows_have_an_interval_as_wide_as_the_gain() -> None:
    """Paired scores of 400 rows: what is said to be needed has, when drawn, an interval of about the gain."""
    rng = np.random.default_rng(0)

    def difference(n: int) -> Any:
        at = np.arange(n)
        a, b = (Sample(at, at, rng.binomial(1, p, n).astype(float)) for p in (0.72, 0.70))
        return paired_difference([a], [b], n_train=1_000_000_000)

    n = rows_to_show(difference(400), 0.05)
    assert n is not None
    e = difference(n)
    assert (e.high - e.low) / 2 == pytest.approx(0.05, rel=0.15)


def test_rows_are_asked_for_where_the_gain_cannot_be_told(example: Example) -> None:
    _, text = advised(example(gain=0.0, n_test=300, **HOW))
    assert "do not tell whether fusing gains anything" in text
    assert "test rows are needed" in text


@pytest.mark.parametrize(("margin", "said"), [(0.01, "a gain of 2.0 points"), (0.005, "a gain of 0.5 points")])
def test_as_many_rows_are_asked_for_as_would_show_a_gain_of_the_margin_that_was_set(
    margin: float, said: str, example: Example
) -> None:
    results = example(gain=0.0, n_test=300, **HOW)
    _, text = advised(results.model_copy(update={"config": {**results.config, "margin": margin}}))
    assert said in text.replace("\N{NO-BREAK SPACE}", " ")
    gain = summarise(results).verdict.gain
    assert gain is not None
    n = rows_to_show(gain.estimate, {0.01: 0.02}.get(margin, margin))
    assert n is not None
    assert int(text.split("about ")[1].split(" ")[0].replace(",", "")) == pytest.approx(n, rel=0.05)


def test_the_usual_margin_of_reports_is_that_of_the_options() -> None:
    usual = CompareOptions.model_fields["margin"].default
    results = Results(
        dataset=DatasetFacts(name="d", task="binary", n_rows=3, n_train=1, n_valid=1, n_test=1, modalities={})
    )
    assert margin_set(results.model_copy(update={"config": {"margin": usual}})) is None
    assert margin_set(results.model_copy(update={"config": {"margin": 0.2}})) == 0.2


def test_a_gain_within_the_margin_is_said_not_to_matter(example: Example) -> None:
    results = example(gain=0.0, n_test=1200, **HOW)
    wide = results.model_copy(update={"config": {**results.config, "margin": 0.5}})
    assert collect(wide)["headline"].startswith("Fusing makes no difference that matters: within 50")
    assert "fusing makes no difference that matters" in collect(wide)["advice"]
    assert collect(results)["headline"].startswith("These rows cannot tell")


def test_the_picture_holds_what_was_chosen_and_each_other_modality_once(example: Example) -> None:
    results = example(gain=0.1, n_test=900, **HOW)
    summary = summarise(results)
    gains = collect_gains(results, summary, labels_of(results))
    names, verdict = [g["name"] for g in gains], summary.verdict
    assert names[:2] == [verdict.fusion, verdict.classical]
    assert verdict.single not in names
    alone = [tuple(results.method(n).modalities) for n in names if results.method(n).role == "single"]
    assert len(set(alone)) == len(alone)
    for g in gains:
        told = Evidence(results).difference(g["name"], str(verdict.single))
        assert told is not None
        assert g["value"] == told.value
    plot = gain_plot(gains, "text alone", "accuracy")
    assert plot is not None
    assert 0 < plot["zero"] < 100
    assert gain_plot([], "x", "accuracy") is None


def test_the_page_begins_with_the_advice_and_an_older_one_is_drawn_too(example: Example) -> None:
    collected = collect(example(gain=0.1, n_test=900, **HOW))
    page = render_html(collected)
    assert page.index(collected["advice"][:40].replace("'", "&#39;")) < page.index('id="answers"')
    assert "shown to be better" in page
    assert collected["advice"].split(":")[0] in render_markdown(collected)
    old = {k: v for k, v in collected.items() if k not in ("advice", "gains")}
    assert collected["lede"][:30] in render_html(old)


def test_gains_of_what_was_not_chosen_stand_by_size() -> None:
    row = {"role": "single", "low": None, "high": None, "shown": "", "label": ""}
    values = [(True, -0.1), (True, 0.2), (False, 0.1), (False, -0.3), (False, 0.3)]
    plot = gain_plot([{**row, "name": str(v), "chosen": c, "value": v} for c, v in values], "text alone", "accuracy")
    assert plot is not None
    assert [r["value"] for r in plot["rows"]] == [-0.1, 0.2, 0.3, 0.1, -0.3]


@pytest.mark.parametrize(("score", "asks"), [(0.9, True), (0.99, False), (1.0, False)])
def test_no_rows_are_asked_for_where_less_than_such_a_gain_is_left(score: float, asks: bool, example: Example) -> None:
    results = example(gain=0.0, n_test=300, **HOW)
    summary = summarise(results)
    single = summary.verdict.single
    changed = {r.method.name: replace(r, estimate=replace(r.estimate, value=score)) for r in summary.rows}
    rows = tuple(changed[r.method.name] if r.method.name == single else r for r in summary.rows)
    text = advice(results, replace(summary, rows=rows), labels_of(results))
    assert ("test rows are needed" in text) is asks
    assert ("No rows could show a gain of" in text) is not asks
