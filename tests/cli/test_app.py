"""The command line as a whole: help, version, what it loads, errors and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forks import Forks

from profuse.cli import app

HEAVY = {"torch", "sklearn", "scipy", "pandas", "numpy", "matplotlib", "lightning_fabric"}
COMMANDS = tuple(c.name or c.callback.__name__ for c in app.registered_commands if c.callback is not None)


def test_help_names_every_command_and_no_help_loads_anything_heavy() -> None:
    code = (
        "import sys\nfrom profuse.cli import main\n"
        f"for asked in {[['--help'], *([c, '--help'] for c in COMMANDS)]!r}:\n"
        "    try:\n        main(asked)\n    except SystemExit as stop:\n        assert not stop.code\n"
        f"print('LOADED', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "LOADED []" in done.stdout, f"import what is heavy inside the command; {done.stdout.splitlines()[-1]}"
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Any, command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0
    told = f"the docstring of {command} must end with [bold]Examples[/bold]: profuse {command} ..."
    assert f"profuse {command}" in done.stdout, told
    assert "Example" in done.stdout, told


def test_version(run: Any) -> None:
    from importlib.metadata import version

    assert run("--version").stdout.strip() == f"profuse {version('profuse')}"


def test_no_command_shows_help(run: Any) -> None:
    done = run()
    assert "compare" in done.stdout + done.stderr


@pytest.mark.slow
def test_an_expected_error_is_one_message_on_stderr_and_exit_code_2(tmp_path: Path, forks: Forks) -> None:
    done = forks.run("compare", "nosuch.csv", "--target", "y", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert "nosuch.csv" in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, -1])
def test_debug_shows_the_traceback_wherever_it_stands(place: int, tmp_path: Path, forks: Forks) -> None:
    args = ["report", "nowhere"]
    args.insert(place if place == 0 else len(args), "--debug")
    done = forks.run(*args, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "DataError" in done.stderr


def test_what_cannot_be_written_is_told_without_a_traceback(run: Any, files: Path, tmp_path: Path) -> None:
    done = run("schema", files / "mine.csv", "--out", tmp_path / "no" / "folder" / "schema.yaml")
    assert done.exit_code == 2
    assert "must be readable, or writable for output" in done.stderr


def test_an_interrupt_is_exit_code_130(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import profuse.datasets

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(profuse.datasets, "describe", interrupted)
    assert run("datasets").exit_code == 130


@pytest.mark.parametrize("args", [("compare",), ("fit", "x.csv"), ("nonsense",), ("compare", "x", "--seeds", "0")])
def test_a_command_line_that_cannot_be_is_exit_code_2(run: Any, args: tuple[str, ...]) -> None:
    assert run(*args).exit_code == 2
