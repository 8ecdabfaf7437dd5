"""The same rows by every door (frames of several types, text files, JSON lines, Parquet, a database): one answer."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from profuse import FusionClassifier
from profuse.predictor import load_model

N = 48


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "roof": rng.choice(["None", "NA", "slate", "null"], N),
            "lift": rng.choice([True, False], N),
            "floors": rng.integers(1, 6, N).astype(float),
            "area": rng.normal(size=N).round(3),
            "zone": [f"{i % 7:02d}" for i in range(N)],
            "built": [f"2{i % 9:03d}-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(N)],
            "price": [f"{i}.{i * 7 % 1000:03d},50" for i in range(1, N + 1)],
            "grade": rng.choice(["1", "2", "3"], N),
        }
    )
    for row, column in enumerate(["roof", "floors", "area", "built", "price"], start=3):
        frame.loc[row, column] = None
    return frame


def _database(frame: pd.DataFrame) -> pd.DataFrame:
    connection = sqlite3.connect(":memory:")
    frame.to_sql("t", connection, index=False)
    return pd.read_sql("select * from t", connection)


def _decimal(value: float) -> Decimal | None:
    return None if pd.isna(value) else Decimal(str(value))


FRAMES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "database": _database,
    "decimals": lambda f: f.assign(
        area=f["area"].map(lambda v: None if pd.isna(v) else Decimal(str(v))).astype(object)
    ),
    "arrow": lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
    "nullable": lambda f: f.convert_dtypes(),
    "objects": lambda f: f.astype(object).where(f.notna(), None),
    "0 and 1": lambda f: f.assign(lift=f["lift"].astype(int)),
    "categories": lambda f: f.assign(roof=f["roof"].astype("category"), lift=f["lift"].astype("category")),
    "words": lambda f: f.astype("str").where(f.notna(), "nan"),
}
FILES: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "commas.csv": lambda f, path: f.to_csv(path, index=False),
    "semicolons.csv": lambda f, path: f.to_csv(path, index=False, sep=";"),
    "tabs.tsv": lambda f, path: f.to_csv(path, index=False, sep="\t"),
    "packed.csv.gz": lambda f, path: f.to_csv(path, index=False),
    "excel.csv": lambda f, path: f.to_csv(path, index=False, sep="\t", encoding="utf-16"),
    "unknown.csv": lambda f, path: f.to_csv(path, index=False, na_rep="#N/A"),
    "lines.jsonl": lambda f, path: f.to_json(path, orient="records", lines=True),
    "table.parquet": lambda f, path: f.to_parquet(path),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[FusionClassifier, Path, np.ndarray]:
    frame, home = rows(), tmp_path_factory.mktemp("doors")
    y = np.where((frame["roof"] == "None") | (frame["area"] > 0.5), "cheap", "dear")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = FusionClassifier(fusion="concat", width=8, epochs=2, random_state=0).fit(frame, y)
    assert any("'None' in" in str(w.message) and "count as words, not as missing" in str(w.message) for w in caught)
    model.save(home / "model")
    return model, home, model.predict_proba(frame)


@pytest.mark.parametrize("door", FRAMES)
def test_the_same_rows_in_a_frame_of_other_types_are_answered_alike(
    trained: tuple[FusionClassifier, Path, np.ndarray], door: str
) -> None:
    model, _, expected = trained
    assert np.array_equal(model.predict_proba(FRAMES[door](rows())), expected)


@pytest.mark.parametrize("door", FILES)
@pytest.mark.parametrize("alone", [False, True])
def test_the_same_rows_in_a_file_are_answered_alike_together_and_alone(
    trained: tuple[FusionClassifier, Path, np.ndarray], door: str, alone: bool
) -> None:
    _, home, expected = trained
    model = load_model(home / "model")
    for at in [slice(0, 1), slice(4, 5), slice(12, 13)] if alone else [slice(None)]:
        FILES[door](rows().iloc[at], home / door)
        got = model.predict_proba(model.read(home / door))
        assert got == pytest.approx(expected[at], abs=1e-6)
