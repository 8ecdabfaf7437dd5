"""Pictures: one size, standardised, absent rows unread."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from profuse.data.dataset import ModalityData
from profuse.data.preprocess import preprocessor
from profuse.data.preprocess.image import ImagePreprocessor
from profuse.errors import ConfigError, DataError


def dataset(pictures: Any, present: list[bool] | None = None) -> ModalityData:
    if isinstance(pictures, list):
        values = np.empty(len(pictures), dtype=object)
        values[:] = pictures
        pictures = values
    shown = np.ones(len(pictures), dtype=bool) if present is None else np.array(present)
    return ModalityData("image", pictures, shown)


def grey(n_rows: int = 30, size: tuple[int, int] = (12, 10), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n_rows, *size, 1), dtype=np.uint8)


def colour(n_rows: int = 30, size: tuple[int, int] = (12, 10), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n_rows, *size, 3), dtype=np.uint8)


def fitted(data: ModalityData, **options: int) -> ImagePreprocessor:
    made = ImagePreprocessor(**options)
    made.fit(data)
    return made


@pytest.mark.parametrize(
    ("sizes", "options", "expected"),
    [
        ([(20, 30)] * 3, {}, (20, 30)),
        ([(10, 10), (20, 30), (50, 40)], {}, (20, 30)),
        ([(3, 4)] * 3, {}, (8, 8)),
        ([(128, 64)] * 3, {}, (64, 32)),
        ([(1000, 20)] * 3, {}, (64, 8)),
        ([(72, 72)] * 3, {"max_size": 48}, (48, 48)),
    ],
)
def test_the_size_is_the_median_within_bounds(
    sizes: list[tuple[int, int]], options: dict[str, int], expected: tuple[int, int]
) -> None:
    made = fitted(dataset([np.zeros((*s, 1), dtype=np.uint8) for s in sizes]), **options)
    assert made.spec.image_size == expected
    assert made.transform(dataset([np.zeros((5, 5, 3), dtype=np.uint8)])).values.shape == (1, 1, *expected)


def test_training_rows_come_out_with_mean_zero_and_deviation_one_in_each_channel() -> None:
    data = dataset(colour(50))
    values = fitted(data).transform(data).values.double()
    torch.testing.assert_close(values.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        values.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0
    )


def test_equal_sizes_are_only_standardised() -> None:
    pictures = grey()
    got = fitted(dataset(pictures)).transform(dataset(pictures)).values.numpy()[:, 0]
    x = pictures[..., 0] / 255
    np.testing.assert_allclose(got, (x - x.mean()) / x.std(), atol=1e-5)


@pytest.mark.parametrize("size", [(25, 31), (8, 8), (12, 40), (90, 70)])
def test_resizing_agrees_with_pillow(size: tuple[int, int]) -> None:
    made = fitted(dataset(np.linspace(0, 1, 16 * 20 * 4).reshape(4, 16, 20, 1)))
    picture = np.random.default_rng(1).random((*size, 1), dtype=np.float32)
    got = made.transform(dataset([picture])).values[0, 0].numpy() * made.std + made.mean
    oracle = Image.fromarray(picture[..., 0]).resize((20, 16), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(got, np.asarray(oracle), atol=2e-3)


def test_an_object_array_of_mixed_sizes_gives_what_each_picture_gives_alone() -> None:
    rng = np.random.default_rng(0)
    shapes = [(12, 10, 3), (12, 10, 3), (30, 8, 1), (9, 9, 4), (12, 10), (30, 8, 1)]
    pictures = [rng.integers(0, 256, s, dtype=np.uint8) for s in shapes] + [rng.random((12, 10, 3))]
    made = fitted(dataset(colour()))
    together = made.transform(dataset(pictures))
    for i, picture in enumerate(pictures):
        alone = made.transform(dataset([picture]))
        torch.testing.assert_close(together.values[i], alone.values[0])


def test_channels_are_one_if_all_training_pictures_are_grey_whatever_their_layout() -> None:
    flat = grey()
    assert fitted(dataset(flat)).spec.n_channels == 1
    assert fitted(dataset(np.repeat(flat, 3, axis=3))).spec.n_channels == 1
    assert fitted(dataset([*flat, colour(1)[0]])).spec.n_channels == 3


def test_colour_is_reduced_to_luma_where_training_was_grey() -> None:
    made = fitted(dataset(grey()))
    pictures = colour(3)
    got = made.transform(dataset(pictures)).values.numpy()[:, 0] * made.std + made.mean
    np.testing.assert_allclose(got, pictures @ np.array([0.299, 0.587, 0.114]) / 255, atol=1e-5)


def test_transparency_is_laid_over_white() -> None:
    made = fitted(dataset(colour()))
    clear = np.zeros((12, 10, 4), dtype=np.uint8)
    white = np.full((12, 10, 3), 255, dtype=np.uint8)
    both = made.transform(dataset([clear, white])).values
    assert torch.equal(both[0], both[1])


def test_uint8_and_float_give_the_same() -> None:
    made, pictures = fitted(dataset(colour())), colour(4, seed=1)
    torch.testing.assert_close(
        made.transform(dataset(pictures)).values, made.transform(dataset(pictures / 255)).values, atol=1e-5, rtol=0
    )


def test_a_missing_row_is_not_read_and_comes_back_masked_and_zero() -> None:
    pictures = [*colour(4), None]
    data = dataset(pictures, [True, True, True, True, False])
    raw = fitted(data).transform(data)
    assert raw.mask.tolist() == [True] * 4 + [False]
    assert not raw.values[4].any()
    other = dataset([*pictures[:4], np.full((3,), np.nan)], [True, True, True, True, False])
    assert torch.equal(fitted(other).transform(other).values, raw.values)


def test_nothing_is_learned_from_absent_rows() -> None:
    pictures = colour(10)
    seen = fitted(dataset(pictures[:6]))
    masked = fitted(dataset(pictures, [True] * 6 + [False] * 4))
    np.testing.assert_array_equal(seen.mean, masked.mean)


def test_a_channel_that_never_varies_becomes_zero() -> None:
    data = dataset(np.full((5, 9, 9, 1), 77, dtype=np.uint8))
    assert fitted(data).transform(data).values.abs().max() < 1e-5


@pytest.mark.parametrize("pictures", [grey(), colour(), colour(3), colour(30, (40, 33))])
def test_the_state_is_plain_and_gives_an_equal_preprocessor(pictures: np.ndarray) -> None:
    data = dataset(pictures)
    made = fitted(data)
    state = made.state()

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, np.ndarray):
            assert value.dtype != object
            return None
        return json.loads(json.dumps(value))

    plain(state)
    again = preprocessor("image").from_state(state)
    assert again.spec == made.spec
    assert torch.equal(again.transform(data).values, made.transform(data).values)


@pytest.mark.parametrize(
    ("picture", "got"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"shape=\(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape=\(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"shape=\(4,\)"),
        (np.zeros((4, 4, 3), np.int64), "dtype=int64"),
        (np.full((4, 4, 3), 255.0), "values from 255 to 255"),
        (np.full((4, 4, 1), np.nan), "values from nan to nan"),
        (np.full((4, 4, 1), np.inf), "values from inf to inf"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_row(picture: np.ndarray, got: str) -> None:
    bad = dataset([colour(1)[0], picture])
    for act in (ImagePreprocessor().fit, fitted(dataset(colour())).transform):
        with pytest.raises(DataError, match=f"row 1 must be a picture .* got {got}. Convert it"):
            act(bad)


def test_a_modality_without_any_training_picture_is_refused() -> None:
    with pytest.raises(DataError, match="at least one training row must have a picture; got 0 of 2"):
        ImagePreprocessor().fit(dataset(grey(2), [False, False]))


@pytest.mark.parametrize("options", [{"min_size": 0}, {"min_size": 65}])
def test_options_out_of_range_are_told(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="1 <= min_size <= max_size"):
        ImagePreprocessor(**options)


@pytest.mark.slow
def test_ten_thousand_pictures_take_seconds() -> None:
    import time

    data = dataset(grey(10_000, (28, 28)))
    start = time.process_time()
    made = fitted(data)
    made.transform(data)
    assert time.process_time() - start < 30


def test_a_model_keeps_one_range_of_levels_as_it_did_before_pictures_had_many_channels() -> None:
    """Pipelines refuse a state that they would not keep themselves: models of earlier versions must still be theirs."""
    data = ModalityData("image", np.zeros((2, 8, 8, 3), dtype=np.uint8), np.ones(2, dtype=bool), range=(0.0, 255.0))
    fitted = ImagePreprocessor()
    fitted.fit(data)
    assert fitted.state()["range"] == [0.0, 255.0]
    again = ImagePreprocessor.from_state(fitted.state())
    assert again.range == (0.0, 255.0)
    assert again.state()["range"] == [0.0, 255.0]
    again.range = ((0.0, 1.0), (0.0, 9.0))
    assert ImagePreprocessor.from_state(again.state()).range == again.range
