"""Which methods cannot be told apart, as letters: two methods that share one are not shown to differ.

Every pair is compared on the same test rows and seeds, and p is corrected for all pairs (Holm). Each pair has a spread
of its own, so that, unlike with critical differences of mean ranks, what cannot be told apart need not stand side by
side in the table: two may differ, and yet both be like one that stands below them. Letters say that, bars do not.

Reference:
    Piepho, An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons, Journal of Computational and
    Graphical Statistics 13 (2004): insert and absorb.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import combinations

from profuse.comparison.results import Results
from profuse.comparison.statistics import holm
from profuse.comparison.summary import Evidence, Summary

__all__ = ["letters", "letters_of"]

_LETTERED = 50


def letters(results: Results, summary: Summary) -> dict[str, str]:
    """Returns the letters of each method, from the top of the table; none of a single one.

    Of more than 50 methods the first 50 have letters, corrected for the pairs of all: pairs take milliseconds each, and
    their number grows with the square.

    Args:
        results: Of a comparison.
        summary: Of them.
    """
    names, evidence = [row.method.name for row in summary.rows[:_LETTERED]], Evidence(results)
    n_others = math.comb(len(summary.rows), 2) - math.comb(len(names), 2)
    pairs = list(combinations(names, 2))
    differences = [evidence.difference(*pair) for pair in pairs]  # without a seed in common nothing is shown
    adjusted = holm([*(1.0 if e is None or e.p is None else e.p for e in differences), *[1.0] * n_others])[: len(pairs)]
    return letters_of(names, [pair for pair, p in zip(pairs, adjusted, strict=True) if p < 0.05]) if pairs else {}


def letters_of(names: Sequence[str], different: Collection[tuple[str, str]]) -> dict[str, str]:
    """Returns the letters that say which of `names` differ: two have none in common exactly if they do.

    Args:
        names: In the order of the letters.
        different: Pairs.
    """
    columns = [frozenset(names)]
    for pair in different:
        split = [column - {one} for column in columns if column.issuperset(pair) for one in pair]
        columns = [column for column in columns if not column.issuperset(pair)]
        columns += [new for new in split if not any(new < column for column in columns)]
    at = {name: i for i, name in enumerate(names)}
    columns.sort(key=lambda column: sorted(at[name] for name in column))
    return {name: "".join(_letter(k) for k, column in enumerate(columns) if name in column) for name in names}


def _letter(k: int) -> str:
    again, k = divmod(k, 26)
    return "abcdefghijklmnopqrstuvwxyz"[k] + (str(again + 1) if again else "")
