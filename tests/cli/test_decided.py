"""Which class a saved model answers: chosen by a fit of one network, or by another command without a change to it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from profuse import load_model

QUICK = ("--epochs", 2, "--width", 8)


@pytest.fixture(scope="module")
def fit(run: Any, files: Path) -> Any:
    """Fits a classifier of `my label` and returns what was said."""

    def make(out: Path, *flags: object) -> str:
        done = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK, *flags)
        assert done.exit_code == 0, done.stderr
        said: str = done.stdout
        return said

    return make


@pytest.fixture(scope="module")
def model(fit: Any, files: Path) -> Path:
    """A saved network that answers 'small' from a threshold of .9 on."""
    fit(files / "decided", "--network", "--threshold", 0.9)
    return files / "decided"


def table(run: Any, model: Path, rows: Path, *flags: object) -> pd.DataFrame:
    done = run("predict", model, rows, *flags)
    assert done.exit_code == 0, done.stderr
    return pd.read_csv(io.StringIO(done.stdout))


@pytest.mark.parametrize(
    ("flags", "at"), [((), 0.9), (("--threshold", 0.35), 0.35), (("--cost", "{small: {big: 4}}"), 0.2)]
)
def test_a_saved_model_answers_by_another_threshold_and_is_left_as_it_is(
    model: Path, run: Any, files: Path, flags: tuple[object, ...], at: float
) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    said = table(run, model, files / "test.csv", *flags)
    assert ((said["prediction"] == "small") == (said["prob_small"] >= at)).all()
    done = run("evaluate", model, files / "test.csv", "--json", *flags)
    true = pd.read_csv(files / "test.csv")["my label"]
    assert json.loads(done.stdout)["metrics"]["accuracy"] == pytest.approx((said["prediction"] == true).mean())
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_the_threshold_of_one_network_is_chosen_on_validation_rows_which_are_counted(fit: Any, tmp_path: Path) -> None:
    said = fit(tmp_path / "m", "--fusion", "gated", "--threshold", "f1")
    threshold = load_model(tmp_path / "m").decision.threshold
    assert threshold is not None
    assert f"'small' is answered where its probability is at least {threshold:.3g}, chosen for F1" in said
    assert " on 18 validation rows." in said
    assert "of 18 validation rows, of which" in said
    assert " by thresholds that other rows have chosen" in said


@pytest.mark.slow
def test_a_metric_that_the_loss_does_not_tell_chooses_the_epoch_of_one_network(
    run: Any, files: Path, tmp_path: Path
) -> None:
    args = ("fit", files / "mine.csv", "-t", "high, or low", "--out", tmp_path / "m", "--network", *QUICK)
    done = run(*args, "--metric", "neg_mean_absolute_error")
    assert done.exit_code == 0, done.stderr
    assert ", chosen by mean absolute error, " in done.stdout
    plain = run(*args, "--metric", "rmse")
    assert "chosen by" not in plain.stdout
    assert "does not choose the epoch of a network" in plain.stdout + plain.stderr
    wrong = run(*args, "--metric", "f1")
    assert wrong.exit_code == 2
    assert "metric must be one of a regression task" in wrong.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--threshold", 1.5), "predict: threshold must be a"),
        (("--threshold", 0.5, "--cost", "{small: {big: 4}}"), "threshold must not go with cost"),
        (("--cost", "{smal: {big: 4}}"), "predict: cost: class must be a known name; got class='smal'"),
        (("--cost", "4"), "--cost: the value must be names and values"),
    ],
)
def test_what_cannot_decide_is_told(
    model: Path, run: Any, files: Path, flags: tuple[object, ...], message: str
) -> None:
    done = run("predict", model, files / "test.csv", *flags)
    assert done.exit_code == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--network", "--threshold", "roc_auc"), "fit: threshold must be a number, or a metric of answers"),
        (("--network", "--cost", "{smal: {big: 4}}"), "fit: cost: class must be a known name; got class='smal'"),
        (("--network", "--threshold", 0.2, "--folds", 3), "must not go with --network; got folds=3"),
    ],
)
def test_a_network_that_cannot_decide_so_is_told_before_it_is_trained(
    run: Any, files: Path, tmp_path: Path, flags: tuple[object, ...], message: str
) -> None:
    done = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", tmp_path / "m", *QUICK, *flags)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "m").exists()
