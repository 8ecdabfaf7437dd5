"""Who knows a kind of modality by its name: its own file, and nobody else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from profuse.kinds import KINDS
from profuse.registry import table

SOURCE = Path(__file__).parents[2] / "src" / "profuse"
NAMES = set(table("kind").builtin)

ALLOWED = {
    "data/preprocess/__init__.py": "names of preprocessors",
    "data/features/__init__.py": "names of features",
    "data/series.py": "reads the arrays of one kind",
    "data/vectors.py": "reads the arrays of one kind",
    "testing/_tasks.py": "a made task for each kind",
    "datasets/mosi.py": "names of the data set's modalities",
    "data/table/read.py": "categories and texts are words in the file",
    "data/table/cell_notes.py": "categories and texts are words in the file",
    "data/table/column_kinds.py": "what a column of words is",
    "data/table/infer.py": "columns of words",
}
"""What the words mean there: in the reader of tables the kind of a *column*, which is text, or numeric, ..."""


def named(node: ast.expr | None) -> set[str]:
    """The names of kinds that stand in an expression by themselves or in a tuple, list or set."""
    if isinstance(node, ast.Constant):
        return {node.value} & NAMES if isinstance(node.value, str) else set()
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return set().union(*map(named, node.elts))
    return set()


def comparisons(text: str) -> list[str]:
    """Lines that compare with the name of a kind, match it, or have several as the keys of a dict."""
    found = []
    for node in ast.walk(ast.parse(text)):
        hit: set[str] = set()
        if isinstance(node, ast.Compare):
            hit = set().union(*map(named, [node.left, *node.comparators]))
        elif isinstance(node, ast.MatchValue):
            hit = named(node.value)
        elif isinstance(node, ast.Dict):
            keys = set().union(*map(named, node.keys))
            hit = keys if len(keys) > 1 else set()
        if hit:
            found.append(f"line {node.lineno}: {', '.join(sorted(hit))}")  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    "path", [p.relative_to(SOURCE).as_posix() for p in sorted(SOURCE.rglob("*.py")) if p.parent.name != "kinds"]
)
def test_no_file_outside_kinds_compares_with_the_name_of_a_kind(path: str) -> None:
    found = comparisons((SOURCE / path).read_text(encoding="utf-8"))
    assert bool(found) == (path in ALLOWED), f"ask the kind, as kind_named(data.kind).describe(spec): {found}"


@pytest.mark.parametrize(
    "code",
    [
        'data.kind == "table"',
        '"image" != kind',
        'kind in ("text", "other")',
        'kind not in {"series"}',
        'match kind:\n    case "audio":\n        x = 1',
        '{"image": 1, "series": 2}[kind]',
    ],
)
def test_the_search_finds_a_comparison(code: str) -> None:
    assert comparisons(code)


@pytest.mark.parametrize("code", ['Spec(kind="vector")', 'kind = "table"', "data.kind == other.kind", 'x == "axis"'])
def test_the_search_lets_pass_what_compares_no_name(code: str) -> None:
    assert comparisons(code) == []


def test_each_kind_has_a_file_of_its_own_that_holds_one_kind() -> None:
    homes = [str(KINDS[name]).partition(":")[0] for name in NAMES]
    assert sorted(homes) == sorted(f"profuse.kinds.{name}" for name in NAMES)
