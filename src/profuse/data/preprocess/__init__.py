"""Raw rows -> what an encoder takes, with statistics fitted on training rows only."""

from __future__ import annotations

from typing import cast

from profuse.data.dataset import ModalityData
from profuse.data.preprocess._base import Preprocessor
from profuse.registry import table

__all__ = ["PREPROCESSORS", "Preprocessor", "preprocessor", "unfitted"]

# "add yours": one line a preprocessor
PREPROCESSORS = table(
    "preprocessor",
    {
        "table": "profuse.data.preprocess.table:TablePreprocessor",
        "subwords": "profuse.data.preprocess.text:SubwordPreprocessor",
        "static": "profuse.data.preprocess.static:StaticPreprocessor",
        "bytes": "profuse.data.preprocess.utf8:BytePreprocessor",
        "tfidf": "profuse.data.preprocess.tfidf:TfidfPreprocessor",
        "image": "profuse.data.preprocess.image:ImagePreprocessor",
        "logmel": "profuse.data.preprocess.audio:LogMelPreprocessor",
        "series": "profuse.data.preprocess.series:SeriesPreprocessor",
        "steps": "profuse.data.preprocess.series:StepPreprocessor",
        "points": "profuse.data.preprocess.points:PointPreprocessor",
        "volume": "profuse.data.preprocess.volume:VolumePreprocessor",
        "video": "profuse.data.preprocess.video:VideoPreprocessor",
        "document": "profuse.data.preprocess.document:DocumentPreprocessor",
        "graph": "profuse.data.preprocess.graph:GraphPreprocessor",
        "vector": "profuse.data.preprocess.vector:VectorPreprocessor",
        "features": "profuse.data.preprocess.features:FeaturePreprocessor",
    },
    derived="profuse.data.preprocess.embedded:EMBEDDED",
)


def preprocessor(name: str, where: str = "profuse") -> type[Preprocessor]:
    """Returns the class of the preprocessor called `name`; an error that there is none begins with `where`."""
    return cast(type[Preprocessor], PREPROCESSORS.part(name, where=where))


def unfitted(name: str, data: ModalityData) -> Preprocessor:
    """Returns the preprocessor called `name`, with the bound that is set for a modality if it has one."""
    made = preprocessor(name)
    return made() if data.max_length is None or not made.bound else made(**{made.bound: data.max_length})
