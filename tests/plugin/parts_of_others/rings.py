"""A data set: which of two rings does a point lie on? Two vectors tell it together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets import DatasetInfo

__all__ = ["INFO", "load"]

N_ROWS = 160


def load(variant: str, root: Path | None) -> Dataset:
    """Draws angles and distances with seed 0; `root` is not used."""
    del root
    draw = np.random.default_rng(0)
    ring = np.arange(N_ROWS) % 2
    radius = 1.0 + ring + draw.normal(0, 0.05 if variant == "thin" else 0.3, N_ROWS)
    angle = draw.uniform(0, 2 * np.pi, N_ROWS)
    here = np.ones(N_ROWS, dtype=bool)
    axes = {"x": radius * np.cos(angle), "y": radius * np.sin(angle)}
    modalities = {
        name: ModalityData("vector", np.stack([v, v**2], axis=1).astype(np.float32), here) for name, v in axes.items()
    }
    return Dataset(
        name="rings", modalities=modalities, target=np.array(["inner", "outer"])[ring], task="binary",
        target_names=("ring",),
    )  # fmt: skip


INFO = DatasetInfo(
    name="rings",
    modalities={"x": "vector", "y": "vector"},
    n_rows=N_ROWS,
    task="binary",
    target="ring (inner, outer)",
    split="none given",
    licence="none: generated",
    source="generated, seed 0",
    load=load,
    variants={"thin": "rings that do not touch", "wide": "rings that do"},
)
