"""Names from the data are text in a report, whatever they are: nothing of them is markup, nothing of them runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hostile import HOSTILE, STEERING
from in_chromium import opened, without_policy
from markdown_it import MarkdownIt

from profuse.comparison.results import Results
from profuse.report import collect, render_html, render_markdown

Example = Callable[..., Results]


def named(example: Example, first: str, second: str = "text", task: str = "multiclass") -> Results:
    """Results in which every text that can come from the data, or from who wrote the folder, is `first`."""
    results = example(task=task, modalities=(first, second), n_test=60, n_classes=3, name=first)
    facts = results.dataset
    if facts.classes:
        facts.classes = [first, "b", "c"]
    facts.target_names, facts.notes, facts.split, facts.group = [first], [first], first, first
    for modality in facts.modalities.values():
        modality.shape = modality.encoder = first
    for method in results.methods:
        method.label = first + method.name
        method.family = "none"
    for part in results.residuals:
        part.target = first
    results.skipped[0].method = results.skipped[0].reason = first
    results.config, results.created = {first: first}, first
    results.machine.platform = results.machine.device = first
    results.machine.versions = {first: first, "profuse": first}
    return results


def renamed(value: Any, word: str) -> Any:
    """What was collected, with `word` in the place of each "zname"."""
    if isinstance(value, str):
        return value.replace("zname", word).replace("Zname", word)
    if isinstance(value, dict):
        return {renamed(k, word): renamed(v, word) for k, v in value.items()}
    return [renamed(v, word) for v in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """What a report of each task shows, where every name is "zname"."""
    return {}


@pytest.fixture
def collected(plain: dict[str, Any], example: Example) -> Callable[[str, str], Any]:
    """Returns what a report shows where every name is the one given."""

    def collected(word: str, task: str = "multiclass") -> Any:
        if task not in plain:
            plain[task] = collect(named(example, "zname", task=task))
        return renamed(plain[task], word)

    return collected


class Shape(HTMLParser):
    """Tags and names of attributes in the order of the page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def usual_tags(example: Example) -> Callable[[str], list[tuple[str, ...]]]:
    """The tags of a page of a task whose names are words."""

    @cache
    def usual_tags(task: str) -> list[tuple[str, ...]]:
        return Shape(render_html(renamed(collect(named(example, "zname", task=task)), "word"))).tags

    return usual_tags


@pytest.fixture(scope="module")
def usual_parts(example: Example) -> list[str]:
    """The parts of a page in markdown whose names are words."""
    return parts(render_markdown(renamed(collect(named(example, "zname")), "word")))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_has_the_same_tags_and_attributes_whatever_the_names(
    collected: Any, usual_tags: Any, name: str, task: str
) -> None:
    hostile = Shape(render_html(collected(HOSTILE[name], task)))
    assert hostile.tags == usual_tags(task)
    assert not [sign for sign in STEERING if sign in hostile.text]
    assert "\x1b" not in hostile.text


def test_the_names_themselves_can_be_read_on_the_page(example: Example) -> None:
    text = Shape(render_html(collect(named(example, HOSTILE["script"])))).text
    assert HOSTILE["script"] in text


def parts(page: str) -> list[str]:
    """What markdown is made of."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = [t for block in reader.parse(page) for t in (block, *(block.children or ()))]
    return [t.type for t in tokens if t.type not in ("text", "text_special")]


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_has_the_same_parts_whatever_the_names(collected: Any, usual_parts: list[str], name: str) -> None:
    assert parts(render_markdown(collected(HOSTILE[name]))) == usual_parts


@pytest.mark.slow
class TestInChromium:
    def test_no_script_runs_that_stands_in_a_name(self, example: Example, tmp_path: Path) -> None:
        everything = " ".join(HOSTILE.values())
        page = render_html(collect(named(example, everything)))
        assert page.count("RAN") > 50
        # the page forbids scripts too: names must be harmless without that
        shown = opened(without_policy(page), tmp_path)
        assert "<title>RAN</title>" not in shown
        assert Shape(shown).tags.count(("script",)) == 0

    def test_a_script_that_is_no_name_would_have_run(self, tmp_path: Path) -> None:
        assert "<title>RAN</title>" in opened(f"<title>x</title>{HOSTILE['picture']}", tmp_path)

    def test_the_page_itself_forbids_scripts(self, example: Example, tmp_path: Path) -> None:
        page = render_html(collect(example(n_test=60)))
        shown = opened(page.replace("</body>", f"{HOSTILE['script']}{HOSTILE['picture']}</body>"), tmp_path)
        assert "<title>RAN</title>" not in shown
