"""Pictures of channels that are no colours: every form of TIFF, levels by channel, what was not measured."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from tables import opened

from profuse.classical import fit_classical
from profuse.data.features import features_named
from profuse.data.media import as_picture, as_shares, read_image
from profuse.data.media.bands import Bands
from profuse.data.pipeline import Pipeline
from profuse.data.preprocess.image import ImagePreprocessor
from profuse.data.table.reader import TableReader, look
from profuse.data.tensors import from_tensors
from profuse.errors import DataError
from profuse.estimators.fusion import FusionClassifier
from profuse.kinds import kind_named
from profuse.schema import Schema

RNG = np.random.default_rng(0)
FORMS = {"u": 1, "i": 2, "f": 3}


def tiff(
    pages: list[np.ndarray],
    *,
    order: Literal["<", ">"] = "<",
    planar: bool = False,
    tile: int = 0,
    rows: int = 7,
    packed: bool = False,
    predictor: int = 1,
    extra: tuple[tuple[int, tuple[int, ...]], ...] = (),
    no_data: bytes = b"",
) -> bytes:
    """A TIFF by its specification: a page is `[height, width, sample]`, in strips or tiles, plain or deflated."""
    out, links = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4)), [4]
    for values in pages:
        height, width, n = values.shape
        item = values.dtype.itemsize
        blocks = []
        for plane in [values[..., c : c + 1] for c in range(n)] if planar else [values]:
            if tile:
                plane = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
                down, across = (side // tile for side in plane.shape[:2])
                cut = [(plane[i * tile :][:tile, j * tile :][:, :tile]) for i in range(down) for j in range(across)]
            else:
                cut = [plane[i : i + rows] for i in range(0, height, rows)]
            for block in cut:
                if predictor == 2:
                    block = np.diff(block, axis=1, prepend=block.dtype.type(0))
                data = block.astype(block.dtype.newbyteorder(order)).tobytes()
                if predictor == 3:
                    lines = np.frombuffer(block.astype(f">f{item}").tobytes(), np.uint8).reshape(len(block), -1, item)
                    lines = lines.swapaxes(1, 2).reshape(len(block), -1, block.shape[2])
                    data = bytes(np.diff(lines, axis=1, prepend=np.uint8(0)))
                blocks.append(bytes(zlib.compress(data) if packed else data))
        places = []
        for held_bytes in blocks:
            places.append(len(out))
            out += held_bytes
        lengths = tuple(map(len, blocks))
        tags: dict[int, tuple[int, ...]] = {256: (width,), 257: (height,), 258: (8 * item,) * n, 262: (1,), 277: (n,)}
        tags |= {
            259: (8 if packed else 1,),
            284: (2 if planar else 1,),
            317: (predictor,),
            339: (FORMS[values.dtype.kind],) * n,
        }
        tags |= (
            {322: (tile,), 323: (tile,), 324: tuple(places), 325: lengths}
            if tile
            else {273: tuple(places), 278: (rows,), 279: lengths}
        )
        entries = bytearray()
        for tag, held in sorted((tags | dict(extra)).items()):
            word = struct.pack(f"{order}{len(held)}I", *held)
            if len(held) > 1:
                word, at = struct.pack(order + "I", len(out)), word
                out += at
            entries += struct.pack(order + "HHI", tag, 4, len(held)) + word
        if no_data:
            entries += struct.pack(order + "HHII", 42113, 2, len(no_data), len(out))
            out += no_data
        out += bytes(len(out) % 2)
        struct.pack_into(order + "I", out, links[-1], len(out))
        out += struct.pack(order + "H", len(entries) // 12) + entries
        links.append(len(out))
        out += bytes(4)
    return bytes(out)


def levels(dtype: str, n: int, shape: tuple[int, int] = (21, 35)) -> np.ndarray:
    x = RNG.normal(size=(*shape, n)).cumsum(axis=1) * 20
    return x.astype(dtype) if dtype[0] != "u" else np.abs(x).astype(dtype)


def read(path: Path, content: bytes | None = None) -> tuple[np.ndarray, str]:
    if content is not None:
        path.write_bytes(content)
    told: list[str] = []
    return read_image(path, tell=told.append)[0], "; ".join(told)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("layout", [{}, {"planar": True}, {"tile": 16}, {"tile": 16, "planar": True}])
@pytest.mark.parametrize("packing", [{}, {"packed": True}, {"packed": True, "predictor": 2}])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
def test_a_tiff_of_six_samples_keeps_every_level(
    tmp_path: Path, order: Any, layout: Any, packing: dict[str, Any], dtype: str
) -> None:
    values = levels(dtype, 6)
    if dtype[0] == "f" and "predictor" in packing:
        packing = packing | {"predictor": 3}
    found, told = read(tmp_path / "x.tif", tiff([values], order=order, **layout, **packing))
    assert isinstance(found, Bands)
    assert told == ""
    np.testing.assert_array_equal(found, values.astype(np.float32))


@pytest.mark.parametrize(
    ("n", "dtype", "extra", "are_channels"),
    [
        (2, "u1", (), True),
        (2, "u2", ((338, (0,)),), True),
        (3, "u2", (), False),
        (3, "f4", ((262, (2,)),), False),
        (4, "u2", ((338, (0,)),), True),
        (4, "u1", ((262, (2,)), (338, (0,))), True),
    ],
)
def test_two_or_four_samples_are_channels_and_three_are_colours(
    tmp_path: Path, n: int, dtype: str, extra: Any, are_channels: bool
) -> None:
    values = levels(dtype, n)
    found, _ = read(tmp_path / "x.tif", tiff([values], extra=extra))
    assert isinstance(found, Bands) == are_channels
    np.testing.assert_array_equal(found, values)


def test_grey_pages_are_channels_and_are_told(tmp_path: Path) -> None:
    values = levels("u2", 5)
    found, told = read(tmp_path / "x.tif", tiff([values[..., c : c + 1] for c in range(5)]))
    np.testing.assert_array_equal(found, values)
    assert told == "the 5 pages of the TIFF are read as channels"


@pytest.mark.parametrize("n", [1, 6])
def test_a_level_that_the_file_names_is_not_measured(tmp_path: Path, n: int) -> None:
    values = levels("f4", n)
    values[3, 4] = -9999
    found, _ = read(tmp_path / "x.tif", tiff([values], no_data=b"-9999\0"))
    assert np.isnan(found[3, 4]).all()
    assert np.isnan(found).sum() == n


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((9, 8, 6), (9, 8, 6)), ((6, 20, 24), (20, 24, 6)), ((7, 9, 200), (7, 9, 200)), ((2, 9, 9), (9, 9, 2))],
)
def test_an_array_of_a_file_is_a_picture_of_its_channels(
    tmp_path: Path, shape: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    np.save(tmp_path / "x.npy", RNG.normal(size=shape))
    found, told = read(tmp_path / "x.npy")
    assert found.shape == expected
    assert isinstance(found, Bands)
    assert ("first axis" in told) == (shape != expected)


def broken(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new, 1)


WIDE = struct.pack("<HHII", 256, 4, 1, 35)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: tiff([levels("u2", 6)])[:400] + bytes(2000), "no picture of|broken"),
        (lambda: broken(tiff([levels("u2", 6)]), WIDE, WIDE[:8] + struct.pack("<I", 1 << 30)), "GiB in memory|TiB"),
        (lambda: broken(tiff([levels("u2", 6)]), WIDE, WIDE[:8] + struct.pack("<I", 36)), "cut off"),
        (lambda: broken(tiff([levels("u2", 6)], packed=True), b"\x78\x9c", b"\x78\0"), "broken"),
        (lambda: tiff([levels("u1", 2000, (3, 3))]), "at most 1024 channels; got 2000"),
        (lambda: tiff([levels("u2", 6)], extra=((259, (7,)),)), "in a form that is not read .compression 7"),
    ],
)
def test_a_damaged_or_absurd_tiff_is_one_error(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.tif", content())


def test_a_large_picture_is_shrunk_around_its_holes(tmp_path: Path) -> None:
    values = np.full((600, 1024, 1), 2000.0, dtype=np.float32) + np.arange(1024, dtype=np.float32)[:, None]
    values[:300, ::2] = np.nan  # a half of each pixel
    values[300:, :, :] = 5
    np.save(tmp_path / "x.npy", values)
    found, _ = read(tmp_path / "x.npy")
    assert found.shape[1] == 512
    assert np.isnan(found[:140]).all()
    np.testing.assert_allclose(found[160:], 5, rtol=1e-6)


def table(folder: Path, pictures: list[np.ndarray], names: str = "{}.tif") -> Path:
    for i, values in enumerate(pictures):
        name = folder / names.format(i)
        np.save(name, values) if name.suffix == ".npy" else name.write_bytes(tiff([values]))
    cells = [names.format(i) for i in range(len(pictures))]
    pd.DataFrame({"scan": cells, "y": [i % 2 for i in range(len(pictures))]}).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def test_each_channel_has_a_range_that_is_told_kept_and_read_alike_later(tmp_path: Path) -> None:
    unit = np.array([1, 16, 257])[[0, 1, 2, 0, 1]]
    pictures = [(RNG.integers(60, 256, (9, 8, 5)) * unit).astype(np.uint16) for _ in range(12)]
    file = table(tmp_path, pictures)
    data, schema = opened(file, target="y")
    expected = tuple((0.0, {1: 255.0, 16: 4095.0, 257: 65535.0}[u]) for u in unit)
    assert schema.ranges == look(file).schema.ranges == {"scan": expected}
    assert any(
        "12 pictures of 5 channel(s) are read by levels (black to white) 0: 0 to 255, 1:" in n for n in data.notes
    )
    white = np.array([pair[1] for pair in expected])
    np.testing.assert_allclose(data.modalities["scan"].values[3], pictures[3] / white, rtol=1e-6)
    (tmp_path / "later").mkdir()
    later = TableReader(schema).read(table(tmp_path / "later", [p // 4 for p in pictures[:2]]))
    np.testing.assert_allclose(later.modalities["scan"].values[1], pictures[1] // 4 / white, rtol=1e-6)
    pipeline = Pipeline.from_state(Pipeline.fit(data, np.arange(12)).state())
    assert pipeline.ranges == schema.ranges
    assert pipeline.preprocessors["scan"].spec.n_channels == 5
    again, _ = opened(file, target="y", schema=Schema(ranges={"scan": (0, 65535)}))
    np.testing.assert_allclose(again.modalities["scan"].values[3], pictures[3] / 65535, rtol=1e-6)


@pytest.mark.parametrize("known", [None, ((0, 9),) * 6])
@pytest.mark.parametrize("other", [5, 1])
def test_other_channels_are_one_error_that_names_the_file(tmp_path: Path, known: Any, other: int) -> None:
    pictures = [levels("u2", 6) for _ in range(9)]
    pictures[7] = levels("u2", other)
    schema = Schema() if known is None else Schema(ranges={"scan": known})
    with pytest.raises(
        DataError, match=r"row 7 .*'7.tif'.*the same channels; got .*, where the others have 6 that are"
    ):
        opened(table(tmp_path, pictures), target="y", schema=schema)


def test_files_of_arrays_are_pictures_where_the_schema_says_so(tmp_path: Path) -> None:
    file = table(tmp_path, [RNG.random((9, 8, 4)) for _ in range(9)], names="{}.npy")
    data, _ = opened(file, target="y", schema=Schema(columns={"scan": "image"}))
    assert data.modalities["scan"].values[0].shape == (9, 8, 4)
    assert Pipeline.fit(data, np.arange(9)).preprocessors["scan"].spec.n_channels == 4


def holed(value: float, n: int = 1, low: float = 700) -> list[np.ndarray]:
    pictures = [RNG.uniform(low, 3000, (10, 12, n)).round().astype(np.float32) for _ in range(8)]
    for picture in pictures:
        picture[2:5, 3:6] = value
    return pictures


@pytest.mark.parametrize(("value", "n"), [(0, 1), (np.nan, 1), (np.nan, 3), (np.nan, 6)])
def test_what_was_not_measured_has_the_nearest_level_and_a_channel_says_so(value: float, n: int) -> None:
    pictures = holed(value, n)
    given = pictures if n in (1, 3) else [p.view(Bands) for p in pictures]
    shares, ranges, notes = as_shares(given, None)
    found = shares[0]
    assert found is not None
    assert found.shape == (10, 12, n + 1)
    np.testing.assert_array_equal(
        found[..., n] == 0, np.isin(np.arange(120).reshape(10, 12), [27, 28, 29, 39, 40, 41, 51, 52, 53])
    )
    black, white = np.array(ranges[:n]).T
    np.testing.assert_allclose(found[1, 4, :n], (pictures[0][1, 4] - black) / (white - black), rtol=1e-6)
    np.testing.assert_array_equal(found[2, 4], [*found[1, 4, :n], 0])
    assert any("7.5 % of their pixels are" in note and f"channel {n} says where" in note for note in notes)
    again, kept, _ = as_shares(given[:1], ranges)
    assert kept == ranges
    assert again[0] is not None
    np.testing.assert_array_equal(again[0], found)
    whole, _, _ = as_shares([np.full((10, 12, n), 900, np.float32)], ranges)
    assert whole[0][..., n].min() == 1  # type: ignore[index]


def test_zero_is_a_level_where_others_lie_near_it_or_are_few() -> None:
    classes = [RNG.integers(0, 9, (10, 12, 1)).astype(np.float32) * 100 for _ in range(8)]
    for pictures in (holed(0, low=20), classes, [RNG.random((9, 9, 1), dtype=np.float32) for _ in range(8)]):
        assert as_shares(pictures, None)[0][0].shape[2] == 1  # type: ignore[union-attr]


def test_a_picture_without_any_measured_pixel_is_missing(tmp_path: Path) -> None:
    pictures: list[Any] = holed(np.nan)
    pictures[2] = np.full((10, 12), np.nan)
    data = from_tensors({"depth": ("image", pictures)}, np.arange(8) % 2)
    assert data.modalities["depth"].present.tolist() == [i != 2 for i in range(8)]
    assert any("1 row (2; counted from 0): no pixel of the picture was measured" in n for n in data.notes)


def test_opacity_of_levels_is_laid_over_white_when_they_are_read() -> None:
    picture = RNG.random((5, 6, 4), dtype=np.float32)
    data = from_tensors({"x": ("image", [picture, picture[::-1]])})
    colour, opacity = picture[..., :3], picture[..., 3:]
    np.testing.assert_allclose(data.modalities["x"].values[0], colour * opacity + 1 - opacity, rtol=1e-6)
    assert any("2 arrays of four channels are read as colours and opacity" in n for n in data.notes)


@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_a_pattern_in_the_lowest_levels_is_standardised_and_described_like_any_other(scale: float) -> None:
    x = RNG.random((20, 16, 16, 1))
    pictures = (0.4 + 0.2 * scale * x).astype(np.float32)
    data = from_tensors({"x": ("image", pictures)}, ranges={"x": (0, 1)}).modalities["x"]
    made = ImagePreprocessor()
    made.fit(data)
    values = made.transform(data).values.numpy()[:, 0]
    assert np.corrcoef(values.ravel(), x.ravel())[0, 1] > 0.99
    assert values.std() == pytest.approx(1, abs=0.01)
    features = features_named("hog")()
    features.fit(data)
    if scale == 1.0:
        wide = from_tensors({"x": ("image", (0.2 + 0.6 * x).astype(np.float32))}).modalities["x"]
        plain = features_named("hog")()
        plain.fit(wide)
        ours, theirs = (f.transform(d)[:, :36].ravel() for f, d in ((features, data), (plain, wide)))
        assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert np.ptp(features.transform(data)[:, :36]) > 0.05


@pytest.mark.parametrize(
    ("n", "note"),
    [(2, "grey: channel 0, 0 to 16383 (of 2 channels)"), (6, "red: channel 0, 0 to 16383, green: channel 1, ")],
)
def test_a_report_shows_the_first_channels_and_says_their_levels(n: int, note: str) -> None:
    pictures = [RNG.integers(0, 16384, (9, 8, n)).astype(np.uint16) for _ in range(3)]
    data = from_tensors({"x": ("image", pictures)}, ranges={"x": (0, 16383)}).modalities["x"]
    drawing = kind_named("image").draw(data, 1, [])
    assert drawing.picture is not None
    assert note in drawing.note
    first = np.rint(pictures[1][..., 0] / 16383 * 255)
    np.testing.assert_array_equal(drawing.picture[..., 0], first)


@pytest.mark.parametrize("noise", sorted(kind_named("image").corruptions))
def test_every_noise_keeps_all_channels_within_their_ranges(noise: str) -> None:
    data = from_tensors({"x": ("image", [RNG.random((16, 20, 6)) for _ in range(3)])}).modalities["x"]
    found = kind_named("image").corrupt(data, noise, 0.5, np.random.default_rng(0))
    changed = np.stack(list(found.values)) - np.stack(list(data.values))
    assert all(v.shape == (16, 20, 6) and v.min() >= 0 and v.max() <= 1 for v in found.values)
    assert (np.abs(changed).max(axis=(0, 1, 2)) > 1e-3).all()


def test_features_of_many_channels_are_gradients_of_their_mean_and_have_no_colours() -> None:
    pictures = RNG.random((20, 16, 16, 6), dtype=np.float32)
    data = from_tensors({"x": ("image", pictures)}, ranges={"x": (0, 1)}).modalities["x"]
    mean = from_tensors({"x": ("image", pictures.mean(-1, keepdims=True))}, ranges={"x": (0, 1)}).modalities["x"]
    many, one = features_named("hog")(), features_named("hog")()
    many.fit(data)
    one.fit(mean)
    x, y = many.transform(data), one.transform(mean)
    n_blocks = y.shape[1] - 256
    assert x.shape[1] == n_blocks + 6 * 256
    np.testing.assert_allclose(x[:, :n_blocks], y[:, :n_blocks], atol=1e-5)
    with pytest.raises(DataError, match="row 0 must be a picture .*, 6 channels, as in training.; got|6 channels"):
        many.transform(mean)


def test_arrays_in_python_of_other_channels_are_bands_and_four_are_opacity() -> None:
    assert [isinstance(as_picture(np.zeros((9, 9, n))), Bands) for n in (1, 2, 3, 4, 5)] == [
        False,
        True,
        False,
        False,
        True,
    ]


def drawn(kind: np.ndarray, side: int = 16) -> np.ndarray:
    """A disk, or a ring, anywhere near the middle; `[row, side, side]` in 0..1."""
    y, x = np.mgrid[:side, :side] / side
    at = RNG.uniform(0.35, 0.65, (2, len(kind), 1, 1))
    r = np.hypot(y - at[0], x - at[1])
    return np.asarray(
        np.where(kind[:, None, None] == 1, np.exp(-((r / 0.15) ** 2)), np.exp(-(((r - 0.25) / 0.07) ** 2)))
    )


def one_of_six(y: np.ndarray) -> np.ndarray:
    """Bright drawings of their own in five channels; only that in channel 4, of few levels, tells the class."""
    channels = [3000 * (c + 1) * drawn(RNG.permutation(y)) for c in range(6)]
    channels[4] = 500 + 20 * drawn(y) + RNG.normal(0, 1, (len(y), 16, 16))
    return np.stack(channels, axis=-1).round().astype(np.uint16)


def lowest_byte(y: np.ndarray) -> np.ndarray:
    """Under a pattern that is the same in all upper bytes stands the drawing that tells the class."""
    upper = (np.add.outer(np.arange(16) // 3, np.arange(16) // 3) % 2 + 100) * 256
    noise = RNG.normal(0, 5, (len(y), 16, 16))
    return np.asarray((upper + (120 * drawn(y) + 60 + noise).clip(0, 255))[..., None], dtype=np.uint16)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::profuse.errors.ProfuseWarning")
@pytest.mark.parametrize("made", [one_of_six, lowest_byte])
def test_one_channel_of_six_and_the_lowest_byte_of_sixteen_bits_are_learned(made: Any) -> None:
    y = np.arange(300) % 2
    pictures = made(y)
    model = FusionClassifier(epochs=12, random_state=0).fit({"x": ("image", pictures[:200])}, y[:200])
    assert (model.predict({"x": ("image", pictures[200:])}) == y[200:]).mean() > 0.9
    data = from_tensors({"x": ("image", pictures)}).modalities["x"]
    best = []
    for name in ("image", "hog"):
        features = features_named(name)()
        features.fit(data.rows(np.arange(200)))
        fit = fit_classical(
            "yardstick", {"x": features.transform(data)}, y, np.arange(150), np.arange(150, 200), "binary", 2
        )
        best.append((fit.predict(features.transform(data)[200:]).argmax(1) == y[200:]).mean())
    assert max(best) > 0.9
