"""Columns of numbers with a unit of measure: `12 kg`, `40.5k`, `21 °C`. They stay words, as a note says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from profuse.data.wording import tell_values

__all__ = ["unit_note"]

_CELL = re.compile(
    r"[-+\u2212]?\s?\d[\d.,'\u2019 \u00a0]*?\s?(?P<unit>[^\W\d_]{1,4}(?:/[^\W\d_]{1,3})?[²³]?|°\s?[CFK]?|[\"'′″])"
)
_FEWEST = 5
_MOST_UNITS = 3


def unit_note(column: str, distinct: Sequence[str], kind: str) -> list[str]:
    """Returns a note if the words of a column are five numbers or more, with a unit or a few of them.

    Args:
        column: Its name.
        distinct: Its distinct words.
        kind: What it is read as.
    """
    results = [match for match in (_CELL.fullmatch(word.strip()) for word in distinct) if match]
    units = list(dict.fromkeys(match["unit"].strip() for match in results))
    if len(results) < max(_FEWEST, 0.9 * len(distinct)) or len(units) > _MOST_UNITS:
        return []
    use = "are not used" if kind == "id" else f"are read as {kind}"
    looks = f"Column {column!r}: cells look like numbers with a unit ({tell_values(distinct, n=2)}), and {use}."
    if len(units) > 1:
        return [f"{looks} If they are numbers, convert them to one unit; got {tell_values(units)}."]
    form = f"1,234.5 {units[0]}"
    return [
        f"{looks} If they are numbers, say how they are written, in numbers of the schema: {{{column}: {form!r}}} "
        "(1.234,5 with a decimal comma)."
    ]
