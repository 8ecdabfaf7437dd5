"""Logistic or ridge regression."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from profuse.classical._base import Problem
from profuse.classical._scikit import ScikitModel

__all__ = ["Linear"]

_STRENGTHS = 10.0 ** np.arange(-4, 3)  # C of logistic regression, 1 / alpha of ridge regression; the simplest first


class Linear(ScikitModel):
    """Logistic or ridge regression, with the penalty that gives the smallest loss on validation rows.

    Numbers are standardised, missing ones at the mean with an indicator; a category is one column per level, and
    missing is a level of its own.
    """

    def make(
        self, problem: Problem, y: np.ndarray, valid_rows: np.ndarray, *, settings: Mapping[str, Any], seed: int
    ) -> Any:
        from sklearn.compose import make_column_transformer
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.metrics import log_loss, mean_squared_error
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        x, rows, numbers = problem.x, problem.train_rows, self.task == "regression"
        columns = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), problem.codes),
            remainder=make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler()),
        )
        seen, held = columns.fit_transform(x[rows]), columns.transform(x[valid_rows])
        last = Ridge() if numbers else LogisticRegression(max_iter=300, warm_start=True)
        losses, path = [], []
        for c in _STRENGTHS:
            last.set_params(**{"alpha": 1.0 / c} if numbers else {"C": c}).fit(seen, y[rows])
            path.append(deepcopy(last))
            if numbers:
                losses.append(mean_squared_error(y[valid_rows], last.predict(held)))
            else:
                losses.append(log_loss(y[valid_rows], last.predict_proba(held), labels=last.classes_))
        return make_pipeline(columns, path[int(np.argmin(losses))])

    @staticmethod
    def size(estimator: Any) -> int:
        """Coefficients."""
        return int(np.size(estimator[-1].coef_) + np.size(estimator[-1].intercept_))
