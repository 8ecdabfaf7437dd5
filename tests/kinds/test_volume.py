"""Volumes: resampled as said, standardised by training alone; from files in a table to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter

from profuse import FusionClassifier
from profuse.data.dataset import ModalityData
from profuse.data.features.volume import VolumeFeatures
from profuse.data.preprocess.volume import VolumePreprocessor
from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_tensors
from profuse.data.volume_shapes import n_volume_numbers, volume_shapes
from profuse.data.volumes import LARGEST_VOLUME_SIDE, as_volume, resampled_volume, shrunk_volume
from profuse.encoders.volume import VolumeEncoder
from profuse.errors import ConfigError, DataError, ShapeError
from profuse.kinds import kind_named, object_array
from profuse.schema import Schema, Spec
from profuse.tokens import Raw

RNG = np.random.default_rng(0)


def of(volumes: Any) -> ModalityData:
    return from_tensors({"x": ("volume", volumes)}).modalities["x"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 4)), r"\[depth, height, width, channel\]; got float64\(4, 4\)"),
        (np.zeros((0, 4, 4)), "got float64"),
        (np.zeros((2, 2, 2, 200)), "at most 16 channels; got 200"),
        (np.full((2, 2, 2), "a"), "must be numbers"),
        (np.full((2, 2, 2), np.nan), "all of a channel are NaN"),
        (np.full((2, 2, 2), np.inf), "8 are infinite"),
        (np.full((2, 2, 2), 1e39), "at most 3.4e38"),
    ],
)
def test_what_is_no_volume_is_told(values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_volume(values)


def test_voxels_that_are_nan_get_the_least_level_and_are_counted() -> None:
    volume = np.arange(8.0).reshape(2, 2, 2) + 5
    volume[1, 1, 1] = np.nan
    data = from_tensors({"x": ("volume", [volume, volume[:, :, :1]])})
    assert data.modalities["x"].values[0].ravel().tolist() == [5, 6, 7, 8, 9, 10, 11, 5]
    assert data.notes == ("Modality 'x': voxels of 1 row (0; counted from 0) that are NaN have the least level.",)


def test_voxels_that_fall_together_are_averaged_and_lines_lie_between_others() -> None:
    volume = RNG.normal(size=(4, 6, 2, 1))
    small = resampled_volume(volume, (2, 3, 2))[0].numpy()
    np.testing.assert_allclose(small, volume[..., 0].reshape(2, 2, 3, 2, 2).mean(axis=(1, 3)), atol=1e-6)
    ramp = np.broadcast_to(np.arange(8.0)[:, None, None, None], (8, 2, 2, 1))
    large = resampled_volume(ramp, (16, 2, 2))[0, :, 0, 0].numpy()
    np.testing.assert_allclose(np.diff(large)[1:-1], 0.5, atol=1e-6)
    big = np.zeros((LARGEST_VOLUME_SIDE * 2, 40, 20, 1), dtype=np.float32)
    assert shrunk_volume(big).shape == (LARGEST_VOLUME_SIDE, 20, 10, 1)


def test_the_preprocessor_standardises_by_training_and_holds_wild_levels() -> None:
    volumes = [RNG.normal(100, 20, size=(8, 8, 8)) for _ in range(20)]
    made = VolumePreprocessor()
    made.fit(of(volumes))
    assert made.spec.grid == (8, 8, 8)
    raw = made.transform(of(volumes)).values
    assert raw.mean().item() == pytest.approx(0, abs=1e-5)
    assert raw.std().item() == pytest.approx(1, abs=1e-3)
    volumes[0][0, 0, 0] = 1e9
    wild = made.transform(of(volumes[:1])).values
    assert wild.max() < 4
    assert wild[0, 0, 1:].equal(raw[0, 0, 1:])


def test_a_voxel_that_is_rarely_alight_is_not_held_to_nothing() -> None:
    volumes = [np.zeros((16, 16, 16)) for _ in range(6)]
    for i, volume in enumerate(volumes):
        volume[i, i, i] = 1
    made = VolumePreprocessor()
    made.fit(of(volumes))
    assert made.transform(of(volumes)).values.flatten(1).argmax(1).tolist() == [i * 273 for i in range(6)]


def test_the_grid_is_the_median_shape_scaled_down_together() -> None:
    made = VolumePreprocessor(max_size=10)
    made.fit(of([RNG.normal(size=s) for s in ((40, 20, 2), (40, 20, 2), (9, 9, 9))]))
    assert made.spec.grid == (10, 5, 4)  # 4 is the smallest side
    with pytest.raises(ConfigError, match="got min_size=9, max_size=3"):
        VolumePreprocessor(min_size=9, max_size=3)
    with pytest.raises(
        DataError, match=r"row 0 must be a volume \[depth, height, width, 1\]; got shape=\(2, 2, 2, 2\)"
    ):
        made.transform(of([np.zeros((2, 2, 2, 2))]))


def test_the_numbers_of_a_volume_are_what_they_say() -> None:
    x = RNG.normal(size=(12, 6, 9))
    numbers = volume_shapes(torch.from_numpy(x)[None, None])[0].numpy()
    assert len(numbers) == n_volume_numbers(1, (12, 6, 9)) == 2 + 9 + 216 + 81
    assert numbers[0] == pytest.approx(x.mean())
    assert numbers[1] == pytest.approx(np.log(x.std()), abs=1e-5)
    np.testing.assert_allclose(numbers[2:11][[0, 4, 8]], [x.min(), np.median(x), x.max()], atol=1e-2)
    own = (x - x.mean()) / x.std()
    thumbnail = own.reshape(6, 2, 6, 9).mean(axis=1)
    np.testing.assert_allclose(numbers[11:227].reshape(6, 6, 6)[:, :, 0], thumbnail[:, :, :2].mean(2), atol=1e-5)
    steps = np.zeros_like(own)
    steps[:-1] = np.abs(np.diff(own, axis=0))
    np.testing.assert_allclose(
        numbers[227:254].reshape(3, 3, 3), steps.reshape(3, 4, 3, 2, 3, 3).mean(axis=(1, 3, 5)), atol=1e-5
    )
    assert VolumeFeatures.takes == "volume"


@pytest.mark.parametrize("grid", [(1, 1, 1), (4, 8, 5), (32, 32, 32), (9, 31, 2)])
def test_an_encoder_of_any_grid_gives_at_most_a_few_tokens(grid: tuple[int, int, int]) -> None:
    spec = Spec(kind="volume", n_channels=2, grid=grid)
    made = VolumeEncoder.make(spec, 8, n_rows=100)
    raw = torch.randn(3, 2, *grid)
    for module in (made.train(), made.eval()):
        tokens = module(Raw(raw, torch.tensor([True, False, True])))
        assert tokens.values.isfinite().all()
        assert tokens.values.shape[1] <= 125
    assert made.linear(Raw(raw, torch.tensor([True, False, True]))).shape == (3, made.n_linear)


def test_wrong_sizes_are_refused() -> None:
    spec = Spec(kind="volume", n_channels=1, grid=(4, 4, 4))
    with pytest.raises(ConfigError, match=r"dims=\(8,\)"):
        VolumeEncoder(spec, 8, dims=(8,))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"grid=\(0, 0, 0\)"):
        VolumeEncoder(Spec(kind="volume", n_channels=1), 8)


def nifti(path: Path, volume: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(volume.swapaxes(0, 2).astype(np.float32), np.eye(4)), path)


def made_scans(folder: Path, n: int) -> pd.DataFrame:
    """Noise with a bright spot or a dark one, anywhere, under a gain and an offset of its own; a number of nothing."""
    rng, y = np.random.default_rng(0), np.arange(n) % 2
    for i in range(n):
        x = gaussian_filter(rng.normal(size=(14, 16, 12)), 1.0) * 3
        at = [int(rng.integers(3, side - 3)) for side in x.shape]
        x[at[0] - 2 : at[0] + 3, at[1] - 2 : at[1] + 3, at[2] - 2 : at[2] + 3] += 4 * (2 * y[i] - 1)
        nifti(folder / f"{i}.nii.gz", x * rng.uniform(50, 150) + rng.normal(0, 300))
    return pd.DataFrame({"scan": [f"{i}.nii.gz" for i in range(n)], "age": rng.normal(size=n), "y": y})


def test_a_column_of_its_files_becomes_volumes_and_what_was_done_is_told(tmp_path: Path) -> None:
    frame = made_scans(tmp_path, 6)
    frame.loc[3, "scan"] = None
    nifti(tmp_path / "1.nii.gz", np.zeros((200, 20, 20)))
    data = TableReader.fit(frame, Schema.model_validate({"target": {"columns": ["y"]}}), base_dir=tmp_path)[1]
    scans = data.modalities["scan"]
    assert scans.kind == "volume"
    assert scans.present.tolist() == [True, True, True, False, True, True]
    assert scans.values[1].shape == (96, 10, 10, 1)
    assert "1 volumes above 96 voxels a side were shrunk to that size" in "\n".join(data.notes)


@pytest.mark.slow
def test_a_model_finds_a_spot_wherever_it_is_and_whatever_the_scanner(tmp_path: Path) -> None:
    frame = made_scans(tmp_path, 240)
    X, y = frame.drop(columns="y"), frame["y"]
    model = FusionClassifier(fusion="concat", epochs=20, members=1, base_dir=tmp_path).fit(X[:160], y[:160])
    assert float((model.predict(X[160:]) == y[160:]).mean()) > 0.85


def test_a_box_is_blurred_and_other_voxels_are_not() -> None:
    kind, data = kind_named("volume"), of([RNG.normal(size=(9, 9, 9)), np.ones((9, 9, 9))])
    units = kind.units(data, 0, 27)
    assert len(units) == 27
    kept = np.ones((1, 27), dtype=bool)
    kept[0, 13] = False
    made = np.asarray(kind.keep(data, 0, units, kept).values[0])
    changed = made != data.values[0]
    assert changed[3:6, 3:6, 3:6].all()
    changed[3:6, 3:6, 3:6] = False
    assert not changed.any()
    assert made[3:6, 3:6, 3:6].std() < 0.3


def test_slices_are_drawn_side_by_side_with_the_boxes_in_them() -> None:
    kind = kind_named("volume")
    data = of([RNG.normal(size=(9, 8, 6)), np.ones((2, 2, 2))])
    units = kind.units(data, 0, 27)
    drawing = kind.draw(data, 0, units)
    assert drawing.picture is not None
    assert drawing.picture.shape == (8, 18, 3)
    np.testing.assert_allclose(drawing.boxes[13], (4 / 9, 5 / 9, 2 / 8, 5 / 8), atol=1e-9)


@pytest.mark.parametrize(
    ("noise", "measured"),
    [
        ("white", lambda new, old: (new - old).std() / old.std() / 0.4),
        ("contrast", lambda new, old: new.std() / old.std() / (1 - 0.95 * 0.4)),
        ("gap", lambda new, old: (new != old).mean() / 0.4),
        ("covered", lambda new, old: (new != old).mean() / 0.2),
    ],
)
def test_noise_is_as_strong_as_it_says(noise: str, measured: Any) -> None:
    volume = RNG.normal(50, 9, size=(20, 20, 20, 1)).astype(np.float32)
    data = ModalityData("volume", object_array([volume] * 30), np.ones(30, dtype=bool))
    noisy = kind_named("volume").corrupt(data, noise, 0.4, np.random.default_rng(0)).values
    assert np.mean([measured(new, volume) for new in noisy]) == pytest.approx(1, abs=0.1)
