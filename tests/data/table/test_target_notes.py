"""Notes on targets of numbers: few rows that squared errors hang on."""

from __future__ import annotations

import numpy as np
import pytest

from profuse.data.table.cell_notes import target_notes

RNG = np.random.default_rng(0)


def test_one_row_that_holds_what_all_vary_is_named() -> None:
    y = RNG.normal(size=300)
    y[17] = 1e9
    (note,) = target_notes(y, "regression", ["price"])
    assert note.startswith("Target 'price': 1 row (17; counted from 0) holds 100 % of all squared differences")
    assert "--metric mae" in note


def test_only_as_many_rows_are_named_as_hold_half_and_of_the_column_that_they_stand_in() -> None:
    y = RNG.normal(size=(1000, 2))
    y[[3, 700, 20], 1] = [900.0, -900.0, 200.0]
    (note,) = target_notes(y, "regression", ["a", "b"])
    assert note.startswith("Target 'b': 2 rows (3, 700; counted from 0) hold 98 %")


@pytest.mark.parametrize(
    "y",
    [
        RNG.normal(size=300),
        RNG.gamma(0.5, 10, 1000),
        np.repeat([0.0, 50.0], [285, 15]),  # one in twenty
        np.append(np.zeros(60), 1e6),  # too few rows to tell what is rare
    ],
    ids=["normal", "skewed", "rare", "few"],
)
def test_what_many_rows_hold_is_not_told(y: np.ndarray) -> None:
    assert target_notes(y, "regression", ["price"]) == []
