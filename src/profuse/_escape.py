"""Text of the data, made harmless for where it goes: a terminal, a page of Markdown, a spreadsheet.

HTML is escaped by the templates themselves; they too get their text through `visible`.
"""

from __future__ import annotations

import csv
import io
import re
from typing import Any

__all__ = ["formula_free", "markdown", "visible", "visible_values"]

# control characters (ANSI escapes begin with one), marks and overrides of direction, what has no width, line and
# paragraph separators, halves of surrogate pairs; the joiners U+200C and U+200D are part of scripts and emoji
_UNSEEN = "\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
_HIDDEN = re.compile(f"[{_UNSEEN}]")
_HIDDEN_BUT_LINES = re.compile(f"(?![\n\t])[{_UNSEEN}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, lines: bool = False) -> str:
    """Returns `text` with every character that would steer a terminal, or hide or turn text, as its escape: `\\x1b`.

    Args:
        text: Of the data, or with words of the data in it.
        lines: Whether line ends and tabs stay what they are.
    """
    return (_HIDDEN_BUT_LINES if lines else _HIDDEN).sub(_escape, text)


def _escape(hit: re.Match[str]) -> str:
    sign = hit.group()
    return _SHORT.get(sign) or (f"\\x{ord(sign):02x}" if ord(sign) < 256 else f"\\u{ord(sign):04x}")


def visible_values(value: Any) -> Any:
    """Returns JSON values with every text in them, keys too, as `visible` returns it; line ends and tabs stay."""
    if isinstance(value, str):
        return visible(value, lines=True)
    if isinstance(value, dict):
        return {visible_values(k): visible_values(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [visible_values(v) for v in value]
    return value


_MARKUP = re.compile(r"[\\`*_\[\]<>|#~$&]|:(?=//)|(?<=[wW]{3})\.|^[-+=](?=[-=\s]|$)")
_NUMBERED = re.compile(r"^(\d+)(?=[.)](?:\s|$))")


def markdown(text: str) -> str:
    """Returns `text` in one line of Markdown in which nothing is markup: no link, picture, HTML, formula or list."""
    plain = _MARKUP.sub(r"\\\g<0>", visible(" ".join(str(text).split())))
    return _NUMBERED.sub(r"\1\\", plain)


_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_NUMBER = r"[-+](?:\d+\.?\d*|\.\d+|inf)(?:[eE][-+]?\d+)?\s*(?:$|[;,\]\t\r\n])"
_FORMULA = re.compile(f"(^|[;,\t\r\n])(?=[\\s{_UNSEEN}]*[{_SIGNS}])(?!\\s*{_NUMBER})|^(?=[\t\r])")


def formula_free(text: str, *, separator: str = ",") -> tuple[str, int]:
    """Returns a CSV file with no cell that a spreadsheet would run as a formula, and the number of cells that changed.

    A `'` is put before `= + - @` (and their wide forms) where they begin a cell, or what another separator would split
    off it, and before a leading tab or carriage return. Numbers stay as they are.
    """
    lines, n_changed = [], 0
    for cells in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
        tame = [_FORMULA.sub(r"\1'", cell) for cell in cells]
        n_changed += sum(a != b for a, b in zip(tame, cells, strict=True))
        lines.append(separator.join(_quoted(cell, separator) for cell in tame) if tame != [""] else '""')
    return "".join(f"{line}\n" for line in lines), n_changed


def _quoted(cell: str, separator: str) -> str:
    """Returns a cell as a CSV file holds it; the writer of Python 3.11 leaves a lone carriage return bare."""
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in (separator, '"', "\r", "\n")) else cell
