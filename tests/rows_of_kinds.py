"""Rows of each kind of modality, for the tests that run on every kind. A new kind adds its rows here, and only here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["N_ROWS", "ROWS", "rows_of_kind"]

N_ROWS = 12
RNG = np.random.default_rng(0)


def _ring(i: int) -> dict[str, Any]:
    """A ring of 5 + i nodes, and as many strings."""
    n = 5 + i
    nodes = [{"id": k, "size": float(RNG.normal()), "element": "CNO"[(k * k + i) % 3]} for k in range(n)]
    edges = [{"source": k, "target": (k + 1) % n, "order": 1 + k % 2} for k in range(n)]
    chords = [{"source": k, "target": (k + 2 + i % 3) % n, "order": 3} for k in range(0, n, 3)]
    return {"nodes": nodes, "edges": edges + chords}


ROWS: dict[str, Any] = {
    "table": pd.DataFrame(
        {
            "a": np.arange(N_ROWS, dtype=float),
            "b": list("xyxyxyxyxyxy"),
            "t": pd.date_range("2020-01-01", periods=N_ROWS),
        }
    ),
    "text": [f"{['red', 'green', 'blue'][i % 3]} and {['cold', 'warm'][i % 2]}, number {i}" for i in range(N_ROWS)],
    "image": RNG.integers(0, 256, (N_ROWS, 3, 8, 8)).astype(np.uint8),
    "audio": [RNG.uniform(-1, 1, 4000 + i) for i in range(N_ROWS)],
    "series": [RNG.normal(size=(5 + i, 2)) for i in range(N_ROWS)],
    "vector": RNG.normal(size=(N_ROWS, 4)),
    "points": [RNG.normal(size=(40 + 3 * i, 4)) for i in range(N_ROWS)],
    "document": [
        f"{['Red', 'Green'][i % 2]} is number {i}. " * (3 + i) + f"The {i}th ends here." for i in range(N_ROWS)
    ],
    "video": [RNG.integers(0, 256, (3 + i % 4, 9, 12, 3)).astype(np.uint8) for i in range(N_ROWS)],
    "volume": [RNG.normal(size=(9 + i % 3, 12, 10)) + 0.1 * i for i in range(N_ROWS)],
    "graph": [_ring(i) for i in range(N_ROWS)],
}
"""`N_ROWS` values of each kind, as `from_tensors` takes them; no two rows alike."""


def rows_of_kind(name: str) -> Any:
    """Returns the values of a kind."""
    assert name in ROWS, f"add {N_ROWS} rows of the kind {name!r} to ROWS in tests/rows_of_kinds.py"
    return ROWS[name]
