"""Lists as text, as JSON, Python, NumPy and databases write them, without running any of it.

| text | written by |
|---|---|
| `[0.1, null]`, `["red", "old"]` | JSON |
| `[0.1, nan, None]`, `['red', 'old']`, `(1, 2)`, `{'red'}`, `set()`, `array([1., 2.])`, `[np.float64(0.1)]` | Python |
| `[0.13 -0.13\\n 0.64]`, `[[1. 2.]\\n [3. 4.]]`, `['red' 'old']` | NumPy, and pandas for cells that hold arrays |
| `{1,2}`, `{red,old}` | databases |
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from profuse.errors import DataError

__all__ = ["ShortenedListError", "delimiter_of", "is_list_text", "parse_list"]

_DEEPEST = 32
_MOST_DIGITS = 300
_CLOSES = {"[": "]", "(": ")", "{": "}"}
_CALL = (
    r"(?:(?:np|numpy|torch|jnp|pd)\.)?(?:masked_array|asarray|array|[Tt]ensor|list|tuple|set|frozenset|deque|Decimal|"
    r"(?:Float64|Int64|Range)?Index|Series|u?int\d*_?|float\d*_?|longdouble|bool_?|str_?|bytes_?)"
)
_BEGINS = re.compile(rf"[\[({{]|{_CALL}\(", re.ASCII)
_TOKEN = re.compile(
    rf"""
    (?P<space>\s+)
  | (?P<comma>,)
  | (?P<gap>\.\.\.|…|Ellipsis\b)
  | (?P<open>[\[({{])
  | (?P<close>[\])}}])
  | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
  | (?P<text>[bu]?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))
  | (?P<keyword>\w+=)
  | (?P<call>{_CALL})(?=\()
  | (?P<word>[-+]?<?[^\s,\[\](){{}}'"\\=:]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"none": None, "null": None, "na": None, "<na>": None, "nat": None, "true": True, "false": False}
_DELIMITERS = ("|", ";", ",", "/", " ")


class ShortenedListError(DataError):
    """Items were left out of a list when it was written: what it held is lost."""


def is_list_text(text: str) -> bool:
    """Whether `text` has the brackets of a list: a number or word in round ones, as (100.50), is none."""
    text = text.strip()
    if len(text) < 2 or not _BEGINS.match(text):
        return False
    first = text[0]
    if first in _CLOSES:
        return text[-1] == _CLOSES[first] and (first != "(" or text == "()" or "," in text)
    return text[-1] == ")" and bool(re.match(rf"{_CALL}\(\s*[\[({{)]", text))


def parse_list(text: str) -> list[Any]:
    """Returns the list that `text` holds: numbers, words, booleans, None (also for null and NA), lists of these.

    Items are parted by commas or by blanks. What a set holds comes sorted if it is words.

    Raises:
        DataError: It is no list, a bracket is not closed, it is nested more than 32 deep, or a number has more than
            300 digits. The message has no place: who calls knows it.
        ShortenedListError: NumPy has left numbers out of it (`...`).
    """
    text = text.strip()
    if not is_list_text(text):
        raise _cut_off() if text[:1] in ("[", "{") else DataError("it is no list, as [1, 2]")
    if text[0] == "[":
        if text.count("[") > _DEEPEST:
            _check_depth(text)
        made = _json(text)
        if made is None and not set("[,'\"({_") & set(text[1:-1]):
            made = _floats(text[1:-1])
        if made is not None:
            return made
    return _Parser(text).parse()


def delimiter_of(words: list[str]) -> str | None:
    """Returns the sign that parts items within words, as in `red|old` or `0.1;0.2`, None if there seems to be none.

    There is one if it stands in a third of the words and the items are fewer than the words, as they come again, or
    are numbers, as many in each word.
    """
    for sign in _DELIMITERS:
        parts = [[p.strip() for p in w.strip().split(None if sign == " " else sign)] for w in words]
        several = [p for p in parts if len(p) > 1]
        items = {item for p in parts for item in p}
        if len(several) < max(2, len(words) / 3):
            continue
        one_width = len(several) > 0.9 * len(words) and len({len(p) for p in parts}) == 1
        if one_width and (len(several[0]) > 2 or sign in "|;") and all(_is_number(item) for item in items):
            return sign
        if sign != " " and len(items) < len(set(words)) and all(0 < len(item) < 40 for item in items):
            return sign
    return None


def _is_number(item: str) -> bool:
    try:
        float(item)
    except ValueError:
        return False
    return True


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in re.findall(r"[\[\]]", text):
        depth += 1 if bracket == "[" else -1
        if depth > _DEEPEST:
            raise _too_deep()


def _too_deep() -> DataError:
    return DataError(f"the list must be nested at most {_DEEPEST} deep")


def _cut_off() -> DataError:
    return DataError("a bracket of the list is not closed, as in a cell that was cut off")


def _json(text: str) -> list[Any] | None:
    """Returns a JSON list, None if it is none: the fast way for most files."""
    try:
        return list(json.loads(text, parse_int=_integer))
    except json.JSONDecodeError:
        return None


def _floats(inner: str) -> list[float] | None:
    """Returns numbers parted by blanks, as NumPy writes a vector; None if it holds anything else."""
    items = inner.split()
    try:
        return [float(item) for item in items] if max(map(len, items), default=0) < _MOST_DIGITS else None
    except ValueError:
        return None


def _integer(digits: str) -> int | float:
    if len(digits) > _MOST_DIGITS:
        raise DataError(f"a number must have at most {_MOST_DIGITS} digits; got {len(digits)}")
    return int(digits)


class _Parser:
    """One pass over the tokens with a stack of open brackets: no recursion, so that no text can exhaust it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.stack: list[tuple[str, list[Any]]] = []  # what closes it ("call" for a call's, and its name first), items
        self.apart = True  # whether the next item may begin here
        self.commas = 0  # since the last item
        self.skip = False  # whether the next value belongs to a keyword, dtype=float32 say
        self.made: list[Any] | None = None

    def parse(self) -> list[Any]:
        at = 0
        while token := _TOKEN.match(self.text, at):
            at = token.end()
            getattr(self, f"_{token.lastgroup}")(token[0])
            if self.made is not None:
                break
        rest = self.text[at:].strip()
        if self.made is None and not rest:
            raise _cut_off()
        if rest:
            raise DataError(f"the list cannot be read from {rest[:20]!r} on")
        assert self.made is not None
        return self.made

    def _space(self, _: str) -> None:
        self.apart = True

    def _comma(self, _: str) -> None:
        self.commas += 1
        if self.commas > 1 or not self.stack or not (self.stack[-1][1] or self.skip):
            raise DataError("the list has a comma without an item before it")
        self.apart, self.skip = True, False

    def _gap(self, _: str) -> None:
        raise ShortenedListError(
            "items were left out of the list ('...'), as NumPy does when it writes long arrays. Write the table anew "
            "with whole lists, as values.tolist() gives them"
        )

    def _open(self, bracket: str) -> None:
        if len(self.stack) >= _DEEPEST:
            raise _too_deep()
        called = bool(self.stack) and self.stack[-1][0] == "pending"
        if self.stack and not self.apart and not called:
            raise DataError("the list has two items with nothing between them")
        if called:
            self.stack[-1] = ("call", self.stack[-1][1])
        else:
            self.stack.append((_CLOSES[bracket], []))
        self.apart, self.commas = True, 0

    def _close(self, bracket: str) -> None:
        closes, items = self.stack.pop() if self.stack else ("", [])
        if closes != bracket and not (closes == "call" and bracket == ")"):
            raise DataError(f"the brackets of the list do not fit: {bracket!r} closes none")
        self.apart, self.skip = True, False
        if closes == "call":
            name, *values = items
            self._item((float(values[0]) if name == "Decimal" else values[0]) if values else [])
            return
        words = closes == "}" and all(isinstance(item, str) for item in items)
        self._item(sorted(items) if words else items)

    def _number(self, digits: str) -> None:
        if len(digits) > _MOST_DIGITS:
            _integer(digits)
        self._item(int(digits) if re.fullmatch(r"[-+]?\d+", digits) else float(digits))

    def _text(self, quoted: str) -> None:
        try:
            value = ast.literal_eval(quoted)  # one string token: nothing else can stand in it
            self._item(value.decode() if isinstance(value, bytes) else value)
        except (SyntaxError, ValueError) as error:
            raise DataError(f"the list holds {quoted[:20]!r}, which is no text") from error

    def _keyword(self, _: str) -> None:
        if not self.stack or self.stack[-1][0] != "call":
            raise DataError("the list holds names with values; it must hold items alone")
        self.skip, self.apart, self.commas = True, True, 0

    def _call(self, name: str) -> None:
        if len(self.stack) >= _DEEPEST:
            raise _too_deep()
        if not self.apart:
            raise DataError("the list has two items with nothing between them")
        self.stack.append(("pending", [name]))

    def _word(self, word: str) -> None:
        if self.skip or word.lower() in _WORDS:
            self._item(_WORDS.get(word.lower()))
        elif re.fullmatch(r"[-+]?(nan|inf|infinity)", word, re.IGNORECASE):
            self._item(float(word))
        elif self.stack and self.stack[-1][0] == "}" and word[0] not in "-+<":
            self._item(word)  # as a database writes {red,old}
        else:
            raise DataError(f"the list holds {word[:20]!r}, which is neither a number nor in quotes")

    def _item(self, value: Any) -> None:
        """Adds a value where it stands, or ends."""
        if not self.stack:
            self.made = value if isinstance(value, list) else [value]
            return
        if not self.apart:
            raise DataError("the list has two items with nothing between them")
        if not self.skip:
            self.stack[-1][1].append(value)
        self.apart, self.commas = False, 0
