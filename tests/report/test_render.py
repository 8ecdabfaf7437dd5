"""The page: whole, offline, escaped, legible; and the same in Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from not_none import not_none

from profuse.comparison.results import Results
from profuse.report import collect, figures, render_html, render_markdown, write_report
from profuse.report.collect import ROLES
from profuse.report.hidden import gap_plot

Example = Callable[..., Results]
VOID = {"meta", "br", "link", "input", "img", "hr", "circle", "line", "rect", "path", "polyline"}
CASES: dict[str, dict[str, Any]] = {
    "glyphs": {},
    "regression of one seed": {"task": "regression", "modalities": ("gases", "weather"), "n_seeds": 1},
    "seven modalities": {"modalities": tuple("abcdefg"), "n_test": 90},
    "nothing but scores": {"full": False, "rows": False, "many": False, "rounds": ()},
    "one modality": {"modalities": ("table",)},
    "multilabel": {"task": "multilabel", "n_classes": 4},
    "fifty classes": {"n_classes": 50},
    "no choice possible": {"valid": False},
}


class _Tree(HTMLParser):
    """Counts what is open; an end tag that closes another element is a fault."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        name = values.get("id")
        self.ids += [name] if name else []
        self.urls += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]
        self.headings += [tag] if re.fullmatch("h[1-6]", tag) else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def _tree(page: str) -> _Tree:
    tree = _Tree()
    tree.feed(page)
    return tree


@pytest.mark.parametrize("case", list(CASES))
def test_every_page_is_well_formed_and_links_only_into_itself(example: Example, case: str) -> None:
    page = render_html(collect(example(**CASES[case])))
    tree = _tree(page)
    assert tree.faults == []
    assert tree.open == []
    assert len(tree.ids) == len(set(tree.ids))
    assert {u.removeprefix("#") for u in tree.urls} <= set(tree.ids)
    assert tree.headings[0] == "h1"
    assert tree.headings.count("h1") == 1
    assert "nan" not in re.sub(r"<[^>]*>", " ", page).lower().split()


def test_the_page_needs_no_network_and_no_script(example: Example) -> None:
    page = render_html(collect(example(n_test=100)))
    assert not re.search(r"https?://|@import|url\(|<script|<link|<iframe|\bon\w+=", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("draw", [render_html, render_markdown])
def test_names_from_the_data_are_escaped_everywhere(example: Example, draw: Callable[[dict[str, Any]], str]) -> None:
    evil = "<img src=x onerror=alert(1)>|`*"
    results = example(modalities=(evil, "text"), n_test=100, n_classes=3, name=evil)
    results.dataset.classes = [evil, "b", "c"]
    results.dataset.target_names = [evil]
    results.dataset.notes = [evil]
    for m in results.methods:
        m.label = evil + m.name
    results.skipped[0].reason = evil
    page = draw(collect(results))
    if draw is render_html:
        assert "<img" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;" in page
    else:
        assert not re.search(r"(?<!\\)<img", page)
        assert not re.search(r"[^\\]\|`", page)


def test_the_same_results_give_the_same_page(example: Example) -> None:
    first, second = (render_html(collect(example(n_test=100))) for _ in range(2))
    assert first == second


def test_what_is_missing_leaves_its_section_out(example: Example) -> None:
    full, bare = (_tree(render_html(collect(example(n_test=100, full=f)))) for f in (True, False))
    assert {"modalities", "errors", "curves"} <= set(full.ids)
    assert not {"modalities", "errors", "curves"} & set(bare.ids)
    assert {"answers", "scores", "table", "differences", "data", "reading"} <= set(bare.ids)


def test_many_classes_are_told_not_drawn(example: Example) -> None:
    page = render_html(collect(example(n_test=100, n_classes=50)))
    assert "50 classes are too many to draw" in page
    assert "Most often confused" in page


def test_results_without_any_method_still_make_a_page(example: Example) -> None:
    results = example(n_test=50)
    results = Results(dataset=results.dataset)
    page = render_html(collect(results))
    assert "No method was scored" in page
    assert render_markdown(collect(results)).startswith("# ")


def test_the_report_is_written_whole_beside_its_markdown(example: Example, tmp_path: Path) -> None:
    path = write_report(example(n_test=100), tmp_path / "new")
    assert path == tmp_path / "new" / "report.html"
    assert sorted(p.name for p in path.parent.iterdir()) == ["report.html", "report.md"]


def test_markdown_tables_have_one_cell_a_column(example: Example) -> None:
    lines = render_markdown(collect(example(n_test=100))).splitlines()
    blocks: list[set[int]] = [set()]
    for line in lines:
        if line.startswith("|"):
            blocks[-1].add(len(re.findall(r"(?<!\\)\|", line)))
        elif blocks[-1]:
            blocks.append(set())
    assert [len(b) for b in blocks if b] == [1, 1, 1]


def _luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
@pytest.mark.parametrize(
    "name", ["ink", "soft", "fusion", "baseline", "classical", "single", "trivial", "good", "warn"]
)
def test_colours_meet_the_contrast_of_wcag_aa(theme: int, name: str) -> None:
    css = files("profuse.report").joinpath("templates/report.css").read_text()
    block = re.findall(r":root \{(.*?)\}", css, flags=re.S)[theme]
    colours = {k: v if len(v) == 7 else "#" + "".join(2 * c for c in v[1:]) for k, v in
               re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block)}  # fmt: skip
    a, b = sorted((_luminance(colours[name]), _luminance(colours["paper"])))
    assert (b + 0.05) / (a + 0.05) >= 4.5


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 0.7), (0.941, 0.947), (0, 1e6), (5, 5)])
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    found = figures.ticks(low, high)
    assert 1 <= len(found) <= 7
    assert all(low <= t <= high for t in found)


