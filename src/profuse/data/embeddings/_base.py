"""What an embedding is: a function from cells to vectors that were learned before, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from profuse.errors import ConfigError
from profuse.kinds import kind_named

__all__ = ["Embedding", "Sound", "embedding_of"]


class Sound(NamedTuple):
    """A sound, as an embedding gets it.

    Attributes:
        samples: Float `[sample]`, in -1..1.
        rate: Samples a second.
    """

    samples: np.ndarray
    rate: int


@dataclass(frozen=True)
class Embedding:
    """A function `list of cells -> [cell, channel]`, whose results are kept on disk by the content of each cell.

    Cells are str of a text, arrays `[height, width, channel]` of a picture, `[frame, height, width, channel]` of a
    video, `Sound` of a sound, arrays of all else. They are those that are there: a missing cell never gets to it. What
    it returns of a cell must not depend on the others.

    Args:
        function: May return a list of vectors too, or, with `tokens`, a list of `[token, channel]`.
        kinds: The kinds of modality it takes; None: any but tables.
        tokens: Whether a cell gives tokens in an order, as many as it has, rather than one vector.
        revision: What changes when the function gives other vectors: a model's version. The function's code counts by
            itself.
        batch_size: Cells that it gets at a time, at most.
        identity: Returns the whole of what results are kept by, in place of revision and code; None: those two.
        colours_only: Whether pictures must be grey or of colours: others are an error, not read in part.
        lacking: Returns why it cannot be used on this machine, as an error ends; "" if it can. None: it always can.

    Example:
        >>> from profuse.data.embeddings import Embedding
        >>> Embedding(lambda texts: [[len(t), t.count(" ")] for t in texts], kinds=("text",)).function(["a b"])
        [[3, 1]]
    """

    function: Callable[[list[Any]], Any]
    kinds: tuple[str, ...] | None = None
    tokens: bool = False
    revision: str = ""
    batch_size: int = 256
    identity: Callable[[], str] | None = None
    colours_only: bool = False
    lacking: Callable[[], str] | None = None

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ConfigError(f"Embedding: function must be callable; got {self.function!r}. Give a function of cells.")
        if self.batch_size < 1:
            raise ConfigError(f"Embedding: batch_size must be at least 1; got batch_size={self.batch_size}.")

    @property
    def made_by(self) -> object:
        """The function: the same one, defined anew, replaces its old self."""
        return self.function

    @property
    def settings(self) -> str:
        """What changes besides the code of the function."""
        return f"{self.revision} {self.kinds} {self.tokens}"

    @property
    def description(self) -> str:
        """What the function says of itself."""
        return " ".join((getattr(self.function, "__doc__", None) or "A function of cells.").split("\n\n")[0].split())

    def takes(self, kind: str) -> bool:
        """Returns whether it reads cells of a kind of modality."""
        return kind_named(kind).columns != "any" if self.kinds is None else kind in self.kinds


def embedding_of(name: str, part: object) -> object | None:
    """Returns the embedding that a function is; None of what is no function."""
    if isinstance(part, Embedding):
        return part
    return Embedding(part) if callable(part) and not isinstance(part, type) else None
