"""Series: a clock becomes durations, a pen's path is read at even distances; and what is neither stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from made_handwriting import handwriting

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._paths import along, durations, find_clock, find_path
from profuse.data.preprocess.series import SeriesPreprocessor, StepPreprocessor
from profuse.kinds import object_array

Rows = list[np.ndarray]


def series(rows: Rows) -> ModalityData:
    return ModalityData("series", object_array(rows), np.ones(len(rows), dtype=bool))


def fitted(rows: Rows) -> SeriesPreprocessor:
    made = SeriesPreprocessor()
    made.fit(series(rows))
    return made


def arcs(n: int = 20, *, extra: Callable[[int], list[np.ndarray]] = lambda k: [], seed: int = 0) -> Rows:
    """Arcs of a circle, of several lengths, as `[x, y, ...]`."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        k = int(rng.integers(20, 60))
        angle = rng.uniform(0, 6) + np.linspace(0, rng.uniform(2, 5), k)
        rows.append(np.column_stack([3 * np.cos(angle), 3 * np.sin(angle), *extra(k)]))
    return rows


def clock(k: int) -> list[np.ndarray]:
    return [100 + np.cumsum(np.random.default_rng(k).exponential(1.0, k))]


def pen(k: int) -> list[np.ndarray]:
    return [(np.arange(k) < k - 1).astype(float)]


def test_points_along_a_path_stand_at_even_distances_whatever_the_speed() -> None:
    t = np.linspace(0, 1, 200) ** 3
    row = np.column_stack([np.cos(3 * t), np.sin(3 * t), t])
    points = along(row, (0, 1), 50)
    steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
    np.testing.assert_allclose(steps, steps.mean(), rtol=2e-2)
    np.testing.assert_allclose(points[[0, -1]], row[[0, -1]])
    np.testing.assert_allclose(points[:, 2], np.linspace(0, 1, 50), atol=1e-2)


def test_a_path_that_stands_still_stays_and_steps_without_a_position_are_left_out() -> None:
    assert np.array_equal(along(np.ones((4, 2)), (0, 1), 3), np.ones((3, 2)))
    row = np.array([[0.0, 0.0], [np.nan, 5.0], [2.0, 0.0]])
    np.testing.assert_allclose(along(row, (0, 1), 3), [[0, 0], [1, 0], [2, 0]])
    assert len(along(np.full((3, 2), np.nan), (0, 1), 8)) == 0


def test_durations_are_logarithms_of_usual_steps() -> None:
    np.testing.assert_allclose(durations(np.array([5.0, 7.0, 8.0, 8.0]), 2.0), [0, 0, np.log(0.5), np.log(1e-3)])
    np.testing.assert_allclose(durations(np.array([0.0, np.nan, 4.0]), 2.0), 0)


@pytest.mark.parametrize(("extra", "expected"), [(clock, 2), (pen, None), (lambda k: [], None)])
def test_a_clock_never_falls_and_mostly_rises(extra: Callable[[int], list[np.ndarray]], expected: int | None) -> None:
    rows = arcs(extra=extra)
    assert find_clock(rows) == expected
    assert find_clock([row[:, 2:] for row in rows if row.shape[1] > 2]) is None  # a clock alone is a measurement


def test_a_path_is_known_by_its_way_with_or_without_a_clock_and_marks() -> None:
    for extra in (lambda k: [], clock, pen, lambda k: clock(k) + pen(k)):
        rows = arcs(extra=extra)
        assert find_path(rows, find_clock(rows)) == (0, 1)
    marks_first = [np.column_stack([pen(len(row))[0], row]) for row in arcs()]
    assert find_path(marks_first, None) == (1, 2)
    drawn = list(handwriting(n_alphabets=2, n_characters=4, n_writers=4, side=16).modalities["strokes"].values)
    assert (find_clock(drawn), find_path(drawn, 2)) == (2, (0, 1))


