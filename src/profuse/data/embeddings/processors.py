"""What stands before a Hugging Face model: what makes numbers of texts, pictures, sounds and videos."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from profuse._optional import need
from profuse.data.embeddings._base import Sound
from profuse.errors import ConfigError, DataError

__all__ = [
    "SAFE",
    "WHY",
    "as_colours",
    "at_least_a_tenth",
    "loading",
    "picture_processor",
    "quiet",
    "resampled",
    "sound_processor",
    "tokenizer_of",
    "video_processor",
]

WHY = "Pretrained encoders"
_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


@contextmanager
def quiet() -> Iterator[None]:
    """Has `transformers` say nothing meanwhile: no bars, no advice."""
    said = need("transformers", "hf", WHY).utils.logging
    level, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()
    said.disable_progress_bar()
    try:
        yield
    finally:
        said.set_verbosity(level)
        if bars:
            said.enable_progress_bar()


@contextmanager
def loading(folder: Path, what: str, advice: str = "Copy the folder again, or save the model again.") -> Iterator[None]:
    """Tells any error in the loading of a part of a model as one, by its first sentence, with what to do."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # what is in a folder of somebody else may fail in any way
        said = re.split(r"(?<=[\w'\")])\. ", " ".join(str(error).split()))[0][:200].rstrip(".")
        raise ConfigError(
            f"hf: the folder {folder} must hold {what} that transformers loads without code from the folder; got "
            f"{type(error).__name__}: {said}. {advice}"
        ) from error


def _advice(cells: str, part: str) -> str:
    return f"Name a model of {cells}, or save its {part} in the folder (save_pretrained)."


@lru_cache(maxsize=2)
def tokenizer_of(folder: Path, digest: str) -> Any:
    """Returns the tokenizer in a folder, which pads on the right."""
    with loading(folder, "a tokenizer", _advice("texts", "tokenizer")):
        made = need("transformers", "hf", WHY).AutoTokenizer.from_pretrained(folder, **SAFE)
    made.padding_side = "right"
    if made.pad_token is None:
        made.pad_token = made.eos_token or made.unk_token
    return made


@lru_cache(maxsize=2)
def picture_processor(folder: Path, digest: str) -> Any:
    """Returns what makes numbers of pictures."""
    with loading(folder, "a processor of pictures", _advice("pictures", "image processor")):
        return need("transformers", "hf", WHY).AutoImageProcessor.from_pretrained(folder, **SAFE)


@lru_cache(maxsize=2)
def video_processor(folder: Path, digest: str) -> Any:
    """Returns what makes numbers of the frames of videos, or of each frame as a picture."""
    if not any((folder / name).is_file() for name in _PROCESSOR_FILES):
        raise ConfigError(
            f"hf: a model that reads videos must have a processor of videos or pictures ({_PROCESSOR_FILES[0]}); the "
            f"folder {folder} holds none. Name a model of videos (VideoMAE, ViViT, TimeSformer) or of pictures (ViT, "
            "DINOv2, CLIP)."
        )
    with loading(folder, "a processor of videos or pictures", _advice("videos or pictures", "image processor")):
        return need("transformers", "hf", WHY).AutoImageProcessor.from_pretrained(folder, **SAFE)


@lru_cache(maxsize=2)
def sound_processor(folder: Path, digest: str) -> Any:
    """Returns what makes numbers of sounds."""
    with loading(folder, "a feature extractor of sounds", _advice("sounds", "feature extractor")):
        return need("transformers", "hf", WHY).AutoFeatureExtractor.from_pretrained(folder, **SAFE)


def as_colours(picture: np.ndarray) -> Any:
    """Returns a picture as Pillow has it: grey ones get three equal channels, and what is transparent is not.

    Raises:
        DataError: It has channels that are no colours, which would be lost.
    """
    n = 1 if picture.ndim == 2 else picture.shape[2]
    if n not in (1, 3, 4):
        raise DataError(f"hf: a picture must be grey or of colours, for which a model is made; got {n} channels.")
    image = need("PIL.Image", "hf", WHY)
    if picture.dtype != np.uint8:
        picture = np.round(np.clip(picture, 0.0, 1.0) * 255).astype(np.uint8)
    picture = picture[..., None] if picture.ndim == 2 else picture
    picture = np.repeat(picture, 3, axis=2) if n == 1 else picture
    return image.fromarray(np.ascontiguousarray(picture[:, :, :3]))


def resampled(sound: Sound, rate: int) -> np.ndarray:
    """Returns the samples at another rate, float32."""
    samples = np.asarray(sound.samples, dtype=np.float32)
    if sound.rate == rate:
        return samples
    from scipy.signal import resample_poly

    common = gcd(sound.rate, rate)
    made: np.ndarray = resample_poly(samples, rate // common, sound.rate // common).astype(np.float32)
    return made


def at_least_a_tenth(samples: np.ndarray, rate: int) -> np.ndarray:
    """Returns the samples, with silence behind them up to a tenth of a second: models read no shorter ones."""
    return np.pad(samples, (0, max(0, rate // 10 - len(samples))))
