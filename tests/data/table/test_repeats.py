"""Rows of a second table that stand in the first one, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import opened

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.table.cells import object_array
from profuse.data.table.repeats import repeated_rows


def few(n: int, seed: int, numbers: str) -> Dataset:
    """Rows of so few values that many are equal; every modality is missing here and there."""
    rng = np.random.default_rng(seed)
    there = {name: rng.random(n) > 0.2 for name in ("table", "vector", "text", "series")}
    table = pd.DataFrame({
        "number": rng.integers(0, 2, n).astype(numbers),
        "word": rng.choice(np.array(["a", "b", None], dtype=object), n),
        "time": pd.to_datetime(rng.choice(["2024-01-01", "2024-01-02"], n)),
    })  # fmt: skip
    table.loc[~there["table"]] = None
    vector = np.where(there["vector"], rng.choice([0.5, np.nan], n), np.nan)[:, None] * [1.0, 2.0]
    text = object_array([rng.choice(["x", "y"]) if p else "" for p in there["text"]])
    series = object_array([np.zeros((int(rng.integers(1, 3)), 1), dtype=np.float32) for _ in range(n)])
    values = {"table": table, "vector": vector, "text": text, "series": series}
    return Dataset("few", {k: ModalityData(k, values[k], there[k]) for k in values}, None, "binary")


def same(a: ModalityData, i: int, b: ModalityData, j: int) -> bool:
    """Whether two rows of a modality are equal, cell by cell."""
    if not (a.present[i] and b.present[j]):
        return bool(a.present[i] == b.present[j])
    if a.kind == "table":
        cells = zip(a.values.iloc[i], b.values.iloc[j], strict=True)
        return all((pd.isna(x) and pd.isna(y)) or x == y for x, y in cells)
    if a.kind == "text":
        return bool(a.values[i] == b.values[j])
    return np.array_equal(a.values[i], b.values[j], equal_nan=True)


@pytest.mark.parametrize("numbers", ["int64", "float64", "object"])
def test_they_are_those_that_a_comparison_of_all_pairs_finds(numbers: str) -> None:
    known, new = few(60, 0, "float64"), few(40, 1, numbers)
    names = list(known.modalities)
    expected = [
        j
        for j in range(40)
        if any(all(same(known.modalities[m], i, new.modalities[m], j) for m in names) for i in range(60))
    ]
    assert 5 < len(expected) < 35
    assert repeated_rows(known, new).tolist() == expected


def test_a_test_file_with_rows_of_the_training_file_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.integers(0, 10**6, 40), "x": rng.normal(size=40), "y": ["a", "b"] * 20})
    frame["text"] = [f"some words about {i} things" for i in range(40)]
    frame.to_csv(tmp_path / "train.csv", index=False)
    test = frame.iloc[[30, 7, 8, 3]].assign(y=["b", "a", "b", "a"])  # another target makes no other row
    test["x"] += [0.0, 0.0, 0.5, 0.0]
    test.astype({"n": float}).to_csv(tmp_path / "test.csv", index=False)
    data, _ = opened(tmp_path / "train.csv", target="y", test=tmp_path / "test.csv")
    (note,) = [n for n in data.notes if n.startswith("test.csv: ")]
    assert "3 rows (0, 1, 3; counted from 0) of 4" in note
    frame.assign(x=rng.normal(size=40)).to_csv(tmp_path / "other.csv", index=False)
    data, _ = opened(tmp_path / "train.csv", target="y", test=tmp_path / "other.csv")
    assert not [n for n in data.notes if n.startswith("other.csv: ")]
