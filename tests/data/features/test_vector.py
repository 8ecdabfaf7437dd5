"""Hand-made features of vectors."""

from __future__ import annotations

import numpy as np
import pytest

from profuse.data.dataset import ModalityData
from profuse.data.features.vector import VectorFeatures
from profuse.errors import DataError


def vector(values: np.ndarray, present: np.ndarray) -> ModalityData:
    return ModalityData("vector", values, present)


def test_vectors_of_another_length_are_refused() -> None:
    made, there = VectorFeatures(), np.ones(3, dtype=bool)
    made.fit(vector(np.zeros((3, 2)), there))
    with pytest.raises(DataError, match="VectorFeatures: the vectors must have the channels of train; got 3"):
        made.transform(vector(np.zeros((3, 3)), there))


def test_features_are_the_numbers_as_they_are() -> None:
    x = np.random.default_rng(0).normal(3.0, 7.0, size=(120, 5))
    x[2, 2] = np.nan
    present = np.arange(120) > 0
    made = VectorFeatures()
    made.fit(vector(x, present))
    got = made.transform(vector(x, present))
    assert np.isnan(got[0]).all()
    np.testing.assert_array_equal(got[1:], x[1:])
