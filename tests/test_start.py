"""The commands of docs/start.md run in their order on the page's table, and print what the page says."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "start.md"


def blocks() -> list[tuple[str, str]]:
    """The page's fenced blocks: language and text."""
    parts = PAGE.read_text(encoding="utf-8").split("```")[1::2]
    return [(language, text) for language, _, text in (part.partition("\n") for part in parts)]


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "120"},
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


@pytest.mark.slow
def test_the_commands_run_in_order_and_print_what_the_page_says(tmp_path: Path) -> None:
    all_blocks = blocks()
    made = next(text for language, text in all_blocks if language == "python")
    run(["-c", made], tmp_path)
    n_commands = 0
    for i, (language, text) in enumerate(all_blocks):
        if language != "bash":
            continue
        printed = [run(["-m", "profuse", *shlex.split(line)[1:]], tmp_path) for line in text.splitlines()]
        n_commands += len(printed)
        if all_blocks[i + 1][0] == "text":
            assert "".join(printed).rstrip() == all_blocks[i + 1][1].rstrip()
    assert n_commands >= 6
    assert {"errors.html", "card.html", "answers.csv"} <= {path.name for path in tmp_path.iterdir()}
