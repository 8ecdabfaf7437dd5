"""What fog, snow, dirt and a lens do to pictures, against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from profuse.data.dataset import ModalityData, object_array
from profuse.kinds import kind_named
from profuse.kinds.noise.lens import convolved, disk, segment
from profuse.kinds.noise.weather import plasma

NOISE = ("fog", "snow", "spatter", "motion", "defocus")


def noisy(values: np.ndarray, noise: str, level: float, *, seed: int = 0) -> np.ndarray:
    data = ModalityData("image", values, np.ones(len(values), dtype=bool))
    return np.stack([*kind_named("image").corrupt(data, noise, level, np.random.default_rng(seed)).values])


def pictures(n: int = 4, side: int = 24, channels: int = 3) -> np.ndarray:
    return 0.25 + 0.5 * np.random.default_rng(3).random((n, side, side + 8, channels))


@pytest.mark.parametrize("noise", NOISE)
def test_a_little_changes_little_and_more_changes_more(noise: str) -> None:
    x = pictures(8)
    moved = [np.abs(noisy(x, noise, level) - x).mean() for level in (0.0, 1e-6, 0.2, 0.5, 1.0)]
    assert moved[0] == 0
    assert moved[1] < 1e-4
    assert moved[2:] == sorted(moved[2:])
    assert moved[2] > 0.003


@pytest.mark.parametrize("noise", NOISE)
def test_a_row_depends_on_seed_and_place_and_not_on_what_the_other_rows_hold(noise: str) -> None:
    x = pictures(3)
    once = noisy(x, noise, 0.6)
    other = x.copy()
    other[1:] = 0.1
    assert np.array_equal(noisy(other, noise, 0.6)[0], once[0])
    assert np.array_equal(noisy(x, noise, 0.6), once)
    same = np.stack([x[0]] * 3)
    if noise != "defocus":  # a lens draws nothing
        assert not np.array_equal(*noisy(same, noise, 0.6)[:2])
        assert not np.array_equal(noisy(x, noise, 0.6, seed=1), once)


def test_pictures_of_one_pixel_and_of_odd_sides_take_all_of_it() -> None:
    for shape in ((1, 1, 1), (2, 9, 2), (7, 3, 4)):
        x = object_array([np.full(shape, 0.5)])
        data = ModalityData("image", x, np.ones(1, dtype=bool))
        for noise in NOISE:
            new = kind_named("image").corrupt(data, noise, 1.0, np.random.default_rng(0)).values[0]
            assert new.shape == shape
            assert np.isfinite(new).all()


# -- fog


def test_fog_leaves_a_share_of_each_pixel_whose_logarithm_is_the_level_times_its_thickness() -> None:
    x, y = pictures(), np.zeros_like(pictures())
    for level in (0.2, 0.7):  # the same draws for both: what is left of a difference is what is left of the picture
        left = (noisy(x, "fog", level) - noisy(y, "fog", level)) / x
        thick = np.log(left) / (-3 * level)
        assert np.allclose(thick, thick[..., :1])
        assert thick.min((1, 2, 3)) == pytest.approx(0, abs=0.2)
        assert thick.max() <= 1 + 1e-9
        assert 0.3 < thick.mean() < 0.7
    white = np.ones_like(x)
    assert np.allclose(noisy(white, "fog", 1.0), white)
    assert noisy(y, "fog", 1.0).mean() > 0.5


def test_a_plasma_fractal_goes_from_0_to_1_and_has_more_power_at_long_waves() -> None:
    fields = np.stack([plasma(64, np.random.default_rng(seed)) for seed in range(40)])
    assert fields.shape == (40, 64, 64)
    assert fields.min((1, 2)).tolist() == [0.0] * 40
    assert fields.max((1, 2)).tolist() == [1.0] * 40
    power = (np.abs(np.fft.fft2(fields - fields.mean((1, 2), keepdims=True))) ** 2).mean(0)
    wave = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    by_band = [power[(wave > a) & (wave <= b)].mean() for a, b in ((0.01, 0.04), (0.04, 0.1), (0.1, 0.25), (0.25, 0.5))]
    assert by_band == sorted(by_band, reverse=True)
    assert by_band[0] > 100 * by_band[-1]
    rough = [(fields - np.roll(fields, lag, axis=1)).std() for lag in (2, 16)]
    assert 0.1 < rough[0] / rough[1] < 0.35  # 8 ** -0.81 is .19; steps of one size would make it near 1
    there = np.abs(np.diff(fields, axis=1)).mean()  # it goes on at the other side
    assert np.abs(fields[:, 0] - fields[:, -1]).mean() == pytest.approx(there, rel=0.35)


class OneStep:
    """Draws a step of 1 for the first middle, and none after."""

    n_calls = 0

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        self.n_calls += 1
        return np.full(shape, float(self.n_calls == 1))


def test_a_plasma_fractal_without_steps_lies_evenly_between_its_corners() -> None:
    field = plasma(16, OneStep())  # type: ignore[arg-type]
    assert (field[0, 0], field[8, 8], field[0, 8], field[8, 0]) == (0, 1, 0.5, 0.5)
    assert np.allclose(field, field.T)
    assert np.allclose(field, np.roll(field[::-1], 1, axis=0))
    quarter = (field[0, 0] + field[0, 8] + field[8, 0] + field[8, 8]) / 4
    assert field[4, 4] == field[12, 4] == quarter


# -- snow and dirt


def test_more_snow_is_white_and_has_the_flakes_of_less() -> None:
    x = np.full((30, 40, 40, 1), 0.2)
    few, many = (noisy(x, "snow", level) for level in (0.3, 0.9))
    pale = [0.2 + 0.3 * level * 0.8 for level in (0.3, 0.9)]
    flakes = [v > (1 + p) / 2 for v, p in zip((few, many), pale, strict=True)]
    assert (few >= pale[0] - 1e-9).all()
    assert (~flakes[1][flakes[0]]).mean() < 0.01
    assert 0.05 < flakes[0].mean() < flakes[1].mean() < 0.7
    assert many.max() > 0.9


def test_drops_of_dirt_cover_two_fifths_of_the_level_in_pieces_of_one_colour() -> None:
    x = np.full((20, 60, 60, 3), 0.9)
    few, many = (noisy(x, "spatter", level) for level in (0.25, 1.0))
    hit = [(v != x).any(3) for v in (few, many)]
    assert [h.mean() for h in hit] == pytest.approx([0.1, 0.4], abs=0.005)
    assert not (hit[0] & ~hit[1]).any()
    assert len(np.unique(many[hit[1]], axis=0)) == 1
    pieces = [ndimage.label(h)[1] for h in hit[1]]
    assert np.mean(pieces) < 100  # single pixels would be hundreds


# -- a lens


@pytest.mark.parametrize("noise", ["motion", "defocus"])
def test_a_smeared_picture_keeps_its_brightness_and_a_flat_one_is_as_it_was(noise: str) -> None:
    flat = np.full((3, 20, 30, 2), 0.3)
    assert np.allclose(noisy(flat, noise, 0.8), flat)
    x = pictures(8)
    new = noisy(x, noise, 0.5)
    assert new.mean() == pytest.approx(x.mean(), abs=0.01)
    assert np.diff(new, axis=1).std() < 0.6 * np.diff(x, axis=1).std()


def test_a_convolution_is_the_sum_of_moved_pictures_with_the_edge_repeated() -> None:
    x, kernel = pictures(1)[0], np.random.default_rng(0).random((5, 3))
    kernel /= kernel.sum()
    by_hand = ndimage.convolve(x, kernel[..., None], mode="nearest")
    assert np.allclose(convolved(x, kernel), by_hand)


@pytest.mark.parametrize(("length", "angle"), [(9.0, 0.0), (9.0, np.pi / 2), (7.3, 0.6), (0.0, 1.0)])
def test_a_moved_lens_spreads_a_point_evenly_along_a_line_about_where_it_was(length: float, angle: float) -> None:
    kernel = segment(length, angle)
    i, j = (np.arange(n) - n // 2 for n in kernel.shape)
    assert kernel.sum() == pytest.approx(1)
    assert (kernel.sum(1) @ i, kernel.sum(0) @ j) == pytest.approx((0, 0), abs=1e-9)
    along = np.array([np.sin(angle), np.cos(angle)])
    place = np.stack(np.meshgrid(i, j, indexing="ij"), axis=-1) @ along
    deviation = np.sqrt((kernel * place**2).sum())
    assert deviation == pytest.approx(length / 12**0.5, abs=0.35)
    across = np.stack(np.meshgrid(i, j, indexing="ij"), axis=-1) @ np.array([-along[1], along[0]])
    assert np.sqrt((kernel * across**2).sum()) < 0.6


def test_a_lens_out_of_focus_makes_a_disk_of_a_point() -> None:
    kernel = disk(4.0)
    assert kernel.shape == (9, 9)
    assert kernel.sum() == pytest.approx(1)
    inside = kernel[np.hypot(*np.meshgrid(np.arange(9) - 4, np.arange(9) - 4)) <= 2.9]
    assert np.allclose(inside, inside[0])
    assert inside[0] == pytest.approx(1 / (np.pi * 16), rel=0.05)
    assert 0 < disk(0.2)[0, 1] < disk(0.6)[0, 1]
    assert disk(0.0).ravel().tolist() == [1.0]
