"""Columns that are numbered: emb_0 ... emb_63, V001 ... V128, f[0] ... f[9], 1x1 ... 28x28 are one vector each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["Family", "families"]

_LEAST = 8
_MARKS = " _.-:#/[({<\t\n\u00a0"
_NUMBERED = re.compile(r"(?<![0-9])(?P<number>[0-9]{1,9})(?P<end>[\])}>]?)\Z")
_GRID = re.compile(r"(?<![0-9])(?P<row>[0-9]{1,9})(?P<by>x|X|_x_|, ?|\]\[)(?P<number>[0-9]{1,9})(?P<end>[\])}>]?)\Z")


@dataclass(frozen=True)
class Family:
    """Numbered columns.

    Attributes:
        prefix: What stands before the number, without signs between them; "" if nothing does.
        columns: In the order of their numbers.
        why_not: Why they are not one vector; "" if they are.
    """

    prefix: str
    columns: tuple[str, ...]
    why_not: str = ""


def families(columns: Iterable[str], constant: Collection[str] = ()) -> list[Family]:
    """Returns the families of 8 columns or more among `columns`, in their order.

    Members share all but the number, which counts up from 0 or 1 without a gap, with or without leading zeros; or two
    numbers, row by row and without a gap. Where that fails, `why_not` says so, unless more are missing than there.

    Args:
        columns: Names of columns of numbers.
        constant: Columns that would not be used, as they hold one number only: they belong to a family of others.
    """
    names = [*columns, *constant]
    order = {name: i for i, name in enumerate(names)}
    grids = [f for key, group in _groups(names, _GRID).items() if (f := _grid(key[0], group)) is not None]
    taken = {c for family in grids for c in family.columns}
    groups = _groups([n for n in names if n not in taken], _NUMBERED)
    result = grids + [f for key, group in groups.items() for f in _line(key[0], group)]
    result = [f for f in result if len(set(f.columns) - set(constant)) >= _LEAST]
    return sorted(result, key=lambda f: min(order[c] for c in f.columns))


def _groups(names: Iterable[str], pattern: re.Pattern[str]) -> dict[tuple[str, ...], list[tuple[str, re.Match[str]]]]:
    """Returns names by all that stands beside their numbers, first without the signs before a number."""
    groups: dict[tuple[str, ...], list[tuple[str, re.Match[str]]]] = defaultdict(list)
    for name in names:
        match = pattern.search(name)
        if match:
            before, ends = name[: match.start()], match.groupdict()
            groups[before.rstrip(_MARKS), before, ends.get("by", ""), ends["end"]].append((name, match))
    return groups


def _grid(prefix: str, group: list[tuple[str, re.Match[str]]]) -> Family | None:
    """Returns the columns of a grid without a gap; None if it is none."""
    at = {(int(m["row"]), int(m["number"])): name for name, m in group}
    rows, columns = sorted({r for r, _ in at}), sorted({c for _, c in at})
    whole = len(at) == len(group) == len(rows) * len(columns) and len(rows) > 1 and len(columns) > 1
    if not whole or _gap(rows) or _gap(columns):
        return None
    return Family(prefix, tuple(at[key] for key in sorted(at)))


def _line(prefix: str, group: list[tuple[str, re.Match[str]]]) -> list[Family]:
    """Returns the family of columns with one number; two where f1 and f01 are both there."""
    plain = [(name, m) for name, m in group if m["number"] == str(int(m["number"]))]
    padded = [(name, m) for name, m in group if m["number"] != str(int(m["number"]))]
    if len({int(m["number"]) for _, m in group}) < len(group):
        return [f for part in (plain, padded) if part for f in _line(prefix, part)] if plain and padded else []
    numbered = {int(m["number"]): name for name, m in group}
    numbers = sorted(numbered)
    columns, gap = tuple(numbered[n] for n in numbers), _gap(numbers)
    if not gap:
        return [Family(prefix, columns)]
    n_missing = numbers[-1] - min(1, numbers[0]) + 1 - len(numbers)
    return [Family(prefix, columns, gap)] if n_missing <= len(numbers) else []


def _gap(numbers: list[int]) -> str:
    """Returns what is amiss with numbers that should count up from 0 or 1."""
    missing = (
        sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers)) if numbers[-1] < 10**6 else [numbers[0] + 1]
    )
    if missing:
        return f"number {missing[0]} is missing" + (f" (and {len(missing) - 1} more)" if len(missing) > 1 else "")
    return "" if numbers[0] in (0, 1) else f"they begin with {numbers[0]}"
