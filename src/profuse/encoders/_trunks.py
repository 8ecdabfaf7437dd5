"""Pretrained models that are tuned: which part of one reads a kind, how a batch is handed to it, what can be tuned."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from profuse._lookup import load
from profuse.data.embeddings.folders import digest_of, folder_of
from profuse.errors import ConfigError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["READERS", "Reader", "Run", "Which", "trunk_of", "tuned_weights"]

_LAYER = re.compile(r"(?:^|\.)(?:layers\.\d+\.)?(?:layers?|h|blocks?)\.\d+\.")
"""Where a layer's name ends: `encoder.layer.3.`; of Swin `encoder.layers.1.blocks.0.`."""
Which = Literal["lora", "last", "whole"]
Run = Callable[..., Tensor]
"""The model's inputs by name -> its last layer."""


class Reader(Protocol):
    """How a batch of one kind is handed to a model.

    Attributes:
        kind: Of the modality.
        tower: The part of a model that reads it, where a model has several.
        layout: What the axes of a batch's values and mask are, for messages.
    """

    kind: ClassVar[str]
    tower: ClassVar[str]
    layout: ClassVar[str]

    @staticmethod
    def fits(raw: Raw, spec: Spec) -> bool:
        """Returns whether a batch is what the preprocessor makes."""
        ...

    @staticmethod
    def sizes(trunk: Any, spec: Spec) -> tuple[int, int]:
        """Returns the channels of the model's last layer, and the tokens of the longest row."""
        ...

    @staticmethod
    def read(run: Run, raw: Raw, spec: Spec, like: Tensor) -> Raw:
        """Returns the model's last layer, `[batch, token, channel]`; `like` has the type and place of the weights."""
        ...


class Texts:
    """Numbers of tokens, and which are real."""

    kind: ClassVar[str] = "text"
    tower: ClassVar[str] = "text_model"
    layout: ClassVar[str] = "long [batch, token, 1] and mask [batch, token]"

    @staticmethod
    def fits(raw: Raw, spec: Spec) -> bool:
        return raw.values.ndim == 3 and raw.mask.ndim == 2 and not raw.values.is_floating_point()

    @staticmethod
    def sizes(trunk: Any, spec: Spec) -> tuple[int, int]:
        return int(trunk.config.hidden_size), spec.max_length

    @staticmethod
    def read(run: Run, raw: Raw, spec: Spec, like: Tensor) -> Raw:
        ids = (raw.values[..., 0].masked_fill(~raw.mask, 0) - 1).clamp(min=0)
        first = torch.arange(raw.mask.shape[1], device=ids.device) == 0
        mask = raw.mask | (first & ~raw.mask.any(1, keepdim=True))  # attention must attend to something
        return Raw(run(input_ids=ids, attention_mask=mask.long()), raw.mask)


class Pictures:
    """Pixels: bytes, which are scaled as the model's processor does, or numbers that it has made."""

    kind: ClassVar[str] = "image"
    tower: ClassVar[str] = "vision_model"
    layout: ClassVar[str] = "[batch, 3, height, width] of the model's size and mask [batch]"

    @staticmethod
    def fits(raw: Raw, spec: Spec) -> bool:
        return raw.values.shape[1:] == (spec.n_channels, *spec.image_size) and raw.mask.ndim == 1

    @staticmethod
    def sizes(trunk: Any, spec: Spec) -> tuple[int, int]:
        with torch.no_grad(), torch.device("cpu"):  # whichever one an encoder is built on
            made = _in_order(trunk(pixel_values=torch.zeros(1, spec.n_channels, *spec.image_size)).last_hidden_state)
        return made.shape[2], made.shape[1]

    @staticmethod
    def read(run: Run, raw: Raw, spec: Spec, like: Tensor) -> Raw:
        rows = _to_run(raw)
        pixels = raw.values[rows].masked_fill(~raw.mask[rows, None, None, None], 0)
        if not pixels.is_floating_point():
            factor, mean, deviation = _of_inputs("levels_of", spec)
            mean, deviation = (torch.from_numpy(of).to(like)[:, None, None] for of in (mean, deviation))
            pixels = (factor * pixels.to(like.dtype) - mean) / deviation
        made = _in_order(run(pixel_values=pixels.to(like.dtype)))
        return Raw(_placed(made, rows, raw), raw.mask[:, None].expand(-1, made.shape[1]))


class Sounds:
    """Samples, which the model reads of sounds of one length at a time; or frames, behind them silence."""

    kind: ClassVar[str] = "audio"
    tower: ClassVar[str] = "audio_model"
    layout: ClassVar[str] = "float [batch, step, channel] and mask [batch, step], of the model's channels"

    @staticmethod
    def fits(raw: Raw, spec: Spec) -> bool:
        return raw.values.ndim == 3 and raw.values.shape[2] == spec.n_channels and raw.mask.ndim == 2

    @staticmethod
    def sizes(trunk: Any, spec: Spec) -> tuple[int, int]:
        n_steps = spec.max_length - _of_inputs("sound_reader", spec).n_behind
        return int(trunk.config.hidden_size), _of_inputs("n_tokens_of", spec, n_steps)

    @staticmethod
    def read(run: Run, raw: Raw, spec: Spec, like: Tensor) -> Raw:
        values = raw.values.to(like.dtype).masked_fill(~raw.mask[..., None], 0)
        return (_of_samples if spec.n_channels == 1 else _of_frames)(run, Raw(values, raw.mask), spec)


READERS: dict[str, type[Reader]] = {reader.kind: reader for reader in (Texts, Pictures, Sounds)}
"""By the kind of their modality."""


