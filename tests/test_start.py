"""The commands of docs/start.md run in their order on the page's table, and print what the page says."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from forks import Forks

PAGE = Path(__file__).parents[1] / "docs" / "start.md"


def blocks() -> list[tuple[str, str]]:
    """The page's fenced blocks: language and text."""
    parts = PAGE.read_text(encoding="utf-8").split("```")[1::2]
    return [(language, text) for language, _, text in (part.partition("\n") for part in parts)]


@pytest.mark.slow
def test_the_commands_run_in_order_and_print_what_the_page_says(tmp_path: Path, forks: Forks) -> None:
    all_blocks = blocks()
    made = next(text for language, text in all_blocks if language == "python")

    def run(*args: str, **options: Any) -> str:
        done = forks.run(*args, cwd=tmp_path, few_trees=False, environment={"COLUMNS": "120"}, **options)
        assert done.returncode == 0, done.stderr
        return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())

    run(before=f"{made}\nraise SystemExit")
    n_commands = 0
    for i, (language, text) in enumerate(all_blocks):
        if language != "bash":
            continue
        printed = [run(*shlex.split(line)[1:]) for line in text.splitlines()]
        n_commands += len(printed)
        if all_blocks[i + 1][0] == "text":
            assert "".join(printed).rstrip() == all_blocks[i + 1][1].rstrip()
    assert n_commands >= 6
    assert {"errors.html", "card.html", "answers.csv"} <= {path.name for path in tmp_path.iterdir()}
