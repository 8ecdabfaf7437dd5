"""A column may bear any name: it is learned from, saved, loaded and predicted with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from profuse import FusionClassifier

pytestmark = pytest.mark.slow

NAMES = [
    "", " ", "target", "table", "split", "a.b", "a/b", "../up", "a\\b", "a\nb", "\x1b[31m", "😀", "e\u0301", "x" * 3000,
    7, 1.5, True, ("a", "b"), "keys", "forward", "_modules", "training", "CON", "<b>x</b>", "{{ x }}", "%s", "row",
]  # fmt: skip
ALIKE = {" ", "a/b", "a\\b", "\x1b[31m", "e\u0301", 1.5, True, "forward", "training", "CON", "<b>x</b>", "%s"}
N = 30
TEXTS = [f"{word} words stand in row {i}" for i, word in enumerate(["some", "few", "more"] * (N // 3))]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in ALIKE else []) for n in NAMES],
    ids=lambda n: repr(n)[:20].encode("ascii", "backslashreplace").decode(),
)
def test_a_column_may_bear_any_name(name: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.choice(["p", "q"], N)
    columns = {"a modality": [rng.normal(size=N), TEXTS], "of a table": [TEXTS, rng.normal(size=N)]}
    for number, (first, second) in enumerate(columns.values()):
        X = pd.concat([pd.Series(first), pd.Series(second)], axis=1)
        X.columns = pd.Index(["other", name], tupleize_cols=False)
        model = FusionClassifier(fusion="concat", width=8, members=1, epochs=1).fit(X, y)
        model.save(tmp_path / str(number))
        again = FusionClassifier.load(tmp_path / str(number))
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    X[X.columns[1]] = y
    told = {"target": {"columns": [str(name)]}}
    model = FusionClassifier(fusion="concat", width=8, members=1, epochs=1, schema=told).fit(X)
    assert set(model.classes_) == {"p", "q"}
