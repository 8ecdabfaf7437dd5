"""Pictures, sounds and series from files."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.signal import resample_poly

from profuse.data import media
from profuse.errors import DataError, MissingDependencyError

GREY = np.arange(80, dtype=np.uint8).reshape(10, 8) * 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "I"])
def test_a_picture_of_any_mode_comes_back_as_bytes(tmp_path: Path, mode: str) -> None:
    if mode in ("I;16", "I"):
        picture = Image.fromarray(GREY.astype(np.uint16) * 257 if mode == "I;16" else GREY.astype(np.int32) * 257)
    else:
        picture = Image.fromarray(GREY).convert("L").convert(mode)
    path = tmp_path / ("x.tif" if mode in ("CMYK", "I") else "x.png")
    picture.save(path)
    values, shrunk = media.read_image(path)
    assert values.dtype == (np.float32 if mode in ("I;16", "I") else np.uint8)
    values = values / 257 if mode in ("I;16", "I") else values
    assert not shrunk
    assert values.shape == (10, 8, 1 if mode in ("1", "L", "I;16", "I") else 3)
    if mode != "1":
        assert np.abs(values[..., 0].astype(int) - GREY).max() <= 1


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    values = np.zeros((2, 2, 4), np.uint8)
    values[0, 0] = (10, 20, 30, 255)
    Image.fromarray(values).save(tmp_path / "x.png")
    found, _ = media.read_image(tmp_path / "x.png")
    assert found[0, 0].tolist() == [10, 20, 30]
    assert (found[1] == 255).all()


def test_a_photograph_is_shrunk_and_stood_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (1024, 600), (0, 128, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.save(tmp_path / "x.jpg", exif=exif)
    values, shrunk = media.read_image(tmp_path / "x.jpg")
    assert shrunk
    assert values.shape == (512, 300, 3)


@pytest.mark.parametrize(
    ("cut", "message"), [(60, "the picture is broken"), (0, "the file is empty"), (-1, "no picture")]
)
def test_a_broken_picture_is_told(tmp_path: Path, cut: int, message: str) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(path)
    path.write_bytes(b"no picture at all" if cut < 0 else path.read_bytes()[:cut])
    with pytest.raises(DataError, match=message):
        media.read_image(path)


def write_wave(path: Path, values: np.ndarray, width: int, rate: int = 8000) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(values.shape[1])
        sound.setsampwidth(width)
        sound.setframerate(rate)
        whole = np.round(values * (2 ** (8 * width - 1) - 1)).astype(np.int64)
        if width == 1:
            sound.writeframes((whole + 128).astype(np.uint8).tobytes())
        else:
            raw = whole.astype("<i8").view(np.uint8).reshape(*values.shape, 8)[..., :width]
            sound.writeframes(np.ascontiguousarray(raw).tobytes())


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("with_soundfile", [True, False])
def test_a_sound_is_the_mean_of_its_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, n_channels: int, with_soundfile: bool
) -> None:
    values = np.random.default_rng(0).uniform(-0.9, 0.9, (50, n_channels))
    write_wave(tmp_path / "x.wav", values, width)
    if not with_soundfile:
        without_soundfile(monkeypatch)
    found, rate = media.read_audio(tmp_path / "x.wav")
    assert (rate, found.dtype) == (8000, np.dtype(np.float32))
    np.testing.assert_allclose(found, values.mean(1), atol=2.5 ** -(8 * width - 8) / 100 if width == 1 else 1e-4)


def without_soundfile(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, extra: str, why: str) -> None:
        raise MissingDependencyError(f"{why}: the package {name!r} must be installed")

    monkeypatch.setattr("profuse.data.media.sounds.need", refuse)


def test_without_soundfile_other_sounds_name_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_soundfile(monkeypatch)
    (tmp_path / "x.flac").write_bytes(b"fLaC" + bytes(40))
    with pytest.raises(MissingDependencyError, match="soundfile"):
        media.read_audio(tmp_path / "x.flac")
    write_wave(tmp_path / "x.wav", np.zeros((8, 1)), 2)
    content = bytearray((tmp_path / "x.wav").read_bytes())
    content[20] = 2  # compressed
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(DataError, match="the sound is compressed"):
        media.read_audio(tmp_path / "x.wav")
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="the sound is broken, or none of WAV"):
        media.read_audio(tmp_path / "x.wav")


def test_a_broken_or_empty_sound_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFFxxxxWAVE")
    with pytest.raises(DataError, match="the sound is broken"):
        media.read_audio(tmp_path / "x.wav")
    write_wave(tmp_path / "y.wav", np.zeros((0, 1)), 2)
    with pytest.raises(DataError, match="no sample"):
        media.read_audio(tmp_path / "y.wav")


def test_resampling_keeps_a_tone() -> None:
    t = np.arange(1600) / 16000
    found = media.resample(np.sin(2 * np.pi * 440 * t), 16000, 8000)
    assert len(found) == 800
    np.testing.assert_allclose(found[50:-50], np.sin(2 * np.pi * 440 * t[::2])[50:-50], atol=0.01)
    np.testing.assert_allclose(found, resample_poly(np.sin(2 * np.pi * 440 * t), 1, 2), atol=1e-6)


def test_a_series_is_read_from_text_and_arrays(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n3\t\n")
    np.testing.assert_array_equal(media.read_series(tmp_path / "x.tsv"), [[1, 2], [3, np.nan]])
    np.save(tmp_path / "x.npy", np.arange(3))
    assert media.read_series(tmp_path / "x.npy").tolist() == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("array", "message"),
    [(np.zeros((2, 2, 2)), "got shape"), (np.array([0, np.inf]), "infinite at step 1")],
)
def test_an_array_that_is_no_series_is_told(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=message):
        media.read_series(tmp_path / "x.npy")
