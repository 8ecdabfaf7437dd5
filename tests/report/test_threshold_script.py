"""The script of the threshold, run in Chromium: it moves the points and tells what the table of Python tells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_chromium import opened, without_policy

from profuse.comparison.recommended import shown_method
from profuse.comparison.results import Results
from profuse.comparison.seed_rows import Outputs
from profuse.comparison.summary import summarise
from profuse.report import collect, render_html

pytestmark = pytest.mark.slow

SLIDE = "const s = document.querySelector('#threshold'); s.value = {k}; s.dispatchEvent(new Event('input'));"
DRAG = (
    "const a = document.querySelector('[data-plot={plot}]'), f = a.getBoundingClientRect();"
    "a.dispatchEvent(new PointerEvent('pointerdown', {{clientX: f.left + {x} * f.width / 100,"
    "clientY: f.bottom - {y} * f.height / 100}}));"
)


@pytest.fixture(scope="module")
def page(example: Callable[..., Results]) -> str:
    results = example(n_classes=2, n_test=200, n_seeds=1)
    results.dataset.task, results.dataset.classes = "binary", ["ill", "well"]
    rng, rows = np.random.default_rng(0), results.rows[0]
    true = (rng.random(200) < 0.3).astype(np.int64)
    said = 1 / (1 + np.exp(-(2.5 * true - 1.8 + rng.normal(size=200))))
    rows.outputs = {str(shown_method(results, summarise(results))): Outputs(true, said)}
    return render_html(collect(results))


def steps_of(page: str) -> list[dict[str, Any]]:
    (steps,) = re.findall(r'data-steps="([^"]*)"', page)
    return list(json.loads(unescape(steps)))


def run(page: str, script: str, folder: Path) -> str:
    return opened(without_policy(page).replace("</body>", f"<script>{script}</script></body>"), folder)


def check(shown: str, step: dict[str, Any]) -> None:
    told = dict(re.findall(r'data-is="(\w+)"[^>]*>([^<]*)<', shown))
    assert {name: unescape(text).replace("\xa0", " ") for name, text in told.items()} == {
        name: text.replace("\xa0", " ") for name, text in step["texts"].items() if name in told
    }
    assert len(told) >= 10
    for plot in ("roc", "pr"):
        (style,) = re.findall(rf'data-dot="{plot}"[^>]*style="([^"]*)"', shown)
        places = [float(v) for v in re.findall(r"[\d.]+", style)]
        assert places == pytest.approx(step[plot])


def test_the_page_as_it_is_lets_its_script_run(page: str, tmp_path: Path) -> None:
    shown = opened(page, tmp_path)
    assert '<div class="chooser">' in shown
    check(shown, next(s for s in steps_of(page) if s["threshold"] == 0.5))


def test_the_slider_moves_both_points_and_all_that_is_told(page: str, tmp_path: Path) -> None:
    k = 42
    shown = run(page, SLIDE.format(k=k), tmp_path)
    check(shown, steps_of(page)[k])
    assert re.search(r'aria-valuetext="0\.\d+: sensitivity', shown)


@pytest.mark.parametrize("plot", ["roc", "pr"])
def test_a_point_is_dragged_to_the_nearest_threshold(page: str, tmp_path: Path, plot: str) -> None:
    steps = steps_of(page)
    aim = next(s for s in steps if s["threshold"] == 0.3)
    shown = run(page, DRAG.format(plot=plot, x=aim[plot][0], y=aim[plot][1]), tmp_path)
    told = float(re.findall(r"<output[^>]*>([^<]*)<", shown)[0])
    assert next(s for s in steps if s["threshold"] == told)[plot] == aim[plot]
