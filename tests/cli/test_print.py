"""Tables on a terminal: what does not fit is left out in the order asked for, and numbers stay whole."""

from __future__ import annotations

import pytest

from profuse.cli._print import print_table

COLUMNS = ["", "method", "R2", "95 % interval", "fit", "parameters"]
ROWS = [["1", "progressive (2 rounds) hybrid concat", "0.812", "0.714 to 0.910", "31 s", "119 k"]] * 2


def printed(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(width))
    right = ["", "R2", "95 % interval", "fit", "parameters"]
    print_table(COLUMNS, ROWS, right=right, spare=["parameters", "fit", ""])
    text = capsys.readouterr().out
    for code in ("\x1b[1m", "\x1b[0m"):
        text = text.replace(code, "")
    return text.splitlines()


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (200, []),
        (85, []),
        (84, ["parameters"]),
        (72, ["parameters"]),
        (71, ["parameters", "fit"]),
        (60, ["parameters", "fit"]),
    ],
)
def test_columns_give_way_in_the_order_asked_for(
    width: int, left_out: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(width, monkeypatch, capsys)
    assert max(map(len, lines)) <= width
    head = next(line for line in lines if "method" in line)
    assert [name for name in ("parameters", "fit") if name not in head] == left_out
    assert sum(line.split()[:1] == ["1"] for line in lines) == (len(ROWS) if width >= 65 else 0)


@pytest.mark.parametrize("width", [200, 80, 60])
def test_numbers_stay_in_one_line(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(width, monkeypatch, capsys)
    assert sum("0.714 to 0.910" in line for line in lines) == len(ROWS)
    assert "hybrid" in "".join(lines)


def test_without_a_terminal_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, ROWS, spare=["parameters", "fit", ""])
    lines = capsys.readouterr().out.splitlines()
    assert "parameters" in lines[0]
    assert all("progressive (2 rounds) hybrid concat" in line and "119 k" in line for line in lines[1:])
