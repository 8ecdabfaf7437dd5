"""Videos as pretrained models read them: which frames, and which of a model's tokens belong to which time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from profuse.errors import ConfigError

__all__ = ["MOST_PICTURES", "frames_of", "n_frames_of", "n_times_of", "steps_of"]

MOST_PICTURES = 16
"""Frames of a video that a model of pictures reads, at most."""


class _Layout(NamedTuple):
    """How a model orders its tokens.

    Attributes:
        n_before: Tokens that stand for the whole video, before the others.
        time_first: Whether the places of one time stand together, not the times of one place.
    """

    n_before: int
    time_first: bool


_LAYOUTS = {"videomae": _Layout(0, True), "vivit": _Layout(1, True), "timesformer": _Layout(1, False)}
"""By the type of a model in its configuration."""


def n_frames_of(config: Any) -> int | None:
    """Returns how many frames a model of videos reads; None of a model of anything else."""
    n = getattr(config, "num_frames", None)
    return None if n is None else int(n)


def frames_of(video: np.ndarray, n: int) -> list[np.ndarray]:
    """Returns `n` frames, evenly spaced from the first to the last; of a shorter video some are there twice."""
    return [video[i] for i in np.linspace(0, len(video) - 1, n).round().astype(int)]


def n_times_of(config: Any, folder: Path) -> int:
    """Returns how many times the tokens of a model of videos stand for.

    Raises:
        ConfigError: The order of the tokens is not known.
    """
    if config.model_type not in _LAYOUTS:
        raise ConfigError(
            f"hf: a model of videos must be one of {', '.join(_LAYOUTS)}, whose tokens are in a known order, to give "
            f"a token a time; got {config.model_type} in {folder}. Name hf:FOLDER: one vector a video."
        )
    depth = getattr(config, "tubelet_size", 1)
    return int(config.num_frames // (depth if isinstance(depth, int) else depth[0]))


def steps_of(values: Tensor, config: Any, folder: Path) -> Tensor:
    """Returns the mean over the places of each time: `[video, token, channel]` -> `[video, time, channel]`.

    Args:
        values: The last layer.
        config: Of the model.
        folder: Of the model, for messages.

    Raises:
        ConfigError: The order of the tokens is not known, or they are not as many for each time.
    """
    n_times, layout = n_times_of(config, folder), _LAYOUTS[config.model_type]
    if (values.shape[1] - layout.n_before) % n_times:
        raise ConfigError(
            f"hf: the tokens of a {config.model_type} must be as many for each of {n_times} times, to give a token a "
            f"time; the model in {folder} gives {values.shape[1]} tokens. Name hf:FOLDER: one vector a video."
        )
    places = values[:, layout.n_before :]
    if layout.time_first:
        return torch.unflatten(places, 1, (n_times, -1)).mean(2)
    return torch.unflatten(places, 1, (-1, n_times)).mean(1)
