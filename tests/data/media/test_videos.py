"""Videos from files: evenly spaced frames, upright, and the sound track; what is broken is one clear error."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from made_videos import RATE, write_video

from profuse.data.media.videos import LARGEST_FRAME_SIDE, MOST_FRAMES, VIDEO_SUFFIXES, read_sound_track, read_video
from profuse.errors import DataError, MissingDependencyError

TONE = 0.5 * np.sin(np.arange(2 * RATE) / RATE * 2 * np.pi * 440)


def ramp(n: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Frames that become lighter step by step; the upper left corner is white."""
    frames = np.zeros((n, height, width, 3), dtype=np.uint8)
    frames[...] = (200 * np.arange(n) / max(1, n - 1)).astype(np.uint8)[:, None, None, None]
    frames[:, : height // 2, : width // 3] = 255
    return frames


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    told: list[str] = []
    return read_video(path, tell=told.append), told


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".mpg"])
@pytest.mark.parametrize("n", [1, 5, 16, 90])
def test_frames_are_evenly_spaced_from_the_first_to_the_last(suffix: str, n: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"a{suffix}", ramp(n))
    frames, told = read(path.rename(tmp_path / "a.webm"))  # its bytes tell what it is
    assert frames.shape == (min(n, MOST_FRAMES), 32, 48, 3)
    assert frames.dtype == np.uint8
    levels = frames[:, 24, 40, 0].astype(float)
    np.testing.assert_allclose(levels, np.linspace(0, 200 * (n > 1), len(levels)), atol=9)
    assert told == []
    assert set(VIDEO_SUFFIXES) >= {suffix}


def test_large_frames_are_shrunk_and_turned_ones_stand_upright(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", ramp(3, 120, 240))
    plain = read(path)[0]
    assert plain.shape == (3, LARGEST_FRAME_SIDE // 2, LARGEST_FRAME_SIDE, 3)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # its matrix: 16.16 numbers; by a quarter turn to the right
    data[at : at + 20] = np.array([0, 1 << 16, 0, -(1 << 16), 0], ">i4").tobytes()
    path.write_bytes(bytes(data))
    np.testing.assert_array_equal(read(path)[0], np.rot90(plain, -1, axes=(1, 2)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_the_sound_track_is_read_at_its_own_rate(suffix: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"a{suffix}", ramp(20), TONE)
    found = read_sound_track(path)
    assert found is not None
    wave, rate = found
    assert rate == RATE
    assert len(wave) == pytest.approx(len(TONE), rel=0.1)
    assert np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave) == pytest.approx(440, abs=3)
    assert np.abs(wave).max() == pytest.approx(0.5, abs=0.1)
    assert read_sound_track(write_video(tmp_path / f"b{suffix}", ramp(4))) is None


def test_a_broken_file_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    whole = write_video(path, ramp(60)).read_bytes()
    for data, message in (
        (b"", "the file is empty"),
        (b"hello, world" * 9, "none of MP4, MOV, Matroska, WebM, AVI, MPEG"),
        (b"#EXTM3U\nhttp://example.org/a.ts\n", "none of MP4"),
        (whole[: len(whole) // 2], "broken or cut off"),
        (whole[:40], "broken or cut off|no picture"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            read(path)
    with pytest.raises(DataError, match="there is no such file"):
        read(tmp_path / "nowhere.mp4")


def test_a_video_whose_frames_are_fewer_than_told_is_cut_off(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", ramp(90))
    data = path.read_bytes()
    path.write_bytes(data[: int(0.6 * len(data))])
    with pytest.raises(DataError, match=r"cut off or damaged: \d+ of 90 frames can be read|broken or cut off"):
        read(path)


def test_frames_that_take_too_much_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", ramp(2, 200, 200))
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "1M")
    with pytest.raises(DataError, match="a frame of the video takes .* in memory, and the limit is 1 MiB"):
        read(path)


def test_no_changed_byte_gives_another_kind_of_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", ramp(4), TONE[:4000])
    data, rng = path.read_bytes(), np.random.default_rng(0)
    refused = []
    for _ in range(40):
        odd = bytearray(data)
        for at in rng.integers(0, len(data), 3):
            odd[int(at)] = int(rng.integers(256))
        path.write_bytes(bytes(odd))
        for reader in (read, read_sound_track):
            try:
                found = reader(path)
                assert found is None or np.isfinite(found[0]).all()
            except DataError:
                refused.append(reader)
    assert set(refused) == {read, read_sound_track}


def test_without_the_package_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", ramp(2))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"profuse\[video\]"):
        read(path)
