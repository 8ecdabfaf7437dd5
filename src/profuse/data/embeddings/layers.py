"""The last layer of a pretrained model: of pictures, and of videos; frozen and tuned models read it alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from profuse.errors import ConfigError

__all__ = ["feature_vectors", "picture_tokens", "picture_vectors", "video_tokens"]


def feature_vectors(given: Any) -> Tensor:
    """Returns features: a tensor, or what holds one as `pooler_output`."""
    vectors: Tensor = given if isinstance(given, Tensor) else given.pooler_output
    return vectors


def picture_tokens(model: Any, **inputs: Tensor) -> Tensor:
    """Returns the last layer of the part that reads pictures, `[picture, token, channel]`."""
    values: Tensor = getattr(model, "vision_model", model)(**inputs).last_hidden_state
    return values.flatten(2).transpose(1, 2) if values.ndim == 4 else values  # [picture, channel, height, width]


def picture_vectors(model: Any, **inputs: Tensor) -> Tensor:
    """Returns what the model calls its features, `[picture, channel]`, else the mean of its tokens."""
    if hasattr(model, "get_image_features"):
        return feature_vectors(model.get_image_features(**inputs))
    return picture_tokens(model, **inputs).mean(1)


def video_tokens(model: Any, folder: Path, **inputs: Tensor) -> Tensor:
    """Returns the last layer of a model of videos, `[video, token, channel]`.

    Raises:
        ConfigError: It gives something else.
    """
    values: Tensor = model(**inputs).last_hidden_state
    n = inputs["pixel_values"].shape[0]
    if values.ndim != 3 or values.shape[0] != n:
        raise ConfigError(
            f"hf: a model of videos must give [video, token, channel]; the {model.config.model_type} in {folder} "
            f"gives {list(values.shape)} of {n} videos. Name another one, or a model of pictures."
        )
    return values
