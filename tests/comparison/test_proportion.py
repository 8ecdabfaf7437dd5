"""The interval of a share: Wilson's, against statistics of others, and at its ends."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from profuse.comparison.proportion import wilson


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 5), (5, 5), (1, 40), (37, 40), (250, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_it_is_that_of_scipy(k: int, n: int, level: float) -> None:
    found = binomtest(k, n).proportion_ci(level, "wilson")
    assert wilson(k / n, n, level) == pytest.approx((found.low, found.high), abs=1e-9)


@pytest.mark.parametrize("n", [*range(1, 200), 12_345])
def test_it_holds_the_share_itself_at_both_ends(n: int) -> None:
    assert wilson(0.0, n)[0] == 0.0
    assert wilson(1.0, n)[1] == 1.0
    assert wilson(0.0, n)[1] > 0.0
    assert wilson(1.0, n)[0] < 1.0
