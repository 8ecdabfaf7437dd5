"""Series: scaling, missing numbers, shortening."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from profuse.data.dataset import ModalityData
from profuse.data.preprocess.series import SeriesPreprocessor, StepPreprocessor
from profuse.errors import ConfigError, DataError
from profuse.estimators.fusion import FusionClassifier


def series(*rows: Any) -> ModalityData:
    values = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        values[i] = None if row is None else np.asarray(row, dtype=float)
    return ModalityData("series", values, np.array([row is not None for row in rows]))


def sample(seed: int = 0, n: int = 40, channels: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(5, 2, (rng.integers(3, 20), channels)) for _ in range(n)]


def fitted(*rows: Any, **options: int) -> SeriesPreprocessor:
    made = SeriesPreprocessor(**options)
    made.fit(series(*rows))
    return made


def test_steps_are_scaled_by_median_and_quartiles_and_bounded() -> None:
    rows = sample()
    raw = fitted(*rows).transform(series(*rows))
    numbers = np.concatenate(rows)
    low, mid, high = np.percentile(numbers, [25, 50, 75], axis=0)
    z = (numbers - mid) / ((high - low) / 1.349)
    np.testing.assert_allclose(raw.values[raw.mask].numpy(), z / np.sqrt(1 + (z / 8) ** 2), rtol=1e-4, atol=1e-6)
    assert raw.mask.sum(1).tolist() == [len(row) for row in rows]
    assert not raw.values[~raw.mask].any()


def test_an_outlier_stays_bounded_and_does_not_move_the_scale() -> None:
    rows = sample()
    plain = fitted(*rows).transform(series(rows[0])).values
    wild = fitted(*rows, np.full((2, 3), 1e9))
    assert wild.transform(series(np.full((2, 3), 1e12))).values.abs().max() <= 8.0
    torch.testing.assert_close(wild.transform(series(rows[0])).values, plain, atol=0.1, rtol=0.1)


def test_a_missing_number_is_zero_and_told_by_a_channel_of_its_own() -> None:
    rows = sample()
    rows[3][1, 2] = np.nan
    made = fitted(*rows)
    raw = made.transform(series(*rows))
    assert made.spec.n_channels == 4
    assert raw.values[3, 1, 2] == 0
    assert raw.values[3, 1, 3] == 1
    assert float(raw.values[..., 3].sum()) == 1
    assert any(note.startswith("1 of ") for note in made.notes)


def test_numbers_missing_where_train_was_complete_are_counted() -> None:
    made = fitted(*sample())
    raw = made.transform(series([[np.nan, 5.0, 5.0]]))
    assert raw.values[0, 0, 0] == 0
    assert made.notes == ("1 numbers are missing in channels that were complete in train: set to the median.",)


@pytest.mark.parametrize("absent", [None, np.zeros((0, 3)), np.full((4, 3), np.nan)])
def test_a_series_without_any_number_is_missing(absent: Any) -> None:
    raw = fitted(*sample()).transform(series(absent, np.ones((2, 3))))
    assert raw.present.tolist() == [False, True]
    assert torch.isfinite(raw.values).all()


def test_a_constant_channel_becomes_zero() -> None:
    rows = [np.column_stack([row[:, 0], np.full(len(row), 0.1)]) for row in sample()]
    assert not fitted(*rows).transform(series(*rows)).values[..., 1].any()


def test_a_channel_that_is_mostly_constant_is_scaled_by_its_standard_deviation() -> None:
    rows = [np.zeros((10, 1)) for _ in range(9)] + [np.full((10, 1), 3.0)]
    value = float(fitted(*rows).transform(series([[3.0]])).values)
    z = 3.0 / np.std([0.0] * 9 + [3.0])
    assert value == pytest.approx(z / np.sqrt(1 + (z / 8) ** 2), rel=1e-5)


def test_long_series_are_shortened_by_means_not_cut() -> None:
    row = np.arange(10.0)[:, None]
    made = fitted(row, row, max_length=4)
    expected = np.array([1.0, 4.0, 7.0, 9.0])
    np.testing.assert_allclose(made._shorten(row).ravel(), expected)
    assert made.transform(series(row)).values.shape == (1, 4, 1)
    assert made.spec.max_length == 4
    assert made.notes == ("2 of 2 series are longer than 4 steps: shortened by means.",)


def test_means_skip_missing_numbers() -> None:
    made = fitted(np.arange(10.0)[:, None], max_length=5)
    np.testing.assert_allclose(made._shorten(np.array([[1.0], [np.nan], [np.nan], [np.nan]])), [[1.0], [np.nan]])


def test_what_changes_at_each_of_two_thousand_steps_is_kept() -> None:
    row = np.tile([[1.0], [-1.0]], (1_000, 1))
    made = fitted(row, row)
    assert made.spec.max_length == 2_000
    assert np.abs(np.diff(made.transform(series(row)).values[0, :, 0])).min() > 1


def test_one_very_long_series_does_not_shorten_the_others() -> None:
    rows = [*sample(), np.ones((1000, 3))]
    raw = fitted(*rows, max_length=20).transform(series(*rows))
    assert raw.mask.sum(1).tolist() == [*(len(row) for row in rows[:-1]), 20]


def test_a_series_of_one_axis_has_one_channel() -> None:
    assert fitted(np.arange(5.0)).transform(series(np.arange(3.0))).values.shape == (1, 3, 1)


def test_what_is_rebuilt_from_its_state_is_equal() -> None:
    rows = sample()
    rows[0][0, 0] = np.nan
    made = fitted(*rows, max_length=8)
    state = {k: v if isinstance(v, np.ndarray) else json.loads(json.dumps(v)) for k, v in made.state().items()}
    again = SeriesPreprocessor.from_state(state)
    assert again.spec == made.spec
    assert again.notes == made.notes
    assert torch.equal(again.transform(series(*rows)).values, made.transform(series(*rows)).values)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (np.zeros((2, 4)), r"every series must be \[time, 3\]; got shape=\(2, 4\) in row 1"),
        (np.zeros((2, 3, 1)), r"every series must be \[time, 3\]; got shape=\(2, 3, 1\) in row 1"),
        (np.full((2, 3), np.inf), r"numbers must be finite; got 6 infinite in row 1"),
    ],
)
def test_series_that_do_not_fit_are_told_with_their_row(row: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fitted(*sample()).transform(series(np.ones((2, 3)), row))


def test_training_series_without_any_number_are_refused() -> None:
    with pytest.raises(DataError, match="at least one training row must hold a number; got none"):
        fitted(None, np.full((3, 1), np.nan))
    with pytest.raises(ConfigError, match="max_length=0"):
        SeriesPreprocessor(max_length=0)


@pytest.mark.parametrize("huge", [1e20, 1e160, -1.7e308])
def test_huge_numbers_never_become_nan(huge: float) -> None:
    rows = np.random.default_rng(0).normal(size=(12, 9, 2))
    wild = rows.copy()
    wild[3, 4, 1] = huge
    everywhere = np.ones(12, dtype=bool)
    for trained in (rows, wild):
        made = SeriesPreprocessor()
        made.fit(ModalityData("series", trained, everywhere))
        found = made.transform(ModalityData("series", wild, everywhere))
        assert torch.isfinite(found.values).all()
        assert found.values.abs().max() <= 8


def seldom(seed: int = 0, n: int = 30) -> list[np.ndarray]:
    """A dense channel beside one that is measured at a tenth of the steps."""
    rng = np.random.default_rng(seed)
    rows = [rng.normal(5, 2, (int(rng.integers(10, 30)), 2)) for _ in range(n)]
    for row in rows:
        row[rng.random(len(row)) > 0.1, 1] = np.nan
        row[int(rng.integers(len(row))), 1] = rng.normal(5, 2)
    return rows


def test_a_sparse_channel_has_its_last_value_and_how_long_ago_it_was() -> None:
    rows = seldom()
    made = fitted(*rows)
    assert made.notes[0] == (
        "channels 1 lack more than half of their numbers: two more channels hold the last that was measured, and how "
        "long ago that was."
    )
    raw = made.transform(series(*rows))
    ages: list[list[float]] = []
    for i, row in enumerate(rows):
        last, age, longest = 0.0, np.inf, max(map(len, rows))
        ages.append([])
        for t in range(len(row)):
            last, age = (float(raw.values[i, t, 1]), 0.0) if not np.isnan(row[t, 1]) else (last, age + 1)
            assert raw.values[i, t, 3] == pytest.approx(last, abs=1e-6)
            ages[-1].append(np.log1p(min(age, longest)))
    flat = np.concatenate(ages)
    np.testing.assert_allclose(raw.values[..., 4][raw.mask], (flat - flat.mean()) / flat.std(), atol=1e-4)
    plain = StepPreprocessor()
    plain.fit(series(*rows))
    assert torch.equal(plain.transform(series(*rows)).values, raw.values[..., :3])  # and nothing else has changed


def test_ages_are_told_by_the_clock_and_channels_by_their_given_number() -> None:
    rows = [np.column_stack([np.cumsum(r[:, 0] ** 2), r]) for r in seldom(1)]
    made = fitted(*rows)
    assert made.notes[0] == "channel 0 is a clock: durations of steps."
    assert made.notes[1].startswith("channels 2 lack more")
    wait = np.array([[0.0, 1, 5], [1, 1, np.nan], [50, 1, np.nan]])
    quick = wait * [0.1, 1, 1]
    slow, fast = made.transform(series(wait, quick)).values[..., -1]
    assert slow[0] == fast[0]
    assert slow[2] > fast[2] + 0.5
    other_unit = fitted(*[row * [60, 1, 1] for row in rows]).transform(series(wait * [60, 1, 1])).values[0, :, -1]
    torch.testing.assert_close(other_unit, slow, atol=1e-4, rtol=0)


@pytest.mark.parametrize("looks", [True, False])
def test_what_is_rebuilt_of_sparse_channels_is_equal(looks: bool) -> None:
    rows = seldom()
    made = (SeriesPreprocessor if looks else StepPreprocessor)()
    made.fit(series(*rows))
    state = made.state()
    again = type(made).from_state(state)
    assert torch.equal(again.transform(series(*rows[:3])).values, made.transform(series(*rows[:3])).values)
    for name in ("sparse", "longest", "age_center", "age_scale"):
        del state[name]
    assert (
        SeriesPreprocessor.from_state(state).transform(series(*rows)).values.shape[2] == 3
    )  # saved before there were any


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::profuse.errors.ProfuseWarning")
def test_the_last_value_of_a_sparse_channel_is_learned_as_steps_alone_do_not_show_it() -> None:
    rng = np.random.default_rng(0)
    rows, y = [], []
    for _ in range(600):
        row = rng.normal(size=(int(rng.integers(20, 40)), 2)).cumsum(0) / 4
        row[:, 1] = np.where(rng.random(len(row)) < 0.1, rng.normal(size=len(row)), np.nan)
        row[int(rng.integers(len(row))), 1] = rng.normal()
        rows.append(row)
        y.append(int(row[~np.isnan(row[:, 1]), 1][-1] > 0))
    right = {}
    for name in ("series", "steps"):
        schema = {"modalities": {"x": {"kind": "series", "columns": ["x"], "preprocess": name}}}
        frame = pd.DataFrame({"x": pd.Series(rows, dtype=object)})
        model = FusionClassifier(epochs=6, members=1, random_state=0, schema=schema).fit(frame[:300], y[:300])
        right[name] = float((model.predict(frame[300:]) == np.array(y[300:])).mean())
    assert right["series"] > max(0.8, right["steps"] + 0.05)
