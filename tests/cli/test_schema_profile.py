"""`profuse schema --profile`: the page of the data, without a fit."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Run = Callable[..., Any]


def write_wav(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(range(200)) * 20)


@pytest.mark.parametrize("target", [["--target", "my label"], []])
def test_a_page_of_the_data_is_written(run: Run, files: Path, tmp_path: Path, target: list[str]) -> None:
    out = tmp_path / "mine.html"
    done = run("schema", files / "mine.csv", *target, "--profile", out)
    assert done.exit_code == 0, done.output
    assert f"Profile: {out}" in done.output.replace("\n", "")
    page = out.read_text(encoding="utf-8")
    assert "unit price" in page
    assert ("Target my label" in page) is bool(target)
    assert "set in the schema" not in page


def test_files_that_cannot_be_read_count_as_missing(run: Run, tmp_path: Path) -> None:
    write_wav(tmp_path / "s0.wav")
    frame = pd.DataFrame({"sound": [f"s{i}.wav" for i in range(40)], "y": ["a", "b"] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    done = run("schema", tmp_path / "t.csv", "-t", "y", "--profile", tmp_path / "p.html")
    assert done.exit_code == 0, done.output
    assert "audio, 1 of 40 rows" in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_told_before_the_work(run: Run, files: Path, tmp_path: Path) -> None:
    done = run("schema", files / "mine.csv", "--profile", tmp_path / "no" / "p.html")
    assert done.exit_code != 0
    assert "there is no folder" in done.output
