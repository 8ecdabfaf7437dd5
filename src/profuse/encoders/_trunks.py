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
from torch.utils.checkpoint import checkpoint

from profuse._lookup import load
from profuse.data.embeddings.folders import digest_of, folder_of
from profuse.errors import ConfigError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["READERS", "Reader", "Run", "Which", "trunk_of", "tuned_weights"]

_FRAMES_AT_ONCE = 16
"""Frames that are read together: of a small model at 224 pixels a side their gradient takes about a gigabyte."""
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
        made = _in_order(run(pixel_values=_scaling(spec, raw, like)(pixels)))
        return Raw(_placed(made, rows, raw), raw.mask[:, None].expand(-1, made.shape[1]))


class Videos:
    """Frames as `Pictures` has them; a model of videos reads all of one, a model of pictures each that is there."""

    kind: ClassVar[str] = "video"
    tower: ClassVar[str] = "frames"
    layout: ClassVar[str] = (
        "[batch, frame, 3, height, width] of the model's size and mask [batch], of a model of pictures [batch, frame]"
    )

    @staticmethod
    def fits(raw: Raw, spec: Spec) -> bool:
        n = _of_inputs("frames_read", spec)
        shaped = raw.values.ndim == 5 and raw.values.shape[2:] == (spec.n_channels, *spec.image_size)
        return shaped and (raw.mask.ndim == 2 if n is None else raw.mask.ndim == 1 and raw.values.shape[1] == n)

    @staticmethod
    def sizes(trunk: Any, spec: Spec) -> tuple[int, int]:
        if _of_inputs("frames_read", spec) is not None:
            return int(trunk.config.hidden_size), trunk.n_times
        with torch.no_grad(), torch.device("cpu"):  # whichever one an encoder is built on
            made = trunk(pixel_values=torch.zeros(1, spec.n_channels, *spec.image_size)).last_hidden_state
        return made.shape[2], spec.max_length

    @staticmethod
    def read(run: Run, raw: Raw, spec: Spec, like: Tensor) -> Raw:
        n_frames, scaled = _of_inputs("frames_read", spec), _scaling(spec, raw, like)

        def tokens(values: Tensor, mask: Tensor) -> Tensor:
            absent = ~mask.reshape(-1, *(1,) * (values.ndim - 1))
            return run(pixel_values=scaled(values.masked_fill(absent, 0)))

        if n_frames is None:
            flat = Raw(raw.values.flatten(0, 1), raw.mask.flatten())
            frames = _to_run(flat)
            made = _in_parts(tokens, flat.rows(frames), _FRAMES_AT_ONCE)[:, 0]
            return Raw(torch.unflatten(_placed(made, frames, flat), 0, raw.mask.shape), raw.mask)
        rows = _to_run(raw)
        made = _in_parts(tokens, raw.rows(rows), max(1, _FRAMES_AT_ONCE // n_frames))
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


READERS: dict[str, type[Reader]] = {reader.kind: reader for reader in (Texts, Pictures, Videos, Sounds)}
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


def _scaling(spec: Spec, raw: Raw, like: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns what makes of pixels `[..., channel, height, width]` what the model reads: of bytes as `levels_of`."""
    if raw.values.is_floating_point():
        return lambda pixels: pixels.to(like.dtype)
    factor, mean, deviation = _of_inputs("levels_of", spec)
    mean, deviation = (torch.from_numpy(of).to(like)[:, None, None] for of in (mean, deviation))

    def scaled(pixels: Tensor) -> Tensor:
        values: Tensor = (factor * pixels.to(like.dtype) - mean) / deviation
        return values

    return scaled


def _in_parts(tokens: Callable[[Tensor, Tensor], Tensor], raw: Raw, n: int) -> Tensor:
    """Returns `tokens` of all rows, `n` at a time: of each part nothing is kept for the gradient but its pixels.

    The gradient reads a part once more. What is kept of one that reads all rows at once grows with the batch.
    """
    if torch.compiler.is_compiling() or len(raw) <= n:
        return tokens(raw.values, raw.mask)
    parts = zip(torch.split(raw.values, n), torch.split(raw.mask, n), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([tokens(*part) for part in parts])
    return torch.cat([checkpoint(tokens, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


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
    fresh: Any = load("profuse.data.embeddings.trunks:trunk")
    with torch.device("cpu"):
        made = fresh(folder, tower)
    return made if device == "cpu" else copy.deepcopy(made).to(device)


def tuned_weights(trunk: Any, which: Which, n_layers: int | None) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights that are tuned, by name.

    Args:
        trunk: The model, or the part of it that reads a kind.
        which: Of which form changes are.
        n_layers: How many of the last layers; None: all, of `last` two or the only one.

    Raises:
        ConfigError: It has no numbered layers, fewer than `n_layers`, or, for `lora`, no matrices in them.
    """
    called = type(getattr(trunk, "inner", trunk)).__name__
    named: list[tuple[str, tuple[int, ...]]] = [(name, tuple(p.shape)) for name, p in trunk.named_parameters()]
    layers = {name: name[: m.end()] for name, _ in named if (m := _LAYER.search(name))}
    if not layers:
        raise ConfigError(
            f"hf: a {called} must have numbered layers to be tuned; it has none. Use it frozen: hf:FOLDER."
        )
    order = list(dict.fromkeys(layers.values()))
    if n_layers is not None and n_layers > len(order):
        raise ConfigError(
            f"hf-{which}: n_layers must be at most {len(order)}, the layers of a {called}; got n_layers={n_layers}. "
            "Set fewer, or leave it out."
        )
    usual = min(2, len(order)) if which == "last" else len(order)
    tuned = set(order[-(n_layers or usual) :])
    shapes = {name: shape for name, shape in named if layers.get(name) in tuned}
    if which != "lora":
        return shapes
    matrices: dict[str, tuple[int, ...]] = {
        name: shape for name, shape in shapes.items() if len(shape) == 2 and name.endswith("weight")
    }
    if not matrices:
        raise ConfigError(
            f"hf-lora: a {called} must have matrices in its layers to be tuned by changes of low rank; "
            "it has other weights alone, as convolutions. Name hf-last:FOLDER or hf-whole:FOLDER."
        )
    return matrices
