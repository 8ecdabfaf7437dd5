"""A comparison where it is the last line of a notebook's cell: what to do, and the ranked table."""

from __future__ import annotations

from profuse._html import axis_of, html_note, html_range, html_table, html_text
from profuse.comparison.alike import letters
from profuse.comparison.metric import metric_of
from profuse.comparison.recommended import recommended
from profuse.comparison.results import Results
from profuse.comparison.summary import Comparison, Summary
from profuse.report import numbers
from profuse.report.advice import advice
from profuse.report.words import Words

__all__ = ["notebook_html"]


def notebook_html(results: Results, summary: Summary) -> str:
    """Returns the headline, what to do, each method's score with its interval, and gains over the best single modality.

    Letters say which methods cannot be told apart: see `profuse.comparison.alike`.

    Args:
        results: Of the comparison.
        summary: Of them.
    """
    metric, words = metric_of(results), Words(results, summary)
    against = {c.method: c for c in summary.comparisons if c.against == summary.verdict.single}
    ends = [x for c in against.values() for x in (c.estimate.low, c.estimate.value, c.estimate.high)]
    alike = letters(results, summary)
    axis, use, rows = axis_of(ends), recommended(results, summary), []
    for row in summary.rows:
        e, c = row.estimate, against.get(row.method.name)
        scores = [numbers.score(e.value, metric.name), numbers.interval(e.low, e.high, metric.name)]
        rows.append(
            [words.labels[row.method.name], alike.get(row.method.name, ""), *_gain(c, axis, metric.name), *scores]
        )
    single = words.labels.get(summary.verdict.single or "", "the best single modality")
    heads = ["method", "alike", f"gain over {single}", "", "", metric.label, "95 % interval"]
    bold = next((i for i, row in enumerate(summary.rows) if row.method.name == use), None)
    said = f"<p><b>{html_text(words.headline())}</b></p><p>{html_text(advice(results, summary, words.labels))}</p>"
    notes = [
        *(["alike: methods that share a letter are not shown to differ."] if alike else []),
        *results.dataset.notes,
        *summary.notes,
        *(f"Not compared: {s.method}: {s.reason}" for s in results.skipped),
    ]
    table = html_table(heads, rows, n_words=3, bold=bold)
    return f"<div>{said}{table}{''.join(map(html_note, notes))}</div>"


def _gain(comparison: Comparison | None, axis: tuple[float, float], metric: str) -> list[str]:
    """Returns three cells: the gain drawn, the gain, and whether it is shown; empty ones where nothing is claimed."""
    if comparison is None:
        return ["", "", ""]
    e = comparison.estimate
    gain = numbers.difference(e.value, metric)
    span = numbers.interval(e.low, e.high, metric, of_difference=True)
    return [html_range(e.value, e.low, e.high, axis, f"{gain}, {span}"), gain, comparison.shown]
