"""Text of the data cannot steer a terminal, nor, if asked, be run by a spreadsheet."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hostile import HOSTILE, STEERING
from typer.testing import CliRunner, Result

from profuse.cli import app
from profuse.cli._print import print_data, print_notes, print_table, say
from profuse.cli._progress import LineDisplay, LiveDisplay

EVIL = "\x1b[31m\u202e\x9b2J[red]:smile:\x07"
"""A part of every name in the table."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, n = np.random.default_rng(0), 80
    x = rng.normal(size=n)
    file = tmp_path_factory.mktemp(f"a {EVIL[:5]}folder") / "mine.csv"
    pd.DataFrame({
        f"{EVIL}number": x,
        "note": [f"{EVIL} says {w}" for w in rng.permutation(n)],
        f"=1+1{EVIL}": rng.choice(["a", "b", f"=c{EVIL}"], n),
        "label": np.where(x > 0, f"{EVIL}yes", "=no"),
    }).to_csv(file, index=False)  # fmt: skip
    return file


def run(*args: object) -> Result:
    """Runs `profuse` and keeps control codes, which click takes out of what goes to no terminal."""
    return CliRunner().invoke(app, [str(a) for a in args], color=True)


@pytest.fixture(scope="module")
def model(table: Path) -> Path:
    out = table.parent / f"model{EVIL[:5]}"
    done = run("fit", table, "-t", "label", "--network", "--epochs", 1, "--width", 8, "--device", "cpu", "--out", out)
    assert done.exit_code == 0, done.stderr
    harmless(done)
    return out


def harmless(done: Result) -> None:
    said = done.stdout + done.stderr
    assert said
    assert not [sign for sign in ("\x1b", *STEERING) if sign in said]


LEARN = ("--epochs", 1, "--width", 8, "--target", "label")


@pytest.mark.parametrize(
    "args",
    [
        ("schema", "-t", "label", "--out", "schema.yaml"),
        ("schema", "-t", f"{EVIL}numbr"),
        ("schema", "-t", f"{EVIL}number", "--out", f"{EVIL[:5]}.yaml"),
        ("retrieve", "--from", "table", "--to", "note", "--rows", "0", *LEARN),
        ("retrieve", "--from", EVIL, "--to", "note", "--rows", "0"),
        ("impute", "-m", EVIL, "--out", "filled.csv"),
        ("fit", "-t", EVIL),
    ],
    ids=lambda args: " ".join(args[:2]),
)
def test_no_command_prints_what_steers_a_terminal(
    args: tuple[str, ...], table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    harmless(run(args[0], table, *args[1:]))


def test_measures_and_errors_of_a_saved_model_are_harmless_too(
    model: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    harmless(run("evaluate", model, table))
    for args in (("card", model), ("card", model, "--data", table)):
        done = run(*args)
        assert done.exit_code == 0, done.stderr
        harmless(done)
    other = tmp_path / f"other{EVIL[:5]}.csv"
    pd.read_csv(table).rename(columns={"note": f"nota{EVIL}"}).to_csv(other, index=False)
    done = run("predict", model, other)
    assert done.exit_code == 2
    harmless(done)
    harmless(run("predict", tmp_path / f"no{EVIL[:5]}", table))


class TestPredictionsAsCsv:
    def test_keep_every_character_unless_asked(self, model: Path, table: Path) -> None:
        done = run("predict", model, table)
        assert set(pd.read_csv(io.StringIO(done.stdout))["prediction"]) <= {f"{EVIL}yes", "=no"}

    def test_hold_no_formula_if_asked(self, model: Path, table: Path, tmp_path: Path) -> None:
        done = run("predict", model, table, "--safe-csv", "--out", tmp_path / "p.csv")
        assert done.exit_code == 0, done.stderr
        kept = pd.read_csv(tmp_path / "p.csv")
        assert set(kept["prediction"]) <= {f"{EVIL}yes", "'=no"}
        n = int((kept["prediction"] == "'=no").sum())
        if n:
            assert f"{n} cell" in done.stderr
        assert kept["prob_=no"].dtype == float

    def test_read_as_what_they_were_with_any_line_end_in_a_label(self, tmp_path: Path) -> None:
        from profuse.cli._print import as_csv

        frame = pd.DataFrame({"a": ["x\ry", "p\nq", 'r"s', "t\r\nu", ""], "n": [1, 2, 3, 4, 5]})
        again = pd.read_csv(io.StringIO(as_csv(frame), newline=""), keep_default_na=False)
        pd.testing.assert_frame_equal(again, frame, check_dtype=False)


def test_a_filled_table_holds_no_formula_if_asked(table: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(table).drop(columns=["label"])
    frame["note"] = frame["note"].mask(np.arange(len(frame)) % 4 == 0)
    frame["said"] = "=cmd|'/C calc'!A0"
    frame["less"] = -np.arange(len(frame), dtype=float)
    mine = tmp_path / "mine.csv"
    frame.to_csv(mine, index=False, sep=";")
    done = run("impute", mine, "-m", "note", "--method", "nearest", "--safe-csv", "--out", tmp_path / "f.csv")
    assert done.exit_code == 0, done.stderr
    kept = pd.read_csv(tmp_path / "f.csv", sep=";")
    assert (kept["said"] == "'=cmd|'/C calc'!A0").all()
    np.testing.assert_array_equal(kept["less"], frame["less"])
    assert "'=1+1" in "".join(kept.columns)
    assert not [c for c in kept.columns if c.startswith("=")]


@pytest.mark.parametrize("name", HOSTILE)
class TestOnATerminal:
    """Where colours are on: only profuse's own control codes come through."""

    @pytest.fixture(autouse=True)
    def _terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", "400")

    @staticmethod
    def check(said: str, name: str) -> None:
        assert not [sign for sign in STEERING if sign in said]
        hostile = HOSTILE[name]
        for code in ("\x1b[31m", "\x1b[2J", "\x1b]8;;https", "\x1b]0;owned"):
            assert code not in said
        if name == "rich markup":
            assert hostile in said

    def test_in_a_table(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        print_table([HOSTILE[name], "b"], [[HOSTILE[name], "x"]], right=[HOSTILE[name]])
        self.check(capsys.readouterr().out, name)

    def test_in_lines_and_notes(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        say(HOSTILE[name])
        print_notes([HOSTILE[name]])
        out, err = capsys.readouterr()
        self.check(out, name)
        self.check(err, name)
        assert err.count("\n") == 1

    def test_in_what_goes_on(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        from profuse.cli._print import console
        from profuse.comparison.engine import Event

        facts = {"method": HOSTILE[name], "seed": 0, "fit_seconds": 1.0, "scores": {"valid": {"accuracy": 0.5}}}
        event = Event(stage="run", n_done=1, n_total=2, finished=facts, running=(facts,))
        for display in (LineDisplay(HOSTILE[name], console()), LiveDisplay(HOSTILE[name], console())):
            with display:
                display(event)
            if isinstance(display, LiveDisplay):
                console().print(display._draw())
        self.check(capsys.readouterr().out, name)


@pytest.mark.parametrize("on_terminal", [True, False])
def test_data_for_programs_are_made_visible_on_a_terminal_only(
    on_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Out(io.TextIOWrapper):
        def isatty(self) -> bool:
            return on_terminal

    held = io.BytesIO()
    out = Out(held, encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    print_data(f"a,b\n{EVIL},1\n")
    out.flush()
    printed = held.getvalue().decode()
    assert ("\x1b" in printed) is not on_terminal
    assert printed.startswith("a,b\n")
