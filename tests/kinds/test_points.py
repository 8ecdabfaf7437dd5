"""Clouds of points: their order means nothing, where they lie does; from files in a table to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from profuse import FusionClassifier
from profuse.data.cloud_shapes import cloud_shapes, n_shape_numbers
from profuse.data.clouds import LARGEST_CLOUD, as_cloud, curve_order, size_of, thinned
from profuse.data.dataset import ModalityData
from profuse.data.features.points import PointFeatures
from profuse.data.preprocess.points import PointPreprocessor
from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_tensors
from profuse.encoders.points import PointSetEncoder
from profuse.errors import ConfigError, DataError, ShapeError
from profuse.kinds import kind_named, object_array
from profuse.schema import Schema, Spec

RNG = np.random.default_rng(0)
CLOUDS = [RNG.normal(size=(n, 5)) + np.arange(5) for n in (7, 90, 33, 300, 1, 64, 2000, 50)]


def of(clouds: list[Any]) -> ModalityData:
    return from_tensors({"x": ("points", clouds)}).modalities["x"]


def shuffled(clouds: list[np.ndarray]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [cloud[rng.permutation(len(cloud))] for cloud in clouds]


def test_the_order_of_points_changes_nothing_that_a_model_reads() -> None:
    one, other = of(CLOUDS), of(shuffled(CLOUDS))
    made, features = PointPreprocessor(max_points=128), PointFeatures()
    made.fit(one)
    features.fit(one)
    first, second = made.transform(one), made.transform(other)
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.mask, second.mask)
    np.testing.assert_array_equal(features.transform(one), features.transform(other))
    encoder = PointSetEncoder.make(made.spec, 8, n_rows=100).eval()
    assert torch.equal(encoder(first).values, encoder(second).values)
    assert torch.equal(encoder.linear(first), encoder.linear(second))


def test_points_at_one_place_stand_in_the_order_of_their_channels() -> None:
    cloud = np.array([[0.0, 0, 0, 3], [0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 2]])
    for permutation in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        mixed = cloud[permutation]
        assert mixed[curve_order(mixed)][:, 3].tolist() == [1, 2, 3, 0]


def test_the_curve_visits_the_eight_corners_of_a_cube_octant_by_octant() -> None:
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
    near = np.concatenate([corners, corners * 0.9 + 0.05])
    order = curve_order(near)
    assert [set(order[i : i + 2] % 8) for i in range(0, 16, 2)] == [{i} for i in range(8)]


def test_a_cloud_is_thinned_evenly_and_keeps_its_points() -> None:
    cloud = RNG.uniform(size=(4000, 3))
    few = thinned(cloud, 500)
    assert len(few) == 500
    assert {tuple(p) for p in few} <= {tuple(p) for p in cloud}
    counts = np.histogramdd(few, bins=2, range=[(0, 1)] * 3)[0]
    assert counts.min() > 50  # 62.5 in each octant
    assert size_of(few) == pytest.approx(size_of(cloud), rel=0.02)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((0, 3)), "must have a point; got 0 points"),
        (np.zeros((4, 2)), r"\[point, channel\] with x, y, z first; got float64\(4, 2\)"),
        (np.zeros(6), "x, y, z first"),
        (np.zeros((3, 5000)), "x, y, z first"),
        (np.full((4, 3), "a"), "must be numbers"),
        (np.full((4, 3), np.nan), "got 4 points, none with all coordinates"),
        (np.array([[0.0, 0, 0], [0, np.inf, 0]]), "infinite at point 1"),
        (np.array([[0.0, 0, 1e39]]), "at most 3.4e38"),
    ],
)
def test_what_is_no_cloud_is_told(values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_cloud(values)


def test_points_without_a_position_are_left_out_and_counted() -> None:
    cloud = np.array([[0.0, 0, 0, 1], [np.nan, 0, 0, 2], [1, 1, 1, np.nan]])
    data = from_tensors({"x": ("points", [cloud, cloud[:1]])})
    assert len(data.modalities["x"].values[0]) == 2
    assert data.notes == (
        "Modality 'x': some points of 1 row (0; counted from 0) have no position (NaN) and were left out.",
    )


def test_coordinates_of_a_map_are_not_rounded() -> None:
    near = RNG.normal(size=(50, 3))
    far = near + np.array([450_000.0, 5_400_000.0, 120.0])
    assert as_cloud(near)[0].dtype == np.float32
    assert as_cloud(far)[0].dtype == np.float64
    made = PointPreprocessor()
    made.fit(of([far, far + 5]))
    plain = PointPreprocessor()
    plain.fit(of([near, near + 5]))
    torch.testing.assert_close(
        made.transform(of([far])).values[..., :3], plain.transform(of([near])).values[..., :3], atol=1e-4, rtol=1e-4
    )


def test_the_preprocessor_centres_each_cloud_and_keeps_where_it_was() -> None:
    made = PointPreprocessor()
    clouds = [np.array([[i, 0, 0, i], [i + 2.0, 0, 0, i]]) for i in range(4)]
    made.fit(of(clouds))
    raw = made.transform(of(clouds))
    np.testing.assert_allclose(raw.values[:, :, 0], [[-1, 1]] * 4, atol=1e-6)  # in radii: the root mean square is 1
    middles = (np.arange(4) + 1 - 2.5) / np.std(np.arange(4))
    np.testing.assert_allclose(raw.values[:, 0, 4], middles, atol=1e-6)
    np.testing.assert_allclose(raw.values[:, 1, 3], middles, atol=1e-6)
    assert not raw.values[:, :, 5:].any()  # y and z of the middle never vary


def test_a_missing_number_of_a_channel_is_its_mean() -> None:
    clouds = [np.array([[0.0, 0, 0, 5], [1, 1, 1, np.nan]]), np.array([[0.0, 0, 0, 7], [1, 1, 1, 9]])]
    made = PointPreprocessor()
    made.fit(of(clouds))
    values = made.transform(of(clouds)).values[:, :, 3]
    assert values[0, 1] == 0
    assert values[1, 0] == 0  # 7 is the mean of 5, 7 and 9


@pytest.mark.parametrize("n", [1, 2, 63, 65, 300])
def test_the_numbers_of_a_shape_are_what_they_say(n: int) -> None:
    cloud = RNG.normal(size=(n, 4)) * [3, 1, 0.5, 2]
    made = PointPreprocessor()
    made.fit(of([cloud, RNG.normal(size=(9, 4))]))
    raw = made.transform(of([cloud]))
    numbers = cloud_shapes(raw.values.double(), raw.mask)[0].numpy()
    assert len(numbers) == n_shape_numbers(made.spec.n_channels) == n_shape_numbers(7)
    points = raw.values[0].double().numpy()[: min(n, 300)]
    if n > 256:
        points = points[((np.arange(256) + 0.5) * n / 256).astype(int)]
    xyz = points[:, :3] - points[:, :3].mean(0)
    radius = np.sqrt(np.square(xyz).sum(1).mean() + 1e-6)
    unit = xyz / radius
    assert numbers[0] == pytest.approx(np.log1p(n))
    np.testing.assert_allclose(numbers[1:4], points[:, 4:].mean(0), atol=1e-6)
    assert numbers[4] == pytest.approx(np.log(radius))
    covariance = unit.T @ unit / len(unit)
    np.testing.assert_allclose(numbers[5:11], covariance[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]], atol=1e-6)
    np.testing.assert_allclose(numbers[11:14], (unit**3).mean(0), atol=1e-6)
    np.testing.assert_allclose(numbers[14:20], [*unit.min(0), *unit.max(0)], atol=1e-6)
    eigenvalues = np.linalg.eigvalsh(covariance)
    pairs = eigenvalues[0] * eigenvalues[1] + eigenvalues[0] * eigenvalues[2] + eigenvalues[1] * eigenvalues[2]
    np.testing.assert_allclose(numbers[20:22], [pairs, eigenvalues.prod()], atol=1e-6)
    np.testing.assert_allclose(
        numbers[22:30], [(np.linalg.norm(unit, axis=1) <= r).mean() for r in np.linspace(0.25, 2, 8)], atol=1e-6
    )
    if n in (2, 63):  # as many pairs as there are, each point with itself too
        some = unit[np.minimum(np.arange(64), n - 1)]
        apart = np.linalg.norm(some[:, None] - some[None], axis=2)
        np.testing.assert_allclose(numbers[30:45], [(apart <= d).mean() for d in np.linspace(0.2, 3, 15)], atol=2e-3)
    assert numbers[45:170].sum() == pytest.approx(1)
    assert numbers[170] == pytest.approx(points[:, 3].mean(), abs=1e-6)
    assert numbers[171] == pytest.approx(points[:, 3].std(), abs=1e-6)


def test_a_turned_cloud_has_other_places_and_the_same_distances() -> None:
    cloud = RNG.normal(size=(200, 3)) * [3, 1, 0.3]
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    made = PointPreprocessor()
    made.fit(of([cloud]))
    one, other = (
        cloud_shapes(raw.values.double(), raw.mask)[0]
        for raw in (made.transform(of([c])) for c in (cloud, cloud @ turn.T))
    )
    torch.testing.assert_close(one[20:30], other[20:30], atol=1e-4, rtol=1e-4)
    assert (one[45:170] - other[45:170]).abs().sum() > 0.2


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_points must be at least 1; got max_points=0"):
        PointPreprocessor(max_points=0)
    with pytest.raises(ShapeError, match="6 channels; got n_channels=3"):
        PointSetEncoder(Spec(kind="points", n_channels=3, max_length=9), 8)
    spec = Spec(kind="points", n_channels=6, max_length=9)
    with pytest.raises(ConfigError, match="width a multiple of n_heads.*n_heads=3, width=8"):
        PointSetEncoder(spec, 8, n_heads=3)
    for name in ("n_heads", "n_blocks"):
        with pytest.raises(ConfigError, match=f"must be at least 1.*{name}=0"):
            PointSetEncoder(spec, 8, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="augment at least 0.*augment=-1"):
        PointSetEncoder(spec, 8, augment=-1)
    made = PointPreprocessor()
    made.fit(of([np.zeros((2, 3)), np.ones((2, 3))]))
    with pytest.raises(DataError, match=r"row 0 must be a cloud \[point, 3\], not empty; got shape=\(2, 4\)"):
        made.transform(of([np.zeros((2, 4))]))


def test_clouds_of_other_channels_do_not_stand_together() -> None:
    with pytest.raises(
        DataError, match=r"modality 'x': all clouds must have the same channels, here 3; got others in 1"
    ):
        of([np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(DataError, match="must have the same channels"):
        kind_named("points").concatenate("x", of([np.zeros((2, 3))]), of([np.zeros((2, 4))]))


def write(path: Path, cloud: np.ndarray, names: str = "xyz") -> None:
    head = f"ply\nformat ascii 1.0\nelement vertex {len(cloud)}\n"
    head += "".join(f"property float {name}\n" for name in names) + "end_header\n"
    path.write_text(head + "\n".join(" ".join(map(str, row)) for row in cloud) + "\n")


def two_shapes(folder: Path, n: int) -> pd.DataFrame:
    """Balls and rings of one radius, turned and moved at random; a number that tells nothing."""
    rng, y = np.random.default_rng(0), np.arange(n) % 2
    for i in range(n):
        points = rng.normal(size=(int(rng.integers(30, 60)), 3))
        points[:, 2] *= 1 - y[i]
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        write(folder / f"{i}.ply", points @ turn + 0.3 * rng.normal(size=3) + 0.05 * rng.normal(size=points.shape))
    return pd.DataFrame({"scan": [f"{i}.ply" for i in range(n)], "size": rng.normal(size=n), "y": y})


def test_a_column_of_its_files_becomes_clouds_and_what_was_done_to_them_is_told(tmp_path: Path) -> None:
    frame = two_shapes(tmp_path, 6)
    write(tmp_path / "1.ply", np.array([[np.nan, 0, 0], [1, 2, 3]]))
    write(tmp_path / "2.ply", RNG.normal(size=(LARGEST_CLOUD + 1, 3)))
    frame.loc[3, "scan"] = None
    data = TableReader.fit(frame, Schema.model_validate({"target": {"columns": ["y"]}}), base_dir=tmp_path)[1]
    scans = data.modalities["scan"]
    assert scans.kind == "points"
    assert scans.present.tolist() == [True, True, True, False, True, True]
    assert scans.values[1].tolist() == [[1, 2, 3]]
    assert len(scans.values[2]) == LARGEST_CLOUD
    notes = "\n".join(data.notes)
    assert "1 clouds above 32,768 points were thinned to that number" in notes
    assert "1 row (1; counted from 0): some points have no position (NaN) and were left out" in notes


def test_files_of_other_channels_name_row_and_column(tmp_path: Path) -> None:
    frame = two_shapes(tmp_path, 6)
    write(tmp_path / "4.ply", np.ones((3, 4)), "xyzi")
    schema = Schema.model_validate({"target": {"columns": ["y"]}})
    with pytest.raises(DataError, match=r"row 4 .*column 'scan': .*got x, y, z, i, where the first has x, y, z"):
        TableReader.fit(frame, schema, base_dir=tmp_path)


@pytest.mark.slow
def test_a_model_tells_balls_from_rings_that_are_turned_and_moved(tmp_path: Path) -> None:
    frame = two_shapes(tmp_path, 240)
    X, y = frame.drop(columns="y"), frame["y"]
    model = FusionClassifier(fusion="concat", epochs=12, members=1, base_dir=tmp_path).fit(X[:160], y[:160])
    accuracy = float((model.predict(X[160:]) == y[160:]).mean())
    assert accuracy > 0.9
    mixed = frame.copy()
    for i in range(160, 240):
        lines = (tmp_path / f"{i}.ply").read_text().splitlines()
        (tmp_path / f"m{i}.ply").write_text("\n".join([*lines[:7], *reversed(lines[7:])]) + "\n")
        mixed.loc[i, "scan"] = f"m{i}.ply"
    np.testing.assert_allclose(
        model.predict_proba(mixed.drop(columns="y")[160:]), model.predict_proba(X[160:]), atol=1e-6
    )


def test_a_unit_that_is_left_out_takes_neighbours_away() -> None:
    kind, data = (
        kind_named("points"),
        of([np.concatenate([RNG.normal(size=(20, 3)), 50 + RNG.normal(size=(20, 3))])] * 2),
    )
    units = kind.units(data, 0, 2)
    made = kind.keep(data, 0, units, np.array([[True, False], [False, True]]))
    assert made.values[0].max() < 10
    assert made.values[1].min() > 10


def test_noise_is_in_the_unit_of_the_cloud() -> None:
    kind = kind_named("points")
    data = ModalityData("points", object_array([RNG.normal(size=(4000, 3)) * 7]), np.ones(1, dtype=bool))
    noisy = kind.corrupt(data, "white", 0.4, np.random.default_rng(0)).values[0]
    assert (noisy - data.values[0]).std() == pytest.approx(0.4 * 7 * 3**0.5 / 2, rel=0.05)
    turned = kind.corrupt(data, "turned", 0.3, np.random.default_rng(0)).values[0]
    assert size_of(turned) == pytest.approx(size_of(data.values[0]))
    cosine = np.sum((turned - turned.mean(0)) * (data.values[0] - data.values[0].mean(0)), axis=1)
    assert not np.allclose(cosine, np.square(data.values[0]).sum(1), rtol=0.1)
    dropped = kind.corrupt(data, "dropped", 0.3, np.random.default_rng(0)).values[0]
    assert len(dropped) / 4000 == pytest.approx(0.7, abs=0.03)
    covered = kind.corrupt(data, "covered", 0.5, np.random.default_rng(0)).values[0]
    assert len(covered) / 4000 == pytest.approx(0.6, abs=0.01)
