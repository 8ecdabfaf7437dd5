"""What is checked and told of any database: its file, its tables, and its messages without a password."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from profuse._lookup import nearest
from profuse.data.wording import tell_values
from profuse.errors import DataError

__all__ = ["check_file", "check_table", "masked", "no_rows", "other_rows", "quoted", "without_secrets"]

_USER = re.compile(r"(?<=://)([^/?#@:]*):([^/?#]*)(?=@)")
_SECRET = re.compile(r"(?i)([?&](?:[^=&]*(?:password|passwd|pwd|token|secret|key)[^=&]*)=)([^&#]*)")


def masked(url: str) -> str:
    """Returns the URL with `***` for its password, and for all that its options call a password, token or key."""
    return _SECRET.sub(r"\1***", _USER.sub(r"\1:***", url))


def without_secrets(error: BaseException, url: str) -> str:
    """Returns the first lines of a message, without the password."""
    text = " ".join(str(error).split())[:300].rstrip(".")
    secrets = [m[2] for m in (*_USER.finditer(url), *_SECRET.finditer(url)) if m[2]]
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def check_file(path: Path, shown: str) -> None:
    """Checks that the file of a database is there.

    Raises:
        DataError: It is not.
    """
    if not path.is_file():
        here = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        close = nearest(path.name, here)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "Check the path."
        raise DataError(f"{shown}: the database must be a file that exists; got {str(path)!r}. {hint}")


def check_table(name: str, known: Sequence[str], shown: str) -> None:
    """Checks that a table is one of the `known` ones.

    Raises:
        DataError: It is not.
    """
    if name not in known:
        close = nearest(name, known)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"It has {tell_values(known)}."
        raise DataError(f"{shown}: the table must be there; got table={name!r}. {hint}")


def quoted(table: str, quote: Callable[[str], str] | None = None) -> str:
    """Returns the name of a table, `schema.table` too, as a query has it."""
    quote = quote or (lambda name: '"' + name.replace('"', '""') + '"')
    return ".".join(quote(part) for part in table.split("."))


def no_rows(shown: str, query: str | None) -> DataError:
    """Returns the error of a query, or a table, that has no rows."""
    return DataError(f"{shown}: the {'query' if query else 'table'} must give at least one row; it gave none.")


def other_rows(name: str) -> DataError:
    """Returns the error of rows that differ from one read to the next."""
    return DataError(
        f"{name}: each read must give the same rows in the same order; got others. Leave the rows as they are "
        "meanwhile; add ORDER BY, by columns that tell each row from the others, to the query of a database."
    )
