"""Frozen Hugging Face models: texts, pictures, sounds, videos -> vectors, or the tokens of the last layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from profuse._cores import limit_threads, usable_cores
from profuse._optional import need
from profuse.data.embeddings._base import Sound
from profuse.data.embeddings.folders import digest_of, json_in
from profuse.data.embeddings.layers import feature_vectors, picture_tokens, picture_vectors, video_tokens
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
    tokenizer_of,
    video_processor,
)
from profuse.data.embeddings.videos import MOST_PICTURES, frames_of, n_frames_of, steps_of
from profuse.errors import ConfigError

__all__ = ["encoder_of", "fresh", "frozen", "loaded", "longest"]

_LONGEST = 512
_FRAMES_AT_ONCE = 64
"""Of videos that a model reads together: at 224 pixels a side 40 MB, and some hundred MB in its layers."""
_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
_POOLING = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max"}


def frozen(folder: Path, cells: Sequence[Any], *, tokens: bool) -> list[np.ndarray]:
    """Returns float32 `[channel]` of each cell, or `[token, channel]`, from the model in `folder`.

    A text's vector is what its folder says (`modules.json` of sentence-transformers; else the mean of its tokens), a
    picture's what the model itself calls its features (CLIP), else the mean of its tokens, a sound's the mean over
    time. A model of videos reads as many frames as its configuration says, evenly spaced, and a video's vector is the
    mean of its tokens; a model of pictures reads up to 16, and it is the mean of theirs. The tokens of a video are
    means over space, one a time. All cores take part, as it is done once.

    Raises:
        ConfigError: The model has nothing that reads such cells, cannot be loaded, or lacks weights.
    """
    of = _reader_of(cells[0])
    with limit_threads(usable_cores()), torch.inference_mode(), quiet():
        return [v.float().numpy() for v in of(folder, cells, tokens)]


def _reader_of(cell: Any) -> Callable[..., list[Tensor]]:
    if isinstance(cell, str):
        return _of_texts
    if isinstance(cell, Sound):
        return _of_sounds
    return _of_videos if np.ndim(cell) == 4 else _of_pictures


def loaded(folder: Path) -> Any:
    """Returns the model in a folder, in evaluation mode, float32; the last one is kept.

    Raises:
        ConfigError: It cannot be loaded, or some of its weights are not there.
    """
    return _loaded(folder, digest_of(folder))


@lru_cache(maxsize=1)
def _loaded(folder: Path, digest: str) -> Any:
    return fresh(folder)


def fresh(folder: Path) -> Any:
    """Returns the same, one of its own."""
    transformers = need("transformers", "hf", WHY)
    with loading(folder, "a model"):
        model, told = transformers.AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **SAFE
        )
    if lacking := sorted(key for key in told["missing_keys"] if "pooler" not in key):
        raise ConfigError(
            f"hf: the folder {folder} must hold all weights of a {type(model).__name__}; it lacks {len(lacking)}, "
            f"{lacking[0]} first, which would be random. Copy it again."
        )
    return model.eval()


def longest(folder: Path, tokenizer: Any, model: Any) -> int:
    """Returns how many tokens of a text are read."""
    said = (json_in(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(int(n) for n in (said, tokenizer.model_max_length, most, _LONGEST) if n)


def _pooling(folder: Path) -> tuple[str, bool]:
    """Returns how tokens become a vector, and whether that gets length 1."""
    modules = json_in(folder / "modules.json")
    if modules is None:
        return "mean", False
    kinds = [str(m["type"]).rpartition(".")[2] for m in modules]
    if odd := [kind for kind in kinds if kind not in _KNOWN_MODULES]:
        raise ConfigError(
            f"hf: modules.json of {folder} must name {', '.join(_KNOWN_MODULES)} only; got {odd[0]}. Name an "
            "embedding of your own that calls it: register('embedding', name, function)."
        )
    places = [m["path"] for m, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    said = (json_in(folder / places[0] / "config.json") or {}) if places else {}
    named = [_POOLING.get(key, key) for key, on in said.items() if key.startswith("pooling_mode_") and on is True]
    named += [said["pooling_mode"]] if isinstance(said.get("pooling_mode"), str) else []
    if len(named) > 1 or (named and named[0] not in _POOLING.values()):
        raise ConfigError(f"hf: the pooling of {folder} must be one of cls, mean and max; got {', '.join(named)}.")
    return (named[0] if named else "mean"), "Normalize" in kinds


def _of_texts(folder: Path, texts: Sequence[str], tokens: bool) -> list[Tensor]:
    model, tokenizer = loaded(folder), tokenizer_of(folder, digest_of(folder))
    most = longest(folder, tokenizer, model)
    read = tokenizer(list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt")
    mask = read["attention_mask"].bool()
    if not tokens and hasattr(model, "get_text_features"):
        return list(feature_vectors(model.get_text_features(**read)))
    part = model.text_model if hasattr(model, "text_model") else encoder_of(model)
    values = part(**read).last_hidden_state
    if tokens:
        return [v[m] for v, m in zip(values, mask, strict=True)]
    how, unit = _pooling(folder)
    if how == "cls":
        pooled = values[:, 0]
    elif how == "max":
        pooled = values.masked_fill(~mask[..., None], -torch.inf).amax(1)
    else:
        pooled = (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
    return list(torch.nn.functional.normalize(pooled, dim=1) if unit else pooled)


def encoder_of(model: Any) -> Any:
    """Returns what reads the input: of an encoder and a decoder the first."""
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def _of_pictures(folder: Path, pictures: Sequence[np.ndarray], tokens: bool) -> list[Tensor]:
    model, made = loaded(folder), picture_processor(folder, digest_of(folder))
    read = made([as_colours(p) for p in pictures], return_tensors="pt")
    if read["pixel_values"].ndim != 4:
        what = "a model of videos" if n_frames_of(model.config) else f"a {model.config.model_type}"
        raise ConfigError(
            f"hf: the processor in {folder} must make [picture, channel, height, width] of pictures; it makes "
            f"{read['pixel_values'].ndim} axes, as it belongs to {what}. Name a model of pictures."
        )
    return list((picture_tokens if tokens else picture_vectors)(model, **read))


def _of_videos(folder: Path, videos: Sequence[np.ndarray], tokens: bool) -> list[Tensor]:
    model, made = loaded(folder), video_processor(folder, digest_of(folder))
    n_frames = n_frames_of(model.config)
    if n_frames is None:  # a model of pictures reads frame by frame
        pictures = [frames_of(video, min(len(video), MOST_PICTURES)) for video in videos]
        vectors = [torch.stack(_of_pictures(folder, frames, False)) for frames in pictures]
        return vectors if tokens else [of.mean(0) for of in vectors]
    results: list[Tensor] = []
    step = max(1, _FRAMES_AT_ONCE // n_frames)
    for i in range(0, len(videos), step):
        some = [[as_colours(frame) for frame in frames_of(video, n_frames)] for video in videos[i : i + step]]
        values = video_tokens(model, folder, **made(some, return_tensors="pt"))
        results += list(steps_of(values, model.config, folder) if tokens else values.mean(1))
    return results


def _of_sounds(folder: Path, sounds: Sequence[Sound], tokens: bool) -> list[Tensor]:
    model, made = loaded(folder), sound_processor(folder, digest_of(folder))
    rate, reader = int(made.sampling_rate), encoder_of(model)
    results = []
    for sound in sounds:  # one by one: padding would reach into the features of some models
        samples = at_least_a_tenth(resampled(sound, rate), rate)
        read = made(samples, sampling_rate=rate, return_tensors="pt")
        values = reader(**{k: v for k, v in read.items() if k != "attention_mask"}).last_hidden_state[0]
        fixed = getattr(made, "n_samples", None)  # some models pad every sound to one length
        if fixed:
            values = values[: max(1, ceil(len(values) * min(1.0, len(samples) / fixed)))]
        results.append(values if tokens else values.mean(0))
    return results
