"""`mosi`: is an opinion in a video positive or negative? Utterance features, or the transcript (CMU-MOSI)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets._files import find
from profuse.datasets._info import DatasetInfo
from profuse.errors import DataError

__all__ = ["INFO", "load"]


def load(variant: str, root: Path | None) -> Dataset:
    """Reads 2,199 utterances of 93 videos: text (100 numbers, or the transcript), audio (73) and video (100 numbers).

    The published text features look trained on sentiment: a linear model on them scores .757 and TF-IDF of the
    transcript .691. `features`, the default, is what the literature compares on; `transcript` is the honest start.
    Groups are videos. 32 video features are constant in train, and audio is not scaled: preprocessing sees to both.

    Args:
        variant: "features" or "transcript".
        root: See `profuse.datasets.load`.

    Raises:
        DataError: The files do not belong together.
    """
    folder = find("mosi", root)
    spoken = pd.read_csv(folder / "transcripts.csv.gz", header=None, names=["id", "text", "video", "label"])
    parts: dict[str, list[np.ndarray]] = {"text": [], "audio": [], "video": []}
    rows = []
    for part in ("train", "test"):
        text = _read(folder / f"text_{part}.csv.gz")  # first the row in the transcripts, then the features
        row = text[:, 0].astype(int)
        if row.min() < 0 or row.max() >= len(spoken):
            raise DataError(
                f"mosi: text_{part}.csv.gz must name rows of {folder / 'transcripts.csv.gz'}, 0 to {len(spoken) - 1}; "
                f"got rows {row.min()} to {row.max()}. Get all files from one source."
            )
        label = spoken["label"].to_numpy()[row]
        parts["text"].append(text[:, 1:])
        rows.append(row)
        for name in ("audio", "video"):
            path = folder / f"{name}_{part}0.csv.gz"
            cells = _read(path)  # last the label
            if len(cells) != len(label) or (cells[:, -1].astype(int) != label).any():
                raise DataError(
                    f"mosi: {path} must have the rows and labels of text_{part}.csv.gz; got {len(cells)} rows for "
                    f"{len(label)}, or other labels. Get all files from one source."
                )
            parts[name].append(cells[:, :-1])
    row = np.concatenate(rows)
    target = spoken["label"].to_numpy()[row]
    ids = spoken["id"].to_numpy(dtype=str)[row]
    everywhere = np.ones(len(row), dtype=bool)
    modalities = {
        name: ModalityData("vector", np.concatenate(values).astype(np.float32), everywhere)
        for name, values in parts.items()
    }
    if variant == "transcript":
        modalities["text"] = ModalityData("text", spoken["text"].to_numpy(dtype=object)[row], everywhere)
    return Dataset(
        name="mosi",
        modalities=modalities,
        target=target,
        task="binary",
        target_names=("sentiment",),
        groups=np.array([name.rpartition("_")[0] for name in ids]),
        ids=ids,
        split=np.repeat(["train", "test"], [len(part) for part in rows]),
    )


def _read(path: Path) -> np.ndarray:
    return pd.read_csv(path, header=None).to_numpy(dtype=np.float64)


INFO = DatasetInfo(
    name="mosi",
    modalities={"text": "vector", "audio": "vector", "video": "vector"},
    n_rows=2_199,
    task="binary",
    target="sentiment of an utterance",
    split="official: 1,447 train, 752 test; no video in both",
    licence="MIT (repository); CMU-MOSI's own terms apply to use",
    source=(
        "declare-lab/multimodal-deep-learning@111b401d867c14a1dcd930fd2b2ab58a5eca3f70 "
        "contextual-utterance-level-multimodal-sentiment-analysis/data/"
    ),
    variants={
        "features": "text as the published 100 numbers an utterance",
        "transcript": "text as the words that were spoken",
    },
    extra="data",
    folder="mosi",
    load=load,
)
