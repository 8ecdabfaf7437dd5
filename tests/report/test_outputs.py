"""Pictures of what the recommended model says, held against scikit-learn and SciPy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import calibration, metrics

from profuse.comparison.recommended import shown_method
from profuse.comparison.results import Results
from profuse.comparison.seed_rows import Outputs
from profuse.comparison.summary import summarise
from profuse.report import collect, numbers, render_html
from profuse.report.pooled import Pooled
from profuse.report.thresholds import DEFAULT, OFFERED, collect_thresholds, threshold_plots

Example = Callable[..., Results]


def said_of(results: Results, task: str, seed: int = 0) -> Results:
    """Gives the method that is shown predictions for every test row; those of `task`."""
    rng, method = np.random.default_rng(seed), shown_method(results, summarise(results))
    assert method is not None
    results.dataset.task = task  # type: ignore[assignment]
    for rows in results.rows.values():
        n = len(rows.ids)
        if task == "regression":
            amount = rng.gamma(2.0, 40.0, (n, 1))
            near = amount * 0.9 + 10 + rng.normal(0, 15, (n, 1))
            rows.outputs = {method: Outputs(amount, near.astype(np.float32))}
        elif task == "binary":
            results.dataset.classes = ["ill", "well"]
            true = (rng.random(n) < 0.3).astype(np.int64)
            said = 1 / (1 + np.exp(-(2.5 * true - 1.8 + rng.normal(size=n))))
            rows.outputs = {method: Outputs(true, said.astype(np.float32).round(2))}
        else:
            k = len(results.dataset.classes)
            true, sure = rng.integers(0, k, n), rng.uniform(0.3, 1, n)
            answered = np.where(rng.random(n) < sure, true, (true + 1) % k)
            rows.outputs = {method: Outputs(true, np.stack([answered, sure], axis=1))}
    return results


def pooled_of(results: Results) -> Pooled:
    pooled = Pooled.of(results, summarise(results))
    assert pooled is not None
    return pooled


@pytest.fixture
def binary(example: Example) -> Results:
    return said_of(example(n_classes=2, n_test=300, groups=False), "binary")


def test_counts_at_every_threshold_are_those_of_scikit_learn(binary: Results) -> None:
    pooled = pooled_of(binary)
    found = collect_thresholds(pooled, ["ill", "well"])
    assert found is not None
    for threshold, hits, wrong in found["at"]:
        matrix = metrics.confusion_matrix(pooled.true, pooled.said >= threshold, labels=[0, 1])
        assert (wrong, hits) == tuple(matrix[:, 1])
    steps = threshold_plots(found, "state")["steps"]
    for step in steps[::20]:
        answers = pooled.said >= step["threshold"]
        texts, recall = step["texts"], metrics.recall_score(pooled.true, answers)
        assert texts["sensitivity"] == numbers.score(recall, "accuracy")
        assert texts["specificity"] == numbers.score(
            metrics.recall_score(pooled.true, answers, pos_label=0), "accuracy"
        )
        if answers.any():
            assert texts["precision"] == numbers.score(metrics.precision_score(pooled.true, answers), "accuracy")
        assert texts["command"].endswith(f"--target state --threshold {step['threshold']:g}")


def test_both_curves_pass_through_the_points_of_scikit_learn(binary: Results) -> None:
    pooled = pooled_of(binary)
    found = collect_thresholds(pooled, ["ill", "well"])
    assert found is not None
    false, true, _ = metrics.roc_curve(pooled.true, pooled.said, drop_intermediate=False)
    points = {
        (round(y * found["n_positive"]), round(x * found["n_negative"])) for x, y in zip(false, true, strict=True)
    }
    drawn = [tuple(p) for p in found["curve"]]
    assert set(drawn) <= points
    assert drawn[-1] == (found["n_positive"], found["n_negative"])
    area = np.trapezoid([0, *(h for h, _ in drawn)], [0, *(w for _, w in drawn)])
    assert area / found["n_positive"] / found["n_negative"] == pytest.approx(
        metrics.roc_auc_score(pooled.true, pooled.said), abs=0.005
    )


def test_an_interval_counts_a_row_once_however_many_fits_were_tested_on_it(example: Example) -> None:
    one = said_of(example(n_classes=2, n_test=200, n_seeds=1, groups=False, resampled=False), "binary")
    texts = threshold_plots(collect_thresholds(pooled_of(one), ["a", "b"]) or {}, "t")["steps"][60]["texts"]
    hits, positives = int(texts["hits"]), int((pooled_of(one).true == 1).sum())
    ends = stats.binomtest(hits, positives).proportion_ci(0.95, "wilson")
    assert texts["sensitivity_interval"] == numbers.interval(ends.low, ends.high, "accuracy")

    rows = one.rows[0]
    one.rows[1] = type(rows)(rows.ids, rows.groups, rows.scores, {}, rows.outputs)  # the same again
    twice = threshold_plots(collect_thresholds(pooled_of(one), ["a", "b"]) or {}, "t")["steps"][60]["texts"]
    assert int(twice["hits"]) == 2 * hits
    assert twice["sensitivity_interval"] == texts["sensitivity_interval"]


def test_groups_are_what_intervals_count(example: Example) -> None:
    results = said_of(example(n_classes=2, n_test=200, n_seeds=1), "binary")
    pooled = pooled_of(results)
    groups = results.rows[0].groups
    assert groups is not None
    assert pooled.worth == len(np.unique(groups)) / 200
    assert collect(results)["outputs"]["grouped"]


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_reliability_is_that_of_scikit_learn(example: Example, task: str) -> None:
    results = said_of(example(n_classes=2 if task == "binary" else 5, n_test=400, groups=False), task)
    for rows in results.rows.values():
        for outputs in rows.outputs.values():
            sure = outputs.said if task == "binary" else outputs.said[:, 1]
            sure[:] = sure * 0.99 + 0.00123  # not on the edge of a bin, where conventions differ
    pooled, bins = pooled_of(results), collect(results)["outputs"]["reliability"]["bins"]
    said = pooled.said if task == "binary" else pooled.said[:, 1]
    so = pooled.true if task == "binary" else pooled.true == pooled.said[:, 0]
    shares, means = calibration.calibration_curve(so, said, n_bins=10)
    assert np.allclose([b["share"] for b in bins], shares)
    assert np.allclose([b["said"] for b in bins], means)
    assert sum(b["n"] for b in bins) == len(said)
    for b in bins:
        assert b["from"] - 1e-6 <= b["said"] <= b["to"] + 1e-6
        assert b["low"] <= b["share"] <= b["high"]


def test_residuals_tell_the_errors_in_the_units_of_the_target(example: Example) -> None:
    results = said_of(example(task="regression", n_test=240, n_seeds=1, groups=False), "regression")
    pooled, (found,) = pooled_of(results), collect(results)["outputs"]["residuals"]
    left = (pooled.true - pooled.said)[:, 0]
    ends = stats.ttest_1samp(left, 0).confidence_interval(0.95)
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((left.mean(), *ends))
    assert found["half"] == pytest.approx(np.median(abs(left)))
    assert (abs(left) < found["most"]).mean() == pytest.approx(0.9, abs=0.01)
    assert sum(b["n"] for b in found["bins"]) == 240
    said = pooled.said[:, 0]
    first = found["bins"][0]
    lowest = np.argsort(said, kind="stable")[: first["n"]]
    assert first["mean"] == pytest.approx(left[lowest].mean())
    assert (first["from"], first["to"]) == pytest.approx((said[lowest].min(), said[lowest].max()))
    page = render_html(collect(results))
    assert f"Half of all errors are below {numbers.amount(found['half'])}" in page
    assert page.count("Predicted against true") == 1  # not drawn twice


def test_without_a_script_the_page_has_the_default_threshold_and_some_others(binary: Results) -> None:
    page, pooled = render_html(collect(binary)), pooled_of(binary)
    hits = int(((pooled.true == 1) & (pooled.said >= DEFAULT)).sum())
    assert f'<td data-is="hits">{hits:,}</td>' in page
    assert '<div class="chooser" hidden>' in page  # the slider moves nothing without the script
    assert "0.5 (default)" in page
    assert all(f'class="head">{t:g}</th>' in page for t in (0.05, 0.1, 0.9))
    assert 'aria-label="Confusion matrix"' not in page  # its counts stand beside the curves


def test_only_the_script_of_the_page_may_run(binary: Results) -> None:
    page = render_html(collect(binary))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (allowed,) = re.findall(r"script-src '(.*?)'", page)
    assert allowed == "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert not re.search(r"https?://|@import|url\(|<link|<iframe|\son\w+=|innerHTML", page)


@pytest.mark.parametrize("evil", ["<img src=x onerror=alert(1)>", "\"'>&quot;</script>", "\u202ewell"])
def test_names_of_classes_stay_text(binary: Results, evil: str) -> None:
    binary.dataset.classes = ["ill", evil]
    binary.dataset.target_names = [evil]
    page = render_html(collect(binary))
    assert "<img" not in page
    assert "\u202e" not in page
    (steps,) = re.findall(r'data-steps="([^"]*)"', page)
    assert [s["threshold"] for s in json.loads(unescape(steps))] == OFFERED


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_report_is_drawn_again_from_the_folder(example: Example, tmp_path: Path, task: str) -> None:
    kind: dict[str, Any] = (
        {"task": "regression"} if task == "regression" else {"n_classes": 2 if task == "binary" else 4}
    )
    results = said_of(example(n_test=120, **kind), task)
    results.write(tmp_path)
    again = collect(Results.read(tmp_path))
    assert again["outputs"] is not None
    assert render_html(again) == render_html(json.loads(json.dumps(collect(results))))


def test_a_page_of_several_classes_has_no_script(example: Example) -> None:
    page = render_html(collect(said_of(example(n_classes=4, n_test=100), "multiclass")))
    assert "Are its probabilities what they say?" in page
    assert "<script" not in page


def test_test_rows_of_one_class_have_no_curves(binary: Results) -> None:
    for rows in binary.rows.values():
        for outputs in rows.outputs.values():
            outputs.true[:] = 0
    found = collect(binary)
    assert found["outputs"]["thresholds"] is None
    assert "<script" not in render_html(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.01234, "\u22120.0123"), (1234.5, "1,230"), (99.96, "100"), (3.2e10, "3.2e+10")],
)
def test_amounts_have_three_digits(value: float, text: str) -> None:
    assert numbers.amount(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (1234, "1.2k"), (9_960, "10k"), (99_600, "100k"), (2_500_000, "2.5M")]
)
def test_short_counts_fit_four_characters(value: int, text: str) -> None:
    assert numbers.short(value) == text
    assert len(text) <= 4
