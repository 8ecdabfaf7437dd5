"""What a pretrained model that is tuned reads of pictures, videos and sounds, made once by its own processor."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from profuse._optional import need
from profuse.data.embeddings._base import Sound
from profuse.data.embeddings.processors import (
    SAFE,
    WHY,
    as_colours,
    at_least_a_tenth,
    loading,
    picture_processor,
    quiet,
    resampled,
    sound_processor,
    video_processor,
)
from profuse.data.embeddings.videos import frames_of, n_frames_of, n_times_of
from profuse.errors import ConfigError

__all__ = [
    "SoundReader",
    "check_reads_videos",
    "clip_of",
    "frames_read",
    "levels_of",
    "most_positions",
    "n_tokens_of",
    "pixels_of",
    "scales_bytes",
    "sound_reader",
    "steps_for",
]


def pixels_of(folder: Path, digest: str, pictures: Sequence[np.ndarray], *, as_bytes: bool) -> np.ndarray:
    """Returns `[picture, channel, height, width]`: what the processor makes of pictures, at the model's size.

    Args:
        folder: Of the model.
        digest: Of its files.
        pictures: Of any size, `[height, width, channel]`.
        as_bytes: Whether levels stay bytes, as they are before the processor scales them (`levels_of`).

    Raises:
        ConfigError: The processor makes something else, or pictures of several sizes.
    """
    if frames_read(folder, digest) is not None:
        raise ConfigError(
            f"hf: a model that is tuned to pictures must read pictures; {folder} holds a "
            f"{_config(folder, digest).model_type}, which reads videos. Name a model of pictures."
        )
    with quiet():
        made = picture_processor(folder, digest)
        plain = _plain(made) if as_bytes else {}
        read = [np.asarray(made(as_colours(p), return_tensors="pt", **plain)["pixel_values"]) for p in pictures]
    if odd := {pixels.shape for pixels in read} - {(1, 3, *read[0].shape[2:])}:
        raise ConfigError(
            f"hf: the processor of pictures in {folder} must make one picture [3, height, width] of each, all of one "
            f"size, for a model that is tuned; it makes {[1, 3, *read[0].shape[2:]]} and {list(odd.pop())}. Use it "
            "frozen: hf:FOLDER."
        )
    return np.concatenate(read)


def _plain(processor: Any) -> dict[str, bool]:
    """Returns what has a processor leave levels as they are."""
    plain = {"do_rescale": False, "do_normalize": False}
    return plain | {"offset": False} if hasattr(processor, "offset") else plain


def frames_read(folder: Path, digest: str) -> int | None:
    """Returns how many frames a model of videos reads; None of a model of pictures."""
    return n_frames_of(_config(folder, digest))


def check_reads_videos(folder: Path, digest: str) -> None:
    """Checks that a model has a processor of frames, and, if it is one of videos, gives a token a time.

    Raises:
        ConfigError: It has none, or the order of its tokens is not known.
    """
    with quiet():
        video_processor(folder, digest)
    if frames_read(folder, digest) is not None:
        n_times_of(_config(folder, digest), folder)


def most_positions(folder: Path, digest: str) -> int:
    """Returns how many tokens of a text a model has places for; as many as there may be if it does not say."""
    said = getattr(_config(folder, digest).get_text_config(), "max_position_embeddings", None)
    return sys.maxsize if said is None else int(said)


def clip_of(folder: Path, digest: str, video: np.ndarray, most: int, *, as_bytes: bool) -> np.ndarray:
    """Returns `[frame, channel, height, width]`: what the processor makes of a video's frames, evenly spaced.

    Args:
        folder: Of the model.
        digest: Of its files.
        video: `[frame, height, width, channel]`.
        most: Frames that a model of pictures reads at most; a model of videos reads as many as its configuration says.
        as_bytes: See `pixels_of`.

    Raises:
        ConfigError: The processor makes something else.
    """
    n = frames_read(folder, digest)
    with quiet():
        made = video_processor(folder, digest)
    if n is None:
        return pixels_of(folder, digest, frames_of(video, min(len(video), most)), as_bytes=as_bytes)
    frames = [as_colours(frame) for frame in frames_of(video, n)]
    with quiet():
        plain = _plain(made) if as_bytes else {}
        read = np.asarray(made([frames], return_tensors="pt", **plain)["pixel_values"])
    if read.ndim != 5 or read.shape[:3] != (1, n, 3):
        raise ConfigError(
            f"hf: the processor of videos in {folder} must make {[1, n, 3, 'height', 'width']} of the frames of one; "
            f"it makes {list(read.shape)}. Use it frozen: hf:FOLDER."
        )
    clip: np.ndarray = read[0]
    return clip


def levels_of(folder: Path, digest: str) -> tuple[float, np.ndarray, np.ndarray]:
    """Returns factor, means and deviations: `(factor * byte - mean_channel) / deviation_channel` is what is read."""
    made = picture_processor(folder, digest)
    factor = float(made.rescale_factor) if getattr(made, "do_rescale", False) else 1.0
    below = 1.0 if getattr(made, "do_rescale", False) and getattr(made, "offset", False) else 0.0  # ViViT: -1..1
    if not getattr(made, "do_normalize", False):
        return factor, np.full(1, below), np.ones(1)
    mean, deviation = (np.atleast_1d(np.asarray(of, dtype=np.float64)) for of in (made.image_mean, made.image_std))
    return factor, mean + below, deviation


@lru_cache(maxsize=4)
def scales_bytes(folder: Path, digest: str) -> bool:
    """Returns whether the processor, in the end, scales bytes as `levels_of` says: tried with noise of two sizes."""
    draw, n = np.random.default_rng(0), frames_read(folder, digest)
    noise = [draw.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in ((37, 53), (300, 200))]
    if n is None:
        bytes_, whole = (pixels_of(folder, digest, noise, as_bytes=as_bytes) for as_bytes in (True, False))
    else:
        clips = [
            [clip_of(folder, digest, of[None], n, as_bytes=as_bytes) for of in noise] for as_bytes in (True, False)
        ]
        if len(sizes := {clip.shape[2:] for clip in clips[0]}) > 1:
            raise ConfigError(
                f"hf: the processor of videos in {folder} must make frames of one size of all videos, for a model that "
                f"is tuned; it makes {sorted(sizes)}. Use it frozen: hf:FOLDER."
            )
        bytes_, whole = (np.concatenate(of) for of in clips)
    if bytes_.dtype != np.uint8 or bytes_.shape != whole.shape:
        return False
    factor, mean, deviation = levels_of(folder, digest)
    scaled = (factor * bytes_ - mean[:, None, None]) / deviation[:, None, None]
    return bool(np.allclose(scaled, whole, atol=1e-4))


class SoundReader(NamedTuple):
    """How a model reads sounds.

    Attributes:
        processor: The feature extractor.
        rate: Samples a second.
        n_channels: 1 where the model reads samples, else the bands of a frame.
        hop: Samples from one step to the next: 1 where it reads samples.
        most: Steps of the longest sound that it reads; None: of any.
        n_behind: Steps kept behind a sound's own: frames that still hear its end, and one of silence.
    """

    processor: Any
    rate: int
    n_channels: int
    hop: int
    most: int | None
    n_behind: int

    def read(self, sound: Sound, most: int) -> np.ndarray:
        """Returns `[step, channel]` of the first `most` steps of a sound, and those behind."""
        samples = at_least_a_tenth(resampled(sound, self.rate)[: most * self.hop], self.rate)
        with quiet():
            read = self.processor(samples, sampling_rate=self.rate, return_tensors="np")
        if self.n_channels == 1:
            samples_read: np.ndarray = np.asarray(read["input_values"], dtype=np.float32)[0][:, None]
            return samples_read
        frames = np.asarray(read["input_features"], dtype=np.float32)[0].T
        n = -(-len(samples) // self.hop)
        padded: np.ndarray = np.pad(frames, ((0, self.n_behind), (0, 0)), mode="edge")
        return padded[: n + self.n_behind]

    def n_steps(self, sound: Sound) -> int:
        """Returns the steps of a whole sound."""
        samples = max(-(-len(sound.samples) * self.rate // sound.rate), self.rate // 10)
        return -(-samples // self.hop)


@lru_cache(maxsize=2)
def sound_reader(folder: Path, digest: str) -> SoundReader:
    """Returns how the model in a folder reads sounds.

    Raises:
        ConfigError: It reads neither samples, as wav2vec 2.0 does, nor frames as Whisper does.
    """
    made = sound_processor(folder, digest)
    rate, name = int(made.sampling_rate), made.model_input_names[0]
    config, n_samples = _config(folder, digest), getattr(made, "n_samples", None)
    if name == "input_values" and hasattr(config, "conv_stride"):
        return SoundReader(made, rate, 1, 1, None, 0)
    if name == "input_features" and n_samples and hasattr(config, "max_source_positions"):
        hop = int(made.hop_length)
        n_behind = 1 - (-int(made.n_fft) // 2 // hop)
        return SoundReader(made, rate, int(made.feature_size), hop, int(n_samples) // hop, n_behind)
    raise ConfigError(
        f"hf: a model of sounds must read samples, as wav2vec 2.0, or frames, as Whisper, to be tuned; {folder} holds "
        f"a {config.model_type}, whose {name} are of another form. Use it frozen: hf:FOLDER."
    )


def n_tokens_of(folder: Path, digest: str, n_steps: int) -> int:
    """Returns the tokens that a model makes of so many steps of a sound."""
    for width, stride in _strides(folder, digest):
        n_steps = max(0, n_steps - width) // stride + 1
    return n_steps


def steps_for(folder: Path, digest: str, n_tokens: int) -> int:
    """Returns the most steps of a sound that so many tokens stand for, and that the model reads.

    They are those of a tenth of a second at least, as shorter sounds are not read.
    """
    n_steps, reader = n_tokens, sound_reader(folder, digest)
    for width, stride in reversed(_strides(folder, digest)):
        n_steps = (n_steps - 1) * stride + width
    n_steps = max(n_steps, -(-reader.rate // (10 * reader.hop)))
    return min(n_steps, reader.most or n_steps)


def _strides(folder: Path, digest: str) -> list[tuple[int, int]]:
    """Returns width and stride of each convolution over the steps; of frames of Whisper every second one counts."""
    if sound_reader(folder, digest).n_channels > 1:
        return [(1, 2)]
    config = _config(folder, digest)
    return list(zip(config.conv_kernel, config.conv_stride, strict=True))


@lru_cache(maxsize=2)
def _config(folder: Path, digest: str) -> Any:
    with loading(folder, "a configuration"):
        return need("transformers", "hf", WHY).AutoConfig.from_pretrained(folder, **SAFE)
