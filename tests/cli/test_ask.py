"""`profuse ask`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from forks import Forks

import profuse
from profuse.inspect import QUESTIONS, ask, question


@pytest.fixture(scope="module")
def model(run: Any, files: Path) -> Path:
    """A saved classifier of `my label`."""
    out = files / "asked"
    done = run(
        "fit",
        files / "mine.csv",
        "--schema",
        files / "schema.yaml",
        "--out",
        out,
        "--network",
        "--epochs",
        4,
        "--width",
        8,
    )
    assert done.exit_code == 0, done.stderr
    return out


OPTIONS: dict[str, dict[str, Any]] = {"audit": {"least": 5}}
"""What 30 rows need."""


@pytest.mark.slow
@pytest.mark.parametrize("name", list(QUESTIONS))
def test_every_question_is_answered_as_in_python(name: str, model: Path, run: Any, files: Path) -> None:
    options = OPTIONS.get(name, {})
    given = [text for option, value in options.items() for text in ("--set", f"{option}={value}")]
    done = run("ask", model, files / "test.csv", name, "--seed", 3, *given, "--json")
    assert done.exit_code == 0, done.stderr
    answer = ask(profuse.load_model(model), files / "test.csv", name, seed=3, **options)
    assert done.stdout == answer.to_json() + "\n"
    shown = run("ask", model, files / "test.csv", name, "--seed", 3, *given)
    assert shown.exit_code == 0, shown.stderr
    assert all(f"{e.value:.4f}" in shown.stdout for e in answer.estimates)
    assert all(note in shown.stderr for note in answer.notes)
    assert (f"residual: {answer.residual or 0:.4f}" in shown.stdout) == (answer.residual is not None)


@pytest.mark.slow
def test_options_and_the_metric_reach_the_question(model: Path, run: Any, files: Path) -> None:
    options = ("--set", "rates=0.2,0.4", "--set", "n_resamples=50", "--metric", "log_loss")
    found = json.loads(run("ask", model, files / "test.csv", "missing", *options, "--json").stdout)
    assert [e["name"] for e in found["estimates"]] == ["rate 0.2", "rate 0.4"]
    assert found["metric"] == "log_loss"
    assert any("50 bootstrap samples" in note for note in found["notes"])
    one = json.loads(run("ask", model, files / "test.csv", "noise", "--set", "modalities=[note]", "--json").stdout)
    assert {tuple(e["modalities"]) for e in one["estimates"]} == {("note",)}


def test_groups_are_columns_of_the_file_that_the_model_need_not_see(
    model: Path, run: Any, files: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(files / "test.csv")
    table = pd.concat([table] * 4, ignore_index=True).assign(**{"row id": range(4 * len(table))})
    rng = np.random.default_rng(0)
    side = np.where(rng.random(len(table)) < 0.5, "left", "right")
    wrong = {"big": "small", "small": "big"}
    label = table["my label"]
    table.assign(side=side, **{"my label": label.where(side == "left", label.map(wrong))}).to_csv(
        tmp_path / "rows.csv", index=False
    )
    args = ("ask", model, tmp_path / "rows.csv", "audit", "--metric", "accuracy")
    done = run(*args, "--group", "side", "--group", "colour")
    assert done.exit_code == 0, done.stderr
    assert "* shown after correction" in done.stdout
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    found = json.loads(run(*args, "--group", "side", "--json").stdout)
    assert found["estimates"][0]["name"] == "side=right"
    assert set(found["shown"]) >= {"side=left", "side=right"}
    same = json.loads(run(*args, "--set", "group=side", "--json", "--out", tmp_path / "audit.csv").stdout)
    assert same == found
    written = pd.read_csv(tmp_path / "audit.csv")
    assert written.set_index("name").loc["side=left", "shown"]
    assert not written.set_index("name").loc["side: best less worst", "shown"]


@pytest.mark.parametrize("name", ["answer.csv", "answer.json"])
def test_the_answer_is_written(name: str, model: Path, run: Any, files: Path, tmp_path: Path) -> None:
    done = run("ask", model, files / "test.csv", "importance", "--out", tmp_path / name)
    assert done.exit_code == 0, done.stderr
    assert f"Answer: {tmp_path / name}" in done.stdout
    answer = ask(profuse.load_model(model), files / "test.csv", "importance")
    if name.endswith(".json"):
        assert json.loads((tmp_path / name).read_text(encoding="utf-8")) == json.loads(answer.to_json())
    else:
        pd.testing.assert_frame_equal(
            pd.read_csv(tmp_path / name, keep_default_na=False)[["name", "value", "n"]],
            answer.frame()[["name", "value", "n"]],
        )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("importence",), "question must be a known name; got question='importence'. Did you mean 'importance'"),
        (("importance", "--metric", "r2"), "importance: metric must be a known name; got metric='r2'"),
        (("importance", "--set", "rates=0.1"), "importance has the options metric, seed, n_resamples; got 'rates'"),
        (("missing", "--set", "rates=a,b"), "rates of missing should be"),
        (("missing", "--set", "rates"), "must be OPTION=VALUE"),
        (("missing", "--set", "rates=[0.1"), "the value must be YAML"),
        (("missing", "--set", "seed=3"), "must be OPTION=VALUE"),
        (("calibration", "--metric", "auroc"), "calibration: metric must be 'ece'"),
        (("importance", "--group", "colour"), "importance has the options metric, seed, n_resamples; got 'group'"),
        (("audit", "--group", "colour", "--set", "group=note"), "must not go with --set group="),
        (
            ("importance", "--retrain", "mine.csv"),
            "importance has the options metric, seed, n_resamples; got 'retrain'",
        ),
        (("missing", "--retrain", "nosuch.csv"), "the file must exist; got 'nosuch.csv'"),
        (("audit", "--group", "color"), "audit: group must be a known name; got group='color'. Did you mean 'colour'"),
        (("audit", "--group", "my label"), "group must not be the target"),
        (("importance", "--out", "nosuch/answer.csv"), "there is no folder"),
    ],
)
def test_what_cannot_be_asked_is_one_message(
    args: tuple[str, ...], message: str, model: Path, run: Any, files: Path
) -> None:
    done = run("ask", model, files / "test.csv", *args)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert done.stdout == ""


@pytest.mark.slow
def test_a_model_loaded_in_another_process_is_fitted_anew_as_it_was(model: Path, files: Path, forks: Forks) -> None:
    more = ("--set", "rates=0.3", "--retrain", files / "mine.csv", "--json")
    done = forks.run("ask", model, files / "test.csv", "missing", *more)
    assert done.returncode == 0, done.stderr
    lines = {e["name"]: e for e in json.loads(done.stdout)["estimates"]}
    used = profuse.load_model(model).modalities
    assert {f"without {name}, retrained" for name in used} <= set(lines)
    assert lines["all, retrained"]["value"] == 0  # the same rows, options and seed


def test_rows_without_the_target_are_told(model: Path, run: Any, files: Path, tmp_path: Path) -> None:
    pd.read_csv(files / "test.csv").drop(columns="my label").to_csv(tmp_path / "new.csv", index=False)
    done = run("ask", model, tmp_path / "new.csv", "importance", "--out", tmp_path / "answer.csv")
    assert done.exit_code == 2
    assert "my label" in done.stderr
    assert not (tmp_path / "answer.csv").exists()


def test_the_row_with_the_surest_error_is_that_of_the_target_in_the_file(model: Path, run: Any, files: Path) -> None:
    surest = json.loads(run("ask", model, files / "test.csv", "errors", "--json").stdout)["details"]["surest"][0]
    found = json.loads(run("ask", model, files / "test.csv", "row", "--json").stdout)["details"]
    assert found["row"] == surest["row"]
    assert found["truth"] == surest["truth"]


def test_help_lists_the_questions_and_loads_no_torch() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom profuse.cli import app\n"
        "print(CliRunner().invoke(app, ['ask', '--help'], env={'COLUMNS': '200'}).stdout)\n"
        "print(bool({'torch', 'scipy', 'numpy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "False"
    plain = " ".join(said.split())
    for name in QUESTIONS:
        assert f"{name}: {question(name).description}" in plain


def test_a_page_is_written_and_a_row_needs_no_target(model: Path, run: Any, files: Path, tmp_path: Path) -> None:
    table = pd.read_csv(files / "test.csv")
    table.drop(columns=["my label"]).to_csv(tmp_path / "new.csv", index=False)
    done = run("ask", model, tmp_path / "new.csv", "row", "--id", "r1-1", "--out", tmp_path / "row.html")
    assert done.exit_code == 0, done.stderr
    page = (tmp_path / "row.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<mark " in page  # of the texts
    refused = run("ask", model, tmp_path / "new.csv", "importance")
    assert refused.exit_code != 0
    assert "'my label'" in refused.stderr
