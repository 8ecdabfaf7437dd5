"""The kind of one column, and why: from its type, a sample of its words, its number of distinct values.

| cells | kind |
|---|---|
| numbers, durations | numeric |
| booleans, pandas categories, words that repeat | category |
| words all distinct in a column named id (or `*_id`, `key`, `index`), or that contain digits; a running number | id: not used |
| three words or more on average, or 50 characters, mostly distinct | text |
| mostly distinct single words without digits (names) | text |
| more than 30 different phrases made of at most half as many words (job titles) | text |
| file names ending as pictures, sounds, series (`.npy`, `.csv`), ... do | image, audio, series, ... |
| lists (or their text) of numbers: one length / several lengths, lists of lists | vector / series |
| lists of words | text |
| dates: `2024-05-31 ...`, `31/5/2024`, `31 May 2024`, `20240531`, `2024-W05` | timestamp |
| `1 days 02:03:04`, `02:03:04`, `10:30 PM` | numeric, in seconds |
| one value or none | not used |
"""  # noqa: E501 (a table row cannot be broken)

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.table.filenames import file_kind, unread_files
from profuse.data.table.lists import ShortenedListError, is_list_text, parse_list
from profuse.data.table.missing import is_doubtful
from profuse.data.table.number_format import check_finite, survey
from profuse.data.table.time_columns import are_compact_dates, compact_reading, word_reading
from profuse.data.table.times import in_range, parse_times
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import DataError

__all__ = ["ID", "NUMBERS_AS_WORDS", "UNUSED", "column_kind", "is_id_name"]

ID = "id"
UNUSED = "unused"
NUMBERS_AS_WORDS = "numbers, written as words"

_SAMPLE = 1000
_ID_NAME = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|index|rowid|row)$|^Unnamed: 0$|[a-z]I[dD]$", re.IGNORECASE)
_NUMBERS = re.compile(r"\s*[\[({]+\s*[-+.]?\d")
_CUT_OFF = re.compile(r"\s*\[+\s*[-+.\d][-+.\d\seEnaif,\[\]]*")


def is_id_name(name: str) -> bool:
    """Tells whether a column is named like an id: `id`, `*_id`, `key`, `index`, ..."""
    return bool(_ID_NAME.search(name))


def column_kind(name: str, cells: pd.Series) -> tuple[str, str]:
    """Returns the kind (a `ColumnKind`, `ID` or `UNUSED`) of a column, and the reason in words.

    Raises:
        DataError: Numbers and words are mixed, a number is infinite, or the cells are of a type that no kind takes.
    """
    known = cells.dropna()
    if len(known) == 0:
        return UNUSED, "all cells are empty"
    types = pd.api.types
    if types.is_bool_dtype(cells.dtype):
        return _constant(known, len(cells)) or ("category", "true or false")
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return _constant(known, len(cells)) or ("category", "a pandas category")
    if types.is_datetime64_any_dtype(cells.dtype):
        return _constant(known, len(in_range(cells))) or ("timestamp", "times")
    if types.is_timedelta64_dtype(cells.dtype):
        return _constant(known, len(cells)) or ("numeric", "durations, in seconds")
    if types.is_complex_dtype(cells.dtype):
        raise DataError(f"column {name!r}: numbers must be real; got {cells.dtype}. Give the parts as two columns.")
    if types.is_numeric_dtype(cells.dtype):
        return _number_kind(name, cells, known)
    return _object_kind(name, cells, known) if cells.dtype == object else _word_kind(name, cells, known)


def _constant(known: pd.Series, n_rows: int) -> tuple[str, str] | None:
    if len(known) == n_rows and n_rows > 1 and (known == known.iloc[0]).all():
        return UNUSED, f"the same value in every row: {tell_values(known.iloc[:1])}"
    return None


def _number_kind(name: str, cells: pd.Series, known: pd.Series) -> tuple[str, str]:
    values = known.to_numpy(dtype=np.float64)
    if np.isinf(values).any():
        rows = np.flatnonzero(np.isinf(cells.to_numpy(dtype=np.float64, na_value=np.nan)))
        raise DataError(
            f"column {name!r}: numbers must be finite; infinite in {tell_rows(rows)}. Empty these cells if they mean "
            "'missing', or correct them."
        )
    constant = _constant(known, len(cells))
    if constant:
        return constant
    named = is_id_name(name) and known.is_unique
    if not named and values.min() >= 19_000_101 and values.max() < 21_000_000 and are_compact_dates(known):
        reading = compact_reading(cells)
        return reading.kind, reading.reason
    if pd.api.types.is_integer_dtype(cells.dtype) and len(known) == len(cells):
        counts_up = bool((np.diff(values) == 1).all()) and len(values) >= 10
        if counts_up or named:
            return ID, "a running number" if counts_up else "whole numbers, all distinct, and named like an id"
    return "numeric", "numbers"


