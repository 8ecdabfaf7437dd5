"""Raw modality -> Tokens. One encoder a file; "add yours": write `embed` and `mix`, add one line here."""

from __future__ import annotations

from typing import cast

from profuse.encoders._base import Encoder, Rows, Suited, segment_widths, segments
from profuse.registry import table

__all__ = ["ENCODERS", "Encoder", "Rows", "Suited", "encoder", "preprocessor_for", "segment_widths", "segments"]

ENCODERS = table(
    "encoder",
    {
        "table": "profuse.encoders.table:TableEncoder",
        "words": "profuse.encoders.text:WordEncoder",
        "static": "profuse.encoders.static:StaticEncoder",
        "cnn": "profuse.encoders.image:ConvEncoder",
        "vit": "profuse.encoders.vit:PatchEncoder",
        "audio_cnn": "profuse.encoders.audio:AudioEncoder",
        "gru": "profuse.encoders.recurrent:RecurrentEncoder",
        "multiscale": "profuse.encoders.multiscale:MultiscaleEncoder",
        "tcn": "profuse.encoders.dilated:DilatedEncoder",
        "patch": "profuse.encoders.series_patch:SeriesPatchEncoder",
        "pointset": "profuse.encoders.points:PointSetEncoder",
        "cnn3d": "profuse.encoders.volume:VolumeEncoder",
        "mlp": "profuse.encoders.vector:VectorEncoder",
    },
    derived="profuse.encoders.embedded:EMBEDDED",
)


def encoder(name: str) -> type[Encoder]:
    """Returns the class of the encoder called `name`."""
    return cast(type[Encoder], ENCODERS.part(name))


def preprocessor_for(name: str) -> str | None:
    """Returns the name of the preprocessor without which the encoder called `name` cannot be; None if any will do.

    An encoder that an embedding's name says needs the preprocessor of the same name.
    """
    return encoder(name).preprocess if name in ENCODERS else name
