"""Fits AutoGluon to a table and predicts another: run by the interpreter of an environment of its own,
by `keel.py` and `rivals.py`.

    python -m venv ag && ag/bin/pip install 'autogluon.tabular[lightgbm]' catboost xgboost torch
    ag/bin/python benchmarks/quality/autogluon_rows.py FOLDER SECONDS METRIC

FOLDER holds `learn.csv` with the column `target`, and `new.csv`; `said.csv` is written there: a row each, a class each,
or a single value.
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
    folder, seconds, metric = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    tabular: Any = importlib.import_module("autogluon.tabular")
    predictor = tabular.TabularPredictor("target", eval_metric=metric, path=str(folder / "models"), verbosity=0)
    predictor.fit(pd.read_csv(folder / "learn.csv"), time_limit=seconds, presets="best_quality", num_cpus=1, num_gpus=0)
    new = pd.read_csv(folder / "new.csv")
    regression = predictor.problem_type == "regression"
    said = predictor.predict(new).to_frame() if regression else predictor.predict_proba(new)
    said[sorted(said)].to_csv(folder / "said.csv", index=False)


if __name__ == "__main__":
    main()
