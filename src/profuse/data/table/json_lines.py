"""JSON lines -> a table: one object a line; what Python's reader would take without a word is an error here."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from profuse.data.table.halves import HALF, has_half
from profuse.data.wording import tell_values
from profuse.errors import DataError

__all__ = ["json_object", "read_json_lines"]

_MOST_BITS = 1023
"""Integers of more bits are larger than float64."""
_TOO_LARGE = "numbers must be below 1.8e308, the most of float64; got more digits. Correct it, or quote it."


def read_json_lines(text: str, path: Path) -> pd.DataFrame:
    """Returns the table in `text`.

    Raises:
        DataError: A line is no JSON object, names a column twice, is nested too deep, or holds a number beyond
            float64 or half a character; the line is told.
    """
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
        except RecursionError as error:
            raise DataError(f"{path.name}, line {number}: lists must not be nested so deep. Correct it.") from error
        except ValueError as error:  # Python refuses integers of more than 4300 digits
            raise DataError(f"{path.name}, line {number}: {_TOO_LARGE}") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{path.name}: every line must be one JSON object; line {number} is a {type(row).__name__}. "
                'Write {"column": value, ...} in each line.'
            )
        if "\\ud" in line.lower() and has_half(row):
            raise DataError(f"{path.name}, line {number}: {HALF}. Correct or drop it.")
        if any(isinstance(v, int) and v.bit_length() > _MOST_BITS for v in row.values()):
            raise DataError(f"{path.name}, line {number}: {_TOO_LARGE}")
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.attrs["notes"] = []
    return frame


def json_object(text: bytes, *, as_written: bool = False) -> Any:
    """Returns the JSON value `text`; with `as_written`, numbers are the words that stand there.

    Raises:
        DataError: It is none, names a key twice, is nested too deep, or holds a number beyond float64 or half a
            character; who calls tells where.
    """
    numbers: dict[str, Any] = {"parse_int": str, "parse_float": str} if as_written else {}
    try:
        value = json.loads(text, object_pairs_hook=_pairs, **numbers)
    except DataError:
        raise
    except RecursionError as error:
        raise DataError("lists must not be nested so deep") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"it must be JSON; got {error}") from error
    except ValueError as error:  # Python refuses integers of more than 4300 digits
        raise DataError(_TOO_LARGE.rstrip(".")) from error
    if b"\\ud" in text.lower() and has_half(value):
        raise DataError(HALF)
    cells = value.values() if isinstance(value, dict) else [value]
    if any(isinstance(v, int) and v.bit_length() > _MOST_BITS for v in cells):
        raise DataError(_TOO_LARGE.rstrip("."))
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        twice = [k for k, n in Counter(k for k, _ in pairs).items() if n > 1]
        shown = ", ".join(map(ascii, twice)) if has_half(twice) else tell_values(twice)
        raise DataError(f"column names must differ; got {shown} more than once")
    return row
