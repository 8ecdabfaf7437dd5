"""What is prepared of rows before anything is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from profuse import from_tensors
from profuse.data.split import Split
from profuse.training.fitting import Prepared

N = 60
SPLIT = Split(np.arange(40), np.arange(40, 50), np.arange(50, N))
RNG = np.random.default_rng(0)
AMOUNTS = np.where(np.arange(N) % 3 == 0, 0.0, RNG.gamma(0.3, 1e4, N).round(2))


@pytest.mark.parametrize(
    ("target", "true"),
    [
        (AMOUNTS, AMOUNTS[:, None]),
        (np.stack([AMOUNTS, -AMOUNTS], axis=1), np.stack([AMOUNTS, -AMOUNTS], axis=1)),
        (np.arange(N) % 7 + 20, (np.arange(N) % 7)),
    ],
    ids=["one", "two", "classes"],
)
def test_true_values_are_those_that_were_given(target: np.ndarray, true: np.ndarray) -> None:
    """Standardised ones are rounded: an amount of 0 would be one below 0, where its logarithm is not defined."""
    rows: Any = {"a": RNG.normal(size=(N, 2)), "b": RNG.normal(size=(N, 2))}
    found = Prepared.make(from_tensors(rows, target), SPLIT).true(SPLIT.test)
    np.testing.assert_array_equal(found, true[SPLIT.test])
