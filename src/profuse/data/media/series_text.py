"""A series from a text of numbers: one line a time step, one cell a channel; what cannot be read is told with its line.

| what stands there | what it is |
|---|---|
| blank lines, lines that begin with `#` or `%`, a first line `sep=;` | passed over |
| cells separated by commas, semicolons, tabs or blanks | told where it is not what the suffix says |
| a first line of words, or of the numbers 0, 1, 2, ... or 1, 2, 3, ... | names of the channels; told if numbers |
| a first column without a name beside others with one, or named `index` and counting | an index: left out, told |
| a column of time stamps, the year first | seconds since the earliest, told; steps are put in their order |
| another column of time stamps | left out, told |
| empty cells, `nan`, `NA`, `null`, ... | missing numbers |
| `1,5` where cells are not separated by commas | a decimal comma, told |
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from itertools import pairwise

import numpy as np

from profuse._files import check_size
from profuse.data.media.series_times import are_stamps, in_order, seconds_of
from profuse.data.media.source import Tell
from profuse.data.table.missing import DOUBTFUL, MISSING
from profuse.errors import DataError

__all__ = ["parse_series"]

Line = tuple[int, list[str]]
"""The number of a line, from 1, and its cells."""

_MISSING = frozenset(word.lower() for word in (*MISSING, *DOUBTFUL)) | {""}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[-+]?inf(inity)?", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
_TIME = re.compile(
    r"\d{4}[-/.]?\d{1,2}[-/.]?\d{1,2}([T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( .*)?"
    r"|\d{1,3}:\d{2}(:\d{2}([.,]\d+)?)?( ?[ap]m)?",
    re.ASCII | re.IGNORECASE,
)
_INDEX_NAMES = ("", "index", "unnamed: 0", "row", "rowid")
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "blanks"}
_LARGEST = 3.4e38  # of float32
_CELL = 75  # bytes that one cell takes in memory


def parse_series(data: bytes, *, tabs: bool, tell: Tell) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Returns float64 `[time, channel]`, NaN = missing, and the names of the channels, if any; see the table above.

    Args:
        data: The bytes of the file.
        tabs: Whether its name says that cells are separated by tabs, not by commas.
        tell: Called with what could be doubted.

    Raises:
        DataError: It is no UTF-8, a line has another number of cells, a cell is no number: with its line.
    """
    check_size(2 * len(data) + _CELL * sum(data.count(mark) for mark in (b",", b";", b"\t", b" ", b"\n")), "the text")
    text = _text(data)
    if text[-1] not in "\r\n":
        tell("the last line of the series does not end, as if it was cut off; its numbers are taken as they stand")
    lines, separator = _lines(text, tabs, tell)
    width = len(lines[0][1])
    for number, cells in lines:
        if len(cells) != width:
            raise DataError(
                f"line {number} must have {width} cells, as line {lines[0][0]} has; got {len(cells)} (separated by "
                f"{_NAMES[separator]})"
            )
    lines = _with_points(lines, separator, tell)
    names = _header(lines, tell)
    body = lines[1:] if names is not None else lines
    if not body:
        raise DataError("the series must hold numbers; got names alone")
    kept, stamps = _channels(names, body, tell)
    if not kept:
        raise DataError("the series must hold a channel of numbers beside index and time stamps")
    values = np.empty((len(body), len(kept)))
    for row, (number, cells) in enumerate(body):
        some = [cells[place] for place in kept]
        plain = all(map(_NUMBER.fullmatch, some))
        values[row] = [float(cell) if plain else _number(cell, number) for cell in some]
    too_large = np.argwhere(np.abs(values) > _LARGEST)
    if len(too_large):
        number, cells = body[too_large[0, 0]]
        raise DataError(
            f"line {number}: numbers must be at most {_LARGEST} in size; got {cells[kept[too_large[0, 1]]][:40]!r}"
        )
    if stamps is not None:
        cells = ["" if c.lower() in _MISSING else c for c in (cells[stamps] for _, cells in body)]
        times = seconds_of(cells, [number for number, _ in body], tell)
        at = sum(place < stamps for place in kept)
        values = np.insert(values, at, times, axis=1)[in_order(times, tell)]
        kept.insert(at, stamps)
    return values, None if names is None else tuple(names[place] for place in kept)


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"the series must be UTF-8 text ({error.reason} at byte {error.start})") from error
    if "\0" in text:
        raise DataError("the series must be UTF-8 text; got zero bytes")
    return text


