"""What reads one kind of cell of a pretrained model that is tuned; its weights are held."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from profuse.data.embeddings.frozen import encoder_of, fresh
from profuse.data.embeddings.layers import picture_vectors, video_tokens
from profuse.data.embeddings.processors import quiet
from profuse.data.embeddings.videos import n_frames_of, n_times_of, steps_of
from profuse.errors import ConfigError

__all__ = ["FramesTrunk", "TimesTrunk", "trunk"]


class _Last(NamedTuple):
    """What a model returns, as transformers calls it."""

    last_hidden_state: Tensor


class TimesTrunk(nn.Module):
    """A model of videos: `pixel_values[video, frame, channel, height, width]` -> a token for each time.

    Attributes:
        n_times: Tokens of a video.
    """

    def __init__(self, inner: Any, folder: Path) -> None:
        super().__init__()
        self.inner, self.folder = inner, folder
        self.config, self.n_times = inner.config, n_times_of(inner.config, folder)

    def forward(self, pixel_values: Tensor) -> _Last:
        """Returns `last_hidden_state[video, time, channel]`, as `hf-tokens:` has it."""
        values = video_tokens(self.inner, self.folder, pixel_values=pixel_values)
        return _Last(steps_of(values, self.config, self.folder))


class FramesTrunk(nn.Module):
    """A model of pictures: `pixel_values[frame, channel, height, width]` -> one token for each frame.

    Raises:
        ConfigError: It has features of pictures, and what reads them is not one part of it.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__()
        if hasattr(inner, "get_image_features") and not hasattr(inner, "vision_model"):
            raise ConfigError(
                f"hf: a model of pictures and more must have a vision_model to be tuned to the frames of videos; a "
                f"{type(inner).__name__} has none. Use it frozen: hf:FOLDER, or hf-tokens:FOLDER."
            )
        if hasattr(inner, "vision_model") and hasattr(inner, "text_model"):
            del inner.text_model  # it reads no frames
        self.inner, self.config = inner, inner.config

    def forward(self, pixel_values: Tensor) -> _Last:
        """Returns `last_hidden_state[frame, 1, channel]`: the vector of each as a picture, as `hf-tokens:` has it."""
        return _Last(picture_vectors(self.inner, pixel_values=pixel_values)[:, None])


def trunk(folder: Path, tower: str) -> Any:
    """Returns what reads one kind of cell of the model in a folder, its weights held.

    Args:
        folder: Of the model.
        tower: The part that does so where the model has several: "text_model", "vision_model"; "frames": all that
            reads the frames of videos.
    """
    with quiet():
        model = fresh(folder)
    if tower == "frames":
        made = FramesTrunk(model) if n_frames_of(model.config) is None else TimesTrunk(model, folder)
    else:
        made = getattr(model, tower, encoder_of(model))
    return made.requires_grad_(False)
