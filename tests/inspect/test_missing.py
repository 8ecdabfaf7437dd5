"""What is missing at random, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from profuse.errors import ConfigError, ShapeError
from profuse.inspect.missing import drop_modalities


def plausible(n_hits: int, n: int, p: float) -> bool:
    return bool(stats.binomtest(int(n_hits), int(n), p).pvalue > 1e-4)


@pytest.mark.parametrize("n_modalities", [2, 3, 5])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 0.7])
def test_the_missing_rate_is_the_one_asked_for_and_no_row_is_empty(n_modalities: int, rate: float) -> None:
    present = np.ones((6000, n_modalities), dtype=bool)
    kept = drop_modalities(present, rate, seed=0)
    expected = min(rate, 1 - 1 / n_modalities)  # one of M modalities remains
    assert 1 - kept.mean() == pytest.approx(expected, abs=0.01)
    assert kept.any(1).all()
    if rate < 1 - 1 / n_modalities:
        assert kept.mean(0) == pytest.approx(np.full(n_modalities, 1 - rate), abs=0.03)  # all alike


def test_modalities_are_removed_independently() -> None:
    """With q the probability of one removal, a pair stays together with probability (1 - q)^2."""
    kept = drop_modalities(np.ones((20_000, 2), dtype=bool), 0.3, seed=1)
    q = 1 - np.sqrt(1 - 2 * 0.3)  # rate = q - q^2 / 2
    assert plausible(kept.all(1).sum(), 20_000, (1 - q) ** 2)


def test_what_is_absent_counts_as_missing_and_stays_absent() -> None:
    present = np.random.default_rng(0).random((6000, 3)) < 0.8
    for rate in (0.4, 0.6):
        kept = drop_modalities(present, rate, seed=0)
        assert 1 - kept.mean() == pytest.approx(rate, abs=0.01)
        assert not (kept & ~present).any()
        np.testing.assert_array_equal(kept.any(1), present.any(1))
    np.testing.assert_array_equal(drop_modalities(present, 0.1, seed=0), present)  # a fifth is missing already


def test_what_is_missing_at_a_low_rate_is_missing_at_a_higher_one() -> None:
    present = np.ones((500, 4), dtype=bool)
    low, same, high, other = (drop_modalities(present, r, seed=s) for r, s in ((0.2, 0), (0.2, 0), (0.5, 0), (0.2, 1)))
    np.testing.assert_array_equal(low, same)
    assert not (high & ~low).any()
    assert (low != other).any()


@pytest.mark.parametrize(
    ("present", "rate", "seed", "error", "message"),
    [
        (np.ones((3, 2), bool), 1.0, 0, ConfigError, "below 1 and seed at least 0; got rate=1.0, seed=0"),
        (np.ones((3, 2), bool), 0.5, -2, ConfigError, "got rate=0.5, seed=-2"),
        (np.ones((3, 2)), 0.5, 0, ShapeError, r"present must be bool \[row, modality\]; got float64\[3, 2\]"),
        (np.ones(3, bool), 0.5, 0, ShapeError, r"got bool\[3\]"),
    ],
)
def test_wrong_arguments_of_drop_modalities_are_told(
    present: np.ndarray, rate: float, seed: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        drop_modalities(present, rate, seed=seed)
