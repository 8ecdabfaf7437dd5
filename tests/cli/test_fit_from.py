"""`profuse fit --from`: what a comparison chose, trained on all rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known_answers import make_product

from profuse import load_model, register
from profuse.comparison.jobs import model_folder
from profuse.comparison.recommended import recommended
from profuse.comparison.results import Results
from profuse.comparison.summary import summarise
from profuse.datasets import DatasetInfo
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor, PortfolioPredictor
from profuse.report.words import labels_of
from profuse.training.options import TrainOptions

QUICK = ("--seeds", 1, "--epochs", 1, "--jobs", 1, "--no-retrain-without")
MODEL = ("--width", 8, "--feedback", "gate", "--learning-rate", 0.002, "--valid-size", 0.3)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_classical")]
PROGRESSIVE = "progressive (2 rounds) gated"


@pytest.fixture(scope="module")
def compared(run: Any, files: Path, few_classical: None) -> Path:
    """A finished comparison."""
    out = files / "compared"
    schema = ("--schema", files / "schema.yaml")
    done = run("compare", files / "mine.csv", *schema, "--fusions", "gated", *QUICK, *MODEL, "--out", out)
    assert done.exit_code == 0, done.stderr
    return out


def fitted(run: Any, compared: Path, out: Path, *more: object) -> NetworkPredictor:
    done = run("fit", compared.parent / "mine.csv", "--from", compared, "--out", out, *more)
    assert done.exit_code == 0, done.stderr
    predictor = load_model(out)
    assert isinstance(predictor, NetworkPredictor)
    return predictor


def test_the_best_fusion_by_validation_is_trained_with_options_and_schema(
    run: Any, compared: Path, tmp_path: Path
) -> None:
    predictor = fitted(run, compared, tmp_path / "m")
    best = summarise(Results.read(compared)).verdict.fusion
    kept = load_model(compared / "models" / model_folder(str(best), 0))
    assert isinstance(kept, NetworkPredictor)
    assert predictor.model_options == kept.model_options
    assert predictor.train_options == kept.train_options
    assert predictor.schema == kept.schema
    assert predictor.modalities == kept.modalities
    facts = json.dumps(json.loads((tmp_path / "m" / "model.json").read_text(encoding="utf-8")))
    assert '"validation_fraction": 0.3' in facts
    said = run("predict", tmp_path / "m", compared.parent / "test.csv")
    assert said.exit_code == 0, said.stderr


@pytest.mark.parametrize(
    ("name", "fusion", "level", "rounds"),
    [
        (PROGRESSIVE, "gated", None, 2),
        ("hybrid concat", "concat", "hybrid", 1),
        ("hybrid concat (default)", "concat", "hybrid", 1),
        ("mean logits", "mean_logits", None, 1),
        ("mean_logits", "mean_logits", None, 1),
    ],
)
def test_a_method_is_named_as_results_or_report_call_it(
    name: str, fusion: str, level: str | None, rounds: int, run: Any, compared: Path, tmp_path: Path
) -> None:
    made = fitted(run, compared, tmp_path / "m", "--method", name).model_options
    assert (made.fusion, made.level, made.rounds, made.width, made.feedback) == (fusion, level, rounds, 8, "gate")


def test_a_single_modality_is_trained_alone(run: Any, compared: Path, tmp_path: Path) -> None:
    predictor = fitted(run, compared, tmp_path / "m", "--method", "note alone")
    assert predictor.modalities == ("note",)
    assert predictor.model_options.fusion == "attention_pooling"
    assert run("evaluate", tmp_path / "m", compared.parent / "test.csv").exit_code == 0


def test_the_command_line_wins(run: Any, compared: Path, tmp_path: Path) -> None:
    more = ("--width", 12, "--seed", 5, "--fusion", "max", "--batch-size", 16)
    predictor = fitted(run, compared, tmp_path / "m", "--method", "hybrid concat", *more)
    model, train = predictor.model_options, predictor.train_options
    assert (model.width, model.fusion, model.level, model.feedback) == (12, "max", None, "gate")
    assert (train.seed, train.batch_size, train.learning_rate, train.epochs) == (5, 16, 0.002, 1)


def test_all_options_of_the_run_are_those_of_the_model(run: Any, compared: Path, tmp_path: Path) -> None:
    predictor = fitted(run, compared, tmp_path / "m", "--method", PROGRESSIVE)
    config = Results.read(compared).config
    for kind, made, part in (
        (ModelOptions, predictor.model_options, "model"),
        (TrainOptions, predictor.train_options, "train"),
    ):
        asked = kind.model_validate(config[part])
        differing = {n for n in kind.model_fields if getattr(asked, n) != getattr(made, n)}
        assert differing <= {"fusion", "rounds", "level"}


def test_data_must_be_given(run: Any, compared: Path, tmp_path: Path) -> None:
    done = run("fit", "--from", compared, "--out", tmp_path / "m")
    assert done.exit_code == 2
    assert "Missing argument 'DATA'" in done.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--method", "linear"), "must be a network or the portfolio; got method='linear', a classical model"),
        (("--method", "gradient boosting"), "gradient_boosting-seed0"),
        (("--method", "note alone (classical)"), "must be a network"),
        (("--method", "gatd"), "method must be a known name; got method='gatd'. Did you mean 'gated'"),
        (("--method", "gone"), "must have succeeded in"),
        (("--method", "gone"), "failed at seed 0: it diverged. Name another one"),
    ],
)
def test_what_cannot_be_trained_is_told(
    more: tuple[str, ...], message: str, run: Any, compared: Path, tmp_path: Path
) -> None:
    shutil.copytree(compared, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    facts["skipped"].append({"method": "gone", "reason": "failed at seed 0: it diverged."})
    (tmp_path / "run" / "results.json").write_text(json.dumps(facts), encoding="utf-8")
    done = run("fit", compared.parent / "mine.csv", "--from", tmp_path / "run", "--out", tmp_path / "m", *more)
    assert done.exit_code != 0
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "m").exists()


def test_a_method_needs_a_comparison(run: Any, files: Path, tmp_path: Path) -> None:
    done = run("fit", files / "mine.csv", "-t", "my label", "--method", "gated", "--out", tmp_path / "m")
    assert done.exit_code != 0
    assert "method must go with a comparison; got method='gated'. Add --from RUN." in " ".join(done.stderr.split())


def test_a_folder_that_is_no_run_is_told(run: Any, files: Path, tmp_path: Path) -> None:
    done = run("fit", files / "mine.csv", "--from", tmp_path, "--out", tmp_path / "m")
    assert done.exit_code != 0
    assert "must hold results.json" in " ".join(done.stderr.split())


def test_a_run_without_models_asks_for_them_or_a_schema(run: Any, compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "models")
    asked = ("fit", compared.parent / "mine.csv", "--from", tmp_path / "run", "--out", tmp_path / "m")
    done = run(*asked)
    assert done.exit_code != 0
    assert "or give --schema" in " ".join(done.stderr.split())
    assert run(*asked, "--schema", compared.parent / "schema.yaml").exit_code == 0


def test_data_without_the_columns_or_of_other_modalities_are_told(run: Any, compared: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(compared.parent / "mine.csv")
    frame.drop(columns="note").to_csv(tmp_path / "less.csv", index=False)
    frame.assign(**{"my label": range(len(frame))}).to_csv(tmp_path / "numbers.csv", index=False)
    done = run("fit", tmp_path / "less.csv", "--from", compared, "--out", tmp_path / "m")
    assert done.exit_code != 0
    assert "note" in done.stderr
    asked = ("--from", compared, "--out", tmp_path / "m", "--schema", compared.parent / "schema.yaml")
    done = run("fit", tmp_path / "less.csv", *asked)
    assert done.exit_code != 0
    assert "lacks 'note'" in " ".join(done.stderr.split())
    done = run("fit", tmp_path / "numbers.csv", *asked)
    assert done.exit_code != 0
    assert "the task must be that of" in " ".join(done.stderr.split())


def test_another_target_than_that_of_the_run_is_told_with_what_to_do(run: Any, compared: Path, tmp_path: Path) -> None:
    file = compared.parent / "mine.csv"
    done = run("fit", file, "--from", compared, "--target", "size", "--out", tmp_path / "m")
    assert done.exit_code == 2
    told = " ".join(done.stderr.split())
    had = Results.read(compared).dataset.target_names[0]
    assert f"the target must be that of the comparison {compared}, {had!r}" in told
    assert f"got target='size' of {file}" in told
    assert f"profuse compare {file} --target size --out NEW" in told
    assert "schema" not in told
    assert not (tmp_path / "m").exists()


def test_trials_are_told_and_not_taken_over(run: Any, compared: Path, tmp_path: Path) -> None:
    shutil.copytree(compared, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    facts["config"]["trials"] = 3
    (tmp_path / "run" / "results.json").write_text(json.dumps(facts), encoding="utf-8")
    done = run("fit", compared.parent / "mine.csv", "--from", tmp_path / "run", "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    assert "tried 3 configurations of it at each seed; trained is the first" in " ".join(done.stderr.split())


def test_a_comparison_of_a_named_data_set_needs_no_schema(run: Any, tmp_path: Path) -> None:
    facts: dict[str, Any] = {"modalities": {"a": "vector", "b": "vector"}, "n_rows": 100, "task": "binary"}
    facts |= dict.fromkeys(("target", "split", "licence", "source"), "")
    info = DatasetInfo(name="few", load=lambda variant, root: make_product(100), **facts)
    register("dataset", "few", info)
    what = ("--rounds", "none", "--singles", "none", "--width", 8)
    done = run("compare", "few", *QUICK, *what, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.stderr
    done = run("fit", "few", "--from", tmp_path / "run", "--method", "concat", "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    predictor = load_model(tmp_path / "m")
    assert isinstance(predictor, NetworkPredictor)
    assert (predictor.model_options.fusion, predictor.model_options.width) == ("concat", 8)
    assert predictor.train_options.epochs == 1


def test_the_portfolio_of_a_comparison_is_fitted_with_its_options_and_schema(
    run: Any, compared: Path, files: Path, tmp_path: Path
) -> None:
    shutil.copytree(compared, tmp_path / "run")
    results = Results.read(tmp_path / "run")
    config = {**results.config, "portfolio": "quick", "metric": "accuracy"}
    row = results.method("trivial").model_copy(update={"name": "portfolio", "role": "portfolio"})
    results.model_copy(update={"config": config, "methods": [*results.methods, row]}).write(tmp_path / "run")
    args = ("fit", files / "mine.csv", "--from", tmp_path / "run", "--method", "portfolio", "--folds", 2, "--jobs", 1)
    done = run(*args, "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    model = load_model(tmp_path / "m")
    assert isinstance(model, PortfolioPredictor)
    assert model.about["metric"] == "accuracy"
    assert not any("network" in m.name for m in model.members)
    assert model.schema == load_model(compared / "models" / model_folder("trivial", 0)).schema
    refused = run(*args, "--method", "linear", "--out", tmp_path / "n")
    assert "the method must be a network or the portfolio" in refused.stderr


def test_the_metric_that_chose_the_epoch_is_told_though_the_command_line_names_none(run: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"size": rng.normal(size=80), "age": rng.normal(size=80)})
    table["price"] = table["size"] + table["age"] + 0.1 * rng.normal(size=80)
    table.to_csv(tmp_path / "t.csv", index=False)
    one = ("--time-limit", "none", "--questions", "none", "--no-profile", "--rounds", "none")
    args = ("compare", tmp_path / "t.csv", "-t", "price", *QUICK, "--width", 8, *one, "--out", tmp_path / "run")
    done = run(*args, "--metric", "mae")
    assert done.exit_code == 0, done.stderr
    chosen = ("--from", tmp_path / "run", "--method", "table only")
    done = run("fit", tmp_path / "t.csv", *chosen, "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    assert ", chosen by mean absolute error, " in done.stdout


def test_where_the_report_says_to_use_another_method_than_is_trained_a_note_tells_it(
    run: Any, compared: Path, tmp_path: Path
) -> None:
    results = Results.read(compared)
    advised = recommended(results, summarise(results))
    assert advised not in (None, summarise(results).verdict.fusion)  # one epoch of a fusion beats nothing
    called = labels_of(results)[str(advised)]
    args = ("fit", compared.parent / "mine.csv", "--from", compared, "--out", tmp_path / "m")
    said = run(*args)
    assert f"its report says to use {called!r}" in " ".join(said.stderr.split()), said.stderr
    named = run(*args, "--method", "hybrid concat")
    assert named.exit_code == 0, named.stderr
    assert "its report says" not in named.stderr
