"""A small table on disk, and the command line in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from profuse.cli import app

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs `profuse` with the arguments given."""

    def run(*args: object) -> Result:
        return CliRunner().invoke(app, [str(a) for a in args])

    return run


def make_table(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    price = rng.normal(size=n)
    word = np.array(["alpha beta gamma", "delta epsilon zeta"])[rng.integers(0, 2, n)]
    return pd.DataFrame({
        "row id": [f"r{seed}-{i}" for i in range(n)],
        "unit price": price,
        "colour": rng.choice(["red", "blue", "green"], n),
        "note": [f"{w} {rng.choice(['one', 'two', 'three'])} x{i}" for i, w in enumerate(word)],
        "my label": np.where(price > 0, "big", "small"),
        "high, or low": price * 2 + 1,
        "day": pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d"),
        "shop": rng.choice(["s1", "s2", "s3", "s4", "s5", "s6"], n),
    })  # fmt: skip


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mine.csv (90 rows), test.csv (30 others) and a schema."""
    folder = tmp_path_factory.mktemp("files")
    make_table(90, 0).to_csv(folder / "mine.csv", index=False)
    make_table(30, 1).to_csv(folder / "test.csv", index=False)
    (folder / "schema.yaml").write_text(
        'ignore: ["high, or low", day, shop]\ntarget: {columns: [my label]}\n', encoding="utf-8"
    )
    return folder
