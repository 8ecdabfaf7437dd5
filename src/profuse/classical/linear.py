"""Logistic or ridge regression."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from scipy import sparse

from profuse.classical._base import Problem
from profuse.classical._columns import BoundedRidge, Columns, OnLogarithm
from profuse.classical._scales import factor_of, loss_of, skewed_from
from profuse.classical._scikit import ScikitModel
from profuse.schema import Task

__all__ = ["Linear"]

_STRENGTHS = 10.0 ** np.arange(-4, 3)  # C of logistic regression, 1 / alpha of ridge regression; the simplest first
_STRENGTHS_OF_TERMS = 10.0 ** np.arange(-2, 4)  # of rows of length 1
_RATIOS = (1.0, 10.0, 0.1)  # variance of sparse features, over that of dense ones


class Linear(ScikitModel):
    """Logistic or ridge regression, with the penalty that gives the smallest loss on validation rows.

    Numbers are standardised, missing ones at the mean with an indicator; a category is one column per level, and
    missing is a level of its own. Sparse features stay as they are; dense ones beside them are scaled together, so
    that the sparse ones have 0.1, 1 or 10 times their variance, as validation rows prefer: a penalty for each sort. A
    positive target whose skewness is above 1 is learned on the logarithm where that has the smaller squared error on
    validation rows, in the target's own unit. What it predicts is held to the range of the targets, widened by as much
    on either side: a number beyond all bounds moves it no further. Where the metric asks for a quantile, the pinball
    loss is in the place of the squared error.
    """

    sparse: ClassVar[bool] = True
    weighted: ClassVar[bool] = True

    def make(
        self, problem: Problem, y: np.ndarray, valid_rows: np.ndarray, *, settings: Mapping[str, Any], seed: int
    ) -> Any:
        first, *others = self._columns_of(problem)
        best = self._best(problem, y, valid_rows, first)
        for columns in others:
            tried = self._best(problem, y, valid_rows, columns)
            if tried.loss < best.loss:
                return tried.pipeline  # the loss turns once: worse with more, it need not be tried with less
        return best.pipeline

    def _columns_of(self, problem: Problem) -> Iterator[Any]:
        """Yields what makes numbers of like size of the features."""
        from sklearn.compose import make_column_transformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        dense = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), problem.codes),
            remainder=make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler()),
        )
        if isinstance(problem.x, np.ndarray):
            yield dense
            return
        widths = problem.widths or (problem.x.shape[1],)
        for ratio in _RATIOS if problem.x.shape[1] > sum(widths) else (1.0,):
            yield Columns(dense, widths, ratio)

    def _best(self, problem: Problem, y: np.ndarray, valid_rows: np.ndarray, columns: Any) -> _Tried:
        """Returns the fit with the best strength."""
        from sklearn.pipeline import make_pipeline

        x: Any = problem.x
        seen, held = columns.fit_transform(x[problem.train_rows]), columns.transform(x[valid_rows])
        path = self._classes if self.task != "regression" else self._numbers
        best = min(path(problem, y, seen, held, valid_rows), key=lambda t: t.loss)
        return best._replace(pipeline=make_pipeline(columns, best.pipeline))

    def _classes(
        self, problem: Problem, y: np.ndarray, seen: Any, held: Any, valid_rows: np.ndarray
    ) -> Iterator[_Tried]:
        """Yields logistic regressions of all strengths; with terms, up to the one behind which the loss turns."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss

        terms = not isinstance(problem.x, np.ndarray)
        last = LogisticRegression(max_iter=100 if terms else 300, warm_start=True)
        least = np.inf
        for c in _STRENGTHS_OF_TERMS if terms else _STRENGTHS:
            last.set_params(C=c).fit(seen, y[problem.train_rows], problem.weights_of(problem.train_rows))
            loss = log_loss(
                y[valid_rows],
                last.predict_proba(held),
                sample_weight=problem.weights_of(valid_rows),
                labels=last.classes_,
            )
            yield _Tried(loss, deepcopy(last))
            if terms and loss > least:
                return
            least = loss

    def _numbers(
        self, problem: Problem, y: np.ndarray, seen: Any, held: Any, valid_rows: np.ndarray
    ) -> Iterator[_Tried]:
        """Yields ridge regressions of all strengths, of the target and, where it is skewed, of its logarithm.

        With terms, up to the strength behind which the loss turns: weaker penalties take many times as long.
        """
        from sklearn.linear_model import Ridge

        rows, weights = problem.train_rows, problem.weights_of(valid_rows)
        counts = np.ones(len(valid_rows)) if weights is None else weights
        terms = not isinstance(problem.x, np.ndarray)
        zero_of_logs = skewed_from(problem, y)
        for zero in [None] if zero_of_logs is None else [None, zero_of_logs]:
            least = np.inf
            for c in _STRENGTHS_OF_TERMS if terms else _STRENGTHS:
                model = BoundedRidge(alpha=1.0 / c) if zero is None else OnLogarithm(Ridge(alpha=1.0 / c), zero)
                said = model.fit(seen, y[rows], problem.weights_of(rows)).predict(held)
                if zero is not None:
                    model.factor = factor_of(said - zero, y[valid_rows] - zero, counts, problem.quantile)
                    said = model.factor * (said - zero) + zero
                loss = loss_of(y[valid_rows, None], said[:, None], weights, problem.quantile)
                yield _Tried(loss, model)
                if terms and loss > least:
                    break
                least = loss

    @property
    def of_logarithms(self) -> bool:
        return any(
            isinstance(estimator[-1], OnLogarithm) for estimator in self.estimators if hasattr(estimator, "steps")
        )

    @staticmethod
    def size(estimator: Any) -> int:
        """Coefficients."""
        model = getattr(estimator[-1], "regressor_", estimator[-1])
        return int(np.size(model.coef_) + np.size(model.intercept_))

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = super().from_state(state, task, n_outputs)
        for estimator in made.estimators:
            if hasattr(estimator, "steps") and isinstance(columns := estimator[0], Columns):
                n_features = getattr(columns.dense_, "n_features_in_", 0) + sum(columns.widths)
                try:
                    estimator.predict(sparse.csr_matrix((1, n_features)))
                except (IndexError, TypeError, ValueError) as error:
                    raise ValueError(
                        f"columns of a linear model must be those of its coefficients; {type(error).__name__}: {error}"
                    ) from error
        return made


class _Tried(NamedTuple):
    """A fit, and its loss on validation rows."""

    loss: float
    pipeline: Any
