"""`profuse fit`, `predict`, `evaluate`: a model that is saved, and used by fresh processes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from profuse import load_model

QUICK = ("--epochs", 2, "--width", 8)


@pytest.fixture(scope="module")
def model(run: Any, files: Path) -> Path:
    """A saved classifier of `my label`."""
    out = files / "model"
    done = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK)
    assert done.exit_code == 0, done.stderr
    assert f"Model: {out}" in done.stdout
    assert "Validation accuracy" in done.stdout
    return out


def test_predictions_name_the_row_the_class_and_each_probability(model: Path, run: Any, files: Path) -> None:
    done = run("predict", model, files / "test.csv")
    assert done.exit_code == 0, done.stderr
    said = pd.read_csv(io.StringIO(done.stdout))
    assert list(said.columns) == ["id", "prediction", "prob_big", "prob_small"]
    assert said["id"].tolist() == pd.read_csv(files / "test.csv")["row id"].tolist()
    np.testing.assert_allclose(said["prob_big"] + said["prob_small"], 1, atol=1e-6)
    assert (said["prediction"] == np.where(said["prob_big"] >= 0.5, "big", "small")).all()


def test_the_target_need_not_be_there_to_predict(model: Path, run: Any, files: Path, tmp_path: Path) -> None:
    pd.read_csv(files / "test.csv").drop(columns="my label").to_csv(tmp_path / "new.csv", index=False)
    done = run("predict", model, tmp_path / "new.csv", "--out", tmp_path / "said.csv")
    assert done.exit_code == 0
    assert done.stdout == f"Predictions: {tmp_path / 'said.csv'} (30 rows)\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new.csv", "said.csv"]
    whole = run("predict", model, files / "test.csv").stdout
    assert (tmp_path / "said.csv").read_text(encoding="utf-8") == whole


def test_a_fresh_process_predicts_the_same(model: Path, run: Any, files: Path) -> None:
    command = [sys.executable, "-m", "profuse", "predict", str(model), str(files / "test.csv")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == run("predict", model, files / "test.csv").stdout


def test_evaluate_agrees_with_the_predictions(model: Path, run: Any, files: Path) -> None:
    said = pd.read_csv(io.StringIO(run("predict", model, files / "test.csv").stdout))
    true = pd.read_csv(files / "test.csv")["my label"]
    found = json.loads(run("evaluate", model, files / "test.csv", "--json").stdout)
    assert found["n_rows"] == 30
    assert found["metrics"]["accuracy"] == pytest.approx((said["prediction"] == true).mean())
    shown = run("evaluate", model, files / "test.csv").stdout
    assert f"{found['metrics']['accuracy']:.4f}" in shown
    assert "higher is better" in shown


def test_many_targets_each_have_a_column(run: Any, files: Path, tmp_path: Path) -> None:
    args = ("-t", "unit price", "-t", "high, or low", "--out", tmp_path / "model", "--split-column", "shop")
    done = run("fit", files / "mine.csv", *args, *QUICK, "--fusion", "hybrid:concat", "--rounds", 2)
    assert done.exit_code == 0, done.stderr
    said = pd.read_csv(io.StringIO(run("predict", tmp_path / "model", files / "test.csv").stdout))
    assert list(said.columns) == ["id", "unit price", "high, or low"]
    options = load_model(tmp_path / "model").model_options
    assert (options.fusion, options.level, options.rounds) == ("concat", "hybrid", 2)
    assert "rmse" in run("evaluate", tmp_path / "model", files / "test.csv", "--json").stdout


def test_equal_seeds_give_equal_models(model: Path, run: Any, files: Path, tmp_path: Path) -> None:
    args = ("fit", files / "mine.csv", "--schema", files / "schema.yaml", *QUICK)
    assert run(*args, "--out", tmp_path / "a").exit_code == 0
    assert run(*args, "--out", tmp_path / "b", "--seed", 1).exit_code == 0
    said = [run("predict", m, files / "test.csv").stdout for m in (model, tmp_path / "a", tmp_path / "b")]
    assert said[0] == said[1]
    assert said[0] != said[2]


class TestBadInput:
    def test_a_folder_that_holds_something_else_is_told_before_training(
        self, run: Any, files: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
        done = run("fit", files / "mine.csv", "-t", "my label", "--out", tmp_path)
        assert done.exit_code == 2
        assert "it holds something else" in done.stderr
        assert "rows" not in done.stderr
        assert (tmp_path / "thesis.txt").exists()

    def test_all_faults_of_the_options_are_told_and_nothing_is_written(
        self, run: Any, files: Path, tmp_path: Path
    ) -> None:
        done = run(
            "fit", files / "mine.csv", "-t", "my label", "--out", tmp_path / "m", "--fusion", "concatt",
            "--validation-fraction", 2, "--learning-rate", -1,
        )  # fmt: skip
        assert done.exit_code == 2
        for part in ("Did you mean 'concat'", "validation_fraction must be", "learning_rate must be greater than 0"):
            assert part in done.stderr
        assert not (tmp_path / "m").exists()

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (("--learning-rate", -1, "--fusion", "concatt"), "learning_rate must be greater than 0"),
            (("--validation-fraction", 2), "validation_fraction must be"),
            (("--device", "gpu"), "device must be auto"),
            (("--fusion", "raw:mean_logits"), "level must fit the operator"),
            (("--fusion", "hybrid:concat", "--rounds", 100), "rounds must be less than or equal to 64"),
            (("--encoder", "nota=words"), "Did you mean 'note'?"),
            (("--encoder", "note=cnn"), "must take kind 'text'"),
        ],
    )
    def test_faults_of_the_options_are_told_before_anything_else(
        self, run: Any, files: Path, tmp_path: Path, args: tuple[object, ...], message: str
    ) -> None:
        done = run("fit", files / "mine.csv", "-t", "my label", "--out", tmp_path / "m", *args)
        assert done.exit_code == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ")
        assert message in line

    def test_a_column_that_is_lacking_is_told_with_the_nearest(
        self, model: Path, run: Any, files: Path, tmp_path: Path
    ) -> None:
        pd.read_csv(files / "test.csv").rename(columns={"colour": "color"}).to_csv(tmp_path / "t.csv", index=False)
        done = run("predict", model, tmp_path / "t.csv", "--out", tmp_path / "said.csv")
        assert done.exit_code == 2
        assert "'color' is near 'colour'" in done.stderr
        assert not (tmp_path / "said.csv").exists()

    def test_a_class_that_training_had_not_is_told(self, model: Path, run: Any, files: Path, tmp_path: Path) -> None:
        table = pd.read_csv(files / "test.csv")
        table.loc[[3, 4], "my label"] = "huge"
        table.to_csv(tmp_path / "t.csv", index=False)
        done = run("evaluate", model, tmp_path / "t.csv")
        assert done.exit_code == 2
        assert "huge" in done.stderr

    def test_a_damaged_model_and_no_model_are_told(self, model: Path, run: Any, files: Path, tmp_path: Path) -> None:
        import shutil

        shutil.copytree(model, tmp_path / "m")
        weights = tmp_path / "m" / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"!")
        done = run("predict", tmp_path / "m", files / "test.csv")
        assert done.exit_code == 2
        assert "damaged" in done.stderr
        done = run("predict", tmp_path / "nothing", files / "test.csv")
        assert done.exit_code == 2
        assert "must be the folder of a saved model" in done.stderr

    def test_a_model_of_a_newer_version_is_told(self, model: Path, run: Any, files: Path, tmp_path: Path) -> None:
        import shutil

        shutil.copytree(model, tmp_path / "m")
        facts = json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8"))
        (tmp_path / "m" / "model.json").write_text(json.dumps({**facts, "format": 99}), encoding="utf-8")
        done = run("evaluate", tmp_path / "m", files / "test.csv")
        assert done.exit_code == 2
        assert "newer" in done.stderr
