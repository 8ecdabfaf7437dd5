"""Sounds in files: what is cut off, forged, damaged or absurd is refused; what has no length is told."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from profuse.data.media import read_audio, read_image, read_series, resample
from profuse.errors import DataError, MissingDependencyError

RATE = 8000
TONE = (0.4 * np.sin(np.arange(3000) / 5) + np.random.default_rng(0).normal(0, 0.02, 3000)).astype(np.float32)
OPUS: dict[str, object] = {"format": "OGG", "subtype": "OPUS"}
KINDS = [
    ("x.wav", {}), ("x.wav", {"subtype": "FLOAT"}), ("x.wav", {"subtype": "ULAW"}), ("x.wav", {"subtype": "MS_ADPCM"}),
    ("x.wav", {"format": "RF64"}), ("x.wav", {"format": "WAVEX", "subtype": "PCM_24"}), ("x.wav", {"endian": "BIG"}),
    ("x.aiff", {}), ("x.aiff", {"subtype": "FLOAT"}), ("x.au", {}), ("x.au", {"endian": "LITTLE"}),
    ("x.flac", {}), ("x.ogg", {}), ("x.opus", OPUS), ("x.mp3", {}), ("x.mp3", {"bitrate_mode": "VARIABLE"}),
]  # fmt: skip


def written(folder: Path, name: str, options: dict[str, object], rate: int = RATE) -> bytes:
    soundfile.write(folder / name, TONE, 16_000 if options is OPUS else rate, **options)
    return (folder / name).read_bytes()


def read(path: Path, content: bytes) -> tuple[np.ndarray, int, str]:
    path.write_bytes(content)
    told: list[str] = []
    values, rate = read_audio(path, tell=told.append)
    return values, rate, "; ".join(told)


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_whole_sound_is_read_without_a_word(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    values, rate, told = read(tmp_path / name, written(tmp_path, name, options))
    assert not told
    assert rate == (16_000 if options is OPUS else RATE)
    assert len(values) == len(TONE)
    if name.endswith(("wav", "aiff", "au", "flac")) and options.get("subtype") != "MS_ADPCM":
        np.testing.assert_allclose(values, TONE, atol=0.02)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_sound_that_is_cut_off_is_refused(
    tmp_path: Path, name: str, options: dict[str, object], share: float
) -> None:
    content = written(tmp_path, name, options)
    with pytest.raises(DataError, match="cut off|broken|damaged"):
        read(tmp_path / name, content[: int(share * len(content))])


@pytest.mark.parametrize("name", ["x.ogg", "x.opus", "x.flac"])
def test_a_flipped_bit_in_a_sound_with_checksums_is_refused(tmp_path: Path, name: str) -> None:
    content = written(tmp_path, name, OPUS if name == "x.opus" else {})
    for place in np.linspace(len(content) // 3, len(content) - 2, 12).astype(int):
        damaged = bytearray(content)
        damaged[place] ^= 4
        with pytest.raises(DataError, match="damaged|broken"):
            read(tmp_path / name, bytes(damaged))


def test_lost_pages_and_frames_are_told(tmp_path: Path) -> None:
    ogg, mp3 = written(tmp_path, "x.ogg", {}), written(tmp_path, "x.mp3", {})
    starts = [i for i in range(len(ogg)) if ogg[i : i + 4] == b"OggS"]
    with pytest.raises(DataError, match="pages are lacking"):
        read(tmp_path / "x.ogg", ogg[: starts[1]] + ogg[starts[2] :])
    with pytest.raises(DataError, match="its last page is lacking"):
        read(tmp_path / "x.ogg", ogg[: starts[-1]])
    with pytest.raises(DataError, match="frames it tells"):
        read(tmp_path / "x.mp3", mp3[:600] + mp3[1200:])
    _, _, told = read(tmp_path / "x.mp3", mp3 + b"no frame")
    assert "bytes that are no MP3 frame" in told
    _, _, told = read(tmp_path / "x.mp3", b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + mp3 + b"TAG" + bytes(125))
    assert not told


def wav(
    samples: bytes = bytes(range(200)), *, rate: int = RATE, channels: int = 1, bits: int = 16, code: int = 1,
    size: int | None = None, whole: int | None = None, block: int | None = None, behind: bytes = b"",
) -> bytes:  # fmt: skip
    block = channels * bits // 8 if block is None else block
    fmt = struct.pack("<HHIIHH", code, channels & 0xFFFF, rate, rate * block & 0xFFFFFFFF, block, bits)
    size = len(samples) if size is None else size
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size) + samples + behind
    return b"RIFF" + struct.pack("<I", len(body) if whole is None else whole) + body


LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"


@pytest.mark.parametrize(
    ("content", "n_samples", "remark"),
    [
        (wav(), 100, ""),
        (wav(behind=LIST), 100, ""),
        (wav(size=0xFFFFFFFF, whole=0xFFFFFFFF), 100, "does not tell its length"),
        (wav(size=0x7FFFFFFF - 36, whole=0x7FFFFFFF), 100, "does not tell its length"),
        (wav(size=0, whole=0), 100, "does not tell its length"),
        (wav(size=0, whole=36), 100, "does not tell its length"),
        (wav(behind=b"\x01\x02" * 40), 100, "behind the sound stand bytes that are not read"),
        (wav(whole=0), 100, ""),
        (wav(bytes(199)), 99, "ends within a sample, which is left out"),
    ],
)
def test_sizes_of_programs_that_stream_are_read_and_told(
    tmp_path: Path, content: bytes, n_samples: int, remark: str
) -> None:
    values, _, told = read(tmp_path / "x.wav", content)
    assert len(values) == n_samples
    assert remark in told
    assert bool(remark) == bool(told)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (wav(rate=2147483647), "100 to 1,000,000 samples a second; its header tells 2,147,483,647"),
        (wav(rate=0), "its header tells 0"),
        (wav(rate=1), "its header tells 1"),
        (wav(channels=0, block=2), "its header tells 0 channels"),
        (wav(block=0), "0 bytes for a sample of them all"),
        (wav(channels=65535, block=2), "65535 channels"),
        (wav(channels=2000, bits=8), "1 to 1024 channels; its header tells 2000"),
        (wav(bits=0, block=2), "0 bits"),
        (wav(bits=64), "compressed|broken"),
        (wav(size=201), "holds 200 of the 201 bytes"),
        (wav(bytes(199), size=0xFFFFFFFF), "it ends within a sample"),
        (wav(b""), "the sound has no sample"),
        (wav(b"", behind=LIST), "the sound has no sample"),
        (wav()[:30], "its header is too short"),
        (wav()[:40], "cut off before its samples"),
        (wav()[:12] + wav()[36:], "its samples stand before their header"),
        (b"RIFF\0\0\0\0WAVE" + bytes(100_000), "more than 10,000 chunks"),
        (
            wav(struct.pack("<3f", 0, np.nan, 0), bits=32, code=3),
            "1 samples that are not finite, the first at sample 1",
        ),
        (wav(struct.pack("<3f", 0, 0, -np.inf), bits=32, code=3), "not finite, the first at sample 2"),
        (
            wav(struct.pack("<3f", 0, 1e20, 0), bits=32, code=3),
            "within -100 to 100, .* got 1e\\+20",
        ),
        (wav(struct.pack("<3d", 0, 1e300, 0), bits=64, code=3), "not finite"),
        (wav(struct.pack("<3f", 0, 32767, 0), bits=32, code=3), "Divide them by their full scale"),
        (b"%!PS-Adobe-3.0", "none of WAV, AIFF, AU, FLAC, Ogg, MP3"),
        (b"MATLAB 5.0 MAT-file" + bytes(200), "none of WAV"),
        (b"", "the file is empty"),
    ],
)
def test_a_forged_or_absurd_wav_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.wav", content)


def test_full_floats_and_all_widths_are_read(tmp_path: Path) -> None:
    loud = struct.pack("<4f", 0, 1.5, -90, 0.25)
    values, _, _ = read(tmp_path / "x.wav", wav(loud, bits=32, code=3))
    assert values.tolist() == [0, 1.5, -90, 0.25]
    values, _, _ = read(tmp_path / "x.wav", wav(struct.pack("<4d", 0, 1.5, -90, 0.25), bits=64, code=3))
    assert values.tolist() == [0, 1.5, -90, 0.25]
    values, _, _ = read(tmp_path / "x.wav", wav(bytes([0, 128, 255]), bits=8))
    assert values.tolist() == [-1, 0, 127 / 128]
    values, _, _ = read(tmp_path / "x.wav", wav(struct.pack("<2i", -(2**31), 2**30), bits=32))
    assert values.tolist() == [-1, 0.5]


def test_a_name_of_another_format_is_told(tmp_path: Path) -> None:
    _, _, told = read(tmp_path / "x.wav", written(tmp_path, "x.flac", {}))
    assert told == "the file is FLAC under a name that ends in .wav"


def test_without_soundfile_plain_wavs_alone_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, extra: str, why: str) -> None:
        raise MissingDependencyError(f"{why}: the package {name!r} must be installed")

    ulaw, flac = written(tmp_path, "x.wav", {"subtype": "ULAW"}), written(tmp_path, "x.flac", {})
    monkeypatch.setattr("profuse.data.media.sounds.need", refuse)
    assert len(read(tmp_path / "x.wav", wav())[0]) == 100
    with pytest.raises(DataError, match="is compressed"):
        read(tmp_path / "x.wav", ulaw)
    with pytest.raises(MissingDependencyError, match="soundfile"):
        read(tmp_path / "x.flac", flac)


@pytest.mark.parametrize(("name", "options"), [("x.wav", {}), ("x.flac", {}), ("x.ogg", {}), ("x.mp3", {})])
def test_a_sound_above_the_bound_of_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, object]
) -> None:
    content = written(tmp_path, name, options)
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "10K")
    with pytest.raises(DataError, match="in memory, and the limit is 10 KiB"):
        read(tmp_path / name, content)


def test_a_rate_that_would_blow_a_sound_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFUSE_MAX_FILE_SIZE", "1M")
    assert len(resample(np.zeros(1000, np.float32), 100, 100)) == 1000
    with pytest.raises(DataError, match="the sound at 1000000 Hz takes"):
        resample(np.zeros(1000, np.float32), 100, 1_000_000)


@pytest.mark.parametrize("reader", [read_audio, read_image, read_series])
@pytest.mark.parametrize("what", ["pipe", "socket", "device", "folder", "broken link", "loop", "nothing"])
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Callable[..., object], what: str
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    names: dict[Callable[..., object], str] = {read_audio: "x.wav", read_image: "x.png", read_series: "x.csv"}
    path = Path(names[reader])
    if what == "pipe":
        os.mkfifo(path)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
    elif what in ("device", "broken link", "loop"):
        path.symlink_to({"device": "/dev/zero", "broken link": "nowhere"}.get(what, path.name))
    elif what == "folder":
        path.mkdir()
    with pytest.raises(DataError, match="not a regular file|no such file|no path of a file"):
        reader(path)
