"""Which reading a column of written numbers has: one for all its cells, or an error that says what to write.

What decides, in this order: the schema; a cell that can be read in one way only (`0,5`, `1.234.567`, `1.250,75`); the
other columns of the table, if they agree. `1.250` alone is decided by none of these, and is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from profuse.data.table.missing import is_doubtful, words_of
from profuse.data.table.numbers import Mark, NumberFormat, Parsed, parse, read_numbers
from profuse.data.wording import counted, tell_rows
from profuse.errors import DataError

__all__ = [
    "DECIMAL_POINTS",
    "Survey",
    "check_finite",
    "choose_format",
    "is_number_target",
    "marks_of",
    "number_formats",
    "survey",
    "written_numbers",
]

DECIMAL_POINTS = "decimal_points"
"""`frame.attrs` of a CSV file says by it whether decimal points were seen in columns that came as numbers."""

_LEAST_CODE = 9
"""Whole numbers of one length and so many digits, in groups with blanks, are telephone numbers and the like."""
_MARKS: tuple[tuple[Mark, Mark], ...] = ((".", ","), (",", "."))
_NAMES = {".": "point", ",": "comma"}
_EXAMPLES = {".": '"1,234.5"', ",": '"1.234,5"'}
_CATEGORY = "set its kind in the schema: category"


@dataclass(frozen=True, eq=False)
class Survey:
    """What the filled cells of a column of words say of its numbers.

    Attributes:
        name: The column.
        rows: Row of each filled cell.
        parsed: The cells, read in both ways.
        code: Why they are codes, if all look like numbers but are none: 007, addresses, telephone numbers; else "".
    """

    name: str
    rows: np.ndarray
    parsed: Parsed
    code: str

    @property
    def share(self) -> float:
        """Which fraction of the filled cells are numbers."""
        return float(self.parsed.either.mean()) if len(self.rows) else 0.0

    @property
    def plain_share(self) -> float:
        """Which fraction of the filled cells are numbers as programs write them."""
        return float(self.parsed.plain.mean()) if len(self.rows) else 0.0

    @property
    def is_numbers(self) -> bool:
        """Whether all filled cells are numbers, and no codes."""
        return bool(len(self.rows)) and bool(self.parsed.either.all()) and not self.code

    def cell(self, place: int) -> str:
        """Returns the filled cell at `place` with its row, for messages."""
        return f"{self.parsed.words.iloc[place]!r} in row {self.rows[place]} (counted from 0)"


def survey(name: str, cells: pd.Series) -> Survey:
    """Reads the filled cells of a column of words; missing ones are NaN or None, blank, or NA, null and the like."""
    known = np.array(cells.notna(), dtype=bool) & ~is_doubtful(cells)
    known[known] = np.array(cells[known].astype("str").str.strip() != "", dtype=bool)
    parsed = parse(cells[known])
    return Survey(name, np.flatnonzero(known), parsed, _code(parsed))


def check_finite(found: Survey) -> None:
    """Checks that float64 holds every number of the column.

    Raises:
        DataError: It does not; the rows are told.
    """
    infinite = np.flatnonzero(np.isinf(found.parsed.values["."]) | np.isinf(found.parsed.values[","]))
    if len(infinite):
        raise DataError(
            f"column {found.name!r}: numbers must be finite; infinite in {tell_rows(found.rows[infinite])}. Empty "
            "these cells if they mean 'missing', or correct them."
        )


def marks_of(found: Survey) -> set[Mark]:
    """Returns the decimal marks that cells of the column show for certain; none if it does not hold numbers."""
    valid = found.parsed.valid
    return {m for m, other in _MARKS if (valid[m] & ~valid[other]).any()} if found.is_numbers else set()


def number_formats(
    frame: pd.DataFrame, columns: Collection[str], given: Mapping[str, str]
) -> dict[str, tuple[str | None, str]]:
    """Returns the format of each of `columns` that holds words, and what is to be told of it.

    Where a text file writes decimal commas alone, columns that came as whole numbers are told to do so too: in a later
    file they may hold thousands.

    Args:
        frame: The table.
        columns: Those that are numbers.
        given: Formats that the schema says; they stand, and count for the others.

    Raises:
        DataError: See `choose_format`.
    """
    habit: set[Mark] = {NumberFormat.of(form).decimal for form in given.values()}
    habit |= {"."} if frame.attrs.get(DECIMAL_POINTS) else set()
    results: dict[str, tuple[str | None, str]] = {}
    undecided: list[Survey] = []
    typed = []
    for name in columns:
        words = words_of(frame[name])
        if name in given:
            continue
        if words is None:
            typed.append(name)
            continue
        column = survey(name, words)
        shown = marks_of(column)
        habit |= shown
        if shown:
            results[name] = choose_format(column, set())
        else:
            undecided.append(column)
    for column in undecided:
        results[column.name] = choose_format(column, habit)
    if habit == {","} and DECIMAL_POINTS in frame.attrs:
        results |= {name: (_EXAMPLES[","].strip('"'), "") for name in typed if _is_whole(frame[name])}
    return results


def is_number_target(name: str, cells: pd.Series, task: str | None) -> bool:
    """Whether the words of a target are numbers to be learned as such, and not the names of classes."""
    words = words_of(cells)
    if words is None or task not in (None, "regression"):
        return False
    if task == "regression":
        return True
    result = survey(name, words)
    values = result.parsed.values["."]
    return result.is_numbers and not (result.parsed.plain.all() and (values == np.floor(values)).all())


def written_numbers(name: str, cells: pd.Series, form: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns float64 `[row]` of a column of words, numbers, or both, and the rows that hold no number but a word.

    Raises:
        DataError: A word is a number, but not one in the format `form`.
    """
    words = words_of(cells)
    if words is None:
        return np.array(pd.to_numeric(cells, errors="coerce"), dtype=np.float64), np.empty(0, dtype=np.int64)
    typed = cells.astype(object).mask(words.notna())
    numbers = np.array(pd.to_numeric(typed, errors="coerce"), dtype=np.float64)
    filled = np.array(words.notna() & (words.str.strip() != ""), dtype=bool) & ~is_doubtful(words)
    read, otherwise = read_numbers(words[filled], form)
    rows = np.flatnonzero(filled)
    numbers[rows] = read
    if otherwise.any():
        row = int(rows[np.flatnonzero(otherwise)[0]])
        raise DataError(
            f"column {name!r}: numbers must be written as {form or '1234.5'}; got {words.iloc[row]!r} in row "
            f"{counted(row)} (counted from 0). Write it so; or say in numbers of the schema, in training, how the "
            "column writes them."
        )
    return numbers, rows[np.isnan(read)]


