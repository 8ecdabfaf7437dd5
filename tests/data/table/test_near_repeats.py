"""Rows that nearly repeat others are found by what they hold, and chance is not taken for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables import opened

from profuse import from_tensors
from profuse.data.dataset import Dataset
from profuse.data.table.near_repeats import near_repeats

RNG = np.random.default_rng(0)
TEXTS = [f"The {a} cat sat on mat {i}" for i, a in enumerate(["red", "big", "old", "new", "shy"] * 60)]
TABLE = pd.DataFrame(RNG.normal(size=(300, 6)), columns=list("abcdef"))
PICTURES = RNG.integers(0, 256, (300, 20, 18, 3), dtype=np.uint8)
SERIES = np.cumsum(RNG.normal(size=(300, 40, 2)), axis=1)
VECTORS = RNG.normal(size=(300, 64))


def made(values: Any) -> Dataset:
    return from_tensors({"x": list(values) if isinstance(values, list) else values})


CHANGES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "a full stop": (TEXTS, lambda t: [f"{v}." for v in t]),
    "case": (TEXTS, lambda t: [v.upper() for v in t]),
    "blanks": (TEXTS, lambda t: [f" {v.replace(' ', '  ')}\u00a0" for v in t]),
    "signs": (TEXTS, lambda t: [v.replace(" ", ", ") + "!" for v in t]),
    "rounded": (TABLE, lambda t: t.round(1)),
    "float32": (TABLE, lambda t: t.astype(np.float32)),
    "saved anew": (PICTURES, lambda p: np.clip(p.astype(int) + RNG.integers(-2, 3, p.shape), 0, 255).astype(np.uint8)),
    "series rounded": (SERIES, lambda s: s.round(1)),
    "vectors rounded": (VECTORS, lambda v: v.round(1)),
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("n", [3, 100])
def test_rows_that_were_changed_a_little_are_found_and_others_not(how: str, n: int) -> None:
    values, change = CHANGES[how]
    head, tail = (values.iloc if isinstance(values, pd.DataFrame) else values)[:200], values[200:]
    near = change(values[:n])
    new: Any
    if isinstance(values, list):
        new = [*near, *tail]
    else:
        new = pd.concat([near, tail]) if isinstance(values, pd.DataFrame) else np.concatenate([near, tail])
    assert near_repeats(made(head), made(new)).tolist() == list(range(n))
    assert len(near_repeats(made(head), made(tail))) == 0


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=(300, 1)),
        RNG.normal(size=(300, 2)),
        RNG.normal(size=(300, 1)) * np.arange(1, 9),
        RNG.normal(size=(300, 2)) @ RNG.normal(size=(2, 30)),
        np.stack([np.sin(np.arange(300) / 50), np.cos(np.arange(300) / 50)], axis=1),
        RNG.integers(0, 4, (300, 2)).astype(float),
    ],
    ids=["one", "two", "one in eight", "two in thirty", "a circle", "whole numbers"],
)
def test_rows_that_are_near_by_chance_are_not_told(values: np.ndarray) -> None:
    rows = RNG.permutation(300)
    assert len(near_repeats(made(values[rows[:240]]), made(values[rows[240:]]))) == 0


def test_every_modality_must_repeat_and_categories_of_few_words_say_nothing() -> None:
    both: dict[str, Any] = {"text": TEXTS, "table": TABLE}
    known = from_tensors({k: v[:200] for k, v in both.items()})
    stop = [f"{t}." for t in TEXTS[:50]]
    assert near_repeats(known, from_tensors({"text": stop, "table": TABLE[:50].round(2)})).tolist() == list(range(50))
    assert len(near_repeats(known, from_tensors({"text": stop, "table": TABLE[50:100].reset_index(drop=True)}))) == 0
    assert len(near_repeats(known, from_tensors({"text": TEXTS[50:100], "table": TABLE[:50]}))) == 0
    short = ["good", "bad", "fine"] * 60
    assert len(near_repeats(made(short), made([f"{t}." for t in short]))) == 0


def test_a_test_file_of_near_repeats_is_told(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "size": TABLE["a"], "y": ["p", "q", "q"] * 100})
    frame[:200].to_csv(tmp_path / "a.csv", index=False)
    new = frame[150:250].reset_index(drop=True)
    new.loc[:19, "text"] += "."
    new.to_csv(tmp_path / "b.csv", index=False)
    dataset, _ = opened(tmp_path / "a.csv", target="y", test=tmp_path / "b.csv")
    equal, near = [n for n in dataset.notes if "to a training row" in n]
    assert equal.startswith("b.csv: equal to a training row in every modality: 30 rows (20, 21,")
    assert near.startswith("b.csv: nearly equal to a training row in every modality (words but for case")
    assert "20 rows (0, 1, 2, 3, 4, ...; counted from 0) of 100" in near
