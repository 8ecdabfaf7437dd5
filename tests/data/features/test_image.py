"""Hand-made features of pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from profuse.data.dataset import ModalityData
from profuse.data.features._pictures import Components, colour_histograms, gradient_histograms
from profuse.data.features.hog import GradientFeatures
from profuse.data.features.image import ImageFeatures
from profuse.errors import DataError


def dataset(pictures: Any, present: list[bool] | None = None) -> ModalityData:
    if isinstance(pictures, list):
        values = np.empty(len(pictures), dtype=object)
        values[:] = pictures
        pictures = values
    shown = np.ones(len(pictures), dtype=bool) if present is None else np.array(present)
    return ModalityData("image", pictures, shown)


def colour(n_rows: int = 30, size: tuple[int, int] = (12, 10), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n_rows, *size, 3), dtype=np.uint8)


def fitted(data: ModalityData) -> ImageFeatures:
    made = ImageFeatures()
    made.fit(data)
    return made


def test_what_is_no_picture_is_refused_with_its_row_and_so_is_a_modality_without_any() -> None:
    bad = dataset([colour(1)[0], np.zeros((4, 4, 2), np.uint8)])
    for act in (ImageFeatures().fit, fitted(dataset(colour())).transform):
        with pytest.raises(DataError, match=r"ImageFeatures: row 1 must be a picture .* got shape=\(4, 4, 2\)"):
            act(bad)
    with pytest.raises(DataError, match="at least one training row must have a picture; got 0 of 2"):
        fitted(dataset(colour(2), [False, False]))


def test_features_have_one_row_a_row_nan_where_absent_and_the_same_alone() -> None:
    pictures = [*colour(20), *colour(3, (20, 20)), None]
    data = dataset(pictures, [True] * 23 + [False])
    made = fitted(data)
    features = made.transform(data)
    assert np.isnan(features[23]).all()
    assert np.isfinite(features[:23]).all()
    for i in (0, 21):
        np.testing.assert_allclose(made.transform(dataset([pictures[i]]))[0], features[i], atol=1e-9)
    nothing = made.transform(dataset(pictures[:2], [False, False]))
    assert nothing.shape == (2, features.shape[1])


@pytest.mark.parametrize(("n_rows", "n_features"), [(40, 300), (300, 40), (500, 700)])
def test_components_are_those_of_scikit_learn(n_rows: int, n_features: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, 8)) * np.arange(8, 0, -1) @ rng.normal(size=(8, n_features))
    x += 0.01 * rng.normal(size=x.shape)
    oracle = PCA(8, svd_solver="full").fit(x)
    got = Components.fit(x, 8)
    np.testing.assert_allclose(np.abs(got.project(x)), np.abs(oracle.transform(x)), atol=2e-2)
    np.testing.assert_allclose(got.axes @ got.axes.T, np.eye(8), atol=1e-4)


def test_fewer_rows_than_components_give_fewer_components() -> None:
    assert Components.fit(np.random.default_rng(0).normal(size=(5, 20)), 64).axes.shape == (4, 20)
    assert Components.fit(np.ones((1, 20)), 64).project(np.ones((3, 20))).shape == (3, 0)


def test_gradient_histograms_ignore_brightness_and_nearly_contrast() -> None:
    x = np.random.default_rng(0).random((4, 1, 24, 20))
    base = gradient_histograms(x)
    np.testing.assert_allclose(gradient_histograms(x + 3.0), base, atol=1e-9)
    np.testing.assert_allclose(gradient_histograms(x * 2.0), base, atol=1e-3)
    assert np.abs(gradient_histograms(np.random.default_rng(1).random((4, 1, 24, 20))) - base).max() > 0.1


def test_gradient_histograms_of_a_mirrored_picture_are_the_mirrored_histograms() -> None:
    x = np.random.default_rng(0).random((3, 1, 24, 24))
    n = 5  # blocks a side: 6 cells
    base = gradient_histograms(x).reshape(3, n, n, 2, 2, 9)
    mirrored = gradient_histograms(x[..., ::-1]).reshape(3, n, n, 2, 2, 9)
    # columns of blocks and of cells swap, and a direction a becomes half a turn - a
    np.testing.assert_allclose(mirrored, base[:, :, ::-1, :, ::-1, ::-1], atol=1e-9)


@pytest.mark.parametrize(("angle", "expected"), [(10, 0), (30, 1), (90, 4), (130, 6), (170, 8)])
def test_a_ramp_lights_the_bin_of_its_direction(angle: int, expected: int) -> None:
    down, across = np.mgrid[:16, :16] / 16
    ramp = across * np.cos(np.radians(angle)) + down * np.sin(np.radians(angle))
    bins = gradient_histograms(ramp[None, None]).reshape(-1, 9)
    assert (bins.argmax(1) == expected).all()
    assert np.delete(bins, expected, axis=1).max() < 1e-9  # the angle is the bin's centre


def test_colour_histograms_count_pixels() -> None:
    x = np.zeros((1, 3, 4, 4))
    x[0, 0, :2] = 1.0
    histogram = colour_histograms(x)
    assert histogram[0, 0] == 0.5
    assert histogram[0, 48] == 0.5
    assert histogram.sum() == 1.0
    assert colour_histograms(x[:, :1]).shape == (1, 0)


def test_gradients_thumbnail_and_colours_have_their_shares_of_the_variance() -> None:
    in_colour = colour(40, (40, 40))
    for pictures, others in ((in_colour, 768), (in_colour[..., :1], 256)):
        made = GradientFeatures()
        made.fit(dataset(pictures))
        x = made.transform(dataset(pictures))
        parts = np.split(x, [1764, 1764 + others], axis=1)
        assert parts[2].shape[1] == (64 if pictures.shape[3] == 3 else 0)
        wanted = [1.0, 0.5, 0.25 * (pictures.shape[3] == 3)]
        np.testing.assert_allclose([part.var(0).sum() for part in parts], wanted, rtol=1e-6)
        np.testing.assert_allclose(x.mean(0), 0, atol=1e-9)


def test_gradients_know_a_drawing_by_its_lines_where_its_brightness_differs() -> None:
    pictures = colour(30, (32, 32))[..., :1].astype(float) / 255
    made = GradientFeatures()
    made.fit(dataset(pictures))
    one, other = (made.transform(dataset(some))[:, :1764] for some in (pictures, 0.5 * pictures + 0.3))
    distance = np.square(one[:, None] - other).sum(2)
    assert (distance.argmin(1) == np.arange(30)).all()
