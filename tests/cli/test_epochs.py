"""The line of a training on a terminal: it says what is done, also after the last epoch."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from profuse.cli._epochs import epoch_line
from profuse.training.callbacks import Callback
from profuse.training.history import Epoch


@pytest.mark.parametrize(
    ("left", "message"), [(4.0, "training anew on all rows, about 4.0 s left"), (0.0, "finishing")]
)
def test_after_the_last_epoch_the_line_says_what_is_done_then(
    left: float, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, color_system=None, _environ={"TERM": "xterm"})
    with epoch_line(console, tells=True) as (line,):
        assert isinstance(line, Callback)
        line.model, line.n_epochs, line.n_steps = cast(Any, SimpleNamespace(unit="accuracy")), 1, 3
        line.seconds_left, line.seconds_likely = 9.0, 4.0
        line.on_first_steps()
        line.on_epoch_end(Epoch(1, 0.5, 0.25, 0.75, 0.1))
        line.seconds_left = left
        line.on_fit_end(cast(Any, None))
    text = screen.getvalue().replace("\xa0", " ")
    assert text.rfind(message) > text.rfind("epoch 1 of at most 1")
    assert "About 4.0 s left, 9.0 s at most: up to 1 epoch of 3 steps" in capsys.readouterr().err.replace("\xa0", " ")
