"""`profuse fit` without a fusion: a portfolio, told of while it is fitted and after."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from profuse import load_model
from profuse.cli._portfolio import fits_display, headline
from profuse.portfolio.fitted import Event
from profuse.predictor import NetworkPredictor, PortfolioPredictor

pytestmark = pytest.mark.usefixtures("few_classical")
QUICK = ("--preset", "quick", "--folds", 3, "--jobs", 1)


@pytest.fixture(scope="module")
def done(run: Any, files: Path, few_classical: None) -> Any:
    out = files / "portfolio"
    (files / ".portfolio.training").write_bytes(b"of a network that was stopped")
    result = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", out, *QUICK)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.mark.slow
def test_each_model_is_told_when_it_is_done_and_all_with_their_weights_at_the_end(done: Any, files: Path) -> None:
    model = load_model(files / "portfolio")
    assert isinstance(model, PortfolioPredictor)
    for member in model.members:
        assert f"] {member.name}: held-out AUROC " in done.stderr
        assert f" {member.name} " in done.stdout
    weights = [int(line.split()[0]) for line in done.stdout.splitlines() if line[:4].strip().isdigit()]
    assert sum(weights) == pytest.approx(100, abs=len(weights))
    assert weights == sorted(weights, reverse=True)
    value, low, high = model.about["score"]
    assert low <= value <= high
    assert f"Held-out AUROC {value:.3f}" in done.stdout
    assert "90 rows that had no part in the weights" in done.stdout
    assert "Against always answering the same: +" in done.stdout
    assert "Against the best model alone, chosen the same way" in done.stdout
    assert f"Model: {files / 'portfolio'}" in done.stdout
    assert not (files / ".portfolio.training").exists()


@pytest.mark.slow
def test_other_commands_take_it_as_any_model(done: Any, run: Any, files: Path) -> None:
    model, test = files / "portfolio", files / "test.csv"
    said = pd.read_csv(io.StringIO(run("predict", model, test).stdout))
    assert list(said.columns) == ["id", "prediction", "prob_big", "prob_small"]
    found = json.loads(run("evaluate", model, test, "--json").stdout)["metrics"]
    assert found["accuracy"] > 0.8
    answer = run("ask", model, test, "missing")
    assert answer.exit_code == 0, answer.stderr
    noisy = run("ask", model, test, "noise", "--set", "kinds=mistyped,drift", "--set", "levels=1")
    assert noisy.exit_code == 0, noisy.stderr
    assert "mistyped, level 1" in noisy.stdout


@pytest.mark.slow
def test_a_portfolio_is_distilled_into_one_network(run: Any, files: Path, tmp_path: Path) -> None:
    args = ("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", tmp_path / "m", *QUICK)
    done = run(*args, "--distil", "--fusion", "decision:mean_logits", "--epochs", 2, "--width", 8)
    assert done.exit_code == 0, done.stderr
    model = load_model(tmp_path / "m")
    assert isinstance(model, NetworkPredictor)
    assert model.schema is not None
    assert (model.model_options.level, model.model_options.fusion) == ("decision", "mean_logits")
    assert f"A network made so scores AUROC {model.about['score'][0]:.3f}" in done.stdout
    assert f"Against the portfolio ({model.about['portfolio']:.3f}): " in done.stdout
    assert "Learned from " in done.stdout
    said = pd.read_csv(io.StringIO(run("predict", tmp_path / "m", files / "test.csv").stdout))
    assert list(said.columns) == ["id", "prediction", "prob_big", "prob_small"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ("--threshold", "balanced_accuracy"),
            (
                "chosen for balanced accuracy on 90 held-out rows",
                "Held-out balanced accuracy by thresholds that other rows",
            ),
        ),
        (
            ("--threshold", 0.2),
            ("'small' is answered where its probability is at least 0.2.", "It answers 'small' in "),
        ),
        (
            ("--cost", "{small: {big: 5}}"),
            ("The answer is the one with the smallest expected cost", "Held-out mean cost "),
        ),
    ],
)
def test_the_class_that_is_answered_is_decided_told_and_written(
    run: Any, files: Path, tmp_path: Path, flags: tuple[object, ...], told: tuple[str, ...]
) -> None:
    args = ("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", tmp_path / "m", *QUICK)
    done = run(*args, *flags)
    assert done.exit_code == 0, done.stderr
    assert all(text in done.stdout for text in told), done.stdout
    said = pd.read_csv(io.StringIO(run("predict", tmp_path / "m", files / "test.csv").stdout))
    model = load_model(tmp_path / "m")
    threshold = 1 / 6 if model.decision.cost else model.decision.threshold
    assert ((said["prediction"] == "small") == (said["prob_small"] >= threshold)).all()


def test_a_fusion_or_a_flag_trains_one_network(run: Any, files: Path, tmp_path: Path) -> None:
    args = ("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--epochs", 1, "--width", 8)
    for flags in (("--network",), ("--fusion", "gated")):
        assert run(*args, *flags, "--out", tmp_path / "m").exit_code == 0
        assert isinstance(load_model(tmp_path / "m"), NetworkPredictor)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--network", "--preset", "best"), "options of a portfolio must not go with --network; got preset='best'"),
        (("--fusion", "gated", "--folds", 2), "options of a portfolio must not go with --fusion; got folds=2"),
        (("--metric", "ece"), "metric must tell what each row contributes"),
        (("--validation-fraction", 0.3), "validation_fraction must go with one network"),
        (("--time-limit", "soon"), "time_limit must be a time like 90s, 10m or 2h; got time_limit='soon'"),
        (("--threshold", "roc_auc"), "threshold must be a number, or a metric of answers; got threshold='roc_auc'"),
        (("--threshold", 2), "threshold must be a metric, or a probability above 0 and below 1; got threshold='2'"),
        (("--cost", "{bg: {small: 2}}"), "class must be a known name; got class='bg'. Did you mean 'big'?"),
        (("--threshold", "f1", "--cost", "{big: {small: 2}}"), "threshold must not go with cost"),
        (("--network", "--threshold", 0.2, "--preset", "quick"), "must not go with --network; got preset='quick'"),
        (("--folds", 1), "folds must be greater than or equal to 2"),
        (("--metric", "r2"), "metric must be one of a binary task"),
        (("--metric", "roc_auk"), "Did you mean 'roc_auc'"),
        (("--method", "x"), "method must go with a comparison"),
        (("--entry", "input"), "Add --rounds 2"),
    ],
)
def test_bad_options_are_told_and_nothing_is_written(
    run: Any, files: Path, tmp_path: Path, args: tuple[object, ...], message: str
) -> None:
    given = () if "--preset" in args or "--fusion" in args else ("--preset", "quick")
    result = run("fit", files / "mine.csv", "-t", "my label", "--out", tmp_path / "m", *given, *args)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")
    assert not (tmp_path / "m").exists()


def test_a_time_limit_that_allows_no_real_model_is_an_error_and_saves_nothing(
    run: Any, files: Path, tmp_path: Path
) -> None:
    args = ("--schema", files / "schema.yaml", "--out", tmp_path / "m", "--folds", 2, "--time-limit", "0.01s")
    result = run("fit", files / "mine.csv", *args, "--jobs", 1)
    assert result.exit_code == 2
    assert "network: left out: " in result.stderr
    told = " ".join(result.stderr.split())
    assert "time_limit must leave time for one model besides the trivial one" in told
    assert "or no limit" in told
    assert not (tmp_path / "m").exists()


def test_on_a_terminal_a_bar_says_what_is_fitted_and_what_it_takes() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with fits_display("accuracy", console) as display:
        display(Event("prepare", 1, 5))
        display(Event("fit", 3, 10, "network", left=42.0))
        display(Event("member", 5, 10, "network", score=0.9, seconds=3.0))
        display(Event("select"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "network" in shown
    assert "elapsed, about 42" in shown.replace("\N{NO-BREAK SPACE}", " ")


def test_a_model_that_is_tried_again_does_not_count_backwards(capsys: pytest.CaptureFixture[str]) -> None:
    with fits_display("accuracy", Console(file=io.StringIO())) as display:
        display(Event("member", 35, 40, "network", skipped="no time was left for it"))
        display(Event("member", 40, 40, "lightgbm", score=0.8, seconds=1.0))
        display(Event("member", 35, 40, "network", score=0.9, seconds=3.0))
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["[35/40]", "[40/40]", "[40/40]"]


@pytest.mark.slow
def test_a_score_that_is_not_defined_is_said(done: Any, files: Path) -> None:
    model = load_model(files / "portfolio")
    assert isinstance(model, PortfolioPredictor)
    about = {name: value for name, value in model.about.items() if name not in ("score", "gain", "best_member")}
    bare = PortfolioPredictor(**{**vars(model), "about": about})
    assert headline(bare) == ["Held-out AUROC is not defined on these 90 rows."]