def _lines(text: str, tabs: bool, tell: Tell) -> tuple[list[Line], str]:
    """Returns the lines that are neither blank nor comments, as cells, and what separates them."""
    plain = [(i, line) for i, line in enumerate(re.split("\r\n|\n|\r", text), 1)]
    filled = [(i, line) for i, line in plain if line.strip() and line.lstrip()[:1] not in "#%"]
    told = re.fullmatch(r'"?sep=(.)"?', filled[0][1].strip("\r\n ")) if filled else None
    filled = filled[1:] if told else filled
    if not filled:
        raise DataError("the series must be a table of numbers; got no line of them")
    last = max(i for i, _ in filled)
    if any(not line.strip() for i, line in plain if filled[0][0] < i < last):
        tell("the series has blank lines between others, which were passed over")
    some = [line for _, line in filled[:1000]]
    separator = told[1] if told and told[1] in _NAMES else _separator(some, tabs)
    if separator != ("\t" if tabs else ",") and any(separator in line.strip() for line in some):
        tell(f"the cells of the series are separated by {_NAMES[separator]}")
    if separator == " ":
        return [(i, line.split()) for i, line in filled], separator
    quoted = any('"' in line for _, line in filled)
    made = _unquoted(filled, separator) if quoted else ((i, line.split(separator)) for i, line in filled)
    lines = [(i, [cell.strip() for cell in cells]) for i, cells in made]
    if len(lines[0][1]) > 1 and all(cells[-1] == "" for _, cells in lines):
        lines = [(i, cells[:-1]) for i, cells in lines]  # each line ends in a separator
    return lines, separator


def _separator(some: list[str], tabs: bool) -> str:
    for mark in ("\t", ";", ",") if tabs else (";", "\t", ","):
        if all(mark in line for line in some):
            return mark
    expected = "\t" if tabs else ","
    if any(mark in line for line in some for mark in ";\t,"):
        return expected
    return " " if all(len(line.split()) > 1 for line in some) and not _are_names(some) else expected


def _are_names(some: list[str]) -> bool:
    """Tells whether blanks stand within cells, as in time stamps, and do not separate them."""
    return all(_TIME.fullmatch(line.strip()) for line in some[1:])


def _unquoted(lines: list[tuple[int, str]], separator: str) -> Iterator[Line]:
    for number, line in lines:
        try:
            yield number, next(csv.reader(StringIO(line), delimiter=separator, strict=True))
        except (csv.Error, StopIteration) as error:
            raise DataError(f"line {number} cannot be read ({error})") from error


def _with_points(lines: list[Line], separator: str, tell: Tell) -> list[Line]:
    """Returns the lines with decimal commas as points."""
    if separator == ",":
        return lines
    commas = [(i, cell) for i, cells in lines for cell in cells if "," in cell and _DECIMAL_COMMA.fullmatch(cell)]
    if not commas:
        return lines
    dotted = next(((i, c) for i, cells in lines for c in cells if "." in c and _NUMBER.fullmatch(c)), None)
    if dotted is not None:
        raise DataError(
            f"the series must have decimal points or decimal commas; got {commas[0][1]!r} in line {commas[0][0]} and "
            f"{dotted[1]!r} in line {dotted[0]}"
        )
    if all(_THOUSANDS.fullmatch(cell) for _, cell in commas):
        raise DataError(
            f"the series must tell decimals from thousands; got {commas[0][1]!r} in line {commas[0][0]}, which may be "
            "either. Write decimal points"
        )
    tell("the commas within the numbers of the series are read as decimal commas")
    return [(i, [c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c) else c for c in cells]) for i, cells in lines]


