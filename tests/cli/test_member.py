"""`--member`: a file of the working directory holds an estimator, which is compared, and part of a portfolio."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profuse import load_model
from profuse.predictor import PortfolioPredictor

pytestmark = pytest.mark.usefixtures("few_classical")
MODELS = """
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVR


def neighbours(task):
    return KNeighborsClassifier(3)


numbers = SVR()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with models that Python does not find by itself."""
    (tmp_path / "models_here.py").write_text(MODELS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("models_here", None)


@pytest.mark.slow
def test_a_comparison_has_it_and_goes_on_from_its_fits(run: Any, files: Path, here: Path) -> None:
    args = ("compare", files / "mine.csv", "--schema", files / "schema.yaml", "--seeds", 1, "--epochs", 1, "--width", 8,
            "--rounds", "none", "--singles", "none", "--no-retrain-without", "--jobs", 1, "--out", here / "out",
            "--member", "models_here:neighbours", "--member", "knn=models_here:neighbours")  # fmt: skip
    done = run(*args)
    assert done.exit_code == 0, done.stderr
    assert " knn " in done.stdout
    assert " neighbours " in done.stdout
    assert load_model(here / "out" / "models" / "knn-seed0").predict(files / "test.csv").shape == (30,)
    again = run(*args)
    assert again.exit_code == 0, again.stderr
    assert "[" not in "".join(line for line in again.stderr.splitlines() if "knn" in line)
    sys.modules.pop("models_here")
    as_before = ("--config", here / "out" / "config.yaml", "--out", here / "out", "--jobs", 1)
    config = run("compare", files / "mine.csv", "--schema", files / "schema.yaml", *as_before)
    assert config.exit_code == 0, config.stderr
    refused = run("fit", files / "mine.csv", "--from", here / "out", "--method", "knn", "--out", here / "m")
    assert "must be a network or the portfolio; got method='knn', a classical model" in refused.stderr


@pytest.mark.slow
def test_a_portfolio_has_it(run: Any, files: Path, here: Path) -> None:
    done = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", here / "m", "--preset", "quick",
               "--folds", 3, "--jobs", 1, "--member", "models_here:neighbours")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "] neighbours: held-out AUROC " in done.stderr
    model = load_model(here / "m")
    assert isinstance(model, PortfolioPredictor)
    assert "neighbours" in [m.name for m in model.members]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--member", "models_here:neighbors"), "Did you mean 'neighbours'"),
        (("--member", "models_her:neighbours"), "ModuleNotFoundError: No module named 'models_her'"),
        (("--member", "linear=models_here:neighbours"), "must have a name of its own; got name='linear'"),
        (("--member", "models_here:numbers"), "member 'numbers' must be an estimator for a binary target; got SVR"),
        (("--network", "--member", "x:y"), "options of a portfolio must not go with --network; got members=('x:y',)"),
    ],
)
def test_what_cannot_be_a_member_is_one_line(
    run: Any, files: Path, here: Path, args: tuple[str, ...], message: str
) -> None:
    done = run("fit", files / "mine.csv", "--schema", files / "schema.yaml", "--out", here / "m", *args)
    assert done.exit_code == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (here / "m").exists()
