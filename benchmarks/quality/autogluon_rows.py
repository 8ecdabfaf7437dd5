"""Fits AutoGluon to a table and predicts another: run by the interpreter of an environment of its own, by `keel.py`.

    python -m venv ag && ag/bin/pip install 'autogluon.tabular[lightgbm]' catboost xgboost torch
    ag/bin/python benchmarks/quality/autogluon_rows.py FOLDER SECONDS

FOLDER holds `learn.csv` with the column `target`, and `new.csv`; `said.csv` is written there: a row each, a class each.
Nothing of profuse is imported.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pandas as pd


def main() -> None:
    """Fits by the preset that AutoGluon calls the best one, on one core, in so many seconds."""
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    tabular: Any = importlib.import_module("autogluon.tabular")
    predictor = tabular.TabularPredictor("target", eval_metric="log_loss", path=str(folder / "models"), verbosity=0)
    predictor.fit(pd.read_csv(folder / "learn.csv"), time_limit=seconds, presets="best_quality", num_cpus=1, num_gpus=0)
    said = predictor.predict_proba(pd.read_csv(folder / "new.csv"))
    said[sorted(said)].to_csv(folder / "said.csv", index=False)


if __name__ == "__main__":
    main()
