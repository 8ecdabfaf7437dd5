"""Raw modality -> Tokens. One encoder a file; "add yours": write `embed` and `mix`, add one line here."""

from __future__ import annotations

from typing import cast

from profuse.data.dataset import ModalityData
from profuse.data.preprocess import preprocessor
from profuse.encoders._base import Encoder, Rows, Suited, segment_widths, segments
from profuse.errors import ConfigError, UnknownNameError
from profuse.kinds import kind_named
from profuse.registry import table

__all__ = [
    "ENCODERS",
    "Encoder",
    "Rows",
    "Suited",
    "check_reads",
    "encoder",
    "preprocessor_for",
    "reader_for",
    "segment_widths",
    "segments",
]

_PRETRAINED = (
    "Pretrained models are named hf:FOLDER, hf-tokens:FOLDER, hf-lora:FOLDER, hf-last:FOLDER or hf-whole:FOLDER."
)

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
        "frames": "profuse.encoders.video:VideoEncoder",
        "gin": "profuse.encoders.graph:GraphEncoder",
        "mlp": "profuse.encoders.vector:VectorEncoder",
    },
    derived="profuse.encoders.embedded:EMBEDDED",
)


def encoder(name: str) -> type[Encoder]:
    """Returns the class of the encoder called `name`."""
    try:
        return cast(type[Encoder], ENCODERS.part(name))
    except UnknownNameError as error:
        if ":" not in name and not name.startswith("hf"):
            raise
        raise UnknownNameError(f"{error} {_PRETRAINED}") from None


def preprocessor_for(name: str) -> str | None:
    """Returns the name of the preprocessor without which the encoder called `name` cannot be; None if any will do.

    An encoder that an embedding's name says needs the preprocessor of the same name.

    Raises:
        UnknownNameError: There is no such encoder.
    """
    made = encoder(name)  # an error where there is none
    return made.preprocess if name in ENCODERS else name


def check_reads(name: str, data: ModalityData, *, who: str, modality: str) -> None:
    """Checks that what the encoder called `name` reads with does not refuse the rows of a modality.

    Raises:
        ConfigError: It does: of pictures it would read some channels only, say; or it names a model that is not here.
    """
    needed = preprocessor_for(name)
    if needed is not None and (why := preprocessor(needed).refusal(data) or preprocessor(needed).lacking()):
        raise ConfigError(f"{who}: the encoder {name!r} of {modality!r} {why}")


def reader_for(name: str, data: ModalityData) -> str:
    """Returns the name of the preprocessor with which the encoder called `name` reads a modality.

    It is the one that it needs, else the kind's default, else the one that is named for the modality.

    Raises:
        ConfigError: None of them makes what the encoder takes.
    """
    needed, takes = preprocessor_for(name), encoder(name).kind
    if needed is not None and preprocessor(needed).accepts(data.kind):
        return needed
    for known in (kind_named(data.kind).preprocessor, data.preprocess) if needed is None else ():
        if known is not None and (preprocessor(known).gives or data.kind) == takes:
            return known
    raise ConfigError(
        f"encoders: an encoder must take the kind of its modality, {data.kind!r}; got {name!r}, which does not. Name "
        "another one, or leave it out."
    )
