"""`--weight`: a column that says how much rows count, from the command line to the saved model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from profuse import load_model
from profuse.classical.trivial import Trivial
from profuse.predictor import ClassicalPredictor, NetworkPredictor

pytestmark = pytest.mark.usefixtures("few_classical")
N, SHARE = 80, 0.25
FIT: dict[str, tuple[object, ...]] = {
    "portfolio": ("--preset", "quick", "--folds", 2, "--jobs", 1),
    "network": ("--network", "--epochs", 2, "--width", 8),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of the rows is ill, with a weight of 9; new rows have no weights, or other ones."""
    folder = tmp_path_factory.mktemp("weighted")
    rng = np.random.default_rng(0)
    ill = np.arange(N) % 4 == 0
    table = pd.DataFrame({"size": rng.normal(size=N) + ill, "age": rng.normal(size=N), "n": np.where(ill, 9.0, 1.0)})
    table["ill"] = np.where(ill, "yes", "no")
    table.to_csv(folder / "mine.csv", index=False)
    table.drop(columns="n").to_csv(folder / "new.csv", index=False)
    table.assign(n="rubbish").to_csv(folder / "other.csv", index=False)
    (folder / "schema.yaml").write_text("target: {columns: [ill]}\nweight: n\n", encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", FIT)
def test_a_model_has_learned_with_them_and_needs_them_no_more(run: Any, files: Path, tmp_path: Path, kind: str) -> None:
    said, mine = {}, files / "mine.csv"
    asked = {
        "plain": ("-t", "ill"),
        "named": ("-t", "ill", "--weight", "n"),
        "schema": ("--schema", files / "schema.yaml"),
    }
    for name, args in asked.items():
        done = run("fit", files / "new.csv" if name == "plain" else mine, *args, *FIT[kind], "--out", tmp_path / name)
        assert done.exit_code == 0, done.stderr
        assert ("Rows count in learning by their weights, 1 to 9." in done.stderr) is (name != "plain")
        for new in ("new", "other"):
            rows = files / f"{new}.csv"
            done = run("evaluate", tmp_path / name, rows, "--json")
            assert done.exit_code == 0, done.stderr
            assert not [note for note in json.loads(done.stdout)["notes"] if "'n'" in note and name != "plain"]
            said[name, new] = run("predict", tmp_path / name, rows).stdout
    assert said["named", "new"] == said["named", "other"] == said["schema", "new"]
    share = [load_model(tmp_path / name).predict_proba(files / "new.csv")[:, 1].mean() for name in ("plain", "named")]
    assert share[1] > share[0] + 0.1


@pytest.mark.slow
def test_a_comparison_has_them_and_fit_takes_them_over(run: Any, files: Path, tmp_path: Path) -> None:
    args = ("--seeds", 1, "--rounds", "none", "--epochs", 2, "--width", 8, "--jobs", 1, "--no-retrain-without")
    done = run("compare", files / "mine.csv", "-t", "ill", "--weight", "n", *args, "--out", tmp_path / "c")
    assert done.exit_code == 0, done.stderr
    assert "Rows count in learning by their weights, 1 to 9. Scores count each row once." in done.stdout
    trivial = load_model(tmp_path / "c" / "models" / "trivial-seed0")
    assert isinstance(trivial, ClassicalPredictor)
    assert isinstance(trivial.model, Trivial)
    assert trivial.model.guess[1] == pytest.approx(0.75, abs=0.02)  # 9 x a quarter, of that and three quarters
    assert trivial.schema is not None
    assert trivial.schema.weight == "n"
    done = run("fit", files / "mine.csv", "--from", tmp_path / "c", "--method", "table only", "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    assert "Rows count in learning by their weights, 1 to 9." in done.stderr
    model = load_model(tmp_path / "m")
    assert isinstance(model, NetworkPredictor)


def test_schema_writes_them(run: Any, files: Path, tmp_path: Path) -> None:
    done = run("schema", files / "mine.csv", "-t", "ill", "--weight", "n", "--out", tmp_path / "s.yaml")
    assert "says how much rows count, so it is no input" in " ".join(done.stdout.split())
    written = yaml.safe_load((tmp_path / "s.yaml").read_text(encoding="utf-8"))
    assert written["weight"] == "n"
    done = run("fit", files / "mine.csv", "--schema", tmp_path / "s.yaml", *FIT["network"], "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("weight", "message"),
    [("nn", "weight: no column 'nn' in the table"), ("ill", "weight: 'ill' is the target")],
)
@pytest.mark.parametrize("command", ["fit", "compare"])
def test_what_cannot_be_it_is_told(
    run: Any, files: Path, tmp_path: Path, command: str, weight: str, message: str
) -> None:
    done = run(command, files / "mine.csv", "-t", "ill", "--weight", weight, "--out", tmp_path / "m")
    assert done.exit_code == 2
    assert message in done.stderr.replace("\n", " ")
    assert not (tmp_path / "m").exists()
