"""`synthetic`: data with known answers, for tests, docs and limits; deterministic, nothing is read."""

from __future__ import annotations

from pathlib import Path

from profuse.data.dataset import Dataset
from profuse.datasets._info import DatasetInfo
from profuse.datasets.synthetic.information import Information
from profuse.datasets.synthetic.pointer import Pointer

__all__ = ["INFO", "VARIANTS", "Information", "Pointer", "load"]

VARIANTS: dict[str, Information | Pointer] = {
    "mixed": Information(redundant=1, unique=(1, 1), synergy=1),
    "redundant": Information(redundant=2, unique=(0, 0), synergy=0),
    "unique": Information(redundant=0, unique=(1, 1), synergy=0),
    "synergy": Information(redundant=0, unique=(0, 0), synergy=1),
    "pointer": Pointer(),
}
N_ROWS = 4_096
SEED = 0


def load(variant: str, root: Path | None) -> Dataset:
    """Draws 4,096 rows of a variant with seed 0; `root` is not used. See `Information` and `Pointer` for others."""
    del root
    return VARIANTS[variant].sample(N_ROWS, seed=SEED)


INFO = DatasetInfo(
    name="synthetic",
    modalities={"a": "vector", "b": "vector"},
    n_rows=N_ROWS,
    task="multiclass",
    target="bits that are redundant, unique or synergistic; the Bayes-optimal score is known",
    split="none given",
    licence="none: generated",
    source="generated, seed 0",
    variants={
        "mixed": "one bit of each: redundant, unique to a, unique to b, synergistic (16 classes)",
        "redundant": "two bits that both modalities hold",
        "unique": "one bit in a, another in b",
        "synergy": "one bit, the exclusive or of a bit in a and one in b (binary)",
        "pointer": "items and a pointer to the one that counts (regression)",
    },
    load=load,
)
