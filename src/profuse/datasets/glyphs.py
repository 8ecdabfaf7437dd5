"""`glyphs`: which script does a character belong to? A picture, a text and an outline; no download.

All of it is read from what is installed: the DejaVu faces that matplotlib ships and `unicodedata`. Neither picture nor
name is enough alone: a Latin A, a Greek Alpha and a Cyrillic A look the same, and "CAPITAL LETTER A" names two of them.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets._info import DatasetInfo
from profuse.errors import DataError

__all__ = ["INFO", "load"]

FACES = {"sans": "DejaVuSans.ttf", "serif": "DejaVuSerif.ttf", "mono": "DejaVuSansMono.ttf"}
NO_SCRIPTS = ("MODIFIER", "OLD")  # first words of names that say nothing about the script
MIN_LETTERS = 40
SIZE = 32  # pixels of a picture's side
EM = 22  # pixels of the em square: all but nine of the widest and deepest letters fit, which lose at most 2 pixels
BASELINE = 24  # row of the baseline
_OUTLINE_SIZE = 1024  # points: so large that hinting moves no point by more than 1/1000 em


def load(variant: str, root: Path | None) -> Dataset:
    """Reads the letters of every script with at least 40 letters in DejaVu Sans.

    The default is one face: a letter's name does not change with the face, so further renderings add rows that are not
    independent (intervals would be too narrow by up to sqrt(3)) and cost twice as much. `faces` adds them; groups then
    hold a letter's renderings together.

    * `picture` uint8 `[32, 32, 1]`: ink 255 on 0, em 22 pixels, baseline on row 24, centred by its advance;
    * `text`: the Unicode name without its first word, the script: "SMALL LETTER ALPHA WITH TONOS";
    * `outline` `[point, 4]`: x and y in em from the origin, 1 where a contour starts, 1 for a control point (off the
      curve); lengths 5 to 251;
    * target: the script, the first word of the name; groups: the letter; ids: face and code point ("sans U+0041").

    Args:
        variant: "sans" or "faces".
        root: Not used: nothing is read from a data folder.
    """
    from matplotlib.ft2font import FT2Font

    del root
    labels = _labels()
    faces = ("sans",) if variant == "sans" else tuple(FACES)
    codes: list[int] = []
    origin: list[str] = []
    pictures: list[np.ndarray] = []
    outlines: list[np.ndarray] = []
    for face in faces:
        drawn = FT2Font(_path(face)).get_charmap()
        here = [code for code in labels if code in drawn]
        codes += here
        origin += [face] * len(here)
        pictures += _pictures(face, here)
        outlines += _outlines(face, here)
    names = np.array([unicodedata.name(chr(code)).partition(" ")[2] for code in codes], dtype=object)
    everywhere = np.ones(len(codes), dtype=bool)
    return Dataset(
        name="glyphs",
        modalities={
            "picture": ModalityData("image", np.stack(pictures), everywhere),
            "text": ModalityData("text", names, everywhere),
            "outline": ModalityData("series", _objects(outlines), everywhere),
        },
        target=np.array([labels[code] for code in codes]),
        task="multiclass",
        target_names=("script",),
        groups=np.array([f"U+{code:04X}" for code in codes]),
        ids=np.array([f"{face} U+{code:04X}" for face, code in zip(origin, codes, strict=True)]),
        notes=(f"{len(labels)} letters of {len(set(labels.values()))} scripts, {len(codes)} renderings.",),
    )


def _path(face: str) -> str:
    from matplotlib import get_data_path  # costs half a second: only where glyphs are drawn

    path = Path(get_data_path()) / "fonts" / "ttf" / FACES[face]
    if not path.is_file():
        raise DataError(
            f"glyphs: matplotlib's font files must be installed; got no file {path}. "
            "Some distributions strip them: install matplotlib from its own wheel (pip install matplotlib)."
        )
    return str(path)


def _labels() -> dict[int, str]:
    """Returns code point -> script, in code order, for the letters of the scripts that are large in DejaVu Sans."""
    from matplotlib.ft2font import FT2Font

    codes = sorted(FT2Font(_path("sans")).get_charmap())
    letters = [code for code in codes if unicodedata.category(chr(code)).startswith("L")]
    words = {code: unicodedata.name(chr(code)).partition(" ")[0] for code in letters}
    counts = Counter(words.values())
    return {c: w for c, w in words.items() if counts[w] >= MIN_LETTERS and w not in NO_SCRIPTS}


def _pictures(face: str, codes: list[int]) -> list[np.ndarray]:
    font = ImageFont.truetype(_path(face), EM, layout_engine=ImageFont.Layout.BASIC)
    pictures = []
    for code in codes:
        image = Image.new("L", (SIZE, SIZE))
        ImageDraw.Draw(image).text((SIZE // 2, BASELINE), chr(code), fill=255, font=font, anchor="ms")
        pictures.append(np.asarray(image)[:, :, None])
    return pictures


def _outlines(face: str, codes: list[int]) -> list[np.ndarray]:
    from matplotlib.ft2font import FT2Font

    font = FT2Font(_path(face))
    font.set_size(_OUTLINE_SIZE, 72)
    outlines = []
    for code in codes:
        font.load_char(code)
        points, kinds = font.get_path()
        real = kinds != 79  # CLOSEPOLY carries no point
        kind = kinds[real]
        outlines.append(np.column_stack([points[real] / _OUTLINE_SIZE, kind == 1, kind == 3]).astype(np.float32))
    return outlines


def _objects(arrays: list[np.ndarray]) -> np.ndarray:
    """Returns an object array; `np.array` would stack arrays of equal length."""
    out = np.empty(len(arrays), dtype=object)
    out[:] = arrays
    return out


INFO = DatasetInfo(
    name="glyphs",
    modalities={"picture": "image", "text": "text", "outline": "series"},
    n_rows=2_983,
    task="multiclass",
    target="script of the letter (12)",
    split="none given; renderings of one character stay together",
    licence="Bitstream Vera and public domain (DejaVu); Unicode terms of use (names)",
    source="matplotlib's DejaVu Sans, Serif and Sans Mono; Python's unicodedata",
    variants={
        "sans": "one rendering a letter, DejaVu Sans",
        "faces": "Serif and Mono renderings of the same letters too (6,411 rows)",
    },
    load=load,
)
