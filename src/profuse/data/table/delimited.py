"""Text with separators (CSV, TSV) -> a table: the separator is found by parsing, codes and words stay words.

Columns are numbers where every filled cell is written as programs write numbers. What people write otherwise
(1.250,75) stays text here, and so does what can be read in two ways: `profuse.data.table.number_format` reads it.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.table.missing import DOUBTFUL, MISSING
from profuse.data.table.number_format import DECIMAL_POINTS
from profuse.data.wording import tell_values
from profuse.errors import DataError

__all__ = [
    "SEPARATORS",
    "Layout",
    "Widths",
    "all_two_ways",
    "column_names",
    "layout_of",
    "may_be_thousands",
    "not_a_table",
    "open_quote",
    "pandas_options",
    "read_delimited",
    "unique_names",
]

SEPARATORS = {".csv": ",", ".tsv": "\t"}
"""What is usual between cells, by suffix."""

_SEPARATORS = (";", "\t", "|", ",")
_SAMPLE = 1000
_SAMPLE_LINES = 50
_HEAD = 1_000_000
"""Characters in which the separator is looked for."""
_SEP_LINE = re.compile(r'\ufeff?"?sep=(.)"?[ \t]*(?=\r?\n|$)', re.IGNORECASE)
_NUMBER_NAME = re.compile(r"[-+]?\d*[.,]?\d+([eE][-+]?\d+)?")
_TWO_WAYS = r"\s*[-+]?[1-9][0-9]{0,2}\.[0-9]{3}\s*"
_ALWAYS = ["", *sorted(MISSING)]


@dataclass(frozen=True)
class Layout:
    """How a text holds a table.

    Attributes:
        text: The text; a first line that names the separator is blank in it.
        separator: Between cells.
        header: The names of the columns as they are written.
        notes: What is to be told.
    """

    text: str
    separator: str
    header: tuple[str, ...]
    notes: tuple[str, ...] = ()


def layout_of(text: str, name: str, usual: str) -> Layout:
    """Finds the separator and the names of the columns.

    `usual` is taken unless the first line (Excel's `sep=;`) names another, or another one parts all of the first 50
    lines into equally many cells, two or more; a semicolon that does so goes before a comma, which may be a decimal
    one in all of them.

    Args:
        text: The text.
        name: Of the file, for messages.
        usual: The separator that its suffix tells.

    Raises:
        DataError: The first line is no line of names.
    """
    csv.field_size_limit(2**31 - 1)
    notes = []
    separator = usual
    named = _SEP_LINE.match(text)
    if named:
        separator, text = named[1], text[named.end() :]
        notes.append(f"{name}: columns are separated by {separator!r}, as its first line says.")
    else:
        for candidate in _SEPARATORS if usual == "," else (usual, *_SEPARATORS):
            widths = _widths(text, candidate)
            if widths[0] > 1 and len(set(widths)) == 1:
                separator = candidate
                break
        else:  # no separator fits all lines: the one of the header, so that an error can name the line
            counts = {s: _widths(text, s)[0] for s in (usual, *_SEPARATORS)}
            separator = usual if counts[usual] > 1 else max(counts, key=lambda s: counts[s])
        if separator != usual:
            notes.append(f"{name}: columns are separated by {separator!r}, not by {_NAMES[usual]}.")
    try:
        header = next(csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=separator), [])
    except csv.Error as error:
        raise DataError(f"{name}: the first line must hold the column names; got {error}.") from error
    return Layout(text, separator, tuple(header), tuple(notes))


_NAMES = {",": "a comma", "\t": "a tab"}


def read_delimited(text: str, path: Path, usual: str, words: Collection[str] | None) -> pd.DataFrame:
    """Returns the table in `text`; see `profuse.data.table.read.read_table`."""
    _check_line_ends(text, path)
    layout = layout_of(text, path.name, usual)
    text, separator, header = layout.text, layout.separator, layout.header
    names = column_names(header, path)
    widths = Widths(separator, len(header), path, lambda: open_quote(_lines(text), separator))
    widths.check_lines(_lines(text)) if '"' in text else widths.check_block(text)
    raw = (text if len(header) > 1 else text.lstrip("\r\n")).encode()  # a blank line is a row of a single column

    def read(as_words: Iterable[str] = (), **options: Any) -> pd.DataFrame:
        frame: pd.DataFrame = pd.read_csv(io.BytesIO(raw), **pandas_options(names, separator, as_words), **options)
        return frame

    try:
        if words is not None:
            frame = read(w for w in words if w in names)
        else:
            frame = read()
            frame.attrs[DECIMAL_POINTS] = _keep_words(frame, raw, separator, read)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OverflowError) as error:
        raise not_a_table(path, open_quote(_lines(text), separator), error) from error
    frame.attrs["notes"] = list(layout.notes)
    return frame


def pandas_options(names: Sequence[str], separator: str, as_words: Iterable[str] = ()) -> dict[str, Any]:
    """Returns what `pandas.read_csv` is told of a table whose columns `as_words` are text, whatever they hold."""
    kept, all_words = set(as_words), [*_ALWAYS, *DOUBTFUL]
    return {
        "sep": separator, "low_memory": False, "index_col": False, "header": 0, "names": list(names),
        "skip_blank_lines": len(names) > 1, "dtype": dict.fromkeys(kept, "str"), "keep_default_na": False,
        "na_values": {c: _ALWAYS if c in kept else all_words for c in names} if kept else all_words,
    }  # fmt: skip


def not_a_table(path: Path, line: int | None, error: Exception) -> DataError:
    """Returns the error of a text that pandas cannot read; `line` is where a quote opens that is never closed."""
    what = f"the quote that opens in line {line} is never closed" if line else f"got {error}"
    return DataError(f"{path.name}: the file must be a table; {what}. Check the quotes.")


def unique_names(names: Sequence[str], where: str) -> None:
    """Checks that no two names are the same but for blanks around them; empty ones do not count.

    Raises:
        DataError: Two are.
    """
    twice = [name for name, n in Counter(n.strip() for n in names).items() if n > 1 and name]
    if twice:
        raise DataError(
            f"{where}: column names must differ; got {tell_values(twice)} more than once. Rename or drop them."
        )


def column_names(header: Sequence[str], path: Path) -> list[str]:
    """Returns a name for each column: those without one are told by their places."""
    names = [name if name.strip() else f"Unnamed: {i}" for i, name in enumerate(header)]
    unique_names(names, path.name)
    if any(set(".,") & set(h) for h in header) and all(_NUMBER_NAME.fullmatch(h.strip()) for h in header):
        raise DataError(
            f"{path.name}: the first line must name the columns; got the numbers {tell_values(header, n=3)}. "
            "Add a line of names."
        )
    return names


def _keep_words(frame: pd.DataFrame, raw: bytes, separator: str, read: Any) -> bool:
    """Puts back the words of columns that are not surely what pandas took them for; tells if decimal points were seen.

    These are booleans, codes as 007, numbers that can be read in two ways (1.250), and words such as NA and None.
    """
    numbers, floats = set(frame.select_dtypes("number")), list(frame.select_dtypes("float"))
    padded, no_words = _padded(frame, raw, separator), not any(word.encode() in raw for word in DOUBTFUL)
    sure_words = {c for c in frame if isinstance(frame[c].dtype, pd.StringDtype)} if no_words else set()
    empty = set() if no_words else {c for c in floats if frame[c].isna().all()}
    doubtful = [c for c in frame if c in padded or c in empty or not (c in numbers or c in sure_words)]
    two_ways = [c for c in floats if c not in empty and may_be_thousands(frame[c])]
    shown = len(two_ways) + len(empty) < len(floats)  # the other floats have decimals
    if two_ways:
        sample = read(two_ways, usecols=two_ways, nrows=_SAMPLE)
        undecided = [c for c in two_ways if all_two_ways(sample[c])]
        shown |= len(undecided) < len(two_ways)
        two_ways = undecided
    columns = list(dict.fromkeys([*doubtful, *two_ways]))
    again = read(columns, usecols=columns) if columns else frame[[]]
    undecided = [c for c in two_ways if all_two_ways(again[c])]
    shown |= len(undecided) < len(two_ways)
    kept = [c for c in doubtful if c not in numbers or c in empty or again[c].str.match(r"\s*[-+]?0\d").any()]
    kept += [c for c in undecided if c not in kept and again[c].str.contains(".", regex=False).any()]
    for column in kept:
        frame[column] = again[column]
    return shown


def may_be_thousands(cells: pd.Series) -> bool:
    """Whether all numbers may be written as 950 or 1.250, so that the point may part thousands."""
    known = cells.to_numpy(dtype=np.float64)
    for part in (known[:_SAMPLE], known):
        part = np.abs(part[np.isfinite(part)])
        whole = part == np.floor(part)
        thousandths = part * 1000
        if not (whole | ((part >= 1) & (part < 1000) & (np.abs(thousandths - np.rint(thousandths)) < 1e-6))).all():
            return False
    return True


def all_two_ways(cells: pd.Series) -> bool:
    """Whether each cell that has a point can be read in two ways; the words of the cells decide."""
    with_point = cells[np.array(cells.str.contains("[.eE]", regex=True), dtype=bool) & cells.notna()]
    return bool(with_point.str.fullmatch(_TWO_WAYS).all())


def _check_line_ends(text: str, path: Path) -> None:
    """Checks that no carriage return stands alone outside quotes: pandas would begin a row there."""
    if re.search(r"\r(?!\n)", text):
        alone = next((m for m in re.finditer(r'"[^"]*"|\r(?!\n)', text) if m[0] == "\r"), None)
        if alone is not None:
            line = text.count("\n", 0, alone.start()) + 1
            raise DataError(
                f"{path.name}: lines must end in \\n or \\r\\n; got a carriage return (\\r) alone in line {line}. "
                "Put quotes around the cell that holds it, or save the file with other line ends."
            )


def _padded(frame: pd.DataFrame, raw: bytes, separator: str) -> set[str]:
    """Returns the columns in which a cell may begin as 007 does."""
    held = np.frombuffer(raw + bytes(6), dtype=np.uint8)
    quoted = np.bitwise_xor.accumulate(held == ord('"')) if b'"' in raw else np.zeros(1, dtype=bool)
    separators, ends = (np.flatnonzero((held == ord(end)) & ~quoted) for end in (separator, "\n"))
    begins = np.concatenate([separators, ends])
    first = begins + 1
    before = np.isin(np.arange(256), list(b' "+-'))
    for _ in range(4):
        first = first + before[held[first]]
    begins = begins[(held[first] == ord("0")) & np.isin(held[first + 1], list(b"0123456789"))]
    lines = np.append(0, ends)[np.searchsorted(ends, begins, side="right")]  # where the line of each begins
    places = np.searchsorted(separators, begins, side="right") - np.searchsorted(separators, lines)
    n_rows, n_columns = frame.shape
    whole = n_columns > 1 and len(separators) == (n_rows + 1) * (n_columns - 1)  # else a quote stands within a cell
    return set(frame.columns[np.unique(places)] if whole else frame.columns)


def _widths(text: str, separator: str) -> list[int]:
    """Returns the number of cells in each of the first lines that are not blank, the header's first."""
    head = text[:_HEAD].lstrip("\r\n")
    rows = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
    try:
        widths = [len(row) for row in islice((row for row in rows if row), _SAMPLE_LINES)]
    except csv.Error:
        return [0]
    return (widths[:-1] if len(text) > _HEAD and 1 < len(widths) < _SAMPLE_LINES else widths) or [0]


def _lines(text: str) -> Iterable[str]:
    return io.StringIO(text, newline="")


def open_quote(lines: Iterable[str], separator: str) -> int | None:
    """Returns the line in which the last quote opens, if it is never closed."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    begins = 1
    try:
        for _ in reader:
            begins = reader.line_num + 1
    except csv.Error as error:
        return begins if "end of data" in str(error) else None
    return None


class Widths:
    """Checks that each line has `width` cells: pandas would fill up short ones with missing cells in silence.

    Blocks without quotes are checked as they come; from the first quote on, the rest is read line by line.

    Args:
        separator: Between cells.
        width: Cells of a line.
        path: The file, for messages.
        open_quote: Returns the line in which the last quote of the file opens, if it is never closed.
    """

    def __init__(self, separator: str, width: int, path: Path, open_quote: Callable[[], int | None]) -> None:
        self.separator, self.width, self.path, self.open_quote = separator, width, path, open_quote
        self.n_lines = 0

    def check_block(self, text: str) -> None:
        """Checks lines without quotes; but for the last block of a file the text ends where a line does."""
        raw = np.frombuffer(text.encode(), dtype=np.uint8)
        ends = np.append(np.flatnonzero(raw == 10), len(raw))
        starts = np.append(0, ends[:-1] + 1)
        cells = np.searchsorted(np.flatnonzero(raw == ord(self.separator)), np.stack([starts, ends]))
        counts = cells[1] - cells[0] + 1
        blank = (ends - starts == 0) | ((ends - starts == 1) & (raw[np.minimum(starts, len(raw) - 1)] == 13))
        wrong = np.flatnonzero((counts != self.width) & ~blank)
        if len(wrong):
            self._tell(self.n_lines + int(wrong[0]) + 1, int(counts[wrong[0]]))
        self.n_lines += len(ends) - 1

    def check_lines(self, lines: Iterable[str]) -> None:
        """Checks the lines that follow, to the end of the file."""
        reader = csv.reader(lines, delimiter=self.separator)
        begins = 1
        for row in reader:
            if len(row) != self.width and row:
                line = self.n_lines + begins
                if self.open_quote() == line:
                    raise DataError(
                        f"{self.path.name}: every quote must be closed; the one that opens in line {line} is not. "
                        "Close it, or double a quote that is meant as a sign."
                    )
                self._tell(self.n_lines + reader.line_num, len(row))
            begins = reader.line_num + 1

    def _tell(self, line: int, n_cells: int) -> None:
        raise DataError(
            f"{self.path.name}: every line must have the {self.width} cells of the first; line {line} has {n_cells}. "
            f"Cells are separated by {self.separator!r}: put quotes around cells that hold it, or complete the line."
        )
