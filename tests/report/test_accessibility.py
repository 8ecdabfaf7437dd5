"""axe-core finds no fault in any page: contrast (AA), names of pictures and controls, landmarks, headings, tables.

Each page is opened in Chromium, in light and dark, wide and narrow, with axe-core standing in a copy of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from in_chromium import opened, without_policy

from profuse._machine import Machine
from profuse.comparison.learning import Learning, ShareGain, ShareScore
from profuse.comparison.recommended import shown_method
from profuse.comparison.results import Results, Surest, SurestRow
from profuse.comparison.seed_rows import Outputs
from profuse.comparison.summary import summarise
from profuse.data.tensors import from_tensors
from profuse.inspect import Answer, Estimate
from profuse.inspect.contents import contents
from profuse.metrics import metric
from profuse.models.options import ModelOptions
from profuse.predictor.card import Blank, Card, Section, Table
from profuse.report import answer_html, card_html, collect, profile_html, render_html
from profuse.training.options import TrainOptions
from profuse.tuning import Tuning, tuning_html
from profuse.tuning.held_out import HeldOut
from profuse.tuning.result import Found, TrialFacts

pytestmark = pytest.mark.slow

Example = Callable[..., Results]
# what scrolls has a shade at its edge, a gradient, on which axe does not judge contrast: it is laid on plain paper
PLAIN = "<style>.scroll { background: none !important }</style>"
RUN = """
axe.run(document).then((found) => {
  const told = document.createElement("pre");
  told.id = "axe";
  told.textContent = JSON.stringify({
    dark: matchMedia("(prefers-color-scheme: dark)").matches, width: innerWidth,
    passed: found.passes.map((rule) => rule.id),
    faults: found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 200)}`)),
    n_contrast: found.passes.filter((rule) => rule.id === "color-contrast").flatMap((rule) => rule.nodes).length,
    unknown: found.incomplete.filter((rule) => rule.id === "color-contrast").flatMap((rule) => rule.nodes).length,
  });
  document.body.append(told);
});
"""


def axe(page: str, folder: Path, *, dark: bool, width: int) -> dict[str, Any]:
    """Returns what axe-core finds in a page."""
    package = find_spec("axe_core_python")
    if package is None or package.origin is None:
        pytest.skip("axe-core is not installed: pip install axe-core-python")
    script = Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    copy = without_policy(page).replace("</body>", f"{PLAIN}<script>{script}</script><script>{RUN}</script></body>")
    flags = ["--virtual-time-budget=60000", f"--window-size={width},900"]
    shown = opened(copy, folder, *flags, f"--blink-settings=preferredColorScheme={0 if dark else 1}")
    (told,) = re.findall(r'<pre id="axe">(.*?)</pre>', shown, re.DOTALL)
    found: dict[str, Any] = json.loads(unescape(told))
    assert found["dark"] is dark
    return found


def learning(method: str) -> Learning:
    """Scores over rows: a curve with intervals, and one without."""
    points = [
        ShareScore(method=m, share=s, n_train=400 * s, value=0.6 + s / 10, low=low, high=high, n_seeds=2, n_rows=60)
        for m, low, high in ((method, 0.5, 0.8), ("text only", None, None))
        for s in (0.25, 0.5, 1.0)
    ]
    doubling = ShareGain(method=method, against=method, share=1.0, value=0.02, low=0.0, high=0.1)
    ahead = [doubling.model_copy(update={"against": "text only", "share": s}) for s in (0.25, 0.5, 1.0)]
    return Learning(points=points, gains=ahead, doublings=[doubling])


def report(example: Example, task: str) -> str:
    kind: dict[str, Any] = (
        {"task": "regression"} if task == "regression" else {"n_classes": 2 if task == "binary" else 6}
    )
    results = example(n_test=120, n_seeds=2, groups=False, **kind)
    rng, method = np.random.default_rng(0), str(shown_method(results, summarise(results)))
    for rows in results.rows.values():
        true = rng.integers(0, 2, 120)
        said = np.clip(0.5 * true + rng.uniform(0, 0.5, 120), 0, 1)
        outputs = {
            "binary": Outputs(true, said),
            "multiclass": Outputs(true, np.stack([true, said], axis=1)),
            "regression": Outputs(said[:, None], said[:, None] + rng.normal(0, 0.1, (120, 1))),
        }
        rows.outputs = {method: outputs[task]}
    if task == "multiclass":
        results.learning = learning(method)
    if task == "binary":
        results.dataset.task, results.dataset.classes = "binary", ["ill", "well"]
    rows_seen = from_tensors({"text": ("text", ["a few words"]), "picture": ("image", np.zeros((1, 3, 8, 8), np.uint8)),
                              "numbers": ("vector", np.ones((1, 20)))})  # fmt: skip
    wrong = SurestRow(
        id="17", predicted=["ill"], truth=["well"], sure=0.97, parts=contents(rows_seen.modalities, 0, 64)
    )
    results.surest = Surest(method=method, seed=0, n_wrong=4, n_rows=120, rows=[wrong])
    return render_html(collect(results))


def answer() -> str:
    estimates = (Estimate("text", 0.2, 0.1, 0.3, 80, 0.7, ("text",)), Estimate("table", -0.05, -0.1, 0.0, 80, 0.9))
    return answer_html(Answer("importance", "accuracy", 80, estimates, 0.01, ("A note.",), "what is lost", 0.85))


def errors() -> str:
    rows = from_tensors({"x": ("text", ["some words", "others", "more"])})
    surest = {"id": 1, "row": 1, "truth": "yes", "predicted": "no", "probability": 0.9, "deviations": None, "loss": 1.0}
    part = {"name": "x", "n": 40, "inside": 0.5, "value": 0.3, "low": 0.1, "high": 0.5, "p": 0.4, "parts": []}
    suspect = {"id": 1, "row": 1, "of": "", "given": "yes", "suggested": "no", "margin": 0.8}
    details = {
        "loss": "error rate", "mean": 0.2, "surest": [surest], "looked_at": 9,
        "slices": [{**part, "shown": True}, {**part, "shown": False}],
        "labels": {"number": {}, "n": 30, "expected": 1.0, "suspected": [suspect]},
        "equal": {"n": 4, "n_contradictions": 1, "sets": [{"ids": [0, 2], "targets": ["yes", "no"]}]},
    }  # fmt: skip
    estimates = (Estimate("x", 0.3, 0.1, 0.5, 40, 0.5),)
    return answer_html(Answer("errors", "error rate", 3, estimates, 0.1, ("A note.",), "error", 0.2, details), rows)


def card() -> str:
    table = Table(("metric", "value", "95 % interval"), (("accuracy", "0.9", "0.8 to 1"),), title="Scores")
    sections = (
        Section("How good it is", ("On 90 rows.", table)),
        Section("Use", (Blank("Who is to use it, for what?"),)),
    )
    return card_html(Card("A model", "Predicts whether a row is well.", sections))


def opened_profile() -> str:
    rows = from_tensors({
        "text": ("text", ["a few words", None, "x"] * 10), "numbers": ("vector", np.arange(60.0).reshape(30, 2)),
        "picture": ("image", np.zeros((30, 3, 8, 8), np.uint8)), "cells": pd.DataFrame({"c": list("ab") * 15}),
    })  # fmt: skip
    return profile_html(rows).replace("<details>", "<details open>")


def searched() -> str:
    trials = tuple(
        TrialFacts(i, "pruned" if i == 4 else "complete", {"dropout": i / 10, "width": 32 * (1 + i % 2)},
                   None if i == 4 else 0.6 + 0.05 * (i % 3), default=i == 0) for i in range(6)
    )  # fmt: skip
    held = HeldOut(0.6, 0.7, -0.1, 0.3, 80)
    found = Found("gated", trials, 2, ModelOptions(width=32), TrainOptions(), held, {"dropout": 0.7, "width": 0.3})
    return tuning_html(Tuning("rows", metric("accuracy"), 0, 0.2, 1, {"gated": found}, Machine.here()))


PAGES: dict[str, Callable[[Example], str]] = {
    "report of two classes": lambda example: report(example, "binary"),
    "report of several classes": lambda example: report(example, "multiclass"),
    "report of numbers": lambda example: report(example, "regression"),
    "answer": lambda example: answer(),
    "errors": lambda example: errors(),
    "card": lambda example: card(),
    "profile": lambda example: opened_profile(),
    "search of options": lambda example: searched(),
}


LIGHT, DARK = {"dark": False, "width": 1400}, {"dark": True, "width": 500}


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("report of two classes", LIGHT), ("report of two classes", DARK), ("report of several classes", LIGHT),
        ("report of several classes", DARK),
        ("report of numbers", DARK), ("answer", DARK), ("errors", LIGHT), ("errors", DARK), ("card", LIGHT),
        ("card", DARK), ("profile", LIGHT), ("profile", DARK),
        ("search of options", LIGHT), ("search of options", DARK),
    ],
)  # fmt: skip
def test_axe_finds_no_fault(example: Example, tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    found = axe(PAGES[name](example), tmp_path, **how)
    assert found["faults"] == []
    assert {"color-contrast", "document-title", "html-has-lang", "landmark-one-main"} <= set(found["passed"])
    assert found["n_contrast"] > 3 * found["unknown"]


def test_axe_finds_faults_that_are_put_in(tmp_path: Path) -> None:
    page = card().replace("<main>", '<main><p style="color:#bbb">faint</p><img src="data:,"><input>')
    found = axe(page, tmp_path, dark=False, width=1400)
    rules = {fault.split(":")[0] for fault in found["faults"]}
    assert {"color-contrast", "image-alt", "label"} <= rules
