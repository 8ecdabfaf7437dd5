"""Files -> one table: CSV, TSV, Parquet, JSON lines; several tables joined by id, never by position.

What pandas would repair in silence is an error here: duplicate column names, rows with too few or too many
cells, bytes that are no text.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._lookup import nearest
from profuse._optional import need
from profuse.data._wording import tell_rows, tell_values
from profuse.data.column_types import arrow_cells
from profuse.errors import DataError

__all__ = ["join_tables", "read_table"]

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = (".parquet", ".pq")
_KNOWN = ".csv, .tsv, .jsonl, .ndjson (also with .gz), .parquet, .pq"


def read_table(path: str | Path, *, words: Collection[str] | None = None) -> pd.DataFrame:
    """Returns the table in the file `path`, rows numbered from 0.

    The suffix tells the format: `.csv`, `.tsv`, `.jsonl`, `.ndjson` (each also with `.gz`), `.parquet`, `.pq`.
    Text is UTF-8. Empty cells, `NA`, `NaN`, `null`, `None` are missing. A `.csv` whose first line holds
    semicolons or tabs and no comma is read with these; the table's `attrs["notes"]` says so. In these and in `.tsv`
    a column is numeric if every filled cell is a number and none begins as 007 does; else it is text, `true` too.

    Args:
        path: The file.
        words: Columns of a `.csv` or `.tsv` that are text whatever they hold, as `Schema.words` of a model tells
            them: a new file then is read as that of training was. The others are then numbers, booleans or text
            as pandas finds them.

    Raises:
        DataError: No such file, a folder, an unknown suffix, no rows, a column name twice, a row with too few or
            too many cells (the line is told), or bytes that cannot be read.
        MissingDependencyError: A Parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"read_table: the path must be a file; got the folder {str(path)!r}. Name a file in it.")
    if not path.exists():
        here = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        close = nearest(path.name, here)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "Check the path."
        raise DataError(f"read_table: the file must exist; got {str(path)!r}. {hint}")
    suffixes = [s.lower() for s in path.suffixes]
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    suffix = suffixes[-2] if packed and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    if suffix in _PARQUET and not packed:
        frame = _parquet(path)
    elif suffix in _SEPARATORS or suffix in _JSON_LINES:
        text = _text(path, packed)
        frame = _json_lines(text, path) if suffix in _JSON_LINES else _delimited(text, path, _SEPARATORS[suffix], words)
    else:
        raise DataError(
            f"read_table: the suffix must be one of {_KNOWN}; got {path.name!r}. Convert or rename the file."
        )
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        n_rows, n_columns = frame.shape
        raise DataError(
            f"{path.name}: the table must have at least one row and one column; got {n_rows} rows and {n_columns} "
            "columns. Add rows, or name another file."
        )
    return frame


