"""`--subgroup`: a column of groups none of which may be served worse, from the command line to the saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from profuse import load_model
from profuse.predictor import NetworkPredictor

pytestmark = pytest.mark.usefixtures("few_classical")
N = 80
FEW = ("--epochs", 2, "--width", 8)
ASKED = ("--subgroup", "sex", "--subgroup-method")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grouped")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"size": rng.normal(size=N), "age": rng.normal(size=N), "sex": np.where(np.arange(N) % 3, "f", "m")}
    )
    table["ill"] = np.where(table["size"] + rng.normal(size=N) > 0, "yes", "no")
    table.to_csv(folder / "mine.csv", index=False)
    table.drop(columns="sex").to_csv(folder / "new.csv", index=False)
    gaps = table.copy()
    gaps.loc[[4, 9], "sex"] = None
    gaps.to_csv(folder / "gaps.csv", index=False)
    (folder / "input.yaml").write_text("modalities: {all: {columns: [size, age, sex]}}\n", encoding="utf-8")
    return folder


def inputs_of(folder: Path) -> list[str]:
    model = load_model(folder)
    assert isinstance(model, NetworkPredictor)
    assert model.schema is not None
    assert model.schema.subgroup == "sex"
    assert model.train_options.subgroup_method == "dro"
    return [c for m in model.schema.modalities.values() for c in m.columns]


def test_the_column_is_no_input_and_new_rows_need_none(run: Any, files: Path, tmp_path: Path) -> None:
    done = run("fit", files / "mine.csv", "-t", "ill", "--network", *FEW, *ASKED, "dro", "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "Training weighs groups by their loss (GroupDRO), of sex=f, sex=m; the epoch is chosen by" in said
    assert sorted(inputs_of(tmp_path / "m")) == ["age", "size"]
    answers = [run("predict", tmp_path / "m", files / name).stdout for name in ("new.csv", "mine.csv")]
    assert answers[0].startswith("row,prediction,")
    assert answers[0] == answers[1]


def test_the_column_is_an_input_where_a_modality_names_it(run: Any, files: Path, tmp_path: Path) -> None:
    args = ("-t", "ill", "--schema", files / "input.yaml", "--network", *FEW, *ASKED, "dro", "--out", tmp_path / "m")
    done = run("fit", files / "mine.csv", *args)
    assert done.exit_code == 0, done.stderr
    assert sorted(inputs_of(tmp_path / "m")) == ["age", "sex", "size"]


@pytest.mark.slow
def test_a_comparison_has_it_and_fit_takes_it_over(run: Any, files: Path, tmp_path: Path) -> None:
    args = ("--seeds", 1, "--rounds", "none", *FEW, "--jobs", 1, "--no-retrain-without")
    done = run("compare", files / "mine.csv", "-t", "ill", *ASKED, "dro", *args, "--out", tmp_path / "c")
    assert done.exit_code == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "Classical models learn with weights that make groups count alike." in said
    assert "No portfolio is compared: subgroup_method must go with a single model" in said
    done = run("fit", files / "mine.csv", "--from", tmp_path / "c", "--method", "table only", "--out", tmp_path / "m")
    assert done.exit_code == 0, done.stderr
    assert sorted(inputs_of(tmp_path / "m")) == ["age", "size"]


@pytest.mark.parametrize(
    ("command", "file", "args", "message"),
    [
        ("fit", "mine", (*ASKED, "dro"), "subgroup_method must go with a single model"),
        ("fit", "mine", ("--network", *ASKED[:2]), "got subgroups without a method"),
        ("fit", "mine", ("--network", "--subgroup-method", "dro"), "got no subgroups"),
        (
            "fit",
            "gaps",
            ("--network", *ASKED, "dro"),
            "subgroups in column 'sex' must stand in every row; empty in 2 rows",
        ),
        ("fit", "mine", ("--network", "--subgroup", "sexx", "--subgroup-method", "dro"), "subgroup: no column 'sexx'"),
        (
            "fit",
            "mine",
            ("--network", "--subgroup", "ill", "--subgroup-method", "dro"),
            "subgroup: 'ill' is the target",
        ),
        ("compare", "mine", ASKED[:2], "got subgroups without a method"),
        ("compare", "mine", (*ASKED, "dro", "--portfolio", "quick"), "must go with a single model"),
    ],
)
def test_what_cannot_be_is_told(
    run: Any, files: Path, tmp_path: Path, command: str, file: str, args: tuple[str, ...], message: str
) -> None:
    done = run(command, files / f"{file}.csv", "-t", "ill", *args, *FEW, "--out", tmp_path / "m")
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "m").exists()
