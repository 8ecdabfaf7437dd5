"""The profile on a page: drawn again from a folder, and nothing of the data in it is markup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hostile import HOSTILE, STEERING
from page_tags import Tags
from rows_of_kinds import rows_of_kind

from profuse.comparison.results import Results
from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_tensors
from profuse.inspect.profile import profile
from profuse.kinds import KINDS, kind_named
from profuse.report import collect, render_html
from profuse.report.profile import profile_html
from profuse.schema import SplitOptions

Example = Callable[..., Results]
REGION = re.compile(r'<div class="profile">.*?\n</div>\n', re.DOTALL)


def table(word: str = "usual", n: int = 60) -> Dataset:
    """Rows in which every name and text is `word`, more or less."""
    frame = pd.DataFrame({
        f"{word} size": np.where(np.arange(n) % 5, np.arange(n) % 7 + 0.5, np.nan),
        f"{word} colour": np.where(np.arange(n) % 3, word, "other"),
        f"{word} note": [f"{word} and some words {i}" for i in range(n)],
        f"{word} same": f"as {word}",
        f"{word} y": np.where(np.arange(n) % 2, f"{word} 1", f"{word} 2"),
    })  # fmt: skip
    return TableReader.fit(frame, target=f"{word} y", name=word)[1]


def test_the_report_draws_the_profile_again_from_its_folder(example: Example, tmp_path: Path) -> None:
    rows = table()
    results = example(n_test=60, n_classes=3)
    assert "What is in it" not in render_html(collect(results))
    results.profile = profile(rows, make_split(rows, SplitOptions(), seed=0))
    results.write(tmp_path)
    page = render_html(collect(Results.read(tmp_path)))
    assert page == render_html(json.loads(json.dumps(collect(results))))
    told = Tags("".join(REGION.findall(page))).text
    for words in ("usual size", "usual colour", "usual 1", "no input", "12", "20 %", "of training"):
        assert words in told
    assert len(re.findall("<article>", page)) == 4
    assert "<details open" not in page


@pytest.mark.parametrize("kind", KINDS.builtin)
def test_rows_of_every_kind_have_a_page(kind: str) -> None:
    rates = {"x": 8_000} if kind_named(kind).has_rate else None
    rows = from_tensors({"x": (kind, rows_of_kind(kind))}, rates=rates)
    page = profile_html(rows)
    modality, of = rows.modalities["x"], kind_named(kind)
    drawing = of.draw(modality, 0, of.units(modality, 0, 9))
    pictured = drawing.picture is not None or drawing.lines is not None
    assert len(re.findall('<svg class="seen"', page)) == (4 if pictured else 0)
    assert f"{kind}, 12 of 12 rows" in page
    assert len(page.encode()) < 1_000_000


@pytest.mark.parametrize("name", ["script", "picture", "attribute", "template", "end of style"])
def test_names_and_cells_stay_text(name: str) -> None:
    hostile, usual = Tags(profile_html(table(HOSTILE[name]))), Tags(profile_html(table()))
    assert hostile.tags == usual.tags
    assert not [sign for sign in STEERING if sign in hostile.text.replace("\n", " ")]


@pytest.mark.parametrize("name", ["script", "attribute"])
def test_a_folder_that_others_wrote_puts_no_markup_on_the_report(example: Example, name: str, tmp_path: Path) -> None:
    results = example(n_test=60, n_classes=3, many=False, n_seeds=1)
    results.profile = profile(table())

    def page(word: str) -> list[tuple[str, tuple[str, ...]]]:
        results.write(tmp_path)
        raw = (tmp_path / "results.json").read_text(encoding="utf-8")
        raw = raw.replace('"usual', json.dumps(word)[:-1])
        (tmp_path / "results.json").write_text(raw, encoding="utf-8")
        return Tags(render_html(collect(Results.read(tmp_path)))).tags

    assert page(HOSTILE[name]) == page("word")


def test_histograms_have_words_for_who_does_not_see_them(example: Example) -> None:
    page = profile_html(table())
    labels = re.findall(r'<svg class="hist"[^>]*aria-label="([^"]*)"', page)
    assert len(labels) == len(re.findall('<svg class="hist"', page)) > 0
    assert "Distribution of usual size: 0.5 to 6.5, median 3.5" in labels


def test_what_would_give_the_target_away_is_told_on_the_page() -> None:
    frame = pd.DataFrame({"a": np.arange(80.0), "b": np.random.default_rng(0).normal(size=80)})
    frame["y"] = frame["a"] * 3 + 1
    page = profile_html(TableReader.fit(frame.sample(frac=1, random_state=0), target="y")[1])
    assert "give the target away" in page


def test_bars_are_as_high_as_their_counts() -> None:
    from profuse.report.profile import _histogram

    drawn: Any = re.findall(r"M(\S+) 24v-(\S+)h", _histogram([4, 0, 2, 1], "x"))
    assert [(float(x), float(h)) for x, h in drawn] == [(0.06, 24.0), (2.06, 12.0), (3.06, 6.0)]
