"""What each method has predicted for each test row, as a tidy table: `predictions.csv` of a comparison."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from profuse._saving import write_file
from profuse.comparison.jobs import JobResult
from profuse.data.dataset import Dataset

__all__ = ["write_predictions"]


def write_predictions(
    path: Path, found: Mapping[str, Mapping[int, JobResult]], methods: Iterable[str], dataset: Dataset
) -> None:
    """Writes one line for each method, seed and test row, whole or not at all.

    Args:
        path: The file.
        found: What the fits have left, by method and seed.
        methods: Those of them that are written, in this order.
        dataset: What was learned from.
    """
    fits = [(method, seed, job) for method in methods for seed, job in sorted(found[method].items())]
    table = pd.concat([_of_fit(method, seed, job, dataset) for method, seed, job in fits], ignore_index=True)
    # a text that holds a lone carriage return ends a line wherever the file is read, unless it stands in quotes
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    write_file(path, text)


def _of_fit(method: str, seed: int, job: JobResult, dataset: Dataset) -> pd.DataFrame:
    """Returns `method`, `seed`, `row`, `id` where rows have one, and what was true and what was predicted."""
    rows = np.asarray(job.facts["test_rows"], dtype=np.int64)
    columns: dict[str, Any] = {"method": method, "seed": seed, "row": rows}
    if dataset.ids is not None:
        columns["id"] = np.asarray(dataset.ids)[rows]
    return pd.DataFrame(columns | _values(job, rows, dataset))


def _values(job: JobResult, rows: np.ndarray, dataset: Dataset) -> dict[str, np.ndarray]:
    """Returns the columns of the target; each has a prefix of its own, so that no label or target takes another's."""
    true, said, classes = job.true, job.prediction, job.facts["classes"]
    if dataset.task in ("binary", "multiclass"):
        of_class = np.asarray(classes, dtype=object)
        one = {"true": of_class[true], "prediction": of_class[said.argmax(1)]}
        return one | {f"prob_{c}": said[:, j] for j, c in enumerate(classes)}
    if dataset.task == "multilabel":
        return _side_by_side("true", classes, true.astype(int)) | _side_by_side("prob", classes, said)
    # a fit keeps what training saw: float32
    true = np.asarray(dataset.target, dtype=np.float64)[rows].reshape(said.shape)
    if said.shape[1] == 1:
        return {"true": true[:, 0], "prediction": said[:, 0]}
    names = list(map(str, dataset.target_names))
    names = names if len(names) == said.shape[1] else [str(j) for j in range(said.shape[1])]
    return _side_by_side("true", names, true) | _side_by_side("prediction", names, said)


def _side_by_side(what: str, names: Sequence[str], values: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{what}_{name}": values[:, j] for j, name in enumerate(names)}
