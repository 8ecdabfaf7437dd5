"""The ranked table of a comparison as LaTeX."""

from __future__ import annotations

import re

from profuse.comparison.metric import metric_of
from profuse.comparison.results import Results
from profuse.comparison.summary import summarise
from profuse.report import numbers
from profuse.report.words import labels_of

__all__ = ["latex_table"]

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", numbers.MINUS: "$-$",
    "\N{SUPERSCRIPT TWO}": "$^2$", "\N{NO-BREAK SPACE}": "~", "\N{EN DASH}": "--",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}  # fmt: skip


def latex_table(results: Results) -> str:
    """Returns a `tabular` (package booktabs): each method's score and interval, and its gain over the best single."""
    summary, metric, labels = summarise(results), metric_of(results), labels_of(results)
    lines = [
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        f"method & {_escaped(metric.label)} & 95\\,\\% interval & against the best single \\\\",
        r"\midrule",
    ]
    for row in summary.rows:
        e, against = row.estimate, summary.comparison(row.method.name, "single")
        gain = ""
        if against is not None:
            d = against.estimate
            ends = numbers.interval(d.low, d.high, metric.name, of_difference=True)
            gain = f"{numbers.difference(d.value, metric.name, unit=False)} ({ends})"
        scored = numbers.score(e.value, metric.name), numbers.interval(e.low, e.high, metric.name)
        cells = [labels[row.method.name], *scored, gain]
        lines.append(" & ".join(map(_escaped, cells)) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return re.sub("|".join(map(re.escape, _SPECIAL)), lambda found: _SPECIAL[found[0]], text)
