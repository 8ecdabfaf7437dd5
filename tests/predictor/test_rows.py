"""Every door gives new rows the meaning that they had in training: estimator, predictor, file, command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from profuse import FusionClassifier, load_model
from profuse.cli import app
from profuse.predictor import Predictor

N = 48
LABELS = np.array(["01", "02", "1.0"] * (N // 3), dtype=object)
X = pd.DataFrame(
    {
        "code": ["1.10", "1.1", "01", "2.0"] * (N // 4),
        "price": [f"{i % 9 + 1}.{i:03d},50" for i in range(N)],
        "day": [f"{1 + i % 28:02d}.{1 + i % 12:02d}.20{10 + i % 9:02d}" for i in range(N)],
        "area": np.random.default_rng(0).normal(size=N).round(3),
        "kind": ["flat", "NA", "Flat ", "null"] * (N // 4),
    }
)
SCHEMA = {"columns": {"code": "category"}, "merge_spellings": ["kind"], "missing": {"kind": ["null"]}}


class Fitted(NamedTuple):
    model: FusionClassifier
    loaded: Predictor
    folder: Path
    expected: np.ndarray


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    folder = tmp_path_factory.mktemp("rows")
    model = FusionClassifier(epochs=1, schema=SCHEMA, random_state=0).fit(X, LABELS)
    model.save(folder / "model")
    return Fitted(model, load_model(folder / "model"), folder, model.predict_proba(X))


def file(name: str, write: Callable[[Path], Any]) -> Callable[[Fitted], Any]:
    def rows(fitted: Fitted) -> Path:
        write(fitted.folder / name)
        return fitted.folder / name

    return rows


ROWS: dict[str, Callable[[Fitted], Any]] = {
    "a frame": lambda _: X,
    "a frame with other labels of rows": lambda _: X.set_axis(range(100, 100 + N)),
    "columns in another order": lambda _: X[X.columns[::-1]],
    "a column more": lambda _: X.assign(more="x"),
    "a target that is rubbish": lambda _: X.assign(target=np.array(["?", None, "7"] * (N // 3), dtype=object)),
    "categories by type": lambda _: X.astype({"code": "category", "kind": "category"}),
    "text by type": lambda _: X.astype("string"),
    "a dict": lambda _: {"table": X},
    "a dict with text by type": lambda _: {"table": X.astype("string")},
    "a CSV file": file("rows.csv", lambda path: X.to_csv(path, index=False)),
    "a CSV file with semicolons": file("semicolons.csv", lambda path: X.to_csv(path, sep=";", index=False)),
    "a TSV file": file("rows.tsv", lambda path: X.to_csv(path, sep="\t", index=False)),
    "JSON lines": file("rows.jsonl", lambda path: X.to_json(path, orient="records", lines=True)),
    "Parquet": file("rows.parquet", lambda path: X.to_parquet(path)),
}


@pytest.mark.filterwarnings("ignore::profuse.errors.ProfuseWarning")
@pytest.mark.parametrize("who", ["model", "loaded"])
@pytest.mark.parametrize("rows", ROWS)
def test_rows_are_predicted_alike_however_they_are_given(fitted: Fitted, rows: str, who: str) -> None:
    given = ROWS[rows](fitted)
    if who == "model" and isinstance(given, Path):
        given = fitted.model.predictor_.read(given)
    np.testing.assert_array_equal(getattr(fitted, who).predict_proba(given), fitted.expected)


@pytest.mark.parametrize("row", range(4))
@pytest.mark.parametrize("door", ["a frame", "a dict", "a file"])
def test_a_row_alone_is_read_as_among_others(fitted: Fitted, door: str, row: int) -> None:
    alone = X.iloc[[row]]
    alone.to_csv(fitted.folder / "alone.csv", index=False)
    given = {"a frame": alone, "a dict": {"table": alone}, "a file": fitted.folder / "alone.csv"}[door]
    made = fitted.loaded.encode(fitted.loaded.read(given))["table"].values
    every = fitted.loaded.encode(fitted.loaded.read(X))["table"].values
    np.testing.assert_array_equal(made, every[[row]])


MEASURED: dict[str, Callable[[Fitted], tuple[Any, Any]]] = {
    "a file that names it otherwise": lambda f: (f.folder / "labelled.csv", "label"),
    "a frame that names it otherwise": lambda _: (X.assign(label=LABELS), "label"),
    "a frame with the name of training": lambda _: (X.assign(target=LABELS), None),
    "a dict and values": lambda _: ({"table": X}, LABELS),
    "a file and values": lambda f: (f.folder / "labelled.csv", LABELS),
}


@pytest.mark.filterwarnings("ignore::profuse.errors.ProfuseWarning")
@pytest.mark.parametrize("rows", MEASURED)
def test_rows_are_measured_and_asked_alike_wherever_the_target_stands(fitted: Fitted, rows: str) -> None:
    X.assign(label=LABELS).to_csv(fitted.folder / "labelled.csv", index=False)
    given, target = MEASURED[rows](fitted)
    assert fitted.loaded.evaluate(given, target=target) == fitted.model.predictor_.evaluate(X, target=LABELS)
    asked = fitted.loaded.ask("calibration", given, target=target)
    assert asked.estimates == fitted.loaded.ask("calibration", X, target=LABELS).estimates


def test_the_command_predicts_what_the_estimator_does(fitted: Fitted) -> None:
    X.assign(more=1, target="?")[["target", "more", *X.columns[::-1]]].to_csv(fitted.folder / "new.csv", index=False)
    out = fitted.folder / "out.csv"
    done = CliRunner().invoke(
        app, ["predict", str(fitted.folder / "model"), str(fitted.folder / "new.csv"), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    made = pd.read_csv(out, dtype={"prediction": str})
    assert made["prediction"].tolist() == fitted.model.predict(X).tolist()
    np.testing.assert_allclose(made.filter(like="prob_"), fitted.expected, rtol=1e-6)