def _of_samples(run: Run, raw: Raw, spec: Spec) -> Raw:
    """Sounds of one length together: silence behind one would reach into what some models make of it."""
    if torch.compiler.is_exporting():
        raise ConfigError(
            "hf: a model that reads samples cannot be exported with any length; it reads sounds of each length apart. "
            "Use one that reads frames (Whisper), or save the model."
        )
    lengths, rows, parts = raw.mask.sum(1), [], []
    n_tokens = torch.zeros_like(lengths)
    for length in sorted(set(lengths.tolist())):
        if length:
            (some,) = (lengths == length).nonzero(as_tuple=True)
            parts.append(run(input_values=raw.values[some][raw.mask[some]].reshape(len(some), length)))
            n_tokens[some] = parts[-1].shape[1]
            rows.append(some)
    if not parts:  # the model runs all the same, so that all processes of several have the same gradients
        rows = [lengths.new_zeros(1)]
        shortest = _of_inputs("sound_reader", spec).rate // 10
        parts = [run(input_values=raw.values.new_zeros(1, max(raw.values.shape[1], shortest)))]
    longest = max(part.shape[1] for part in parts)
    made = torch.cat([pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts])
    mask = torch.arange(longest, device=lengths.device) < n_tokens[:, None]
    return Raw(_placed(made, torch.cat(rows), raw), mask)


def _of_frames(run: Run, raw: Raw, spec: Spec) -> Raw:
    """Sounds of the one length that the model reads: the last frame, which is silent, is repeated up to there."""
    rows, reader = _to_run(raw), _of_inputs("sound_reader", spec)
    n_frames = (raw.mask.sum(1) - reader.n_behind).clamp(min=0)
    at = torch.arange(reader.most, device=rows.device).minimum((raw.mask[rows].sum(1, keepdim=True) - 1).clamp(min=0))
    frames = raw.values[rows].gather(1, at[..., None].expand(-1, -1, spec.n_channels))
    made = run(input_features=frames.transpose(1, 2))
    n_tokens = (n_frames * made.shape[1] + reader.most - 1) // reader.most
    n_read = raw.values.shape[1] - reader.n_behind
    most = min(made.shape[1], max(1, -(-n_read * made.shape[1] // reader.most)))
    mask = torch.arange(most, device=rows.device) < n_tokens[:, None]
    return Raw(_placed(made[:, :most], rows, raw), mask)


def _to_run(raw: Raw) -> Tensor:
    """Returns the rows that the model reads: those that are there, one at least; all while a graph is traced."""
    if torch.compiler.is_compiling():
        return torch.arange(raw.mask.shape[0], device=raw.mask.device)
    (rows,) = raw.present.nonzero(as_tuple=True)
    return rows if len(rows) else rows.new_zeros(1)


def _placed(made: Tensor, rows: Tensor, raw: Raw) -> Tensor:
    """Returns what was made of some rows among all, 0 in the others."""
    return made.new_zeros(raw.mask.shape[0], *made.shape[1:]).index_copy(0, rows, made)


def _in_order(made: Tensor) -> Tensor:
    """Returns `[picture, token, channel]`, of `[picture, channel, height, width]` too."""
    return made.flatten(2).transpose(1, 2) if made.ndim == 4 else made


def _of_inputs(name: str, spec: Spec, *more: Any) -> Any:
    """Returns what a function of `profuse.data.embeddings.inputs` returns of the model that a spec names."""
    function: Any = load(f"profuse.data.embeddings.inputs:{name}")
    folder = folder_of(spec.source)
    return function(folder, digest_of(folder), *more)


def trunk_of(source: str, tower: str, device: str) -> Any:
    """Returns the part of the pretrained model `source` that reads a kind; nobody changes it."""
    folder = folder_of(source)
    return _on(folder, digest_of(folder), tower, device)


@lru_cache(maxsize=4)
def _on(folder: Path, digest: str, tower: str, device: str) -> Any:
    """Returns the pretrained model, which nobody changes: encoders add what they have learned."""
    fresh: Any = load("profuse.data.embeddings.frozen:trunk")
    with torch.device("cpu"):
        made = fresh(folder, tower)
    return made if device == "cpu" else copy.deepcopy(made).to(device)


def tuned_weights(trunk: Any, which: Which, n_layers: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights that are tuned, by name.

    Raises:
        ConfigError: It has no numbered layers, or, for `lora`, no matrices in them.
    """
    named: list[tuple[str, tuple[int, ...]]] = [(name, tuple(p.shape)) for name, p in trunk.named_parameters()]
    layers = {name: name[: m.end()] for name, _ in named if (m := _LAYER.search(name))}
    if not layers:
        raise ConfigError(
            f"hf: a {type(trunk).__name__} must have numbered layers to be tuned; it has none. Use it frozen: "
            "hf:FOLDER."
        )
    order = list(dict.fromkeys(layers.values()))
    tuned = set(order[-n_layers:] if which == "last" else order)
    shapes = {name: shape for name, shape in named if layers.get(name) in tuned}
    if which != "lora":
        return shapes
    matrices: dict[str, tuple[int, ...]] = {
        name: shape for name, shape in shapes.items() if len(shape) == 2 and name.endswith("weight")
    }
    if not matrices:
        raise ConfigError(
            f"hf-lora: a {type(trunk).__name__} must have matrices in its layers to be tuned by changes of low rank; "
            "it has other weights alone, as convolutions. Name hf-last:FOLDER or hf-whole:FOLDER."
        )
    return matrices
