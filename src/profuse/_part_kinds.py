"""The kinds of parts that have names, and what is known of each before any is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["PART_KINDS", "Derived", "PartKind"]


@dataclass(frozen=True)
class PartKind:
    """What is known of a kind of part before any is loaded.

    Attributes:
        home: The package whose import makes the table.
        group: The group of entry points.
        base: The class that every part of the kind is, or inherits from: "module:Class".
        made: Whether a part is an object of the base; if not, it is a class that inherits from it.
        around: Of what else a part is made: "module:function", of name and value to a part, or to None where it is
            none; and what that is, in words.
    """

    home: str
    group: str
    base: str
    made: bool = False
    around: tuple[str, str] = ("", "")


class Derived(Protocol):
    """Parts whose names tell what they are made of, `hf:FOLDER`: as many as there are names, so that none is listed."""

    def part(self, name: str) -> object | None:
        """Returns the part that such a name says; None if it is no such name."""

    def fingerprint(self, name: str) -> str:
        """Returns what changes when that part does, as far as another part does not tell it."""


PART_KINDS: dict[str, PartKind] = {
    "fusion": PartKind("profuse.fusion", "profuse.fusions", "profuse.fusion:Fusion"),
    "encoder": PartKind("profuse.encoders", "profuse.encoders", "profuse.encoders:Encoder"),
    "preprocessor": PartKind(
        "profuse.data.preprocess", "profuse.preprocessors", "profuse.data.preprocess:Preprocessor"
    ),
    "features": PartKind("profuse.data.features", "profuse.features", "profuse.data.features:Features"),
    "embedding": PartKind(
        "profuse.data.embeddings",
        "profuse.embeddings",
        "profuse.data.embeddings:Embedding",
        made=True,
        around=("profuse.data.embeddings:embedding_of", "a function: a list of cells to [cell, channel]"),
    ),
    "kind": PartKind("profuse.kinds", "profuse.kinds", "profuse.kinds:Kind", made=True),
    "metric": PartKind("profuse.metrics", "profuse.metrics", "profuse.metrics:Metric"),
    "question": PartKind("profuse.inspect", "profuse.questions", "profuse.inspect:Question"),
    "balance": PartKind("profuse.training.balance", "profuse.balances", "profuse.training.balance:Balance"),
    "dataset": PartKind("profuse.datasets", "profuse.datasets", "profuse.datasets:DatasetInfo", made=True),
    "classical": PartKind(
        "profuse.classical",
        "profuse.classical",
        "profuse.classical:ClassicalModel",
        around=(
            "profuse.classical.own:model_of",
            "an estimator of scikit-learn (its class, or a function that makes it)",
        ),
    ),
}
