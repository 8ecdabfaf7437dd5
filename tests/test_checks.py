"""Every test makes a check, and none returns before it has: read off the syntax tree of all tests."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
OUTSIDE = {"raises", "warns", "fail", "gradcheck"}
"""What checks besides `assert` and what is called `assert_...` or `check...`."""
CHECKED, OPEN, LEFT = "checked", "open", "left"


def called(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            yield getattr(part.func, "attr", getattr(part.func, "id", ""))


def checks(node: ast.AST, known: set[str]) -> bool:
    names = set(called(node))
    return (
        any(isinstance(part, ast.Assert) for part in ast.walk(node))
        or bool(names & known)
        or any(name.startswith(("assert", "check")) for name in names)
    )


def helpers(trees: Iterable[ast.Module]) -> set[str]:
    """Functions of the tests that check something, perhaps by calling another one of them."""
    known = set(OUTSIDE)
    functions = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    others = [f for f in functions if not f.name.startswith("test")]
    known |= {f.name for f in others if checks(f, known)}
    calls = {f: set(called(f)) for f in others}
    while more := {f.name for f, names in calls.items() if names & known} - known:
        known |= more
    return known


def ends(body: list[ast.stmt], known: set[str]) -> set[str]:
    """How the paths through statements end: with a check made, open, or left by a return without one."""
    found = {OPEN}
    for statement in body:
        if OPEN not in found:
            break
        found = (found - {OPEN}) | end(statement, known)
    return found


def end(statement: ast.stmt, known: set[str]) -> set[str]:
    if isinstance(statement, ast.Return):
        return {CHECKED} if statement.value is not None and checks(statement.value, known) else {LEFT}
    if isinstance(statement, ast.If):
        return ends(statement.body, known) | ends(statement.orelse, known)
    if isinstance(statement, ast.With):
        made = any(checks(item.context_expr, known) for item in statement.items)
        return {CHECKED} if made else ends(statement.body, known)
    if isinstance(statement, ast.Try) and statement.handlers:
        return ends(statement.body, known).union(*(ends(handler.body, known) for handler in statement.handlers))
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {OPEN}
    # a loop that has a check is taken to come to it
    return {CHECKED} if isinstance(statement, ast.Raise) or checks(statement, known) else {OPEN}


def unchecked(tree: ast.Module, known: set[str]) -> list[str]:
    tests = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test"))
    return [f"line {test.lineno}: {test.name}" for test in tests if ends(test.body, known) != {CHECKED}]


def test_every_test_checks_something_on_every_path() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(TESTS.rglob("*.py"))}
    known = helpers(trees.values())
    unsure = {path.relative_to(TESTS).as_posix(): unchecked(tree, known) for path, tree in trees.items()}
    assert {path: tests for path, tests in unsure.items() if tests} == {}


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "x = 1",
        "if x:\n        return\n    assert x",
        "if x:\n        assert x",
        "for y in x:\n        y.run()",
        "with open(x):\n        run(x)",
        "def inner():\n        assert x",
        "try:\n        run(x)\n    except ValueError:\n        assert x",
    ],
)
def test_a_test_that_may_check_nothing_is_found(body: str) -> None:
    assert unchecked(ast.parse(f"def test_it(x):\n    {body}\n"), set(OUTSIDE)) == ["line 1: test_it"]


@pytest.mark.parametrize(
    "body",
    [
        "assert x",
        "with pytest.raises(ValueError):\n        run(x)",
        "if x:\n        assert x\n        return\n    assert not x",
        "for y in x:\n        assert y",
        "np.testing.assert_allclose(x, 1)",
        "raise AssertionError",
    ],
)
def test_a_test_that_checks_is_left_in_peace(body: str) -> None:
    assert unchecked(ast.parse(f"def test_it(x):\n    {body}\n"), set(OUTSIDE)) == []
