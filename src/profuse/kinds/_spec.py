"""What the encoder of a modality is told."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from profuse.kinds._names import KindName

__all__ = ["LevelRange", "Spec", "pairs_of"]

LevelRange = tuple[float, float] | tuple[tuple[float, float], ...]
"""Levels of black and white of pictures: of all channels alike, or of each."""


def pairs_of(levels: LevelRange) -> tuple[tuple[float, float], ...]:
    """Returns the pairs of black and white in a range: one, or one a channel."""
    each = tuple(pair for pair in levels if isinstance(pair, tuple))
    return each or (levels,)  # type: ignore[return-value]


class Spec(BaseModel):
    """What a fitted preprocessor tells the encoder about a modality: sizes, and nothing else.

    Fields that do not apply to a kind keep their defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: KindName
    n_channels: int = Field(
        0,
        description="Channels of an image, a video, a volume, a series, a vector, points, a graph; mel bands of audio.",
    )
    cardinalities: tuple[int, ...] = Field(
        (),
        description="table: for each column, 0 if numeric, else its number of codes (code 0 is 'not seen in train').",
    )
    n_columns: int = Field(
        0, description="table: columns of the data, of which a time stamp gives several numbers; 0 if not known."
    )
    edges: tuple[tuple[float, ...], ...] = Field(
        (),
        description="table, vector: for each column (channel), ascending bin edges in its scaled units; () if it has "
        "none. vector: all of them may be left out.",
    )
    spreads: tuple[float, ...] = Field(
        (),
        description="vector: by how much each channel varies in the data's own unit, 1 on average; () if not known.",
    )
    vocabulary: int = Field(0, description="text: number of subword ids, 0 (no subword) included.")
    n_words: int = Field(0, description="text: ids from 1 to it are whole words; those above, parts of words.")
    n_texts: int = Field(0, description="text: training texts in which terms were counted.")
    n_pairs: int = Field(0, description="text: buckets of pairs of neighbouring words, 0 (no pair) included.")
    terms: tuple[int, ...] = Field(
        (), description="text: ids, and `vocabulary` + buckets of pairs, that training texts hold, ascending."
    )
    term_rows: tuple[int, ...] = Field((), description="text: how many training texts have each of `terms`.")
    term_columns: tuple[int, ...] = Field(
        (), description="text: the column of each of `terms`, from 1, in what a linear path reads; 0: none."
    )
    source: str = Field(
        "", description="text, image, video, audio: the folder, or the name, of the model that its encoder tunes."
    )
    max_length: int = Field(
        0, description="text, audio, series, points, video, graph: the largest number of positions after preprocessing."
    )
    n_attributes: int = Field(0, description="graph: channels of a node's attributes, the first ones.")
    n_relations: int = Field(0, description="graph: matrices of edges, of which a node has a row each.")
    is_path: bool = Field(False, description="series: whether channels 0 and 1 are a pen's position, in one unit.")
    grid: tuple[int, int, int] = Field(
        (0, 0, 0), description="volume: depth, height and width in voxels after preprocessing."
    )
    image_size: tuple[int, int] = Field(
        (0, 0), description="image, video: height and width in pixels after preprocessing."
    )
