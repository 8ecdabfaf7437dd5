"""Categories and classes that differ by blanks or case alone: told, and merged where the schema asks for it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import pandas as pd

from profuse.data.dataset import object_array
from profuse.data.table.lists import is_list_text, parse_list
from profuse.data.table.values import is_list, is_missing, word

__all__ = ["letters", "merged", "plain_spelling", "spelling_notes"]

_SIGNS = re.compile(r"[\W_]+")
_UNSEEN_SIGNS = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f"))


def plain_spelling(text: str) -> str:
    """Returns the word in small letters, without blanks at its ends (no-break ones too), doubled or invisible ones."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_UNSEEN_SIGNS).casefold().split())


def letters(text: str) -> str:
    """Returns the plain spelling without signs, or, of a text of nothing but signs, with them."""
    plain = plain_spelling(text)
    return _SIGNS.sub(" ", plain).strip() or plain


def merged(cells: pd.Series) -> pd.Series:
    """Returns the words of a column, or of the lists in it, in their plain spelling, and what is missing as None."""

    def plain(value: Any) -> Any:
        if is_list(value):
            return [plain(item) for item in value]
        if isinstance(value, str) and is_list_text(value):
            return plain(parse_list(value))
        return None if is_missing(value) else plain_spelling(word(value) or "")

    return pd.Series(object_array([plain(v) for v in cells]), index=cells.index, name=cells.name)


def spelling_notes(where: str, found: Iterable[str | None], *, column: str | None, what: str) -> list[str]:
    """Returns a note on the groups of words in `found` that have one plain spelling, if there are any.

    Args:
        where: What the note begins with, "Target 'y'" say.
        found: The words of all rows, None where they are missing.
        column: How the schema names them, None where there is no schema.
        what: "classes", "categories" or "labels".
    """
    groups: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, n in Counter(w for w in found if w is not None).items():
        groups[plain_spelling(name)].append((name, n))
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return []
    listed = "; ".join(", ".join(f"{name!r} ({n})" for name, n in group[:4]) for group in several[:3])
    more = f" and {len(several) - 3} more groups" if len(several) > 3 else ""
    merge = "" if column is None else f", or merge them: merge_spellings: [{column}] in the schema"
    n_words = sum(map(len, several))
    return [
        f"{where}: {n_words} {what} differ from another one by blanks or case alone: {listed}{more}. They count as "
        f"different. If they are the same, correct the cells{merge}."
    ]
