"""Rows of two modalities that share what they are about: small, and learned in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["QUICK", "arrays", "table"]

QUICK: dict[str, Any] = {"width": 16, "epochs": 6, "batch_size": 64, "learning_rate": 5e-3, "device": "cpu"}


def arrays(n: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    """Two vectors a row: the same four numbers, mapped and with a little noise of each its own."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    latent = rng.normal(size=(n, 4))
    return {
        name: (latent @ fixed.normal(size=(4, d)) + 0.05 * rng.normal(size=(n, d))).astype(np.float32)
        for name, d in (("left", 6), ("right", 5))
    }


def table(n: int = 160, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    colour, size = rng.choice(["red", "blue", "green", "white"], n), rng.normal(size=n)
    return pd.DataFrame({
        "key": [f"k{seed}-{i}" for i in range(n)],
        "size": size,
        "weight": size * 2 + 0.1 * rng.normal(size=n),
        "note": [f"a {c} thing that is {'large' if s > 0 else 'small'} number {i}" for i, (c, s) in
                 enumerate(zip(colour, size, strict=True))],
        "colour": colour,
        "answer": rng.choice(["yes", "no"], n),
    })  # fmt: skip
