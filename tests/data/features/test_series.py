"""Hand-made features of series."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress

from profuse.data.dataset import ModalityData
from profuse.data.features._summary import summarise
from profuse.data.features.series import SeriesFeatures


def sample(seed: int = 0, n: int = 40, channels: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(5, 2, (rng.integers(3, 20), channels)) for _ in range(n)]


@pytest.mark.parametrize("huge", [1e20, 1e160, -1.7e308])
def test_huge_numbers_never_become_nan(huge: float) -> None:
    wild = np.random.default_rng(0).normal(size=(12, 9, 2))
    wild[3, 4, 1] = huge
    data = ModalityData("series", wild, np.ones(12, dtype=bool))
    made = SeriesFeatures()
    made.fit(data)
    assert np.isfinite(made.transform(data)).all()


def test_summaries_agree_with_numpy_row_by_row() -> None:
    rows = sample(n=12)
    out = summarise(rows)
    assert np.isfinite(out).all()
    for row, got in zip(rows, out, strict=True):
        assert got[0] == len(row)
        for c, columns in enumerate(got[1:].reshape(3, 29)):
            x = row[:, c]
            time = np.linspace(0, 1, len(x))
            centered = x - x.mean()
            expected = [
                x.mean(),
                x.std(),
                *np.percentile(x, [0, 25, 50, 75, 100]),
                x[0],
                x[-1],
                linregress(time, x).slope,
                np.abs(np.diff(x)).mean(),
                (centered[1:] * centered[:-1]).sum() / (centered**2).sum(),
                0.0,
                *np.interp(np.linspace(0, 1, 16), time, x),
            ]
            np.testing.assert_allclose(columns, expected, rtol=1e-8, atol=1e-10)


def test_summaries_use_the_numbers_that_are_there() -> None:
    row = np.array([[np.nan], [2.0], [4.0], [np.nan]])
    mean, std, low, *_, first, last, slope, step = summarise([row])[0, 1:12]
    assert [mean, std, low, first, last, step] == [3.0, 1.0, 2.0, 2.0, 4.0, 2.0]
    assert slope == pytest.approx(6.0)
    assert summarise([row])[0, 13] == 0.5


def test_summaries_of_a_single_step_are_finite_and_of_none_missing() -> None:
    out = summarise([np.ones((1, 2)), np.zeros((0, 2))])
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1]).all()
