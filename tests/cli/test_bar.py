"""The bar on a terminal: it counts what it knows."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from profuse.cli._bar import Bar


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=True)


def drawn(bar: Bar) -> str:
    """What the bar's line says now, without its colours."""
    plain = Console(file=io.StringIO(), width=120, force_terminal=False)
    plain.print(bar._progress.get_renderable())
    return plain.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_nothing_is_counted_before_anything_is_told_and_then_what_is_known(terminal: Console) -> None:
    bar = Bar(terminal, unit="fits", first="preparing folds")
    assert "fits" not in drawn(bar)
    bar.show("looking how long models take, 1 of 8")
    line = drawn(bar)
    assert "1 of 8" in line
    assert "fits" not in line
    assert "?" not in line
    bar.show("linear", done=2, total=1_200)
    assert "2/1,200 fits," in drawn(bar)
    bar.show("choosing weights")
    assert "2/1,200 fits," in drawn(bar)


def test_a_count_without_a_total_stands_alone(terminal: Console) -> None:
    bar = Bar(terminal, unit="rows", first="reading")
    bar.show("rows read", done=12_000)
    assert " 12,000 rows," in drawn(bar)
