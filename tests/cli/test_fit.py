"""`profuse fit`, `predict`, `evaluate`: a model that is saved, and used by fresh processes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forks import Forks

from profuse import load_model
from profuse.inspect.worth import Worth
from profuse.predictor import NetworkPredictor

QUICK = ("--network", "--epochs", 2, "--width", 8)


@pytest.fixture(scope="module")
def model(run: Any, files: Path) -> Path:
    """A saved classifier of `my label`."""
    out = files / "model"
    done = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK)
    assert done.exit_code == 0, done.stderr
    assert f"Model: {out}" in done.stdout
    assert "Validation accuracy" in done.stdout
    return out


def test_a_fit_that_finds_nothing_better_than_the_linear_paths_says_so(run: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=60)
    pd.DataFrame({"x": x, "y": 3 * x}).to_csv(tmp_path / "line.csv", index=False)
    spoilt = ("--learning-rate", 0.3, "--warmup-fraction", 0.0)
    done = run("fit", tmp_path / "line.csv", "-t", "y", "--out", tmp_path / "m", *QUICK, *spoilt)
    assert done.exit_code == 0, done.stderr
    assert "of the linear paths, as no epoch was better" in done.stdout


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


def test_what_lacking_modalities_are_worth_stands_beside_each_row(
    model: Path, run: Any, files: Path, tmp_path: Path
) -> None:
    new = pd.read_csv(files / "test.csv").drop(columns="my label")
    new.loc[:4, "note"] = None
    new.to_csv(tmp_path / "new.csv", index=False)
    done = run("predict", model, tmp_path / "new.csv", "--worth", files / "test.csv", "--out", tmp_path / "said.csv")
    assert done.exit_code == 0, done.stderr
    said = pd.read_csv(tmp_path / "said.csv")
    predictor = load_model(model)
    known = predictor.read(files / "test.csv", need_target=True, who="test")
    rows = predictor.read(tmp_path / "new.csv")
    expected = Worth().rows(predictor, known, rows)
    pd.testing.assert_frame_equal(said[list(expected)], expected, check_exact=False, rtol=1e-6)
    assert said["worth of note"].notna().tolist() == (~rows.modalities["note"].present).tolist()
    assert said["worth of note"].notna().sum() >= 5
    other = run("predict", model, tmp_path / "new.csv", "--worth", tmp_path / "new.csv", "--out", tmp_path / "x.csv")
    assert other.exit_code == 2
    assert "my label" in other.stderr
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.slow
def test_another_process_predicts_the_same(model: Path, run: Any, files: Path, forks: Forks) -> None:
    done = forks.run("predict", model, files / "test.csv")
    assert done.returncode == 0, done.stderr
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


def test_a_target_of_another_name_and_new_categories_are_named_to_every_command(
    model: Path, run: Any, files: Path, tmp_path: Path
) -> None:
    path = tmp_path / "later.csv"
    pd.read_csv(files / "test.csv").rename(columns={"my label": "size"}).assign(colour="mauve").to_csv(
        path, index=False
    )
    expecting, target = ("--new-categories", "colour"), ("--target", "size")
    commands: dict[str, tuple[str, ...]] = {"predict": (), "evaluate": target, "ask": ("importance", *target)}
    for command, arguments in commands.items():
        assert run(command, model, path, *arguments).exit_code == 2
        done = run(command, model, path, *arguments, *expecting)
        assert done.exit_code == 0, done.stderr
        assert "mauve" in done.stderr
        if "--target" in arguments:
            assert run(command, model, path, *(a for a in arguments if a not in target), *expecting).exit_code == 2


def test_many_targets_each_have_a_column(run: Any, files: Path, tmp_path: Path) -> None:
    args = ("-t", "unit price", "-t", "high, or low", "--out", tmp_path / "model", "--split-column", "shop")
    done = run("fit", files / "mine.csv", *args, *QUICK, "--fusion", "hybrid:concat", "--rounds", 2)
    assert done.exit_code == 0, done.stderr
    said = pd.read_csv(io.StringIO(run("predict", tmp_path / "model", files / "test.csv").stdout))
    assert list(said.columns) == ["id", "unit price", "high, or low"]
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded, NetworkPredictor)
    options = loaded.model_options
    assert (options.fusion, options.level, options.rounds) == ("concat", "hybrid", 2)
    assert "rmse" in run("evaluate", tmp_path / "model", files / "test.csv", "--json").stdout


@pytest.mark.slow
def test_equal_seeds_give_equal_models(model: Path, run: Any, files: Path, tmp_path: Path) -> None:
    args = ("fit", files / "mine.csv", "--schema", files / "schema.yaml", *QUICK)
    assert run(*args, "--out", tmp_path / "a").exit_code == 0
    assert run(*args, "--out", tmp_path / "b", "--seed", 1).exit_code == 0
    said = [run("predict", m, files / "test.csv").stdout for m in (model, tmp_path / "a", tmp_path / "b")]
    assert said[0] == said[1]
    assert said[0] != said[2]


@pytest.mark.slow
def test_the_form_of_the_rounds_is_asked_for_by_flags(run: Any, files: Path, tmp_path: Path) -> None:
    flags = ("--rounds", 2, "--feedback", "gate", "--into", "note", "--entry", "input", "--supervise", "all")
    args = ("--schema", files / "schema.yaml", "--out", tmp_path / "model", "--fusion", "concat")
    done = run("fit", files / "mine.csv", *args, *QUICK, *flags)
    assert done.exit_code == 0, done.stderr
    loaded = load_model(tmp_path / "model")
    assert isinstance(loaded, NetworkPredictor)
    options = loaded.model_options
    assert (options.rounds, options.feedback, options.into) == (2, "gate", ("note",))
    assert (options.entry, options.supervise) == ("input", "all")
    told = run("fit", "--help").stdout
    assert all(flag in told for flag in flags[::2])


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
            (("--device", "gpu"), "device must be 'auto'"),
            (("--fusion", "raw:mean_logits"), "level must fit the operator"),
            (("--fusion", "hybrid:concat", "--rounds", 100), "rounds must be less than or equal to 64"),
            (("--encoder", "nota=words"), "Did you mean 'note'?"),
            (("--encoder", "note=cnn"), "must take kind 'text'"),
            (("--rounds", 2, "--into", "table,nota"), "Did you mean 'note'?"),
        ],
    )
    def test_faults_of_the_options_are_told_before_anything_else(
        self, run: Any, files: Path, tmp_path: Path, args: tuple[object, ...], message: str
    ) -> None:
        done = run("fit", files / "mine.csv", "-t", "my label", "--out", tmp_path / "m", "--network", *args)
        assert done.exit_code == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ")
        assert message in line

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (("--rounds", 2, "--feedback", "mul"), "feedback must be 'scale_shift', 'gate'"),
            (("--rounds", 2, "--entry", "middle"), "entry must be 'input', 'early' or 'later'; got entry='middle'"),
            (("--rounds", 2, "--supervise", "first"), "supervise must be 'last' or 'all'; got supervise='first'"),
            (("--rounds", "equilibrium", "--supervise", "all"), "fit: rounds='equilibrium' must go with"),
            (
                ("--entry", "input", "--into", "note"),
                "into and entry must go with rounds; got rounds=1. Add --rounds 2",
            ),
        ],
    )
    def test_faults_of_the_rounds_are_told_before_data_are_read(
        self, run: Any, tmp_path: Path, args: tuple[object, ...], message: str
    ) -> None:
        done = run("fit", tmp_path / "missing.csv", "-t", "my label", "--out", tmp_path / "m", *args)
        assert done.exit_code == 2
        (line,) = done.stderr.splitlines()
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


def test_new_rows_are_read_as_those_of_training_were(run: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "id": [f"{i:04d}" for i in range(60)],
        "when": pd.date_range("2024-01-01", periods=60, freq="6D").strftime("%d/%m/%Y"),
        "paid": rng.choice(["true", "false", "unknown"], 60),
        "vec": [f"[{a}, {b}, 0.5]" for a, b in rng.normal(size=(60, 2)).round(2)],
        "y": np.where(np.arange(60) % 2, "01", "02"),
    })  # fmt: skip
    frame.to_csv(tmp_path / "all.csv", index=False)
    frame[3:5].assign(paid="true").to_csv(tmp_path / "two.csv", index=False)
    frame[3:5].assign(paid="true", when=None, vec=None).to_csv(tmp_path / "gaps.csv", index=False)
    frame[3:5].assign(id="0007").to_csv(tmp_path / "twice.csv", index=False)
    frame.assign(paid=frame["paid"].mask(frame.index.isin([3, 4]), "true")).to_csv(tmp_path / "whole.csv", index=False)
    done = run("fit", tmp_path / "all.csv", "-t", "y", "-o", tmp_path / "m", *QUICK)
    assert done.exit_code == 0, done.stderr

    def said(name: str) -> pd.DataFrame:
        done = run("predict", tmp_path / "m", tmp_path / name)
        assert done.exit_code == 0, done.stderr
        return pd.read_csv(io.StringIO(done.stdout), dtype={"id": str, "prediction": str})

    two = said("two.csv")
    pd.testing.assert_frame_equal(two, said("whole.csv")[3:5].reset_index(drop=True), rtol=1e-5)
    assert two["id"].tolist() == ["0003", "0004"]
    assert set(two["prediction"]) <= {"01", "02"}
    assert said("gaps.csv")["id"].tolist() == ["0003", "0004"]
    assert said("twice.csv")["row"].tolist() == [0, 1]
    assert run("evaluate", tmp_path / "m", tmp_path / "two.csv").exit_code == 0


@pytest.mark.parametrize("labels", [("row", "b"), ("a", "prob_a")])
def test_a_label_that_is_called_as_another_column_is_refused(
    run: Any, files: Path, tmp_path: Path, labels: tuple[str, str]
) -> None:
    frame = pd.read_csv(files / "mine.csv").drop(columns="row id")
    frame.assign(**{name: np.arange(90) % (2 + i) == 0 for i, name in enumerate(labels)}).to_csv(tmp_path / "t.csv")
    args = ("-t", labels[0], "-t", labels[1], "-o", tmp_path / "m", *QUICK)
    (tmp_path / "s.yaml").write_text('ignore: ["Unnamed: 0"]')
    assert run("fit", tmp_path / "t.csv", *args, "--schema", tmp_path / "s.yaml").exit_code == 0
    done = run("predict", tmp_path / "m", tmp_path / "t.csv")
    assert done.exit_code == 2
    assert "predict: names of the columns written must differ; got" in done.stderr
    assert "Rename it in the training table" in done.stderr


def test_labels_that_were_text_are_text_whatever_the_file_to_evaluate_holds(run: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flag, code = rng.choice(["true", "false", "unknown"], 80), rng.choice(["01", "10"], 80)
    table = pd.DataFrame({"flag": flag, "x": rng.normal(size=80), "label": code})
    table.to_csv(tmp_path / "train.csv", index=False)
    assert run("fit", tmp_path / "train.csv", "-t", "label", "--out", tmp_path / "model", *QUICK).exit_code == 0
    few = table[(table["flag"] != "unknown") & (table["label"] == "10")]  # booleans and numbers, by themselves
    few.to_csv(tmp_path / "few.csv", index=False)
    done = run("evaluate", tmp_path / "model", tmp_path / "few.csv")
    assert done.exit_code == 0, done.stderr
    assert "unknown" not in done.stderr
