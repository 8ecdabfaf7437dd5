"""Words for missing cells, alike through every door: data frame, CSV, JSON lines, Parquet, database.

| cell | in columns of numbers, times, lists, files | in columns of words (category, text, class target) |
|---|---|---|
| empty, blank, None, NaN, `nan`, `NaN`, `-nan`, `<NA>`, `#N/A`, `#NA`, `NaT` | missing | missing |
| `NA`, `N/A`, `n/a`, `None`, `none`, `NULL`, `null`, in any case | missing | a word; a note counts them |
| what `Schema.missing` lists for the column | missing | missing |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from profuse.schema import Schema

__all__ = [
    "DOUBTFUL",
    "MISSING",
    "count_doubtful",
    "is_doubtful",
    "notes_on_doubtful",
    "without_doubtful",
    "without_missing",
    "words_of",
]

MISSING = frozenset(
    [
        *[
            "nan",
            "NaN",
            "NAN",
            "-nan",
            "-NaN",
            "<NA>",
            "<na>",
            "#N/A",
            "#n/a",
            "#NA",
            "NaT",
            "1.#IND",
            "-1.#IND",
            "1.#QNAN",
            "-1.#QNAN",
        ],
        "#N/A N/A",
    ]
)
"""Words that are missing in every column."""
DOUBTFUL = ("NA", "N/A", "n/a", "None", "none", "NULL", "null")
"""Words that are missing where words cannot stand, and words elsewhere, as files mostly write them."""
_DOUBTFUL = frozenset({w.lower() for w in DOUBTFUL} | {"nan", "nat"})
_WORD_KINDS = ("category", "text")


def without_missing(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Returns the table with None in place of words that mean missing in every column; others are not copied.

    Args:
        frame: The table, names as str.
        schema: Its `missing` counts.
    """
    changed: dict[str, pd.Series] = {}
    for name in frame.columns:
        cells, further = frame[name], schema.missing.get(name, ())
        if isinstance(cells.dtype, pd.CategoricalDtype):
            lost = [c for c in cells.cat.categories if isinstance(c, str) and _is_word(c, further)]
            if lost:
                changed[name] = cells.cat.remove_categories(lost)
            continue
        gone = _missing(cells, further)
        if gone is not None and gone.any():
            changed[name] = cells.mask(gone)
    return frame.assign(**changed) if changed else frame


def without_doubtful(frame: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Returns the table with None in place of doubtful words in columns of `kinds` that are not of words."""
    changed: dict[str, pd.Series] = {}
    for name in frame.columns:
        if kinds.get(name, "category") in _WORD_KINDS or isinstance(frame[name].dtype, pd.CategoricalDtype):
            continue
        words = words_of(frame[name])
        gone = None if words is None else is_doubtful(words)
        if gone is not None and gone.any():
            changed[name] = frame[name].mask(gone)
    return frame.assign(**changed) if changed else frame


def is_doubtful(cells: pd.Series) -> np.ndarray:
    """Returns whether each word is NA, N/A, None, null or the like; False for what is missing already."""
    words = cells.astype("str").str.strip().str.lower()
    return np.array(words.isin(_DOUBTFUL) & cells.notna(), dtype=bool)


def notes_on_doubtful(frame: pd.DataFrame, columns: Collection[str]) -> list[str]:
    """Returns a note for each of `columns`, which hold words, on those that some programs write for missing."""
    notes = []
    for name in columns:
        counts = count_doubtful(frame[name])
        if counts:
            listed = " and ".join(
                f"{word!r} in {n} rows" if n > 1 else f"{word!r} in 1 row" for word, n in counts.items()
            )
            notes.append(
                f"Column {name!r}: {listed} count as words, not as missing. If they mean missing, write in the schema "
                f"missing: {{{name}: [{', '.join(counts)}]}}."
            )
    return notes


def count_doubtful(cells: pd.Series) -> dict[str, int]:
    """Returns how often each doubtful word stands in a column of words."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        cells = cells.astype(object)
    words = words_of(cells)
    if words is None:
        return {}
    result = words[is_doubtful(words)].str.strip().value_counts()
    return {str(word): int(n) for word, n in result.items()}


def _missing(cells: pd.Series, further: Collection[str]) -> np.ndarray | None:
    if further and pd.api.types.is_numeric_dtype(cells.dtype) and not pd.api.types.is_bool_dtype(cells.dtype):
        numbers = [n for n in map(_number, further) if n is not None]  # -999 that the reader took for a number
        return np.array(cells.isin(numbers), dtype=bool) if numbers else None
    words = words_of(cells)
    if words is None:
        return None
    stripped = words.str.strip()
    return np.array(stripped.isin([*MISSING, "", *further]), dtype=bool)


def words_of(cells: pd.Series) -> pd.Series | None:
    """Returns the words of a column, missing where a cell is something else; None if it can hold none."""
    if isinstance(cells.dtype, pd.StringDtype):
        return cells
    if cells.dtype != object:
        return None
    words = [v if isinstance(v, str) else None for v in cells.to_numpy(dtype=object)]
    return pd.Series(words, index=cells.index, dtype="str") if any(w is not None for w in words) else None


def _is_word(word: str, further: Collection[str]) -> bool:
    return word.strip() in MISSING or word.strip() in further or not word.strip()


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