def _is_whole(cells: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(cells.dtype) or not pd.api.types.is_numeric_dtype(cells.dtype):
        return False
    known = cells.dropna()
    return bool(pd.api.types.is_integer_dtype(cells.dtype) or (known == np.floor(known)).all())


def choose_format(found: Survey, habit: set[Mark]) -> tuple[str | None, str]:
    """Returns the format of the column (None = as programs write numbers) and what is to be told of it.

    Cells that are no numbers are not looked at.

    Args:
        found: The column.
        habit: Decimal marks that the other columns of the table show.

    Raises:
        DataError: Cells contradict each other, or nothing decides; cell and row are told, and what to write.
    """
    valid, values, numbers = found.parsed.valid, found.parsed.values, found.parsed.either
    unit = _unit(found)
    sure = {m: np.flatnonzero(valid[m] & ~valid[other]) for m, other in _MARKS}
    if len(sure["."]) and len(sure[","]):
        raise DataError(
            f"column {found.name!r}: numbers must be written in one way; got {found.cell(sure['.'][0])}, with a "
            f"decimal point, and {found.cell(sure[','][0])}, with a decimal comma. Correct the rarer, or {_CATEGORY}."
        )
    finite = np.isfinite(values["."]) & np.isfinite(values[","])
    either_way = np.flatnonzero(finite & (values["."] != values[","]))
    decimal: Mark = "," if len(sure[","]) or habit == {","} else "."
    why = "as in other columns"
    if len(sure["."]) or len(sure[","]):
        decimal = "." if len(sure["."]) else ","
        cell = found.parsed.words.iloc[int(sure[decimal][0])]
        why = f"as {cell!r} can only be read with a decimal {_NAMES[decimal]}"
    elif len(either_way):
        decimal = _by_habit(found, either_way, habit)
    if decimal == "." and not len(either_way) and found.parsed.plain[numbers].all():
        return None, ""
    if found.parsed.clean[numbers].str.fullmatch("[0-9]{1,3}_[0-9]{3}").all():
        raise DataError(
            f"column {found.name!r}: it must be certain whether these are numbers or codes; got {found.cell(0)}. "
            f'Write in the schema numbers: {{{found.name}: "1_234.5"}} for numbers; or {_CATEGORY}.'
        )
    thousands = _thousands(found.parsed.clean[numbers], decimal) or ("," if decimal == "." else ".")
    form = NumberFormat(decimal, thousands, unit.strip(), behind=not unit.endswith(" "))
    plain = not len(either_way) and bool(found.parsed.plain[numbers].all())
    return str(form), "" if plain and not len(sure[","]) else _told(found, form, either_way, why)


def _by_habit(found: Survey, either_way: np.ndarray, habit: set[Mark]) -> Mark:
    """Decides between 1.25 and 1250 by what the other columns show."""
    cells, values = found.parsed.clean.iloc[either_way], found.parsed.values
    with_point = np.array(cells.str.contains(".", regex=False), dtype=bool)
    if len(habit) == 1 and (with_point.all() or not with_point.any()):
        decimal: Mark = "," if habit == {","} else "."
        # who drops zeros writes 1.25, who keeps them writes 950.000: 950 beside 1.250 cannot have decimals
        kept = cells.str.contains(r"0\D*$", regex=True).any()
        whole = np.array(~found.parsed.clean.str.contains("[.,]", regex=True), dtype=bool)
        if with_point[0] != (decimal == ".") or not (kept and (whole & (values["."] != 0)).any()):
            return decimal
    place = int(either_way[0])
    point, comma = (f"{values[m][place]:.15g}" for m, _ in _MARKS)
    ways = f"{{{found.name}: {_EXAMPLES['.']}}} for {point}, {{{found.name}: {_EXAMPLES[',']}}} for {comma}"
    raise DataError(
        f"column {found.name!r}: it must be certain which numbers are meant; got {found.cell(place)}, which may be "
        f"{point} or {comma}, and nothing decides. Write in the schema numbers: {ways}; or {_CATEGORY}."
    )


def _unit(found: Survey) -> str:
    """Returns the unit as it is first written, with a blank at its end if it stands before; "" = none."""
    parsed = found.parsed
    places = np.flatnonzero(parsed.either)
    units = parsed.unit[places]
    names = [name for name in dict.fromkeys(units) if name]
    if not names:
        return ""
    bare = places[(units == "") & (parsed.values["."][places] != 0)]
    first = [int(places[np.flatnonzero(units == name)[0]]) for name in names]
    if len(names) > 1 or (names[0] in "%‰" and len(bare)):
        cells = [found.cell(place) for place in ([*first, int(bare[0])] if len(names) == 1 else first)]
        raise DataError(
            f"column {found.name!r}: numbers must have one unit; got {cells[0]} and {cells[1]}. Convert the rarer, or "
            f"{_CATEGORY}."
        )
    return str(parsed.written[first[0]])


def _thousands(cells: pd.Series, decimal: Mark) -> str:
    for mark in (" ", "'", "_"):
        if cells.str.contains(f"[0-9]{mark}[0-9]", regex=True).any():
            return mark
    other = "," if decimal == "." else "."
    return other if cells.str.contains(other, regex=False).any() else ""


def _told(found: Survey, form: NumberFormat, either_way: np.ndarray, why: str) -> str:
    parsed, values = found.parsed, found.parsed.values[form.decimal]

    def example(places: np.ndarray) -> str:
        return f"{parsed.words.iloc[int(places[0])]!r} is {values[int(places[0])]:.15g}"

    message = f"numbers, read as {form}"
    odd = np.flatnonzero(parsed.either & ~parsed.plain)
    if len(either_way):
        message += f": {example(either_way)}, {why}"
    elif len(odd):
        message += f": {example(odd)}"
    behind = np.array(parsed.clean.str.contains(r"\(|[0-9][^-+]*-$", regex=True), dtype=bool)
    negative = np.flatnonzero(behind & parsed.either & (values < 0))
    if len(negative) and example(negative) not in message:
        message += f"; {example(negative)}"
    bare = int((parsed.either & (parsed.unit == "")).sum()) if form.unit else 0
    return message + (f"; {bare} of {len(found.rows)} cells without {form.unit}" if bare else "")


def _code(parsed: Parsed) -> str:
    """Tells why numbers are codes; "" = they are none."""
    words = parsed.words
    if not len(words) or not parsed.either.all():
        return ""
    if parsed.padded.any():
        return "digits with leading zeros: a code"
    if words.str.fullmatch(r"(?:[12]?[0-9]{1,2}\.){3}[12]?[0-9]{1,2}").all():
        return "four groups of digits with points: addresses of a network"
    if len(words) > 1 and words.str.fullmatch(r"[0-9]{1,3}(?: [0-9]{3}){2,}").all():
        n_digits = words.str.count("[0-9]")
        if n_digits.nunique() == 1 and n_digits.iloc[0] >= _LEAST_CODE:
            return "groups of digits of one length: a code, as telephone numbers are"
    return ""