def join_tables(tables: Mapping[str, pd.DataFrame], id: str) -> pd.DataFrame:
    """Joins tables by the column `id`, in the row order of the first one.

    Args:
        tables: Name (for messages) to table; each has the column `id`.
        id: The column that names a row: unique in each table, the same values in all.

    Raises:
        DataError: The column is not there, an id is missing or occurs twice, ids of two tables differ (counted,
            with examples), or another column stands in two tables.
    """
    if not tables:
        raise DataError("join_tables: at least one table must be given; got none.")
    owner: dict[str, str] = {}
    for name, table in tables.items():
        if id not in table.columns:
            close = nearest(id, map(str, table.columns))
            hint = (
                f"Did you mean {' or '.join(map(repr, close))}?" if close else f"It has {tell_values(table.columns)}."
            )
            raise DataError(f"join_tables: table {name!r} must have the id column {id!r}; it has not. {hint}")
        missing = np.flatnonzero(table[id].isna())
        if len(missing):
            raise DataError(
                f"join_tables: table {name!r} must have an id in every row; missing in {tell_rows(missing)}."
                " Fill in or drop these rows."
            )
        twice = table[id][table[id].duplicated()].unique()
        if len(twice):
            raise DataError(
                f"join_tables: ids must be unique; in table {name!r} {len(twice)} occur more than once: "
                f"{tell_values(twice)}. Drop the copies, or aggregate them first."
            )
        for column in table.columns.drop(id):
            if column in owner:
                raise DataError(
                    f"join_tables: a column must stand in one table only; got {column!r} in {owner[column]!r} and "
                    f"{name!r}. Rename or drop one of them."
                )
            owner[column] = name
    (first_name, first), *others = tables.items()
    joined = first.reset_index(drop=True)
    ids = pd.Index(first[id])
    for name, table in others:
        other = pd.Index(table[id])
        only_first, only_other = ids.difference(other, sort=False), other.difference(ids, sort=False)
        if len(only_first) or len(only_other):
            types = ""
            if len(only_first) == len(ids) and len(ids.astype(str).intersection(other.astype(str))):
                types = " Some would match as text: give both columns the same type."
            raise DataError(
                f"join_tables: ids of {first_name!r} and {name!r} must match; {len(only_first)} of {len(ids)} are only "
                f"in {first_name!r} ({tell_values(only_first, n=3)}), {len(only_other)} of {len(other)} only "
                f"in {name!r} ({tell_values(only_other, n=3)}).{types} "
                "Add the rows (with empty cells where a modality is missing), or drop them."
            )
        rows = table.iloc[other.get_indexer(ids)].drop(columns=id).reset_index(drop=True)
        joined = pd.concat([joined, rows], axis=1)
    return joined


def _text(path: Path, packed: bool) -> str:
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if packed else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path.name}: the file must be readable; got {error}. Check it.") from error
    if not raw.strip():
        raise DataError(f"{path.name}: the table must have at least one row; the file is empty. Name another file.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path.name}: the text must be UTF-8; byte 0x{raw[error.start]:02x} in line {line} is not. "
            "Save the file as UTF-8."
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path.name}: the file must be text; got a zero byte in line {line}. Is it another format?")
    return text


def _unique_names(names: Sequence[str], path: Path) -> None:
    twice = [name for name, n in Counter(names).items() if n > 1 and name]
    if twice:
        raise DataError(
            f"{path.name}: column names must differ; got {tell_values(twice)} more than once. Rename or drop them."
        )


