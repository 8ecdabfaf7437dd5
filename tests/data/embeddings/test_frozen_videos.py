"""Frozen Hugging Face models of videos, and of pictures frame by frame, held against transformers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch

from profuse import FusionClassifier, from_tensors
from profuse.data.dataset import ModalityData, object_array
from profuse.data.embeddings import videos
from profuse.data.embeddings.frozen import frozen
from profuse.data.embeddings.vectors import vectors_of
from profuse.data.preprocess import preprocessor
from profuse.errors import ConfigError

# transformers takes seconds to import
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("offline_hub")]

OF_VIDEOS = {"videomae": (4, 2), "vivit": (6, 3), "timesformer": (3, 3)}
"""Frames that each reads, and times that its tokens stand for."""
OF_PICTURES = ("vit", "clip", "dinov2")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.saved(tmp_path_factory.mktemp("models"), *OF_VIDEOS, *OF_PICTURES, "text_model", "wav2vec2")


def video(n_frames: int, seed: int = 0, channels: int = 3, size: tuple[int, int] = (20, 24)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n_frames, *size, channels)).astype(np.uint8)


def last_layer(folder: Path, frames: list[np.ndarray], *, as_one: bool) -> torch.Tensor:
    """What transformers makes of frames: of one video `[1, token, channel]`, of pictures `[frame, token, channel]`."""
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModel

    images = [Image.fromarray(frame) for frame in frames]
    with torch.no_grad():
        read = AutoImageProcessor.from_pretrained(folder)([images] if as_one else images, return_tensors="pt")
        made: torch.Tensor = AutoModel.from_pretrained(folder).eval()(**read).last_hidden_state
    return made


FRAMES = {
    ("videomae", 10): [0, 3, 6, 9],
    ("vivit", 10): [0, 2, 4, 5, 7, 9],
    ("timesformer", 10): [0, 4, 9],
    ("videomae", 2): [0, 0, 1, 1],
    ("vivit", 1): [0] * 6,
    ("timesformer", 3): [0, 1, 2],
}


@pytest.mark.parametrize(("name", "length"), FRAMES)
def test_a_video_is_the_mean_of_the_tokens_of_as_many_frames_as_the_model_reads(
    models: Path, name: str, length: int
) -> None:
    clip = video(length)
    expected = last_layer(models / name, [clip[i] for i in FRAMES[name, length]], as_one=True)
    found = frozen(models / name, [clip], tokens=False)[0]
    np.testing.assert_allclose(found, expected[0].mean(0), atol=1e-5)
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", OF_VIDEOS)
def test_videos_of_several_sizes_and_lengths_do_not_depend_on_each_other(models: Path, name: str) -> None:
    clips = [video(9), video(2, 1), video(40, 2, size=(30, 17)), *(video(5, seed) for seed in range(3, 25))]
    together = frozen(models / name, clips, tokens=False)
    assert np.ptp(np.stack(together), axis=0).max() > 1e-2
    for clip, found in list(zip(clips, together, strict=True))[::6]:
        np.testing.assert_allclose(frozen(models / name, [clip], tokens=False)[0], found, atol=1e-5)


@pytest.mark.parametrize(("name", "sizes"), OF_VIDEOS.items())
def test_the_tokens_of_a_video_are_the_means_of_the_places_of_each_time(
    models: Path, tmp_path: Path, name: str, sizes: tuple[int, int]
) -> None:
    n_frames, n_times = sizes
    clip, n_places = video(n_frames), 4
    last = last_layer(models / name, list(clip), as_one=True)[0]
    found = frozen(models / name, [clip], tokens=True)[0]
    assert found.shape == (n_times, 16)
    behind = last[len(last) - n_times * n_places :]
    np.testing.assert_allclose(found.mean(0), behind.mean(0), atol=1e-5)
    # without layers a token tells of its own frames alone: which ones is seen where one frame changes
    getattr(tiny_models, name)(tmp_path / name, n_layers=0)
    before = frozen(tmp_path / name, [clip], tokens=True)[0]
    for frame in range(n_frames):
        changed = clip.copy()
        changed[frame] = 255 - changed[frame]
        moved = np.abs(frozen(tmp_path / name, [changed], tokens=True)[0] - before).max(1) > 1e-4
        assert np.flatnonzero(moved).tolist() == [frame * n_times // n_frames]


@pytest.mark.parametrize("name", OF_PICTURES)
def test_a_model_of_pictures_reads_frames_which_are_tokens_in_time(models: Path, name: str) -> None:
    clips = [video(3), video(40, 1)]
    chosen = [list(clips[0]), [clips[1][i] for i in np.linspace(0, 39, 16).round().astype(int)]]
    for clip, frames in zip(clips, chosen, strict=True):
        pictures = np.stack(frozen(models / name, frames, tokens=False))
        if name != "clip":
            last = last_layer(models / name, frames, as_one=False)
            np.testing.assert_allclose(pictures, last.mean(1), atol=1e-5)
        np.testing.assert_allclose(frozen(models / name, [clip], tokens=True)[0], pictures, atol=1e-5)
        np.testing.assert_allclose(frozen(models / name, [clip], tokens=False)[0], pictures.mean(0), atol=1e-5)


def test_grey_transparent_and_float_videos_are_read_as_colours(models: Path) -> None:
    for name in ("videomae", "vit"):
        colour = video(4)
        expected = frozen(models / name, [colour], tokens=False)[0]
        opaque = np.concatenate([colour, np.full((4, 20, 24, 1), 255, np.uint8)], axis=3)
        for same in (opaque, (colour / 255).astype(np.float32)):
            np.testing.assert_array_equal(frozen(models / name, [same], tokens=False)[0], expected)
        grey = video(4, channels=1)
        one, other = frozen(models / name, [grey, np.repeat(grey, 3, axis=3)], tokens=False)
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_model_of_neither_videos_nor_pictures_is_told(models: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"processor of videos or pictures .*text_model holds none. Name a model of vid"
    ):
        frozen(models / "text_model", [video(4)], tokens=False)
    with pytest.raises(
        ConfigError, match="wav2vec2 must hold a processor of videos or pictures that transformers loads"
    ):
        frozen(models / "wav2vec2", [video(4)], tokens=False)


def test_a_picture_given_to_a_model_of_videos_is_told(models: Path) -> None:
    for name in OF_VIDEOS:
        with pytest.raises(ConfigError, match="it makes 5 axes, as it belongs to a model of videos"):
            frozen(models / name, [video(1)[0]], tokens=False)


def test_tokens_in_an_order_that_is_not_known_are_told(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(videos._LAYOUTS, "videomae")
    with pytest.raises(ConfigError, match="one of vivit, timesformer, whose tokens.*got videomae.*Name hf:FOLDER"):
        frozen(models / "videomae", [video(4)], tokens=True)
    assert frozen(models / "videomae", [video(4)], tokens=False)[0].shape == (16,)


def test_a_model_that_gives_a_row_for_each_frame_is_told(tmp_path: Path) -> None:
    folder = tiny_models.timesformer(tmp_path / "m", attention_type="space_only")
    with pytest.raises(ConfigError, match=r"timesformer in .*m gives \[3, 5, 16\] of 1 videos"):
        frozen(folder, [video(4)], tokens=False)


def rows(*cells: np.ndarray | None) -> ModalityData:
    there = np.array([cell is not None for cell in cells])
    return ModalityData("video", object_array([video(1) if cell is None else cell for cell in cells]), there)


@pytest.mark.parametrize(("name", "form"), [("videomae", "hf"), ("timesformer", "hf-tokens"), ("vit", "hf-tokens")])
def test_a_missing_video_stays_masked_and_the_others_come_from_disk(
    models: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: str
) -> None:
    called = f"{form}:{models / name}"
    data = rows(video(3), None, video(7, 1), video(3))
    made = preprocessor(called)()
    made.fit(data)
    raw = made.transform(data)
    assert raw.present.tolist() == [True, False, True, True]
    assert not raw.values[1].any()
    torch.testing.assert_close(raw.values[0], raw.values[3])
    monkeypatch.setattr("profuse.data.embeddings.frozen._of_videos", lambda *given: pytest.fail("it encodes again"))
    again = preprocessor(called)()
    again.fit(data)
    torch.testing.assert_close(again.transform(data).values, raw.values)
    assert len(vectors_of(called, [video(7, 1)])) == 1


def test_a_fusion_learns_from_videos_by_one_word(models: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    bright = draw.random(40) < 0.5
    clips: list[Any] = [np.clip(video(5, i) // 2 + 127 * b, 0, 255).astype(np.uint8) for i, b in enumerate(bright)]
    clips[3] = None
    data = from_tensors({"clip": ("video", clips), "x": draw.normal(size=(40, 2))}, bright)
    made = FusionClassifier(encoders={"clip": f"hf:{models / 'videomae'}"}, epochs=3, width=8).fit(data)
    expected = made.predict_proba(data)
    made.save(tmp_path / "model")
    np.testing.assert_array_equal(FusionClassifier.load(tmp_path / "model").predict_proba(data), expected)
    assert np.isfinite(expected).all()
