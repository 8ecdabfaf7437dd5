"""`emoji`: what is an emoji about? Its picture, and its description, aliases and tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets._files import find
from profuse.datasets._info import DatasetInfo

__all__ = ["INFO", "load"]


def load(variant: str, root: Path | None) -> Dataset:
    """Reads 1,601 emoji: `picture` uint8 `[72, 72, 3]`, transparency over white, and `text`.

    The text is the description, the aliases with spaces for underscores, and the tags. Texts are joined to pictures by
    code points without the variation selector U+FE0F, which file names leave out. Flags have no picture and are left
    out. There is no official split; women's and men's versions of one emoji are separate rows that look alike.
    """
    del variant
    folder = find("emoji", root, members=lambda folder: [_file(entry) for entry in _entries(folder)])
    entries = _entries(folder)
    pictures = np.stack([_picture(folder / "png72" / _file(entry)) for entry in entries])
    texts = np.array([_text(entry) for entry in entries], dtype=object)
    everywhere = np.ones(len(entries), dtype=bool)
    return Dataset(
        name="emoji",
        modalities={
            "picture": ModalityData("image", pictures, everywhere),
            "text": ModalityData("text", texts, everywhere),
        },
        target=np.array([entry["category"] for entry in entries]),
        task="multiclass",
        target_names=("category",),
        ids=np.array([_file(entry).removesuffix(".png") for entry in entries]),
    )


def _entries(folder: Path) -> list[dict[str, Any]]:
    table = json.loads((folder / "emoji.json").read_text(encoding="utf-8"))
    return [entry for entry in table if entry["category"] != "Flags"]


def _file(entry: dict[str, Any]) -> str:
    return "emoji_u" + "_".join(f"{ord(c):04x}" for c in entry["emoji"] if c != "\ufe0f") + ".png"


def _picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))


def _text(entry: dict[str, Any]) -> str:
    return " ".join([entry["description"], *(alias.replace("_", " ") for alias in entry["aliases"]), *entry["tags"]])


INFO = DatasetInfo(
    name="emoji",
    modalities={"picture": "image", "text": "text"},
    n_rows=1_601,
    task="multiclass",
    target="category (8)",
    split="none given",
    licence="Apache-2.0 (pictures); MIT (texts)",
    source=(
        "googlefonts/noto-emoji@b3e3051a088047d19fd4d49b1c3ac42fb8c3aaf8 png/72/; "
        "github/gemoji@5476a66d2794e0d1551b1f96e449afc72e9f7bec db/emoji.json"
    ),
    extra="data",
    folder="emoji",
    load=load,
)