def _delimited(text: str, path: Path, separator: str, words: Collection[str] | None) -> pd.DataFrame:
    _line_ends(text, path)
    notes = []
    first = text.lstrip("\r\n").partition("\n")[0]
    if separator == "," and "," not in first:
        other = max(";\t", key=first.count)
        if other in first:
            separator = other
            notes.append(f"{path.name}: columns are separated by {other!r}, not by a comma.")
    decimal = "."
    if separator == ";" and len(re.findall(r"(?:^|;)-?\d+,\d+(?=;|\r?$)", text[:100_000], re.M)) > len(
        re.findall(r"(?:^|;)-?\d+\.\d+(?=;|\r?$)", text[:100_000], re.M)
    ):
        decimal = ","
        notes.append(f"{path.name}: numbers are read with a decimal comma.")
    csv.field_size_limit(2**31 - 1)
    try:
        header = next(csv.reader(io.StringIO(text.lstrip("\r\n")), delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{path.name}: the first line must hold the column names; got {error}.") from error
    _unique_names(header, path)
    if any("." in h for h in header) and all(re.fullmatch(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?", h.strip()) for h in header):
        raise DataError(
            f"{path.name}: the first line must name the columns; got the numbers {tell_values(header, n=3)}. "
            "Add a line of names."
        )
    _same_width(text, separator, len(header), path)
    raw = (text if len(header) > 1 else text.lstrip("\r\n")).encode()  # a blank line is a row of a single column

    def read(words: Iterable[str] = (), **options: Any) -> pd.DataFrame:
        frame: pd.DataFrame = pd.read_csv(
            io.BytesIO(raw), sep=separator, decimal=decimal, low_memory=False, index_col=False,
            skip_blank_lines=len(header) > 1, dtype=dict.fromkeys(words, "str"), **options,
        )  # fmt: skip
        return frame

    try:
        frame = read(words or ())
        if words is None:
            doubtful = _doubtful(frame, raw, separator)
            again = read(doubtful, usecols=doubtful)
            numbers = set(frame.select_dtypes("number"))
            codes = [c for c in doubtful if c not in numbers or again[c].str.match(r"\s*[-+]?0\d").any()]
            frame[codes] = again[codes]
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OverflowError) as error:
        raise DataError(f"{path.name}: the file must be a table; got {error}. Check the quotes.") from error
    frame.attrs["notes"] = notes
    return frame


def _line_ends(text: str, path: Path) -> None:
    """Checks that no carriage return stands alone outside quotes: pandas would begin a row there."""
    if re.search(r"\r(?!\n)", text):
        alone = next((m for m in re.finditer(r'"[^"]*"|\r(?!\n)', text) if m[0] == "\r"), None)
        if alone is not None:
            line = text.count("\n", 0, alone.start()) + 1
            raise DataError(
                f"{path.name}: lines must end in \\n or \\r\\n; got a carriage return (\\r) alone in line {line}. "
                "Put quotes around the cell that holds it, or save the file with other line ends."
            )


def _doubtful(frame: pd.DataFrame, raw: bytes, separator: str) -> list[str]:
    """Returns the columns that pandas takes as booleans, or as numbers though a cell may begin as 007 does."""
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
    padded = set(frame.columns[np.unique(places)] if whole else frame.columns)
    sure = {*frame.select_dtypes("string"), *(c for c in frame.select_dtypes("number") if c not in padded)}
    return [c for c in frame.columns if c not in sure]


def _same_width(text: str, separator: str, width: int, path: Path) -> None:
    """Checks that each line has `width` cells: pandas would fill up short ones with missing cells in silence."""
    bad: tuple[int, int] | None = None
    if '"' not in text:
        raw = np.frombuffer(text.encode(), dtype=np.uint8)
        ends = np.append(np.flatnonzero(raw == 10), len(raw))
        starts = np.append(0, ends[:-1] + 1)
        cells = np.searchsorted(np.flatnonzero(raw == ord(separator)), np.stack([starts, ends]))
        counts = cells[1] - cells[0] + 1
        blank = (ends - starts == 0) | ((ends - starts == 1) & (raw[np.minimum(starts, len(raw) - 1)] == 13))
        wrong = np.flatnonzero((counts != width) & ~blank)
        if len(wrong):
            bad = int(wrong[0]) + 1, int(counts[wrong[0]])
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        for row in reader:
            if len(row) != width and row:
                bad = reader.line_num, len(row)
                break
    if bad is not None:
        raise DataError(
            f"{path.name}: every line must have the {width} cells of the first; line {bad[0]} has {bad[1]}. "
            "Put quotes around cells that hold the separator, or complete the line."
        )


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        twice = [k for k, n in Counter(k for k, _ in pairs).items() if n > 1]
        raise DataError(f"column names must differ; got {tell_values(twice)} more than once")
    return row


def _json_lines(text: str, path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_pairs)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path.name}: every line must be one JSON object; line {number} is not ({error.msg}, column "
                f"{error.colno}). Write one object a line."
            ) from error
        except DataError as error:
            raise DataError(f"{path.name}, line {number}: {error}. Rename or drop them.") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{path.name}: every line must be one JSON object; line {number} is a {type(row).__name__}. "
                'Write {"column": value, ...} in each line.'
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _parquet(path: Path) -> pd.DataFrame:
    need("pyarrow", "scale", "reading Parquet files")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        _unique_names(table.column_names, path)
        columns = {name: arrow_cells(table[name]) for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path.name}: the file must be a Parquet table; got {error}. Write it anew.") from error
    # an index that pandas had put aside is a column like others, and the first
    index = (table.schema.pandas_metadata or {}).get("index_columns", ())
    held = [name for name in index if isinstance(name, str) and name in columns]
    plain = {"index" if name.startswith("__index_level_") else name: columns.pop(name) for name in held}
    return pd.DataFrame({**plain, **columns})
