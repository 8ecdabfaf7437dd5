"""What each kind of noise does to rows, against its formula."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from profuse.data.dataset import ModalityData, object_array
from profuse.kinds import kind_named
from profuse.kinds.noise.corruption import exchanged, run, spread


def noisy(kind: str, values: Any, noise: str, level: float, *, seed: int = 0) -> Any:
    data = ModalityData(kind, values, np.ones(len(values), dtype=bool), rate=8000 if kind == "audio" else None)
    return kind_named(kind).corrupt(data, noise, level, np.random.default_rng(seed)).values


def plausible(n_hits: int, n: int, p: float) -> bool:
    return bool(stats.binomtest(int(n_hits), int(n), p).pvalue > 1e-4)


def numbers(n: int = 4000, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(100, (1.0, 5.0, 25.0)[:columns], size=(n, columns))


# -- what all are made of


def test_the_spread_is_that_of_the_middle_half_and_of_all_where_that_is_0() -> None:
    x = np.random.default_rng(0).normal(0, 3, 10_000)
    assert spread(np.c_[x, np.where(np.arange(10_000) < 1000, 1e9, x)])[1] == pytest.approx(3, rel=0.2)
    assert spread(x[:, None])[0] == pytest.approx(3, rel=0.05)
    rare = np.zeros((100, 1))
    rare[0] = 10.0
    assert spread(rare)[0] == pytest.approx(rare.std())
    assert spread(np.array([[7.0, np.nan], [7.0, np.inf]])).tolist() == [0.0, 0.0]


def test_cells_are_exchanged_in_a_circle_and_none_stays() -> None:
    rng = np.random.default_rng(0)
    hit = rng.random((50, 20)) < 0.4
    source = exchanged(hit, rng)
    here = np.arange(50)[:, None]
    assert ((source != here) == hit).all()
    assert all(sorted(source[:, j]) == list(range(50)) for j in range(20))
    only = np.zeros((5, 1), dtype=bool)
    only[2] = True
    assert (exchanged(only, rng)[:, 0] == np.arange(5)).all()


def test_a_run_of_a_smaller_share_lies_within_that_of_a_larger_one() -> None:
    lengths = []
    for seed in range(300):
        runs = [run(20, p, np.random.default_rng(seed)) for p in (0.1, 0.33, 0.7, 1.0)]
        for (a, b), (c, d) in pairwise(runs):
            assert c <= a
            assert b <= d
        lengths.append(runs[1][1] - runs[1][0])
        assert runs[-1] == (0, 20)
    assert np.mean(lengths) == pytest.approx(0.33 * 20, abs=0.1)


# -- numbers


@pytest.mark.parametrize("kind", ["vector", "table"])
def test_white_noise_of_numbers_is_in_spreads_of_their_column(kind: str) -> None:
    x = numbers()
    new = np.asarray(noisy(kind, pd.DataFrame(x) if kind == "table" else x, "white", 0.5), dtype=float)
    for j, unit in enumerate(spread(x)):
        assert stats.kstest((new - x)[:, j], stats.norm(0, 0.5 * unit).cdf).pvalue > 1e-3


def test_a_sensor_that_drifts_shifts_all_rows_alike_and_one_with_another_gain_scales_them() -> None:
    x = numbers()
    shift = noisy("vector", x, "drift", 0.5) - x
    assert np.ptp(shift, axis=0) == pytest.approx(0, abs=1e-9)
    assert np.abs(shift[0]) == pytest.approx(spread(x))
    gain = noisy("vector", x, "scale", 0.5) / x
    assert np.ptp(gain, axis=0) == pytest.approx(0, abs=1e-9)
    assert set(gain[0].round(6)) <= {1.5, round(1 / 1.5, 6)}


@pytest.mark.parametrize("level", [0.2, 0.9])
def test_shuffled_cells_are_those_of_other_rows_and_each_column_keeps_its_own(level: float) -> None:
    x = numbers()
    frame = pd.DataFrame(
        {"a": x[:, 0], "c": [f"w{i}" for i in range(len(x))], "gap": np.where(x[:, 1] > 100, x[:, 1], np.nan)}
    )
    new = noisy("table", frame, "shuffled", level)
    for name in frame:
        was, now = frame[name], new[name]
        assert (was.isna() == now.isna()).all()
        filled = was.notna()
        assert sorted(was[filled]) == sorted(now[filled])
        assert plausible((was != now)[filled].sum(), filled.sum(), level)
    together = np.corrcoef((frame["a"] != new["a"]).astype(float), (frame["c"] != new["c"]).astype(float))[0, 1]
    assert abs(together) < 0.1  # columns are shuffled independently


@pytest.mark.parametrize("level", [0.3, 1.0])
def test_mistyped_numbers_differ_by_a_digit_or_the_place_of_the_point(level: float) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.integers(0, 1000, 3000), "x": rng.normal(0, 50, 3000).round(2)})
    new = noisy("table", frame, "mistyped", level)
    for name in frame:
        was, now = frame[name].to_numpy(float), new[name].to_numpy(float)
        assert plausible((was != now).sum(), len(was), level)
        pairs = [(a, b) for a, b in zip(was, now, strict=True) if a != b]
        moved = [
            b in (np.trunc(a * 10), np.trunc(a * 0.1)) or np.isclose(b / a if a else 0, (10, 0.1)).any()
            for a, b in pairs
        ]
        digits = [abs(_leading(abs(abs(b) - abs(a))) - round(_leading(abs(abs(b) - abs(a))))) < 1e-6 for a, b in pairs]
        assert all(m or d for m, d in zip(moved, digits, strict=True))
        assert 0.3 < np.mean(np.array(moved, dtype=bool)) < 0.6
    assert (new["n"] % 1 == 0).all()
    assert (new["n"] >= 0).all()


def _leading(x: float) -> float:
    """A number as 1 to 10: one digit that has changed leaves a whole one."""
    return float(x / 10 ** np.floor(np.log10(x) + 1e-9))


def test_a_mistyped_category_is_another_known_one_and_one_that_is_alone_stays() -> None:
    rng = np.random.default_rng(0)
    there = np.arange(3000) != 7
    frame = pd.DataFrame({"c": rng.choice(["a", "b", "c"], 3000), "one": "x"})
    frame.loc[7, "c"] = "only in an absent row"
    frame.loc[8, "c"] = None
    data = ModalityData("table", frame, there)
    new = kind_named("table").corrupt(data, "mistyped", 0.4, np.random.default_rng(0)).values
    assert set(new["c"][there].dropna()) == {"a", "b", "c"}
    assert new["c"][7] == "only in an absent row"
    assert new["c"].isna().sum() == 1
    assert new["one"].eq("x").all()
    assert plausible((new["c"] != frame["c"]).sum() - 1, 2998, 0.4)  # None is not equal to None
    both = Counter(zip(frame["c"][:7], new["c"][:7], strict=True))
    assert sum(both.values()) == 7


def test_times_are_shifted_by_white_noise_and_drift_and_shuffled_and_keep_their_zone() -> None:
    times = pd.date_range("2020-01-01", periods=400, freq="D", tz="Europe/Berlin")
    frame = pd.DataFrame({"t": times.where(np.arange(400) % 50 != 1)})
    unit = spread(frame["t"].dropna().astype("int64").to_numpy(float)[:, None])[0]
    for noise in ("white", "drift", "shuffled"):
        new = noisy("table", frame, noise, 0.5)
        assert new["t"].dtype == frame["t"].dtype
        assert new["t"].isna().equals(frame["t"].isna())
        moved = (new["t"] - frame["t"]).dropna().astype("int64").to_numpy(float)
        if noise == "white":
            assert moved.std() == pytest.approx(0.5 * unit, rel=0.15)
        if noise == "drift":
            assert np.abs(moved) == pytest.approx(unit, rel=1e-6)
    assert noisy("table", frame, "scale", 0.5).equals(frame)


def test_large_numbers_stay_finite_and_endless_ones_are_not_lost() -> None:
    x = np.array([[1e308, -1e308], [1e308, 1e300], [-1e308, 0.0], [5e-324, 1.0]])
    for noise in kind_named("vector").corruptions:
        with np.errstate(over="ignore"):
            assert np.isfinite(noisy("vector", x, noise, 1.0)).all()
    endless = np.array([[np.inf], [-np.inf], [1.0], [2.0]])
    assert not np.isnan(noisy("vector", endless, "mistyped", 1.0)).any()


# -- series and sounds


def series(n: int = 200, steps: int = 20) -> Any:
    rng = np.random.default_rng(2)
    return object_array([rng.normal((0.0, 10.0), (1.0, 4.0), size=(steps, 2)) for _ in range(n)])


def test_a_series_gets_white_noise_in_spreads_of_a_channel() -> None:
    x = series()
    moved = np.concatenate(list(noisy("series", x, "white", 0.5) - x))
    for j, unit in enumerate(spread(np.concatenate(list(x)))):
        assert stats.kstest(moved[:, j], stats.norm(0, 0.5 * unit).cdf).pvalue > 1e-3


@pytest.mark.parametrize("kind", ["series", "audio"])
def test_one_run_of_p_of_a_row_says_nothing(kind: str) -> None:
    x = series() if kind == "series" else object_array([v[:, 0] for v in series()])
    new = noisy(kind, x, "gap", 0.35)
    lengths, places = [], np.zeros(20)
    middle = np.median(np.concatenate(list(x)), axis=0) if kind == "series" else 0.0
    for a, b in zip(x, new, strict=True):
        flat = np.asarray(a != b).reshape(20, -1).all(1)
        assert np.allclose(b[flat], middle)
        assert (np.diff(np.flatnonzero(flat)) == 1).all()
        lengths.append(flat.sum())
        places += flat
    assert np.mean(lengths) == pytest.approx(7, abs=0.01)
    assert (places > 0).all()


@pytest.mark.parametrize("kind", ["series", "audio"])
def test_a_late_row_is_moved_in_a_circle(kind: str) -> None:
    x = series() if kind == "series" else object_array([v[:, 0] for v in series()])
    new = noisy(kind, x, "late", 0.4)
    shifts = Counter(
        next(k for k in range(20) if np.array_equal(np.roll(a, k, axis=0), b)) for a, b in zip(x, new, strict=True)
    )
    assert set(shifts) == {4, 16}
    assert plausible(shifts[4], 200, 0.5)


def test_a_drift_grows_and_a_sensor_clips_and_scales() -> None:
    x = series()
    unit = spread(np.concatenate(list(x)))
    for a, b in zip(x, noisy("series", x, "drift", 0.5), strict=True):
        assert np.abs(b - a)[-1] == pytest.approx(unit)
        assert np.allclose((b - a) / np.arange(1, 21)[:, None], (b - a)[0])
    clipped, steps = np.concatenate(list(noisy("series", x, "clip", 0.4))), np.concatenate(list(x))
    assert clipped.min(0) == pytest.approx(np.quantile(steps, 0.2, axis=0))
    assert (clipped == steps).mean() == pytest.approx(0.6, abs=0.01)
    for a, b in zip(x, noisy("series", x, "scale", 1.0), strict=True):
        assert all(np.allclose(b[:, j] / a[:, j], 2.0) or np.allclose(b[:, j] / a[:, j], 0.5) for j in range(2))


def test_sound_has_noise_as_loud_as_the_recording_and_stays_within_full_scale() -> None:
    rng = np.random.default_rng(0)
    x = object_array([loud * rng.normal(size=5000).clip(-3, 3).astype(np.float32) for loud in (0.01, 0.1)])
    for a, b in zip(x, noisy("audio", x, "white", 1.0), strict=True):
        assert (b - a).std() == pytest.approx(np.sqrt((a**2).mean()), rel=0.05)
        assert b.dtype == np.float32
    full = object_array([np.sign(rng.normal(size=500))])
    assert np.abs(noisy("audio", full, "white", 1.0)[0]).max() == 1.0
    assert np.allclose(noisy("audio", x, "scale", 1.0)[1], x[1] / 10)
    cut = noisy("audio", x, "clip", 0.3)[0]
    assert (cut != x[0]).mean() == pytest.approx(0.3, abs=0.01)
    assert np.abs(cut).max() == pytest.approx(np.quantile(np.abs(x[0]), 0.7), rel=1e-5)


# -- pictures


def pictures(n: int = 60, channels: int = 3, *, floats: bool = False) -> np.ndarray:
    rng = np.random.default_rng(3)
    x = 0.25 + 0.5 * rng.random((n, 20, 30, channels))
    return x if floats else (255 * x).astype(np.uint8)


@pytest.mark.parametrize("floats", [True, False])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pictures_of_all_forms_take_all_noise(floats: bool, channels: int) -> None:
    x = pictures(4, channels, floats=floats)
    for noise in kind_named("image").corruptions:
        new = noisy("image", x, noise, 0.7)
        assert new.shape == x.shape
        assert new.dtype == x.dtype
        assert (new >= 0).all()
        assert (new <= (1 if floats else 255)).all()
        assert (new != x).any()


def test_a_picture_gets_noise_in_the_range_of_black_to_white() -> None:
    x = np.full((40, 20, 30, 3), 0.5)
    moved = noisy("image", x, "white", 0.3) - x
    inside = moved[np.abs(moved) < 0.499]
    assert stats.kstest(inside, stats.truncnorm(-0.499 / 0.15, 0.499 / 0.15, 0, 0.15).cdf).pvalue > 1e-3


@pytest.mark.parametrize("level", [0.2, 1.0])
def test_a_rectangle_of_half_the_level_is_covered_by_the_mean_colour(level: float) -> None:
    x = pictures(400, floats=True)
    covered = (noisy("image", x, "covered", level) != x).all(3)
    assert covered.mean() == pytest.approx(level / 2, abs=0.02)
    height, width = covered.any(2).sum(1), covered.any(1).sum(1)
    assert (height * width == covered.sum((1, 2))).all()
    one = noisy("image", x, "covered", level)[0][covered[0]]
    assert np.allclose(one, x[0].mean((0, 1)))


def test_what_makes_pictures_smooth_takes_away_detail_and_keeps_brightness() -> None:
    x = pictures(floats=True)
    for noise in ("blur", "pixelate", "contrast"):
        new = [noisy("image", x, noise, level) for level in (0.3, 0.7, 1.0)]
        detail = [float(np.diff(v, axis=1).std()) for v in (x, *new)]
        assert detail == sorted(detail, reverse=True)
        assert detail[-1] < 0.3 * detail[0]
        assert [v.mean() for v in new] == pytest.approx([x.mean()] * 3, abs=0.01)
    assert np.allclose(noisy("image", x, "contrast", 1.0)[0].std(), 0.05 * x[0].std())
    light = (noisy("image", x, "brightness", 0.2) - x).reshape(len(x), -1)
    assert np.abs(light) == pytest.approx(0.1)
    assert np.ptp(light, axis=1) == pytest.approx(0, abs=1e-9)
    assert 0.2 < (light[:, 0] > 0).mean() < 0.8


def test_jpeg_loses_more_at_a_lower_quality_and_a_shift_moves_the_picture_by_half_the_level() -> None:
    x = pictures()
    lost = [np.abs(noisy("image", x, "jpeg", p).astype(float) - x).mean() for p in (0.1, 0.5, 1.0)]
    assert lost == sorted(lost)
    spot = np.zeros((50, 21, 41, 1), dtype=np.uint8)
    spot[:, 10, 20] = 255
    moved = noisy("image", spot, "shifted", 0.5)
    at = np.array([np.unravel_index(v.argmax(), v.shape)[:2] for v in moved])
    away = np.hypot((at[:, 0] - 10) / 21, (at[:, 1] - 20) / 41)
    assert away == pytest.approx(0.25, abs=0.04)
    assert len({tuple(a) for a in at}) > 10


# -- texts


def texts(n: int = 300, words: int = 12) -> Any:
    return object_array([" ".join(f"w{i}x{j}" for j in range(words)) for i in range(n)])


@pytest.mark.parametrize("level", [0.3, 1.0])
def test_words_are_dropped_with_half_the_level_and_one_is_left(level: float) -> None:
    x = texts()
    new = noisy("text", x, "dropped", level)
    left = 0
    for a, b in zip(x, new, strict=True):
        words = b.split(" ")
        assert [w for w in a.split() if w in words] == words
        left += len(words)
    assert plausible(300 * 12 - left, 300 * 12, level / 2)
    alone = noisy("text", texts(200, 1), "dropped", 1.0)
    assert (alone == texts(200, 1)).all()


def test_swapped_words_move_one_place_and_shuffled_ones_any() -> None:
    x = texts(400)
    places = {}
    for noise in ("swapped", "shuffled"):
        moves = []
        for a, b in zip(x, noisy("text", x, noise, 0.4), strict=True):
            assert sorted(a.split()) == sorted(b.split())
            moves += [b.split().index(w) - i for i, w in enumerate(a.split())]
        places[noise] = np.array(moves)
    assert np.abs(places["swapped"]).max() == 1
    assert np.abs(places["shuffled"]).max() > 5
    assert plausible((places["shuffled"] != 0).sum(), 4800, 0.4) or (places["shuffled"] != 0).mean() > 0.37
    assert (places["swapped"] != 0).mean() == pytest.approx(0.4 * 11 / 12, abs=0.03)


def test_blanks_between_words_stay_where_they_are() -> None:
    text = object_array(["  one\n\ntwo\tthree  four "] * 100)
    for noise in ("swapped", "shuffled"):
        for new in noisy("text", text, noise, 1.0):
            assert "".join(c for c in new if c.isspace()) == "".join(c for c in text[0] if c.isspace())
            assert new.split() != text[0].split() or noise == "swapped"


def test_a_fifth_of_the_level_of_the_letters_is_mistyped_by_letters_of_the_texts() -> None:
    rng = np.random.default_rng(0)
    x = object_array(["".join(rng.choice(list("abcdefghij klmnop"), 60)).strip() or "a" for _ in range(300)])
    new = noisy("text", x, "mistyped", 0.5)
    assert set("".join(new)) <= set("".join(x))
    assert all(a.count(" ") == b.count(" ") for a, b in zip(x, new, strict=True))
    longer = np.mean([len(b) - len(a) for a, b in zip(x, new, strict=True)])
    assert abs(longer) < 1  # as many are doubled as are left out
    same = np.mean([b == a for a, b in zip(x, noisy("text", x, "mistyped", 0.02), strict=True)])
    assert same == pytest.approx((1 - 0.02 / 5) ** 56, abs=0.1)
