"""What a row holds, as plain data of moderate size: a text, a picture, lines or cells for each modality."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator

from profuse._escape import visible
from profuse.data.dataset import ModalityData
from profuse.kinds import Drawing, kind_named

__all__ = ["Part", "contents", "side_of_pictures"]

_BYTES = 3_000_000  # of all pictures, before they are written as PNG and as text
_MOST_SIDE = 320
_CHARACTERS = 600
_CELLS = 14
_STEPS = 400  # of a line


class Part(BaseModel):
    """One modality of a row. Nothing in it is markup."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    missing: bool = False
    text: str = ""
    cells: list[str] = []
    more: int = Field(0, ge=0, description="Cells that are left out.")
    png: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/=]*$")] = ""
    lines: list[list[float | None]] = Field([], description="[step][line]; None: missing.")
    axes: tuple[str, str] = ("", "")

    @field_validator("png")
    @classmethod
    def _is_a_small_picture(cls, png: str) -> str:
        if png:
            try:
                size = Image.open(io.BytesIO(base64.b64decode(png)), formats=["PNG"]).size
            except (OSError, ValueError) as error:
                raise ValueError(f"png must be a picture in base64; got {error}") from error
            if max(size) > _MOST_SIDE:
                raise ValueError(f"png must have at most {_MOST_SIDE} pixels a side; got {size}")
        return png

    @field_validator("lines")
    @classmethod
    def _steps_alike(cls, lines: list[list[float | None]]) -> list[list[float | None]]:
        if len({len(step) for step in lines}) > 1:
            raise ValueError("lines must have as many values at each step")
        return lines

    @property
    def drawing(self) -> Drawing:
        """The picture or the lines."""
        picture = None
        if self.png:
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(self.png))).convert("RGB"))
        lines = np.array(self.lines, dtype=np.float64) if self.lines else None
        return Drawing(picture=picture, lines=lines, axes=self.axes)


def side_of_pictures(modalities: Mapping[str, ModalityData], n_rows: int) -> int:
    """Returns the greatest side of a picture so that all of them together keep within the size of a page."""
    n = n_rows * sum(not (kind_named(d.kind).is_words or kind_named(d.kind).is_numbers) for d in modalities.values())
    return min(_MOST_SIDE, int((_BYTES / (3 * max(n, 1))) ** 0.5))


def contents(modalities: Mapping[str, ModalityData], row: int, side: int) -> list[Part]:
    """Returns what a row holds, modality by modality.

    Args:
        modalities: Of all rows.
        row: Its number.
        side: The greatest of a picture, in pixels.
    """
    return [_part(name, data, row, side) for name, data in modalities.items()]


def _part(name: str, data: ModalityData, row: int, side: int) -> Part:
    name = visible(name)
    if not data.present[row]:
        return Part(name=name, missing=True)
    kind = kind_named(data.kind)
    units = kind.units(data, row, _CELLS if not kind.is_numbers else 1000)
    drawing = kind.draw(data, row, units)
    if drawing.text:
        text = visible(drawing.text, lines=True)
        return Part(name=name, text=text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]} ...")
    if drawing.picture is not None or drawing.lines is not None:
        return Part(name=name, axes=drawing.axes, **_drawn(drawing, side))
    labels = [visible(u.label) for u in units]
    return Part(name=name, cells=labels[:_CELLS], more=max(0, len(labels) - _CELLS))


def _drawn(drawing: Drawing, side: int) -> dict[str, Any]:
    drawn: dict[str, Any] = {}
    if drawing.picture is not None:
        image = Image.fromarray(drawing.picture)
        image.thumbnail((side, side))
        image.save(out := io.BytesIO(), "PNG")
        drawn["png"] = base64.b64encode(out.getvalue()).decode()
    if drawing.lines is not None:
        kept = drawing.lines[:: max(1, -(-len(drawing.lines) // _STEPS))].astype(np.float64)
        drawn["lines"] = [[float(f"{v:.4g}") if np.isfinite(v) else None for v in step] for step in kept]
    return drawn
