"""Hand-made features of series."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import linregress
from sklearn.linear_model import RidgeClassifier

from profuse.data.dataset import ModalityData
from profuse.data.features import Features
from profuse.data.features._summary import summarise
from profuse.data.features.minirocket import RocketFeatures
from profuse.data.features.path import PathFeatures, _directions
from profuse.data.features.series import SeriesFeatures
from profuse.data.series import at_even_steps


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


def of(rows: list[np.ndarray]) -> ModalityData:
    values = np.empty(len(rows), dtype=object)
    values[:] = rows
    return ModalityData("series", values, np.ones(len(rows), dtype=bool))


def fitted(kind: type[Features], rows: list[np.ndarray]) -> Features:
    made = kind()
    made.fit(of(rows))
    return made


def test_steps_are_even_and_bridge_what_is_missing() -> None:
    row = np.array([[0.0], [np.nan], [4.0], [6.0], [np.nan]])
    np.testing.assert_allclose(at_even_steps([row], 9)[0, :, 0], [0, 1, 2, 3, 4, 5, 6, 6, 6])
    assert not at_even_steps([np.full((3, 1), np.nan), np.zeros((0, 1))], 4).any()


def test_a_path_looks_the_same_wherever_it_stands_and_however_large_it_is() -> None:
    rows = sample(channels=2)
    made = fitted(PathFeatures, rows)
    n_shape = made.transform(of(rows)).shape[1] - summarise(rows).shape[1]
    x, moved = (np.asarray(made.transform(of(some))) for some in (rows, [3.0 * row + 7.0 for row in rows]))
    np.testing.assert_allclose(x[:, :n_shape], moved[:, :n_shape], atol=1e-8)
    np.testing.assert_allclose(x[:, n_shape:], summarise(rows))


@pytest.mark.parametrize(("angle", "expected"), [(0, 0), (45, 1), (90, 2), (225, 5)])
def test_a_straight_path_has_one_direction(angle: int, expected: int) -> None:
    along = np.linspace(0, 1, 20)[:, None] * [[np.cos(np.radians(angle)), np.sin(np.radians(angle))]]
    parts = _directions(at_even_steps([along], 64)).reshape(4, 8)
    assert (parts.argmax(1) == expected).all()
    assert np.delete(parts, expected, axis=1).max() < 1e-9


def test_answers_of_minirocket_are_those_of_plain_convolutions() -> None:
    rows = sample(n=20, channels=2)
    made = RocketFeatures()
    made.fit(of(rows))
    n_steps, biases = made._n_steps, made._biases
    z = (at_even_steps(rows[:3], n_steps) - made._mean) / made._scale
    views = [z, np.diff(z, axis=1, prepend=z[:, :1])]
    got = np.asarray(made.transform(of(rows[:3]))).reshape(3, *biases.shape)
    sets = [(v, d, k) for v in range(2) for d in made._dilations for k in combinations(range(9), 3)]
    assert len(sets) == len(biases) == len(made._channels)
    for number in np.random.default_rng(0).permutation(len(sets))[:40]:
        view, dilation, places = sets[number]
        kernel = np.full(9, -1.0)
        kernel[list(places)] = 2.0
        spread = np.zeros(8 * dilation + 1)
        spread[::dilation] = kernel
        for row in range(3):
            seen = views[view][row][:, made._channels[number]].sum(1)
            answer = np.correlate(np.pad(seen, 4 * dilation), spread, mode="valid")
            near = np.abs(answer[:, None] - biases[number]).min(0) > 1e-9  # a tie may fall on either side
            expected = (answer[:, None] > biases[number]).mean(0)
            np.testing.assert_allclose(got[row, number][near], expected[near], atol=1e-12)


def test_minirocket_tells_rhythms_apart_that_summaries_do_not() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    time = np.arange(60)
    waves = [np.sin(time * (0.5 if label else 0.62) + rng.uniform(0, 6)) for label in y]
    rows = [wave[:, None] + 0.5 * rng.normal(size=(60, 1)) for wave in waves]
    x = np.asarray(fitted(RocketFeatures, rows[:60]).transform(of(rows)))
    machine = RidgeClassifier(10.0).fit(x[:60], y[:60])
    assert machine.score(x[60:], y[60:]) > 0.85


def test_series_of_a_single_step_and_constant_ones_are_finite() -> None:
    rows = [np.ones((1, 2)), np.ones((9, 2)), *sample(n=6, channels=2)]
    for kind in (PathFeatures, RocketFeatures):
        assert np.isfinite(np.asarray(fitted(kind, rows).transform(of(rows)))).all()
        assert np.isfinite(np.asarray(fitted(kind, rows[:2]).transform(of(rows)))).all()