def test_a_method_far_below_does_not_squeeze_the_others(example: Example) -> None:
    results = example(task="regression", n_test=200)
    for s in results.scores:
        if s.method == "product":
            s.value = -40.0
    for kept in results.rows.values():
        kept.scores["product"] = kept.scores["product"] * 0 - 40
    plot = figures.score_plot(collect(results), {"fusion": "Fusion", "single": "Single"})
    rows = {r["name"]: r for g in plot["groups"] for r in g["rows"]}
    assert rows["product"]["off"]
    assert sum(r["off"] for r in rows.values()) == 1


def test_groups_of_scores_stand_by_the_rank_of_their_best(example: Example) -> None:
    collected = collect(example(n_test=100))
    groups = figures.score_plot(collected, ROLES)["groups"]
    first = [g["rows"][0]["rank"] for g in groups]
    assert first == sorted(first)
    assert first[0] == 1
    assert all([r["rank"] for r in g["rows"]] == sorted(r["rank"] for r in g["rows"]) for g in groups)


def test_the_verdict_stands_beside_the_method_so_that_a_phone_shows_it(example: Example) -> None:
    page = render_html(collect(example(n_test=100)))
    heads = re.findall(r"<thead><tr>(.*?)</tr>", page[page.index('id="differences"') :])
    told = [re.findall(r"<th[^>]*>([^<]*)</th>", head)[:2] for head in heads if "p, all" in head]
    assert told
    assert all(two == ["method", "shown"] for two in told)
    row = re.search(r'class="head">[^<]*</th><td class="l ?[^"]*">(▲ better|▼ worse|not shown)</td>', page)
    assert row


def test_curves_under_missing_modalities_stand_beside_each_other() -> None:
    points = [{"rate": r, "reached": r, "value": 0.8, "low": 0.7, "high": 0.9} for r in (0.0, 0.5)]
    curves = [{"label": name, "role": role, "points": points} for name, role in (("a", "fusion"), ("b", "classical"))]
    svg = str(not_none(gap_plot({"curves": curves}, "accuracy"))["svg"])
    across = re.findall(r'class="range [a-z]+" x1="([-\d.]+)%"', svg)
    assert len(across) == len(set(across)) == 4


def test_many_ways_of_fusing_are_shown_by_family_and_few_are_not() -> None:
    def table(n: int) -> list[dict[str, object]]:
        row = {"role": "fusion", "value": 0.5, "low": 0.4, "high": 0.6, "label": "", "rank": 1}
        return [{**row, "name": f"f{i}", "family": ("encoder_decoder", "attention")[i % 2]} for i in range(n)]

    told = {
        "metric": {"name": "accuracy", "higher_is_better": True},
        "verdict": dict.fromkeys(("fusion", "single", "classical")),
    }
    few, many = (
        figures.score_plot({**told, "table": table(n)}, {"fusion": "Fusion", "single": "Single"}) for n in (10, 11)
    )
    assert [g["title"] for g in few["groups"]] == ["Fusion"]
    assert [g["title"] for g in many["groups"]] == ["Fusion: attention", "Fusion: encoder-decoder"]
    assert sorted(r["name"] for g in many["groups"] for r in g["rows"]) == sorted(f"f{i}" for i in range(11))
    assert many["keys"] == [{"role": "fusion", "title": "Fusion"}]


def test_losses_of_training_and_validation_rows_are_drawn_in_one_measure_where_it_is_known() -> None:
    """Equal losses lie on each other; results of earlier versions have none, and are told of as they were."""
    alike: list[list[float | None]] = [[0, None, 0.7, 0.5, 0.7], [1, 9.0, 0.5, 0.6, None], [2, 9.0, 0.4, 0.6, 0.4]]
    older = [row[:4] for row in alike]
    drawn = {}
    for name, seed in (("alike", alike), ("older", older)):
        collected = {"curves": [{"label": "concat", "name": "concat", "seeds": [seed]}]}
        (panel,) = figures.curve_panels(collected)
        drawn[name] = dict(re.findall(r'class="(train|valid)" points="([^"]*)"', str(panel["svg"])))
        assert figures.measured_alike(collected) == (name == "alike")
    train, valid = (drawn["alike"][k].split() for k in ("train", "valid"))
    assert train == [valid[0], valid[2]]
    assert drawn["older"]["train"].split() != train


def test_the_untrained_model_is_no_epoch_in_the_count_of_a_learning_curve() -> None:
    seeds = [[[0, None, 0.7, 0.5], [1, 0.6, 0.5, 0.6]], [[1, 0.6, 0.5, 0.6], [2, 0.5, 0.4, 0.7], [3, 0.4, 0.4, 0.7]]]
    (panel,) = figures.curve_panels({"curves": [{"label": "concat", "name": "concat", "seeds": seeds}]})
    assert panel["epochs"] == (1, 3)
