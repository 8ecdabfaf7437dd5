"""`profuse evaluate` of many rows reads them in pieces: the same figures and notes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cli.conftest import make_table

QUICK = ("--network", "--epochs", 1, "--width", 8, "--members", 1)


@pytest.fixture(scope="module", params=["my label", "unit price"])
def model(request: pytest.FixtureRequest, run: Any, files: Path) -> Path:
    """A saved network of classes, and one of numbers."""
    out = files / f"measured_{request.param}"
    target = ("--target", request.param)
    schema = files / "rest.yaml"
    schema.write_text('ignore: ["high, or low", day, shop]\n', encoding="utf-8")
    done = run("fit", files / "mine.csv", *target, "--schema", schema, "--out", out, *QUICK)
    assert done.exit_code == 0, done.stderr
    return out


def evaluated(run: Any, *args: object) -> dict[str, Any]:
    done = run("evaluate", *args, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_figures_are_those_of_a_whole_read(
    form: str, model: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_table(1300, 5)
    rows.loc[700:720, "note"] = None
    rows.loc[5, "colour"] = "violet"
    rows = rows.rename(columns={"my label": "what it is"} if "label" in model.name else {})
    file = tmp_path / f"many.{form}"
    rows.to_csv(file, index=False) if form == "csv" else rows.to_parquet(file)
    given = (model, file, *(("--target", "what it is") if "label" in model.name else ()))
    whole = evaluated(run, *given)
    monkeypatch.setattr("profuse.cli.evaluate._WHOLE", 600)
    pieces = evaluated(run, *given)
    assert whole["n_rows"] == pieces["n_rows"] == 1300
    assert pieces["metrics"] == pytest.approx(whole["metrics"], rel=1e-5)
    plain = [n.removeprefix("Of the first 600 rows: ") for n in pieces["notes"]]
    assert [n[:40] for n in plain] == [n[:40] for n in whole["notes"]]


def test_a_class_that_training_had_not_is_told_by_its_row(
    run: Any, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = files / "of classes"
    if not out.exists():
        assert run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK).exit_code == 0
    rows = make_table(1300, 5)
    rows.loc[1111, "my label"] = "huge"
    file = tmp_path / "many.csv"
    rows.to_csv(file, index=False)
    monkeypatch.setattr("profuse.cli.evaluate._WHOLE", 600)
    done = run("evaluate", out, file)
    assert done.exit_code != 0
    assert "'huge'" in done.stderr
    assert "1111" in done.stderr


def test_rows_without_their_target_are_told_by_their_place(
    run: Any, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = files / "of classes too"
    assert run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK).exit_code == 0
    rows: pd.DataFrame = make_table(1300, 5)
    rows.loc[1200, "my label"] = None
    rows.to_csv(tmp_path / "many.csv", index=False)
    monkeypatch.setattr("profuse.cli.evaluate._WHOLE", 600)
    done = run("evaluate", out, tmp_path / "many.csv")
    assert done.exit_code != 0
    assert "1200" in done.stderr