def _word_kind(name: str, cells: pd.Series, known: pd.Series) -> tuple[str, str]:
    """Columns of words: `known` holds nothing but str. NA, None and null are missing unless it is words that stay."""
    doubtful = is_doubtful(known)
    if doubtful.any() and not doubtful.all():
        kind, why = _plain_word_kind(name, cells.mask(is_doubtful(cells)), known[~doubtful])
        if kind not in ("category", "text", ID, UNUSED):
            return kind, why
    return _plain_word_kind(name, cells, known)


def _plain_word_kind(name: str, cells: pd.Series, known: pd.Series) -> tuple[str, str]:
    words = known.unique()
    some = [str(w) for w in words[:: max(1, len(words) // _SAMPLE)]][:_SAMPLE]
    filled = [w for w in some if w.strip()]
    if not filled:
        return UNUSED, "all cells are empty"
    if sum(is_list_text(w) or bool(_CUT_OFF.fullmatch(w)) for w in filled) > 0.5 * len(filled):
        kind = _list_text_kind(name, cells, known)
        if kind:
            return kind
    if files := file_kind(name, filled):
        return files
    if len(words) == 1 and len(known) == len(cells) and len(cells) > 1:
        return UNUSED, f"the same value in every row: {tell_values(words[:1])}"
    if (reading := word_reading(cells, filled)) is not None:
        return reading.kind, reading.reason
    read_as, why = _mixed_or_number(name, cells, filled) or _language_kind(name, cells, words, filled)
    may_be_files = read_as in (ID, "text", "category") and len(words) >= 0.9 * len(known)
    unread = unread_files(filled) if may_be_files else ""
    return read_as, f"{why}; {unread}" if unread else why


def _mixed_or_number(name: str, cells: pd.Series, sample: list[str]) -> tuple[str, str] | None:
    """Words that are numbers: all of them = numeric; many of them = an error, as nobody can know what is meant."""
    if survey(name, pd.Series(sample, dtype="str")).share <= 0.1:
        return None
    result = survey(name, cells)
    if result.code:
        return ("category" if result.parsed.words.nunique() < len(result.rows) else ID), result.code
    if result.is_numbers:
        check_finite(result)
        return "numeric", NUMBERS_AS_WORDS
    spaced = np.mean([len(w.split()) for w in sample]) >= 3
    if result.share < 0.5 and result.plain_share < (0.5 if spaced else 0.2):
        return None
    wrong = np.flatnonzero(result.parsed.either == (result.share < 0.5))
    raise DataError(
        f"column {name!r}: cells must be all numbers or all words; got {'words' if result.share >= 0.5 else 'numbers'} "
        f"in {tell_rows(result.rows[wrong])}: {tell_values(pd.unique(result.parsed.words.iloc[wrong]), n=3)}. Correct "
        "them; or set its kind in the schema: numeric (words become missing, and are counted), or category."
    )


def _language_kind(name: str, cells: pd.Series, words: Any, sample: list[str]) -> tuple[str, str]:
    n_words = float(np.mean([len(w.split()) for w in sample]))
    n_letters = float(np.mean([len(w) for w in sample]))
    distinct = len(words) / max(1, int(cells.notna().sum()))
    message = f"{len(words)} distinct, {n_words:.1f} words on average"
    if n_words < 1.5 and distinct == 1 and len(cells) > 1 and len(words) == len(cells):
        digits = np.mean([any(c.isdigit() for c in w) for w in sample]) > 0.5
        if is_id_name(name) or (digits and len(cells) >= 10):
            return ID, f"all distinct, and {'named like an id' if is_id_name(name) else 'with digits'}"
    if n_letters >= 50 or (n_words >= 3 and (distinct > 0.5 or len(words) > 100)):
        return "text", message
    with_digits = np.mean([any(c.isdigit() for c in w) for w in sample]) > 0.5
    if len(words) > 20 and distinct > 0.5 and (n_words >= 1.5 or not with_digits):
        return "text", f"{message}: mostly distinct"
    if len(words) > 30 and n_words >= 1.5 and _n_parts(sample) <= len(sample) / 2:
        return "text", f"{message}: made of words that recur"
    return "category", message


def _n_parts(phrases: list[str]) -> int:
    """Returns how many different words stand in `phrases`."""
    return len({word for phrase in phrases for word in phrase.casefold().split()})


def _list_text_kind(name: str, cells: pd.Series, known: pd.Series) -> tuple[str, str] | None:
    """Lists as text; None if most of them are words that only look so, as [deleted] does."""

    def fault(row: Any, error: DataError, remedy: str) -> DataError:
        place = f"row {cells.index.get_loc(row)} (counted from 0), column {name!r}"
        cell = known[row]
        return DataError(f"{place}: {error}; got {cell if len(cell) <= 60 else f'{cell[:57]}...'!r}. {remedy}")

    lists, first = [], None
    known = known[known.str.strip() != ""]
    sample = known.iloc[:: max(1, len(known) // _SAMPLE)]
    for row, word in sample.items():
        try:
            lists.append(parse_list(word))
        except ShortenedListError as error:
            raise fault(row, error, "Or set its kind in the schema: text.") from error
        except DataError as error:
            if first is None and _NUMBERS.match(word):
                first = fault(row, error, "Correct it, or name the column in ignore.")
    if first is not None and len(lists) <= 0.5 * len(sample):
        raise first
    if len(lists) <= 0.5 * len(sample):
        return None
    n_items = known.str.count(r"[^\s,\[\](){}]+")
    return _list_kind(name, lists, one_length=n_items[n_items > 0].nunique() == 1)


def _list_kind(name: str, lists: list[Any], *, one_length: bool) -> tuple[str, str]:
    """`lists`: a sample; `one_length`: whether all lists, not only these, are of one length."""
    filled = [v for v in lists if len(v)]
    if not filled:
        return UNUSED, "all lists are empty"
    if sum(any(isinstance(x, str) for x in v[:3]) for v in filled) > 0.5 * len(filled):
        return "text", "lists of words, joined"
    depth = max(_depth(v[0]) for v in filled)
    if depth == 0:
        return ("vector", "lists of numbers of one length") if one_length else ("series", "lists of several lengths")
    if depth == 1:
        return "series", "lists of lists: [time, channel]"
    raise DataError(
        f"column {name!r}: a list must be [channel], [time] or [time, channel]; got {depth + 1} levels. "
        "Save pictures as files, or give tensors."
    )


def _depth(value: Any) -> int:
    """Levels of lists; `np.ndim` refuses lists of several lengths."""
    depth = 0
    while isinstance(value, list | tuple) and value:
        depth, value = depth + 1, value[0]
    return depth + int(np.ndim(value))


def _object_kind(name: str, cells: pd.Series, known: pd.Series) -> tuple[str, str]:
    """Columns of Python objects: what they are is told by their types."""
    words = known.map(lambda v: isinstance(v, str)).to_numpy(dtype=bool)
    if words.all():
        return _word_kind(name, cells.astype("str"), known.astype("str"))
    coded = [v for v in known if isinstance(v, bytes)]
    if coded:
        raise DataError(
            f"column {name!r}: bytes must be text in UTF-8; got {coded[0][:20]!r}. Decode it, or name it in ignore."
        )
    if words.any():
        rows = cells.index.get_indexer(known.index[words if words.mean() < 0.5 else ~words])
        types = sorted({type(v).__name__ for v in known})
        raise DataError(
            f"column {name!r}: cells must be of one type; got {', '.join(types)}, the rarer in {tell_rows(rows)}: "
            f"{tell_values(cells.iloc[rows[:3]])}. Correct them; or set its kind in the schema: numeric (words become "
            "missing, and are counted), or category."
        )
    result = pd.api.types.infer_dtype(known, skipna=True)
    if result == "boolean":
        return _constant(known, len(cells)) or ("category", "true or false")
    if result in ("integer", "floating", "mixed-integer-float", "decimal"):
        numbers = pd.to_numeric(cells.astype("float64") if result == "decimal" else cells)
        return _number_kind(name, numbers, numbers.dropna())
    if all(isinstance(v, datetime.date | np.datetime64) for v in known):
        return _constant(known, len(cells)) or ("timestamp", f"times{parse_times(cells).told}")
    first = known.iloc[0]
    if type(first).__module__.startswith("PIL."):
        return "image", "pictures"
    if all(isinstance(v, (set, frozenset)) for v in known):
        if all(isinstance(item, str) for v in known for item in v):
            return "text", "sets of words, joined"
        raise DataError(
            f"column {name!r}: a set of numbers must be a list, as a set has no order; got {next(iter(known))!r}. "
            "Give lists."
        )
    if all(isinstance(v, (list, tuple)) or hasattr(v, "__array__") for v in known):
        return _array_kind(name, known)
    raise DataError(
        f"column {name!r}: cells must be numbers, words, times, lists or pictures; got {type(first).__name__} in "
        f"{tell_rows(cells.index.get_indexer(known.index[:1]))}. Convert the column, or name it in ignore."
    )


def _array_kind(name: str, known: pd.Series) -> tuple[str, str]:
    shapes = {np.shape(v) for v in known if hasattr(v, "__array__")}
    dims = {len(s) for s in shapes}
    if dims and max(dims) == 3:
        return "image", "arrays [height, width, channel]"
    if dims == {2}:
        if all(np.asarray(v).dtype == np.uint8 for v in known) and min(min(s) for s in shapes) >= 8:
            return "image", "arrays [height, width] of bytes"
        return "series", "arrays [time, channel]"
    lengths = known.map(len)
    sample = list(known.iloc[:: max(1, len(known) // _SAMPLE)])
    return _list_kind(name, sample, one_length=lengths.nunique() == 1)