def _header(lines: list[Line], tell: Tell) -> list[str] | None:
    """Returns the names in the first line, None where it is a time step."""
    number, cells = lines[0]
    body = lines[1:]
    are = [_is_number(cell) for cell in cells]
    if not all(are):
        unread = [c for c, is_number in zip(cells, are, strict=True) if is_number and c.lower() not in _MISSING]
        words = [c for c, is_number in zip(cells, are, strict=True) if not is_number]
        if all(_TIME.fullmatch(c) for c in words) and unread:
            return None  # a time stamp beside its numbers
        if unread and not _counts(unread):
            raise DataError(
                f"line {number} must be names or numbers; got {words[0]!r} beside {unread[0]!r}. Correct it"
            )
        return cells
    if _begins_an_index(cells, body):
        tell(f"the first line of the series, {_shown(cells)}, is read as the names of its channels")
        return cells
    if not _counts(cells) or not body:
        return None
    if not _names_fit(cells, body):
        tell(f"the first line of the series, {_shown(cells)}, is read as its first step; write words if it is names")
        return None
    tell(f"the first line of the series, {_shown(cells)}, is read as the names of its channels; put words above if not")
    return cells


def _names_fit(cells: list[str], body: list[Line]) -> bool:
    """Tells whether a first line of 0, 1, ... or 1, 2, ... is names, by the numbers below it.

    Numbers with a point or an exponent below it say so: a program that writes them would not write 0 without. Above
    whole numbers it is names if it is long, or if it begins with 0 as pandas does and other numbers stand below.
    """
    below = [cell for _, row in body for cell in row if cell.lower() not in _MISSING]
    if all(any(c in ".eE" for c in cell) for cell in below) or len(cells) > 3:
        return True
    return len(cells) > 1 and cells[0] == "0" and not set(below) <= set(cells)


def _begins_an_index(cells: list[str], body: list[Line]) -> bool:
    """Tells whether the first line is `,0,1,...`, as pandas writes names over an index."""
    return cells[0] == "" and len(cells) > 1 and _counts(cells[1:]) and bool(body)


def _counts(cells: list[str]) -> bool:
    """Tells whether the cells are 0, 1, 2, ... or 1, 2, 3, ..."""
    return any(cells == [str(start + i) for i in range(len(cells))] for start in (0, 1))


def _channels(names: list[str] | None, body: list[Line], tell: Tell) -> tuple[list[int], int | None]:
    """Returns the places of the channels, all but an index and time stamps, and that of stamps that can be read."""
    stamps: int | None = None
    kept = list(range(len(body[0][1])))
    if names is not None and len(names) > 1 and names[0].strip().lower() in _INDEX_NAMES:
        first = [cells[0] for _, cells in body]
        if names[0] == "" or _runs(first):
            kept.remove(0)
            tell("the first column of the series is read as an index and left out")
    elif names is None and len(kept) > 1 and len(body) > 2 and _runs([cells[0] for _, cells in body]):
        tell("the first column of the series counts its steps and is read as a channel; give it a name if it is one")
    for place in list(kept):
        one = next((cells[place] for _, cells in body if cells[place].lower() not in _MISSING), "")
        if not _TIME.fullmatch(one):
            continue
        column = [cells[place] for _, cells in body if cells[place].lower() not in _MISSING]
        if column and all(_TIME.fullmatch(cell) and not _NUMBER.fullmatch(cell) for cell in column):
            kept.remove(place)
            if stamps is None and are_stamps(column):
                stamps = place
                tell("a column of time stamps in the series is read as seconds since the earliest")
                continue
            tell("a column of time stamps in the series is left out: its steps count as evenly spaced")
    return kept, stamps


def _runs(cells: list[str]) -> bool:
    """Tells whether the cells are whole numbers that rise by one."""
    if not all(re.fullmatch(r"\d{1,15}", cell, re.ASCII) for cell in cells):
        return False
    return all(int(b) - int(a) == 1 for a, b in pairwise(cells))


def _is_number(cell: str) -> bool:
    return cell.lower() in _MISSING or bool(_NUMBER.fullmatch(cell) or _INFINITE.fullmatch(cell))


def _number(cell: str, line: int) -> float:
    if _NUMBER.fullmatch(cell):
        return float(cell)
    if cell.lower() in _MISSING:
        return float("nan")
    if _INFINITE.fullmatch(cell):
        raise DataError(f"line {line}: numbers must be finite; got {cell!r}. Leave the cell empty if it is missing")
    raise DataError(f"line {line}: each cell must be a number; got {cell[:40]!r}")


def _shown(cells: list[str]) -> str:
    return ",".join(cells[:4]) + (",..." if len(cells) > 4 else "")
