"""JSON lines -> a table: one object a line; what Python's reader would take without a word is an error here."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from profuse.data._wording import tell_rows, tell_values
from profuse.data.text_file import whole_text
from profuse.errors import DataError

__all__ = ["read_json_lines"]

_MOST_BITS = 1023
"""Integers of more bits are larger than float64."""


def read_json_lines(text: str, path: Path) -> pd.DataFrame:
    """Returns the table in `text`; half a pair of UTF-16 (an emoji that was cut) is replaced, and a note says so.

    Raises:
        DataError: A line is no JSON object, names a column twice, is nested too deep, or holds a number beyond
            float64; the line is told.
    """
    rows: list[dict[str, Any]] = []
    cut: list[int] = []
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
        except RecursionError as error:
            raise DataError(f"{path.name}, line {number}: lists must not be nested so deep. Correct it.") from error
        except ValueError as error:  # Python refuses integers of more than 4300 digits
            raise DataError(f"{path.name}, line {number}: {_TOO_LARGE}") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{path.name}: every line must be one JSON object; line {number} is a {type(row).__name__}. "
                'Write {"column": value, ...} in each line.'
            )
        if "\\ud" in line or "\\uD" in line:
            whole = _whole(row)
            cut += [] if whole == row else [len(rows)]
            row = whole
        if any(isinstance(v, int) and v.bit_length() > _MOST_BITS for v in row.values()):
            raise DataError(f"{path.name}, line {number}: {_TOO_LARGE}")
        rows.append(row)
    frame = pd.DataFrame(rows)
    notes = [f"{path.name}: characters cut in half (\\ud83d alone) are replaced by \ufffd in {tell_rows(cut)}."]
    frame.attrs["notes"] = notes if cut else []
    return frame


_TOO_LARGE = "numbers must be below 1.8e308, the most of float64; got more digits. Correct it, or quote it."


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        twice = [k for k, n in Counter(k for k, _ in pairs).items() if n > 1]
        raise DataError(f"column names must differ; got {tell_values(map(whole_text, twice))} more than once")
    return row


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [_whole(v) for v in value]
    return {whole_text(k): _whole(v) for k, v in value.items()} if isinstance(value, dict) else value
