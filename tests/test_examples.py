"""The examples: short, named on the pages, and they end as their docstrings say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from forks import Forks

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
each_example = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def last_line_said(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    _, said, line = docstring.partition("\n\nIt ends with:\n\n    ")
    assert said, f"{path.name}: the docstring must end with 'It ends with:' and the last line of the output"
    return line


def test_there_are_at_least_five() -> None:
    assert len(EXAMPLES) >= 5


@each_example
def test_an_example_is_short_and_says_how_it_ends(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    assert "\n" not in last_line_said(path)


@each_example
@pytest.mark.parametrize("page", ["README.md", "docs/examples.md"])
def test_a_page_names_every_example(page: str, path: Path) -> None:
    assert f"examples/{path.name})" in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.slow
@each_example
def test_an_example_ends_as_it_says(path: Path, tmp_path: Path, forks: Forks) -> None:
    done = forks.run_script(path, cwd=tmp_path, environment={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == last_line_said(path)
