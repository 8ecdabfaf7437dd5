"""Methods of imputation on tables of several kinds; the table of docs/impute.md.

python benchmarks/quality/imputation.py                        (about half an hour on one core)
python benchmarks/quality/imputation.py --only weak --methods auto,ridge
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from profuse.datasets import load
from profuse.errors import ProfuseWarning
from profuse.imputation import METHODS, Imputer

Task = tuple[pd.DataFrame, str, dict[str, object]]
"""A table, the modality that is filled, and the schema."""


def named(name: str, chosen: tuple[str, ...], n_rows: int = 2000) -> tuple[pd.DataFrame, dict[str, object]]:
    """Rows of a named data set as a table, and its schema."""
    dataset = load(name)
    rows = np.sort(np.random.default_rng(0).permutation(len(dataset))[:n_rows])
    parts, modalities = [], {}
    for modality in chosen:
        data = dataset.modalities[modality]
        cells = data.values if data.kind == "table" else pd.DataFrame(data.values)
        cells = cells.iloc[rows].reset_index(drop=True).add_prefix(f"{modality}_")
        parts.append(cells)
        modalities[modality] = {"kind": data.kind, "columns": list(cells.columns)}
    schema: dict[str, object] = {"modalities": modalities}
    if dataset.groups is not None:
        parts.append(pd.DataFrame({"group": dataset.groups[rows].astype(str)}))
        schema["split"] = {"method": "group", "column": "group"}
    return pd.concat(parts, axis=1), schema


def zernike() -> Task:
    """47 moments of a handwritten digit from 76 Fourier and 64 Karhunen-Loeve coefficients."""
    table, schema = named("mfeat", ("fourier", "karhunen", "zernike"))
    return table, "zernike", schema


def voice() -> Task:
    """73 features of a voice from the words and the face: little to tell, videos kept whole."""
    table, schema = named("mosi", ("text", "audio", "video"))
    return table, "audio", schema


def vectors(seed: int, n_rows: int, widths: dict[str, int], strength: float, n_hidden: int) -> Task:
    """Vectors of a few hidden numbers in much noise; the last one is filled."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n_rows, n_hidden))
    parts = {}
    for name, width in widths.items():
        signal = z @ rng.normal(size=(n_hidden, width)) / np.sqrt(n_hidden)
        parts[name] = strength * signal + rng.normal(size=(n_rows, width))
    table = pd.DataFrame({f"{k}_{i}": column for k, v in parts.items() for i, column in enumerate(v.T)})
    schema = {k: {"kind": "vector", "columns": [f"{k}_{i}" for i in range(v.shape[1])]} for k, v in parts.items()}
    return table, list(widths)[-1], {"modalities": schema}


def weak() -> Task:
    """250 rows, 40 numbers from 40 others, R2 below .05."""
    return vectors(1, 250, {"a": 40, "b": 40}, 0.3, 3)


def wide() -> Task:
    """351 rows, 200 numbers from twice 200, as in studies of genes."""
    return vectors(2, 351, {"rna": 200, "methylation": 200, "mirna": 200}, 0.5, 5)


def weather() -> Task:
    """Five numbers and the direction of the wind (16 words) from gases and clock."""
    table, schema = named("beijing-air", ("gases", "clock", "weather"))
    return table, "weather", schema


def gaps() -> Task:
    """Four gases from weather and clock; a third of the cells is missing at random."""
    table, schema = named("beijing-air", ("weather", "clock", "gases"))
    columns = schema["modalities"]["gases"]["columns"]  # type: ignore[index]
    table[columns] = table[columns].mask(np.random.default_rng(0).random((len(table), len(columns))) < 1 / 3)
    return table, "gases", schema


TASKS: dict[str, Callable[[], Task]] = {f.__name__: f for f in (zernike, voice, weak, wide, weather, gaps)}


def line(task: str, method: str) -> str:
    """One row of the table."""
    table, modality, schema = TASKS[task]()
    begin = time.perf_counter()
    imputer = Imputer(modality, method=method, schema=schema, held_out=0.25).fit(table)
    seconds = time.perf_counter() - begin
    ours, mean = imputer.quality_[0], next(q for q in imputer.quality_ if q.method == "mean")
    name = method if method == imputer.method_ else f"{method}: {imputer.method_}"
    error = (ours.error / mean.error) ** 2  # type: ignore[operator]
    inside = "" if ours.coverage is None else f"{100 * ours.coverage:.0f} %"
    words = "" if ours.wrong is None else f"{100 * ours.wrong:.0f} %"
    return f"| {task} | {name} | {error:.3f} | {ours.crps:.3f} | {inside} | {words} | {seconds:.0f} |"


def main() -> None:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TASKS), help=f"some of {', '.join(TASKS)}")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"some of {', '.join(METHODS)}")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ProfuseWarning)
    print("| table | method | squared error / the mean's | CRPS (sd) | in 90 % interval | wrong words | seconds |")
    print("|---" * 7 + "|")
    for task in options.only.split(","):
        for method in options.methods.split(","):
            print(line(task, method), flush=True)


if __name__ == "__main__":
    main()
