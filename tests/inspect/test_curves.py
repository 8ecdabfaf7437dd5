"""Numbers for curves, against closed forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from profuse.errors import DataError
from profuse.inspect.curves import effective, relative

LEVELS = tuple(i / 10 for i in range(11))


def test_area_of_a_constant_and_of_a_line() -> None:
    assert relative(LEVELS, [0.8] * 11) == pytest.approx(0.8)
    assert relative(LEVELS, [0.9 - 0.5 * p for p in LEVELS]) == pytest.approx(0.65)
    assert relative([0.0, 0.2, 1.0], [1.0, 0.0, 0.0]) == pytest.approx(0.1)  # uneven levels
    assert relative(np.linspace(0, 1, 2001), np.exp(-np.linspace(0, 1, 2001))) == pytest.approx(1 - np.exp(-1))


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_effective_robustness_of_the_reference_is_0_wherever_it_starts(higher_is_better: bool) -> None:
    rng = np.random.default_rng(0)
    f, g = rng.random(11), rng.random(11)
    assert effective(LEVELS, g, g, higher_is_better=higher_is_better) == 0.0
    assert effective(LEVELS, g + 0.37, g, higher_is_better=higher_is_better) == pytest.approx(0.0, abs=1e-12)
    one = effective(LEVELS, f, g, higher_is_better=higher_is_better)
    assert one == pytest.approx(effective(LEVELS, f, g - 1.3, higher_is_better=higher_is_better))
    assert one == pytest.approx(effective(LEVELS, f + 0.6, g, higher_is_better=higher_is_better))


def test_effective_robustness_has_the_sign_of_the_gain() -> None:
    p = np.array(LEVELS)
    robust, reference = 0.9 - 0.2 * p, 0.7 - 0.6 * p
    assert effective(p, robust, reference, higher_is_better=True) == pytest.approx(0.2)  # integral of .4 p
    errors = 1 - robust, 1 - reference
    assert effective(p, *errors, higher_is_better=False) == pytest.approx(0.2)
    assert effective(p, *errors, higher_is_better=True) == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relative([0.0], [1.0]), "two or more, ascending"),
        (lambda: relative([0.0, 0.0], [1.0, 1.0]), "ascending; got levels=.0.0, 0.0."),
        (lambda: relative([0, 1], [1.0, np.nan]), "finite number for each of 2 levels; got .1.0, nan."),
        (lambda: effective([0, 1], [1.0, 0.5], [1.0], higher_is_better=True), "each of 2 levels; got .1.0."),
        (lambda: effective([0.1, 1], [1, 1], [1, 1], higher_is_better=True), r"must be 0, the clean score; got .*0\.1"),
    ],
)
def test_wrong_curves_are_told(call: Callable[[], float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()
