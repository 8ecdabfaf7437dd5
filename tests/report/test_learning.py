"""Scores over rows in the report: what the sentence says, what is drawn, and that it needs the folder alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import HOSTILE
from page_tags import Tags

from profuse.comparison.learning import Learning, ShareGain, ShareScore
from profuse.comparison.results import Results
from profuse.report import collect, render_html, render_markdown
from profuse.report.learning import learning_plot

Example = Callable[..., Results]


def learned(**gains: tuple[float, float | None, float | None]) -> Learning:
    sizes = {0.25: 100.0, 0.5: 200.0, 1.0: 400.0}
    points = [
        ShareScore(
            method=m, share=s, n_train=n, value=0.6 + 0.1 * k, low=0.5, high=0.9, n_seeds=2, n_rows=60
        )
        for m in ("hybrid concat", "text only") for k, (s, n) in enumerate(sizes.items())
    ]  # fmt: skip
    value, low, high = gains["doubling"]
    ahead = [
        ShareGain(method="hybrid concat", against="text only", share=s, value=v, low=a, high=b)
        for s, (v, a, b) in zip(sizes, (gains["quarter"], gains["half"], gains["whole"]), strict=True)
    ]
    doubling = ShareGain(method="hybrid concat", against="hybrid concat", share=1.0, value=value, low=low, high=high)
    return Learning(points=points, gains=ahead, doublings=[doubling])


UP, DOWN, OPEN = (0.1, 0.05, 0.15), (-0.1, -0.15, -0.05), (0.02, -0.03, 0.07)


@pytest.mark.parametrize(
    ("doubling", "quarter", "half", "whole", "told"),
    [
        (UP, UP, UP, UP, ["From 200 to 400 training rows", "are likely to help", "at every size", "above 0 there"]),
        (OPEN, DOWN, UP, UP, ["would help is not shown", "ahead of text alone from 200 rows on"]),
        ((0.001, -0.005, 0.006), UP, DOWN, DOWN, ["not likely to help by as much as matters", "not ahead of text"]),
        (DOWN, OPEN, OPEN, UP, ["not likely to help", "at every size", "above 0 from 400 on"]),
        ((0.1, None, None), OPEN, OPEN, OPEN, ["cannot be told", "not shown at any"]),
    ],
)  # fmt: skip
def test_the_sentence_says_what_the_intervals_say(
    example: Example, doubling: tuple[float, ...], quarter: tuple[float, ...], half: tuple[float, ...],
    whole: tuple[float, ...], told: list[str],
) -> None:  # fmt: skip
    results = example(n_test=60, n_classes=3, many=False, n_seeds=2)
    results.learning = learned(doubling=doubling, quarter=quarter, half=half, whole=whole)  # type: ignore[arg-type]
    (answer,) = [a["answer"] for a in collect(results)["answers"] if a["question"] == "Would more rows help?"]
    for words in told:
        assert words in answer


def test_the_report_draws_it_again_from_its_folder(example: Example, tmp_path: Path) -> None:
    results = example(n_test=60, n_classes=3, many=False, n_seeds=2)
    assert 'id="rows"' not in render_html(collect(results))
    results.learning = learned(doubling=UP, quarter=UP, half=UP, whole=UP)
    results.write(tmp_path)
    page = render_html(collect(Results.read(tmp_path)))
    assert page == render_html(json.loads(json.dumps(collect(results))))
    assert 'id="rows"' in page
    assert "Would more rows help?" in render_markdown(collect(results))
    hostile = results.model_copy()
    hostile.methods = [m.model_copy(update={"label": HOSTILE["script"] + m.name}) for m in results.methods]
    hostile._rows = results._rows
    assert Tags(render_html(collect(hostile))).tags == Tags(page).tags


def test_rows_double_from_mark_to_mark() -> None:
    points = [{"share": s, "n_train": 400 * s, "value": s, "low": None, "high": None} for s in (0.25, 0.5, 1.0)]
    plot = learning_plot({"curves": [{"label": "x", "role": "fusion", "points": points}]}, "accuracy")
    places = [t["at"] for t in plot["x"]]
    assert places[2] - places[1] == pytest.approx(places[1] - places[0])
    assert [t["text"] for t in plot["x"]] == ["100", "200", "400"]
