"""Columns that may name what rows belong to are told, and no others."""

import numpy as np
import pandas as pd
import pytest

from profuse.data.table.infer import infer
from profuse.schema import Schema

N = 120


def _notes(name: str, values: object, **schema: object) -> list[str]:
    frame = pd.DataFrame({name: values, "size": np.linspace(0.5, 9.7, N) ** 2})
    return [n for n in infer(frame, Schema(**schema)).notes if "belong" in n]


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("patient", [f"P{i // 2}" for i in range(N)], "60 categories in 120 rows"),
        ("patient no", [f"P{i // 3}" for i in range(N)], '--split-column "patient no"'),
        ("shop_id", [i % 7 for i in range(N)], "7 different numbers in 120 rows"),
        ("shop_id", [None, *(i % 40 for i in range(1, N))], "40 different numbers in 119 rows"),
    ],
)
def test_values_of_few_rows_each_are_told_as_groups(name: str, values: object, told: str) -> None:
    (note,) = _notes(name, values)
    assert note.startswith(f"Column {name!r}:")
    assert told in note


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ward", [f"W{i % 19}" if i < 80 else None for i in range(N)]),  # levels of a factor
        ("town", [f"T{i % 20}" for i in range(N)]),  # six rows each
        ("count", [i % 7 for i in range(N)]),
        ("shop_id", [i % 7 + 0.5 for i in range(N)]),
        ("id", [f"a{i}" for i in range(N)]),
    ],
)
def test_other_columns_are_not_told_as_groups(name: str, values: object) -> None:
    assert _notes(name, values) == []


@pytest.mark.parametrize(
    "schema",
    [
        {"split": {"column": "patient"}},
        {"ignore": ["patient"]},
        {"columns": {"patient": "category"}},
        {"new_categories": ["patient"]},
        {"subgroup": "patient"},
    ],
)
def test_a_column_that_the_schema_decides_on_is_not_told_as_groups(schema: dict[str, object]) -> None:
    assert _notes("patient", [f"P{i // 2}" for i in range(N)], **schema) == []
