"""`avmnist`: a written digit, degraded, and the same digit spoken."""

from __future__ import annotations

import gzip
import wave
from pathlib import Path

import numpy as np

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets._files import find
from profuse.datasets._info import DatasetInfo
from profuse.errors import DataError

__all__ = ["HELD_OUT", "INFO", "degrade", "load"]

HELD_OUT = ("theo", "yweweler")  # the last two of six names
TEST_TAKES = 5
ENERGY = 0.75
RATE = 8_000
SEED = 0


def load(variant: str, root: Path | None) -> Dataset:
    """Reads 3,000 spoken digits (8 kHz, 0.14 to 2.28 s), each beside another picture of the same digit.

    As in AV-MNIST (Vielzeuf et al., 2018) the picture is degraded: it loses the principal components that carry its
    first 75 % of energy. The components come from training pictures only. Pairs are matched by label, with seed 0;
    every recording and every picture stands in one row, so none is on both sides of the split.

    Args:
        variant: "speaker" (groups are speakers, so that validation holds one out, too) or "take".
        root: See `profuse.datasets.load`.

    Raises:
        DataError: A file is damaged.
    """
    folder = find("avmnist", root)
    names = sorted(path.name for path in (folder / "recordings").glob("*.wav"))
    digit, speaker, take = np.array([name.removesuffix(".wav").split("_") for name in names]).T
    target = digit.astype(int)
    test = np.isin(speaker, HELD_OUT) if variant == "speaker" else take.astype(int) < TEST_TAKES

    drawn = _idx(folder / "t10k-images-idx3-ubyte.gz", 3)
    labels = _idx(folder / "t10k-labels-idx1-ubyte.gz", 1)
    draw = np.random.default_rng(SEED)
    chosen = np.empty(len(names), dtype=int)
    for label in range(10):
        rows = np.flatnonzero(target == label)
        chosen[rows] = draw.permutation(np.flatnonzero(labels == label))[: len(rows)]
    pictures = degrade(drawn[chosen] / 255.0, ~test)

    speech = np.empty(len(names), dtype=object)
    speech[:] = [_wave(folder / "recordings" / name) for name in names]
    everywhere = np.ones(len(names), dtype=bool)
    return Dataset(
        name="avmnist",
        modalities={
            "picture": ModalityData("image", pictures, everywhere),
            "speech": ModalityData("audio", speech, everywhere, rate=RATE),
        },
        target=target,
        task="multiclass",
        target_names=("digit",),
        groups=speaker if variant == "speaker" else None,
        ids=np.array([f"{name.removesuffix('.wav')} t10k-{i}" for name, i in zip(names, chosen, strict=True)]),
        split=np.where(test, "test", "train"),
        notes=(f"Pairs matched by label: {len(names)} of {len(drawn)} pictures are used, each once.",),
    )


def degrade(pictures: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Returns (1 + x - m - P(x - m)) / 2, P projecting on the first principal components, m the mean, both of train.

    P takes as few components as carry 75 % of the energy (variance); what is left lies in -1..1, mapped to 0..1.

    Args:
        pictures: `[row, height, width]` in 0..1.
        train: Bool `[row]`: rows that mean and components are learned from.

    Returns:
        Float32 `[row, height, width, 1]` in 0..1; the few values beyond it are clipped.
    """
    flat = pictures.reshape(len(pictures), -1)
    centred = flat - flat[train].mean(0)
    values, vectors = np.linalg.eigh(centred[train].T @ centred[train])
    carried = np.cumsum(values[::-1]) / values.sum()
    n_lost = int(np.searchsorted(carried, ENERGY)) + 1
    lost = vectors[:, ::-1][:, :n_lost]
    left = np.clip((1 + centred - centred @ lost @ lost.T) / 2, 0.0, 1.0)
    degraded: np.ndarray = left.reshape(*pictures.shape, 1).astype(np.float32)
    return degraded


def _idx(path: Path, n_axes: int) -> np.ndarray:
    """Reads a gzipped IDX file of bytes: 0, 0, type 8, number of axes, their sizes (big-endian), content."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(f"avmnist: {path} must be a gzip file; got {error}. Remove it and load again.") from error
    shape = tuple(np.frombuffer(content, ">i4", n_axes, offset=4)) if len(content) >= 4 + 4 * n_axes else (-1,)
    if content[:4] != bytes([0, 0, 8, n_axes]) or len(content) != 4 + 4 * n_axes + int(np.prod(shape)):
        raise DataError(
            f"avmnist: {path} must be an IDX file of bytes with {n_axes} axes; got {len(content)} bytes that begin "
            f"with {content[:4]!r}. Remove it and load again."
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_axes).reshape(shape)


def _wave(path: Path) -> np.ndarray:
    """Reads PCM of 16 bits, mono, as float32 in -1..1."""
    try:
        with wave.open(str(path)) as file:
            results = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise DataError(f"avmnist: {path} must be a WAV file; got {error}. Remove it and load again.") from error
    if results != (1, 2, RATE):
        raise DataError(
            f"avmnist: {path} must have 1 channel, 2 bytes a sample and {RATE} Hz; got {results}. "
            "Get the recordings from their source."
        )
    return np.frombuffer(frames, "<i2").astype(np.float32) / 32_768


INFO = DatasetInfo(
    name="avmnist",
    modalities={"picture": "image", "speech": "audio"},
    n_rows=3_000,
    task="multiclass",
    target="digit (10)",
    split="2,000 train of four speakers, 1,000 test of two others",
    licence="CC BY-SA 4.0 (FSDD); CC BY-SA 3.0 (MNIST)",
    source=(
        "Jakobovski/free-spoken-digit-dataset@26eb9aaf76e81b692f806f9140c2d2777410d7a1 recordings/; "
        "MNIST t10k files from public mirrors"
    ),
    variants={
        "speaker": "test is two speakers that train does not hold",
        "take": "test is takes 0 to 4 of every speaker, as FSDD has it: 300 rows",
    },
    extra="data",
    folder="avmnist",
    load=load,
)
