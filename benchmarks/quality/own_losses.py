"""What the modalities' own losses are worth: the same fits with and without them, seed by seed, on named data sets.

    python benchmarks/quality/own_losses.py mosi mfeat emoji glyphs avmnist --seeds 5

Prints a table: for each data set the mean test score (accuracy or R2) of every weight, and its paired difference to
weight 0 with the interval over seeds. Each seed draws its own split where the data set has no official one.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence

import numpy as np

from profuse import FusionClassifier, FusionRegressor, datasets
from profuse.comparison.statistics import seeds_only
from profuse.data.dataset import Dataset
from profuse.data.split import make_split
from profuse.schema import SplitOptions


def score(data: Dataset, weight: float, fusion: str, seed: int) -> tuple[float, int, int | None]:
    """The test score of one fit, the number of its test rows, and that of its training rows if the split is its own."""
    split = make_split(data, SplitOptions(), seed=seed)
    known = data.rows(np.sort(np.concatenate([split.train, split.valid])))
    test = data.rows(split.test)
    maker = FusionRegressor if data.task == "regression" else FusionClassifier
    model = maker(fusion=fusion, unimodal_loss_weight=weight, random_state=seed).fit(known)
    n_train = None if data.split is not None else len(known)
    return float(model.score(test, test.target)), len(test), n_train


def line(name: str, weights: Sequence[float], fusion: str, n_seeds: int) -> str:
    """One line of the table; the first weight is what the others are compared to."""
    data = datasets.load(name)
    fits = [[score(data, weight, fusion, seed) for seed in range(n_seeds)] for weight in weights]
    scores = np.array([[fit[0] for fit in row] for row in fits])
    _, n_rows, n_train = fits[0][0]
    cells = [f"{scores[0].mean():.3f}"]
    for row in scores[1:]:
        gain = seeds_only(100 * (row - scores[0]), n_rows=n_rows, n_train=n_train)
        cells.append(f"{row.mean():.3f}: {gain.value:+.1f} points ({gain.low:+.1f} to {gain.high:+.1f})")
    return f"| `{name}` | {n_seeds} x {n_rows:,} | " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="named data sets")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fusion", default="token_transformer")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5], help="the first is compared to")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    heads = ["data", "seeds x test rows", *(f"weight {w:g}" for w in asked.weights)]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|", flush=True)
    for name in asked.data:
        print(line(name, asked.weights, asked.fusion, asked.seeds), flush=True)


if __name__ == "__main__":
    main()
