"""`profuse predict --conformal`: sets and intervals beside predictions."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import profuse
from profuse.inspect.conformal import Conformal


@pytest.fixture(scope="module")
def model(run: Any, files: Path) -> Path:
    """A saved classifier of `my label`."""
    out = files / "of_sets"
    quick = ("--network", "--epochs", 2, "--width", 8)
    done = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *quick)
    assert done.exit_code == 0, done.stderr
    return out


@pytest.mark.parametrize("coverage", [None, 0.6])
def test_sets_stand_beside_the_predictions_as_in_python(
    coverage: float | None, model: Path, run: Any, files: Path
) -> None:
    given = () if coverage is None else ("--coverage", coverage)
    done = run("predict", model, files / "mine.csv", "--conformal", files / "test.csv", *given)
    assert done.exit_code == 0, done.stderr
    read: dict[str, Any] = {"keep_default_na": False, "dtype": str}
    frame = pd.read_csv(io.StringIO(done.stdout), **read)
    plain = pd.read_csv(io.StringIO(run("predict", model, files / "mine.csv").stdout), **read)
    assert list(frame) == [*plain, "set"]
    pd.testing.assert_frame_equal(frame[list(plain)], plain)
    predictor = profuse.load_model(model)
    known = predictor.read(files / "test.csv", need_target=True)
    want = Conformal.fit(predictor, known, coverage=coverage or 0.9).predict_frame(predictor.read(files / "mine.csv"))
    assert frame["set"].tolist() == want["set"].tolist()
    assert all(note in done.stderr for note in want.attrs["notes"])


def test_rows_that_calibrate_need_their_target(model: Path, run: Any, files: Path, tmp_path: Path) -> None:
    pd.read_csv(files / "test.csv").drop(columns="my label").to_csv(tmp_path / "bare.csv", index=False)
    done = run("predict", model, files / "mine.csv", "--conformal", tmp_path / "bare.csv")
    assert done.exit_code != 0
    assert "my label" in done.stderr


def test_a_coverage_without_rows_is_refused(model: Path, run: Any, files: Path) -> None:
    done = run("predict", model, files / "test.csv", "--coverage", 0.8)
    assert done.exit_code != 0
    assert "must go with --conformal FILE" in done.stderr
    over = run("predict", model, files / "test.csv", "--conformal", files / "test.csv", "--coverage", 1.5)
    assert over.exit_code != 0
    assert "got coverage=1.5" in over.stderr


def test_what_is_read_is_not_written_over(model: Path, run: Any, files: Path) -> None:
    held = files / "test.csv"
    done = run("predict", model, files / "mine.csv", "--conformal", held, "--out", held)
    assert done.exit_code != 0
    assert "must not be, or lie in, what is read" in done.stderr


def test_sets_and_what_a_modality_is_worth_stand_side_by_side(model: Path, run: Any, files: Path) -> None:
    def columns(*options: object) -> list[str]:
        done = run("predict", model, files / "mine.csv", *options)
        assert done.exit_code == 0, done.stderr
        return pd.read_csv(io.StringIO(done.stdout)).columns.tolist()

    plain, sets = columns(), columns("--conformal", files / "test.csv")
    worth, both = (columns("--worth", files / "test.csv", *o) for o in ((), ("--conformal", files / "test.csv")))
    assert both == [*sets, *worth[len(plain) :]]
