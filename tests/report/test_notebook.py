"""A comparison in a notebook: what to do, and the table, as the terminal and the report have them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import HOSTILE
from page_tags import Tags

from profuse.comparison.compare import Comparison
from profuse.comparison.results import Results
from profuse.comparison.summary import summarise
from profuse.report.notebook import notebook_html
from profuse.report.words import Words

Example = Callable[..., Results]


@pytest.fixture(scope="module")
def results(example: Example) -> Results:
    return example(n_test=60, n_classes=3)


def test_all_methods_stand_in_the_order_of_their_rank(results: Results) -> None:
    summary = summarise(results)
    labels = Words(results, summary).labels
    page = Comparison(results, Path("nowhere"))._repr_html_()
    rows = re.findall(r"<tr>(.*?)</tr>", page.split("<tbody>")[1])
    assert [Tags(row).text.startswith(labels[r.method.name]) for row, r in zip(rows, summary.rows, strict=True)] == [
        True
    ] * len(rows)
    assert page.count("<table") == 1


def test_what_the_advice_recommends_is_bold_and_no_other_row(results: Results) -> None:
    page = notebook_html(results, summarise(results))
    bold = [row for row in page.split("<tbody>")[1].split("</tr>") if "font-weight:bold" in row]
    assert len(bold) == 1
    use = re.search(r"Use ([^:]+):", Tags(page).text)
    assert use is not None
    assert Tags(bold[0]).text.lower().startswith(use[1].lower())


def test_gains_are_drawn_where_one_is_claimed_and_nowhere_else(results: Results) -> None:
    summary = summarise(results)
    claimed = {c.method for c in summary.comparisons if c.against == summary.verdict.single}
    assert notebook_html(results, summary).count("<svg") == len(claimed) > 0


@pytest.mark.parametrize("name", sorted(HOSTILE)[:4])
def test_names_of_the_data_are_text(example: Example, name: str) -> None:
    def page(word: str) -> list[tuple[str, tuple[str, ...]]]:
        made = example(modalities=(word, "text"), n_test=60, n_classes=3)
        made.dataset.notes = [word]
        made.skipped[0].method = made.skipped[0].reason = word
        return Tags(notebook_html(made, summarise(made))).tags

    assert page(HOSTILE[name]) == page("word")
