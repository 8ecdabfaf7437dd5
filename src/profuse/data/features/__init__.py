"""Raw rows -> hand-made features of their kind, fitted on training rows: what classical models take.

They are made where something reads them, and nowhere else: a network knows nothing of them.
"""

from __future__ import annotations

from typing import cast

from profuse.data.features._base import Features, Matrix
from profuse.registry import table

__all__ = ["FEATURES", "Features", "Matrix", "features_named"]

# "add yours": one line a set of features
FEATURES = table(
    "features",
    {
        "table": "profuse.data.features.table:TableFeatures",
        "ranks": "profuse.data.features.ranks:RankFeatures",
        "lsa": "profuse.data.features.lsa:LsaFeatures",
        "tfidf": "profuse.data.features.tfidf:TfidfFeatures",
        "image": "profuse.data.features.image:ImageFeatures",
        "hog": "profuse.data.features.hog:GradientFeatures",
        "logmel": "profuse.data.features.audio:LogMelFeatures",
        "series": "profuse.data.features.series:SeriesFeatures",
        "path": "profuse.data.features.path:PathFeatures",
        "minirocket": "profuse.data.features.minirocket:RocketFeatures",
        "points": "profuse.data.features.points:PointFeatures",
        "volume": "profuse.data.features.volume:VolumeFeatures",
        "video": "profuse.data.features.video:VideoFeatures",
        "graph": "profuse.data.features.graph:GraphFeatures",
        "vector": "profuse.data.features.vector:VectorFeatures",
        "described": "profuse.data.features.described:DescribedFeatures",
    },
)


def features_named(name: str) -> type[Features]:
    """Returns the class of the features called `name`."""
    return cast(type[Features], FEATURES.part(name))
