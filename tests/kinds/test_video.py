"""Videos: frames and how they change; from files in a table, with their sound as a modality of its own, to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_videos import RATE, write_video

from profuse import FusionClassifier
from profuse.data.dataset import ModalityData
from profuse.data.features.video import VideoFeatures
from profuse.data.motion import motion_numbers, n_motion_numbers
from profuse.data.preprocess.video import VideoPreprocessor
from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_tensors
from profuse.encoders.video import VideoEncoder
from profuse.errors import ConfigError, DataError, ShapeError
from profuse.kinds import kind_named, object_array
from profuse.schema import Schema, Spec
from profuse.tokens import Raw

RNG = np.random.default_rng(0)


def of(videos: Any) -> ModalityData:
    return from_tensors({"x": ("video", videos)}).modalities["x"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 4)), r"a video must be \[frame, height, width\].*got float64\(4, 4\)"),
        (np.zeros((0, 4, 4, 3)), "a video must be"),
        (np.zeros((2, 4, 4, 5), dtype=np.uint8), "1, 3 or 4 channels"),
        (np.full((2, 4, 4, 3), 7.0), "bytes, or floats in 0..1; got 7 to 7"),
        (np.full((2, 4, 4, 3), np.nan), "got nan to nan"),
        (np.zeros((2, 4, 4, 3), dtype=np.uint16), "bytes, or floats in 0..1"),
        (np.full((2, 4, 4), "a"), "a video must be"),
    ],
)
def test_what_is_no_video_is_told(values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        kind_named("video").check(values)


def test_frames_are_taken_evenly_and_standardised_together() -> None:
    videos = [np.linspace(0, 1, n)[:, None, None, None] * np.ones((n, 8, 8, 3)) for n in (1, 4, 31)]
    made = VideoPreprocessor(max_frames=16)
    made.fit(of(videos))
    assert made.spec == Spec(kind="video", n_channels=1, image_size=(8, 8), max_length=16)
    raw = made.transform(of(videos))
    assert raw.mask.sum(1).tolist() == [1, 4, 16]
    assert raw.values[raw.mask].mean().item() == pytest.approx(0, abs=1e-5)
    assert raw.values[raw.mask].std(correction=0).item() == pytest.approx(1, abs=1e-4)
    steps = raw.values[2, :, 0, 0, 0].diff()
    torch.testing.assert_close(steps, torch.full_like(steps, steps.mean().item()), atol=1e-3, rtol=1e-3)
    assert not raw.values[~raw.mask].any()
    with pytest.raises(ConfigError, match="max_frames must be at least 1; got max_frames=0"):
        VideoPreprocessor(max_frames=0)


def moving(step: tuple[float, float], n: int = 8, side: int = 24) -> torch.Tensor:
    """A smooth pattern that moves by `step` pixels a frame, down and to the right: `[1, frame, 1, side, side]`."""
    y, x = np.mgrid[:side, :side].astype(float)
    frames = [np.sin((y - t * step[0]) / 3) + np.sin((x - t * step[1]) / 3) for t in range(n)]
    return torch.from_numpy(np.stack(frames))[None, :, None]


@pytest.mark.parametrize("step", [(0.0, 0.0), (0.4, 0.0), (0.0, -0.5), (0.3, 0.3)])
def test_the_flow_is_how_far_a_pattern_moves(step: tuple[float, float]) -> None:
    values = moving(step)
    numbers = motion_numbers(values, torch.ones(1, 8, dtype=torch.bool))[0].numpy()
    assert len(numbers) == n_motion_numbers((24, 24)) == 1 + 4 + 36 + 72
    assert numbers[0] == pytest.approx(np.log(9))
    sizes = np.abs(np.diff(values[0, :, 0].numpy(), axis=0))
    assert numbers[1:5].mean() == pytest.approx(sizes.mean(), rel=0.2)
    np.testing.assert_allclose(
        numbers[5:41].reshape(6, 6), sizes.mean(0).reshape(6, 4, 6, 4).mean(axis=(1, 3)), atol=1e-9
    )
    flow = numbers[41:].reshape(4, 2, 9) * 24
    np.testing.assert_allclose(flow.mean(axis=(0, 2)), step, atol=0.08)


def test_padding_and_missing_videos_have_no_motion() -> None:
    values = moving((0.4, 0.2))
    mask = torch.ones(1, 8, dtype=torch.bool)
    longer = torch.cat([values, torch.full((1, 5, 1, 24, 24), 9.0)], dim=1)
    padded = torch.cat([mask, torch.zeros(1, 5, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(motion_numbers(longer, padded), motion_numbers(values, mask))
    assert not motion_numbers(values, ~mask).any()
    assert motion_numbers(values[:, :1], mask[:, :1]).isfinite().all()


@pytest.mark.parametrize(("n_channels", "size"), [(1, (1, 1)), (3, (8, 30)), (3, (2, 5))])
def test_videos_of_any_size_and_of_one_frame_are_encoded(n_channels: int, size: tuple[int, int]) -> None:
    spec = Spec(kind="video", n_channels=n_channels, image_size=size, max_length=5)
    made = VideoEncoder.make(spec, 8, n_rows=100)
    for n_frames in (1, 5):
        raw = Raw(torch.randn(2, n_frames, n_channels, *size), torch.ones(2, n_frames, dtype=torch.bool))
        for module in (made.train(), made.eval()):
            assert module(raw).values.isfinite().all()
        assert made.linear(raw).shape == (2, made.n_linear)
        assert made.linear(raw).isfinite().all()


def test_a_frame_is_seen_with_the_frame_before_it_and_no_other() -> None:
    made = VideoEncoder.make(Spec(kind="video", n_channels=1, image_size=(8, 8), max_length=5), 8, n_rows=100).eval()
    values, mask = torch.randn(1, 4, 1, 8, 8), torch.ones(1, 4, dtype=torch.bool)
    other = values.clone()
    other[:, 1] += torch.randn(8, 8)
    changed = (made.embed(Raw(values, mask)).values - made.embed(Raw(other, mask)).values).abs().amax((0, 2)) > 1e-4
    assert changed.tolist() == [False, True, True, False]


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"image_size=\(0, 0\)"):
        VideoEncoder(Spec(kind="video", n_channels=1), 8)
    with pytest.raises(ConfigError, match="n_heads=3, width=8"):
        VideoEncoder(Spec(kind="video", n_channels=1, image_size=(8, 8)), 8, n_heads=3)


def made_clips(folder: Path, n: int, *, mute: bool = True) -> pd.DataFrame:
    """A square that moves left or right; a low tone or a high one, or in some no sound; a number of nothing."""
    rng, way, pitch = np.random.default_rng(0), np.arange(n) % 2, np.arange(n) // 2 % 2
    for i in range(n):
        frames = rng.integers(0, 60, (12, 32, 48, 3)).astype(np.uint8)
        y, x = int(rng.integers(0, 24)), int(rng.integers(14, 28))
        for t in range(12):
            at = x + (t - 6) * (2 * way[i] - 1) * 2
            frames[t, y : y + 8, max(0, at) : at + 8] = 230
        seconds = np.arange(RATE) / RATE
        tone = 0.3 * np.sin(2 * np.pi * (300 + 900 * pitch[i]) * seconds) + 0.05 * rng.normal(size=RATE)
        write_video(folder / f"{i}.mp4", frames, None if mute and i % 7 == 3 else tone)
    return pd.DataFrame({"clip": [f"{i}.mp4" for i in range(n)], "size": rng.normal(size=n), "y": way, "z": pitch})


SOUND_TOO = {
    "modalities": {
        "clip": {"kind": "video", "columns": ["clip"]},
        "clip_sound": {"kind": "audio", "columns": ["clip"]},
    }
}


def test_a_column_of_its_files_becomes_videos_and_their_sound_a_modality_where_it_is_asked_for(tmp_path: Path) -> None:
    frame = made_clips(tmp_path, 8)[["clip", "size", "y"]]
    frame.loc[5, "clip"] = None
    plain = TableReader.fit(frame, Schema.model_validate({"target": {"columns": ["y"]}}), base_dir=tmp_path)[1]
    assert {n: d.kind for n, d in plain.modalities.items()} == {"clip": "video", "table": "table"}
    schema = Schema.model_validate({"target": {"columns": ["y"]}, **SOUND_TOO})
    reader, data = TableReader.fit(frame, schema, base_dir=tmp_path)
    assert data.modalities["clip"].present.tolist() == [True] * 5 + [False, True, True]
    assert data.modalities["clip_sound"].present.tolist() == [True] * 3 + [False, True, False, True, True]
    assert data.modalities["clip_sound"].rate == RATE
    assert "1 row (3; counted from 0): the video has no sound, which is missing there" in "\n".join(data.notes)
    again = TableReader.fit(frame, reader.schema, base_dir=tmp_path)[1]
    assert again.digest() == data.digest()


def test_two_modalities_of_one_kind_or_of_no_files_share_no_column(tmp_path: Path) -> None:
    frame = made_clips(tmp_path, 4)
    for kinds in (("video", "video"), ("video", "text"), ("video", None)):
        two = {name: {"kind": kind, "columns": ["clip"]} for name, kind in zip("ab", kinds, strict=True)}
        with pytest.raises(ConfigError, match="'clip' belongs to 'a' already"):
            TableReader.fit(
                frame, Schema.model_validate({"target": {"columns": ["y"]}, "modalities": two}), base_dir=tmp_path
            )


@pytest.mark.slow
def test_a_model_tells_which_way_a_square_moves(tmp_path: Path) -> None:
    frame = made_clips(tmp_path, 160, mute=False)
    X, way = frame[["clip", "size"]], frame["y"]
    model = FusionClassifier(fusion="concat", epochs=15, members=1, base_dir=tmp_path).fit(X[:110], way[:110])
    assert float((model.predict(X[110:]) == way[110:]).mean()) > 0.9


def test_the_sound_of_a_video_is_what_is_heard_in_it(tmp_path: Path) -> None:
    frame = made_clips(tmp_path, 16)
    schema = Schema.model_validate({"target": {"columns": ["z"]}, **SOUND_TOO})
    sounds = TableReader.fit(frame, schema, base_dir=tmp_path)[1].modalities["clip_sound"]
    for i in np.flatnonzero(sounds.present):
        wave = sounds.values[i]
        assert np.abs(np.fft.rfft(wave)).argmax() * RATE / len(wave) == pytest.approx(300 + 900 * frame["z"][i], abs=5)


def test_features_tell_a_still_video_from_a_moving_one() -> None:
    pattern = RNG.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    still, moved = np.stack([pattern] * 8), np.stack([np.roll(pattern, t, axis=1) for t in range(8)])
    made = VideoFeatures()
    made.fit(of([still, moved, still[:5], moved[:3]]))
    x = made.transform(of([still, moved]))
    motion = x[:, -n_motion_numbers((16, 16)) :]
    assert motion[0, 1:5].max() == 0
    assert motion[1, 1:5].min() > 0.1


def test_a_patch_is_blurred_for_a_while_and_nothing_else() -> None:
    kind, data = kind_named("video"), of([RNG.integers(0, 256, (6, 12, 12, 3)).astype(np.uint8)] * 2)
    units = kind.units(data, 0, 27)
    assert len(units) == 27
    kept = np.ones((1, 27), dtype=bool)
    kept[0, 13] = False
    changed = np.asarray(kind.keep(data, 0, units, kept).values[0]) != data.values[0]
    assert changed[2:4, 4:8, 4:8].mean() > 0.9
    changed[2:4, 4:8, 4:8] = False
    assert not changed.any()
    drawing = kind.draw(data, 0, units)
    assert drawing.picture is not None
    assert drawing.picture.shape == (12, 36, 3)
    np.testing.assert_allclose(drawing.boxes[13], (4 / 9, 5 / 9, 1 / 3, 2 / 3))


def test_frozen_frames_repeat_the_one_before() -> None:
    video = (np.arange(20)[:, None, None, None] * 12 * np.ones((1, 2, 2, 1))).astype(np.uint8)
    data = ModalityData("video", object_array([video] * 40), np.ones(40, dtype=bool))
    noisy = kind_named("video").corrupt(data, "frozen", 0.5, np.random.default_rng(0)).values
    same = [(np.diff(v[:, 0, 0, 0].astype(int)) == 0).mean() for v in noisy]
    assert np.mean(same) == pytest.approx(0.5, abs=0.06)
    assert all((np.diff(v[:, 0, 0, 0].astype(int)) >= 0).all() for v in noisy)