@pytest.mark.parametrize(
    "row",
    [
        lambda rng, k: rng.normal(size=(k, 2)),
        lambda rng, k: rng.normal(size=(k, 2)).cumsum(0),
        lambda rng, k: np.sin(np.arange(40)[:, None] / 9 + rng.uniform(0, 6, 2)),  # windows of two sensors, all as long
        lambda rng, k: np.sin(np.arange(k)[:, None] / 9 + rng.uniform(0, 6, 3)),
        lambda rng, k: np.sin(np.arange(k)[:, None] / 9 + rng.uniform(0, 6, 2)) * [1, 50],
    ],
    ids=["noise", "walks", "windows", "three", "other units"],
)
def test_what_is_no_path_is_left_as_it_is(row: Callable[[np.random.Generator, int], np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    rows = [row(rng, int(rng.integers(20, 60))) for _ in range(30)]
    made = fitted(rows)
    plain = StepPreprocessor()
    plain.fit(series(rows))
    assert not made.spec.is_path
    assert made.notes == ()
    assert made.transform(series(rows)).values.equal(plain.transform(series(rows)).values)


def test_a_path_comes_first_in_one_unit_and_its_clock_last_as_durations() -> None:
    rows = [row[:, [2, 0, 1]] for row in arcs(extra=clock)]  # clock, x, y
    rows = [row * [1, 1, 0.5] for row in rows]
    made = fitted(rows)
    assert made.spec.is_path
    assert made.notes == (
        "channels 1 and 2 are a path: read at 64 even distances along it.",
        "channel 0 is a clock: durations of steps.",
    )
    raw = made.transform(series(rows))
    assert raw.values.shape == (20, 64, 3)
    assert raw.mask.all()
    x, y = raw.values[..., 0].double().numpy(), raw.values[..., 1].double().numpy()
    x, y = (v / np.sqrt(1 - np.square(v / 8)) for v in (x, y))  # before the bound
    radius = [np.ptp(x[i]) / np.ptp(y[i]) for i in range(20)]
    expected = [np.ptp(row[:, 1]) / np.ptp(row[:, 2]) for row in rows]
    np.testing.assert_allclose(radius, expected, rtol=0.05)


def test_a_path_is_the_same_however_fast_it_was_drawn_but_for_its_durations() -> None:
    rows = arcs(extra=clock)
    made = fitted(rows)
    fine = [
        np.stack([np.interp(np.linspace(0, 1, 500) ** 2, np.linspace(0, 1, len(r)), c) for c in r.T], 1) for r in rows
    ]
    one, other = (made.transform(series(r)).values.numpy() for r in (rows, fine))
    np.testing.assert_allclose(one[..., :2], other[..., :2], atol=0.02)
    assert np.abs(one[..., 2] - other[..., 2]).max() > 0.5


def test_a_clock_of_even_steps_is_left_out_and_another_gives_durations_and_time_since_the_beginning() -> None:
    rng = np.random.default_rng(0)
    even = [np.column_stack([7.0 + np.arange(30), rng.normal(size=(30, 3))]) for _ in range(9)]
    made = fitted(even)
    assert made.notes == ("channel 0 is a clock: left out, as all steps last alike.",)
    assert made.spec.n_channels == 3
    uneven = [np.column_stack([rng.normal(size=(30, 2)), 1e9 + np.cumsum(rng.exponential(size=30))]) for _ in range(9)]
    made = fitted(uneven)
    assert made.notes == ("channel 2 is a clock: durations of steps.",)
    raw = made.transform(series(uneven))
    assert raw.values.shape[2] == 4
    later = [row + np.array([0, 0, 500]) for row in uneven]
    assert raw.values.equal(made.transform(series(later)).values)  # when it was is not told, how long it took is
    assert (raw.values[:, 1:, 3] > raw.values[:, :-1, 3]).all()


def test_steps_keep_clock_and_position_as_they_are_given() -> None:
    rows = arcs(extra=clock)
    made = StepPreprocessor()
    made.fit(series(rows))
    assert made.notes == ()
    assert made.transform(series(rows)).mask.sum(1).tolist() == [len(row) for row in rows]


def test_rows_without_a_position_or_with_gaps_in_the_clock_are_read() -> None:
    rows = arcs(extra=clock)
    made = fitted(rows)
    gaps = rows[0].copy()
    gaps[3:6, 2] = np.nan
    lost = rows[1].copy()
    lost[:, 0] = np.nan
    raw = made.transform(series([gaps, lost]))
    assert raw.present.tolist() == [True, False]
    assert raw.values.isfinite().all()


def test_what_is_rebuilt_from_its_state_reads_paths_and_clocks_alike() -> None:
    for rows in (arcs(extra=clock), [row[:, 2:].repeat(3, 1) * [1, -1, 1] for row in arcs(extra=clock)]):
        made = fitted(rows)
        assert made.notes
        state = {k: v if isinstance(v, np.ndarray) else json.loads(json.dumps(v)) for k, v in made.state().items()}
        again = SeriesPreprocessor.from_state(state)
        assert again.transform(series(rows)).values.equal(made.transform(series(rows)).values)
        assert (again.spec, again.notes) == (made.spec, made.notes)
