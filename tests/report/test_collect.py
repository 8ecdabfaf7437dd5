"""What a report says: plain data, and a headline that follows the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from not_none import not_none

from profuse.comparison.results import Results, Skipped, Timing
from profuse.comparison.statistics import holm
from profuse.comparison.summary import summarise
from profuse.report import collect, figures, numbers, render_html, render_markdown
from profuse.report.hidden import subset_plot
from profuse.report.words import Words, listed

Example = Callable[..., Results]


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_the_collected_report_is_json_and_draws_the_same_after_it(example: Example, task: str) -> None:
    collected = collect(example(task=task, n_classes=2 if task == "binary" else 5, n_test=200))
    again = json.loads(json.dumps(collected, allow_nan=False))
    assert render_html(again) == render_html(collected)


def test_a_report_can_be_redrawn_from_its_folder(example: Example, tmp_path: Path) -> None:
    results = example(n_test=200)
    results.write(tmp_path)
    assert collect(Results.read(tmp_path)) == collect(results)


@pytest.mark.parametrize(
    ("options", "headline"),
    [
        ({"gain": 0.1}, "Yes, fusing helps: +"),
        ({"gain": -0.1}, "No, fusing does not help: text alone is better by"),
        ({"gain": 0.0}, "These rows cannot tell whether fusing beats text alone."),
        (
            {"gain": 0.05, "classical": 0.09, "n_test": 3000},
            "Yes, use all modalities, with gradient boosting",
        ),
        ({"gain": -0.02, "classical": 0.12}, "Yes, use all modalities, with gradient boosting: it is better"),
        # one modality is good, and fusion no better than the most frequent class
        ({"gain": -0.45, "classical": 0.0, "many": False}, "No, fusing does not help: text alone is better by"),
        ({"modalities": ("table",)}, "Nothing to fuse: one modality only."),
        ({"valid": False}, "No answer yet: a part is missing."),
    ],
)
def test_the_headline_says_what_was_found(example: Example, options: dict[str, Any], headline: str) -> None:
    options = {"n_test": 1200, "groups": False, "full": False, "resampled": False, **options}
    assert collect(example(**options))["headline"].startswith(headline)


TRIVIAL = "always answering the most frequent class"


@pytest.mark.parametrize(
    ("low", "alone", "headline"),
    [
        (0.1, 0.1, f"Gradient boosting beats {TRIVIAL}; deep fusion is not shown to."),
        (-0.1, -0.1, f"Nothing here is shown to beat {TRIVIAL}."),
        (-0.1, 0.1, f"Text alone beats {TRIVIAL}; fusing is not shown to."),
        (None, 0.1, f"Text alone beats {TRIVIAL}; fusing is not shown to."),
        (None, -0.1, f"Nothing here is shown to beat {TRIVIAL}."),
    ],
)
def test_the_headline_where_the_fusion_is_not_shown_to_beat_the_trivial_answer(
    example: Example, low: float | None, alone: float, headline: str
) -> None:
    results = example(gain=0.0, n_test=1200, full=False)
    summary = summarise(results)
    best = summary.verdict.classical
    assert best == "gradient_boosting"
    verdict = replace(summary.verdict, learned=False, helps="not shown", classical=None if low is None else best)
    lows = {best: low, verdict.single: alone}
    comparisons = [
        replace(c, p_holm=0.01, estimate=replace(c.estimate, value=lows[c.method] or 0.0))
        if c.kind == "trivial" and c.method in lows
        else c
        for c in summary.comparisons
    ]
    told = replace(summary, verdict=verdict, comparisons=tuple(comparisons))
    assert Words(results, told).headline().startswith(headline)


def test_every_answer_carries_its_numbers(example: Example) -> None:
    answers = {a["question"]: a["answer"] for a in collect(example(gain=0.1, n_test=900))["answers"]}
    assert "interval +" in answers["Does fusing help?"]
    assert "Of the 13 other ways of fusing" in answers["Does fusing help?"]
    assert "shown to beat it, corrected for asking 15 times" in answers["Does fusing help?"]
    assert "3 splits" in answers["How sure?"]
    assert "p " in answers["How sure?"]
    assert "parameters" in answers["At what price?"]
    assert "6 progressive methods" in answers["Do feedback rounds help?"]
    assert "gradient boosting" in answers["Would something simpler do?"].lower()
    assert "without picture" in answers["Which modality matters?"]


def test_the_ablation_told_is_that_of_the_chosen_fusion(example: Example) -> None:
    results = example(n_test=150, gain=0.1)
    chosen = collect(results)["verdict"]["fusion"]
    results.ablation += [a.model_copy(update={"method": chosen, "without": a.full - 0.5}) for a in results.ablation]
    collected = collect(results)
    assert all(p["mean"] == pytest.approx(0.5) for p in collected["ablation"]["parts"])
    assert "loses 50.0" in collected["answers"][-1]["answer"]


def test_the_ablation_of_a_loss_counts_a_rise_as_a_loss(example: Example) -> None:
    results = example(n_test=150)
    results.ablation = [
        a.model_copy(update={"metric": "log_loss", "full": 0.2, "without": 0.5}) for a in results.ablation
    ]
    found = collect(results)["ablation"]
    assert all(p["mean"] == pytest.approx(0.3) for p in found["parts"])


def test_the_largest_confusions_are_named_with_their_share(example: Example) -> None:
    results = example(n_classes=3, n_test=150)
    for c in results.confusion:
        c.counts = [[8, 2, 0], [0, 5, 0], [1, 0, 9]]
    assert collect(results)["confusion"]["most"][0] == {
        "true": "Latin",
        "predicted": "Arabic",
        "share": 0.2,
        "count": 2,
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (numbers.score(0.9412, "accuracy"), "94.1 %"),
        (numbers.score(-0.5, "r2"), "−0.500"),
        (numbers.score(-0.0002, "r2"), "0.000"),
        (numbers.score(float("inf"), "r2"), "unknown"),
        (numbers.score(59348.2, "rmse"), "59,350"),
        (numbers.score(-326.624, "r2"), "−326.6"),
        (numbers.score(123.0, "mae"), "123.0"),
        (numbers.score(4.2e11, "mse"), "4.2e+11"),
        (numbers.difference(326624.664, "rmse"), "+326,600"),
        (numbers.difference(-99.9994, "rmse"), "−99.999"),
        (numbers.interval(-1234.5, 80.25, "mae", of_difference=True), "−1,234 to +80.250"),
        (numbers.difference(0.083, "accuracy"), "+8.3 points"),
        (numbers.four(-0.01234), "−0.0123"),
        (numbers.four(99.5, sign=True), "+99.5000"),
        (numbers.four(-59348.2), "−59,350"),
        (numbers.four(326624.664, sign=True), "+326,600"),
        (numbers.four(-float("inf")), "−inf"),
        (numbers.tick(-0.5), "−0.5"),
        (numbers.tick(0.1 + 0.2), "0.3"),
        (numbers.tick(1250000.0), "1,250,000"),
        (numbers.tick(1000.5), "1,000.5"),
        (numbers.tick(3e10), "3e+10"),
        (numbers.difference(-0.01, "accuracy"), "−1.0 point"),
        (numbers.difference(-0.00001, "accuracy"), "0.0 points"),
        (numbers.difference(-0.0345, "r2", sign=False), "−0.035"),
        (numbers.interval(0.9, 0.95, "accuracy"), "90.0 to 95.0 %"),
        (numbers.interval(-0.02, 0.05, "accuracy", of_difference=True), "−2.0 to +5.0"),
        (numbers.interval(-float("inf"), 0.05, "r2"), "not known"),
        (numbers.duration(0.0123), "12 ms"),
        (numbers.duration(86.2), "86 s"),
        (numbers.duration(300), "5.0 min"),
        (numbers.count(1_234_567), "1.23 M"),
        (numbers.count(812), "812"),
        (numbers.count(48_200), "48.2 k"),
        (numbers.rate(0), "–"),
        (numbers.times(1.83), "1.8 times"),
        (numbers.p_value(0.0004), "< .001"),
        (numbers.p_value(0.0341), ".034"),
        (numbers.p_value(1.0), "1"),
        (listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_are_written_as_a_reader_says_them(text: str, shown: str) -> None:
    assert text.replace("\N{NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize("gain", [0.0, 0.012, 0.03, 0.1])
@pytest.mark.parametrize("seed", [0, 1])
def test_sentences_badges_and_figures_of_a_page_follow_one_correction(example: Example, gain: float, seed: int) -> None:
    results = example(gain=gain, n_test=600, resampled=False, groups=False, full=False, seed=seed)
    summary, collected = summarise(results), collect(results)
    v = summary.verdict
    families: dict[str, list[Any]] = {}
    for c in summary.comparisons:
        families.setdefault("answer" if c is v.gain else c.kind, []).append(c)
    for family in families.values():
        assert [c.p_holm for c in family] == pytest.approx(holm([c.estimate.p for c in family]))
        assert {c.n_asked for c in family} == {len(family)}
    for c, drawn in zip(summary.comparisons, collected["differences"], strict=True):
        assert (drawn["shown"] != "not shown") is (c.p_holm < 0.05)
        assert drawn["shown"] == "not shown" or (drawn["shown"] == "better") is (c.estimate.value > 0)
    answers = {a["question"]: a["answer"] for a in collected["answers"]}
    others = [c for c in families["single"] if results.method(c.method).role != "classical"]
    shown = sum(c.shown == "better" for c in others)
    assert (
        f"Of the {len(others)} other ways of fusing {shown or 'none'} {'is' if shown < 2 else 'are'}"
        in (answers["Does fusing help?"])
    )
    twins = families["plain"]
    better, worse = (sum(c.shown == which for c in twins) for which in ("better", "worse"))
    assert f"Of {len(twins)} progressive methods {better or 'none'} " in answers["Do feedback rounds help?"]
    assert f"{worse or 'none'} worse, corrected for asking {len(twins)} times" in answers["Do feedback rounds help?"]


def test_a_difference_whose_interval_leaves_0_out_and_is_not_shown_says_why(example: Example) -> None:
    results = example(n_test=200, full=False)
    summary = summarise(results)
    twin = next(c for c in summary.comparisons if c.kind == "plain")
    moved = replace(twin, p_holm=0.2, estimate=replace(twin.estimate, value=0.02, low=0.001, high=0.04, p=0.04))
    told = replace(summary, comparisons=(moved, *(c for c in summary.comparisons if c.kind not in ("plain", "single"))))
    alone = replace(moved, n_asked=1)
    assert "not shown to differ once corrected for asking 6 times" in Words(results, told)._told(moved)
    assert Words(results, told)._told(alone).endswith("not shown to differ)")


def _timed(results: Results, method: str, run: str, seconds: float, seeds: Sequence[int] = (0, 1, 2)) -> None:
    for s in results.scores:
        if s.method == method and s.seed in seeds:
            s.fit_seconds = seconds
    results.timings = [t for t in results.timings if t.method != method or t.seed not in seeds]
    jobs = {"first": 4, "second": 1}[run]
    results.timings += [Timing(method=method, seed=s, run=run, jobs=jobs, threads=1) for s in seeds]


def test_the_price_is_of_fits_timed_in_one_run_and_the_rest_is_told(example: Example) -> None:
    results = example(n_test=150, gain=0.1)
    for m in results.methods:
        _timed(results, m.name, "first", 10.0)
    single = not_none(summarise(results).verdict.single)
    _timed(results, single, "second", 2.0, seeds=[2])
    summary = summarise(results)
    assert summary.row(single).fit_seconds == 10.0
    assert summary.verdict.cost_ratio[0] == 1.0
    assert any("one run (4 at a time, 1 thread each). 1 of" in n and n.endswith("every price.") for n in summary.notes)


@pytest.mark.parametrize("which", ["fusion", "single", "classical"])
def test_a_method_timed_in_another_run_has_no_price_and_no_place_among_the_costs(example: Example, which: str) -> None:
    results = example(n_test=150, gain=0.1)
    for m in results.methods:
        _timed(results, m.name, "first", 10.0)
    name = getattr(summarise(results).verdict, which)
    _timed(results, name, "second", 216.0)
    summary, collected = summarise(results), collect(results)
    row = next(r for r in collected["table"] if r["name"] == name)
    assert (row["fit_seconds"], row["rows_per_second"]) == (None, None)
    assert any(n.endswith(f"{name} have none.") for n in summary.notes)
    page, plain = render_html(collected), render_markdown(collected)
    assert not any("3.6\N{NO-BREAK SPACE}min" in text for text in (page, plain))
    assert row["label"] not in [r["label"] for r in not_none(figures.cost_plot(collected))["frontier"]]
    price = next(a["answer"] for a in collected["answers"] if a["question"] == "At what price?")
    assert ("another run" in price) is (which != "classical")
    assert "times the" not in price or which == "classical"


def _left_out(results: Results, *names: str) -> Results:
    gone = {f"{n} only" for n in names}
    results.methods = [m for m in results.methods if m.name not in gone]
    results.scores = [s for s in results.scores if s.method not in gone]
    return results


def test_without_any_single_modality_whether_fusing_helps_was_not_asked(example: Example) -> None:
    results = _left_out(example(n_test=200, gain=0.1), "picture", "text", "outline")
    collected = collect(results)
    assert collected["headline"] == "Whether fusing helps was not asked: no modality was compared by itself."
    answers = {a["question"]: a["answer"] for a in collected["answers"]}
    assert answers["Does fusing help?"].startswith("This was not asked")
    assert "How sure?" not in answers
    assert "a fit" in answers["At what price?"]
    assert not [d for d in collected["differences"] if d["kind"] == "single"]
    assert "Yes" not in collected["headline"] + answers["Does fusing help?"]
    render_html(collected)


def test_with_some_single_modalities_the_answer_says_of_which_and_what_may_be_better(example: Example) -> None:
    results = _left_out(example(n_test=900, gain=0.15, groups=False, resampled=False), "picture", "outline")
    collected = collect(results)
    assert collected["headline"].endswith("over text alone (of 1 of 3 modalities that were compared alone).")
    assert "(of 1 of 3 modalities that were compared alone)" in collected["lede"]
    assert (
        "Not compared alone, and perhaps better than text alone: outline and picture."
        in (collected["answers"][0]["answer"])
    )
    assert "of those that were compared alone" in render_html(collected)
    assert "compared alone" not in str(collect(example(n_test=200)))


def test_a_single_modality_that_failed_is_not_said_to_have_been_left_out(example: Example) -> None:
    results = _left_out(example(n_test=200), "picture")
    results.skipped.append(Skipped(method="picture only", reason="failed at seed 0: the loss is not finite"))
    assert collect(results)["verdict"]["not_alone"] == []


@pytest.mark.slow
def test_a_caution_on_the_primary_score_stands_beside_the_scores(example: Example) -> None:
    results = example(task="regression", n_test=150)
    assert "Caution." not in render_html(collect(results)) + render_markdown(collect(results))
    results.dataset.caution = "Half of the target's variance lies in 2 of 150 rows."
    collected = collect(results)
    page, plain = render_html(collected), render_markdown(collected)
    assert page.index('id="scores"') < page.index("lies in 2 of 150 rows") < page.index('id="cost"')
    assert "**Caution.** Half of the target's variance" in plain.replace("&#39;", "'")


@pytest.mark.parametrize(
    ("by_hand", "end"), [(0.13, "the network is worse: fusions of it are worth less than they could be."), (-0.2, ".")]
)
def test_the_answer_says_how_each_network_stands_against_hand_made_features(
    example: Example, by_hand: float, end: str
) -> None:
    collected = collect(example(n_test=900, gain=0.05, by_hand=by_hand, groups=False, resampled=False))
    (told,) = [a["answer"] for a in collected["answers"] if a["question"] == "Is each modality read well?"]
    assert told.startswith("Against the best classical model on hand-made features, a network alone scores")
    assert all(f" on {name}" in told for name in ("picture", "text", "outline"))
    assert told.endswith(end)
    assert ("the network is worse" in told) is (by_hand > 0)
    labels = {row["name"]: row["label"] for row in collected["table"]}
    assert labels["text classical"] == "text alone (classical)"
    assert labels["text only"] == "text alone"
    assert ("text alone (classical)" in collected["headline"]) is (by_hand > 0)
    page = render_html(collected)
    assert "its network against a classical model on its hand-made features" in page
    assert "text alone (classical)" in render_markdown(collected)
    assert not [a for a in collect(example(n_test=200))["answers"] if a["question"] == "Is each modality read well?"]


def test_the_report_marks_the_default_everywhere_and_tells_what_the_chosen_fusion_gains_over_it(
    example: Example,
) -> None:
    results = example(n_test=400)
    collected = collect(results)
    assert [row["label"] for row in collected["table"] if row["default"]] == ["hybrid concat (default)"]
    which = next(a["answer"] for a in collected["answers"] if a["question"] == "Which way?")
    chosen = collected["verdict"]["fusion"]
    assert chosen != "hybrid concat"
    assert "Against hybrid concat (default), the default network, it scores" in which
    assert "The chosen fusion against the default" in render_html(collected)
    for score in results.scores:
        if score.method == "hybrid concat" and score.split == "valid":
            score.value = 1.0
    itself = collect(results)
    which = next(a["answer"] for a in itself["answers"] if a["question"] == "Which way?")
    assert itself["verdict"]["fusion"] == "hybrid concat"
    assert which.startswith("Hybrid concat (default) was chosen")
    assert "It is the default network." in which


def test_of_many_modalities_sentences_name_the_first_and_count_the_others(example: Example) -> None:
    collected = collect(example(modalities=tuple("abcdefgh"), n_test=200, by_hand=0.0))
    answers = {a["question"]: a["answer"] for a in collected["answers"]}
    matters = answers["Which modality matters?"]
    assert "without any of the other 5" in matters
    assert [m for m in "abcdefgh" if f"without {m}" in matters] == sorted(
        p["modality"] for p in collected["ablation"]["parts"][:3]
    )
    read = next(answer for answer in answers.values() if "hand-made features" in answer)
    shown = [d for d in collected["differences"] if d["kind"] == "hand_made" and d["shown"] != "not shown"]
    assert f"not shown to differ on {8 - len(shown)} of 8 modalities" in read
    few = collect(example(modalities=("a", "b", "c"), n_test=200, by_hand=0.0))
    assert "other" not in next(a["answer"] for a in few["answers"] if a["question"] == "Which modality matters?")


@pytest.mark.parametrize(
    ("shown", "name"),
    [("abcdef", "all"), ("abcde", "all but f"), ("abcd", "all but e and f"), ("abc", "a + b + c"), ("a", "a")],
)
def test_a_subset_of_many_modalities_is_called_by_what_it_lacks(shown: str, name: str) -> None:
    rows = [{"shown": list(s), "value": 0.5, "low": None, "high": None} for s in ("abcdef", shown)]
    told = subset_plot({"subsets": rows, "modalities": list("abcdef"), "role": "fusion"}, "accuracy")
    assert told["rows"][1]["name"] == name


def test_the_confusion_matrix_counts_predictions_and_says_of_how_many_rows(example: Example) -> None:
    results = example(n_test=60, n_classes=3)
    confusion = collect(results)["confusion"]
    counts = np.asarray(confusion["counts"])
    assert confusion["n_predictions"] == counts.sum()
    assert confusion["n_rows"] == summarise(results).rows[0].estimate.n_rows
    assert [m["count"] for m in confusion["most"]] == sorted((m["count"] for m in confusion["most"]), reverse=True)
    page = render_html(collect(results))
    first = confusion["most"][0]
    assert f"{confusion['n_predictions']:,} predictions of {confusion['n_rows']:,} test rows" in page
    assert f"{first['true']} taken for {first['predicted']} ({first['count']} times, " in page


@pytest.mark.parametrize(("name", "answer"), [("r2", "the mean"), ("mae", "the median")])
def test_the_trivial_answer_to_numbers_is_that_at_which_the_metric_is_best(
    example: Example, name: str, answer: str
) -> None:
    results = example(task="regression", gain=0.0, full=False)
    results.config["metric"] = name
    assert Words(results, summarise(example(task="regression", gain=0.0, full=False)))._trivial().endswith(answer)
