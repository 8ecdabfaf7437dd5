"""Small data sets whose answer is known."""

from __future__ import annotations

import numpy as np

from profuse.data.dataset import Dataset, ModalityData


def make_product(n_rows: int = 200, *, task: str = "binary", seed: int = 0, absent: float = 0.0) -> Dataset:
    """Two vectors whose first numbers' product decides: no modality alone knows anything."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n_rows, 4)), rng.normal(size=(n_rows, 3))
    product = a[:, 0] * b[:, 0]
    target = {
        "binary": np.where(product > 0, "same", "other").astype(object),
        "multiclass": np.digitize(product, [-0.5, 0.5]),
        "multilabel": np.stack([product > 0, a[:, 1] > 0], axis=1).astype(int),
        "regression": product,
    }[task]
    there = [rng.random(n_rows) >= absent for _ in range(2)]
    modalities = {"a": ModalityData("vector", a, there[0]), "b": ModalityData("vector", b, there[1])}
    names = ("same", "positive") if task == "multilabel" else ("target",)
    return Dataset("product", modalities, target, task, target_names=names)  # type: ignore[arg-type]
