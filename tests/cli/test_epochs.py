"""The line of a training on a terminal: it says what is done, also after the last epoch."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from profuse.cli._epochs import epoch_line, kept_beside, told_where_kept
from profuse.training.callbacks import Callback
from profuse.training.history import Epoch
from profuse.training.keeping import Moment


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


@pytest.mark.parametrize(
    ("error", "begun", "written", "is_said"),
    [
        (KeyboardInterrupt(), True, True, True),
        (RuntimeError("a process is gone"), True, True, True),
        (RuntimeError("a process is gone"), True, False, False),
        (RuntimeError("a cell of the table"), False, True, False),  # the file is of an earlier start
    ],
)
def test_a_training_that_is_interrupted_or_fails_says_where_it_is_kept(
    error: BaseException, begun: bool, written: bool, is_said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier, kept = kept_beside(tmp_path / "model"), kept_beside(tmp_path / "model")
    if written:
        earlier.open("key")
        earlier.write(Moment(1, 2, 3, 0.5, 64))
    if begun:
        kept.open("key")
    with pytest.raises(type(error)), told_where_kept(kept):
        raise error
    message = f"The training is kept in {tmp_path / '.model.training'}: the same command goes on from there"
    assert (message in capsys.readouterr().err) == is_said
