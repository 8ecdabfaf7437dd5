"""Gradient boosting of trees on histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np

from profuse.classical._base import Problem
from profuse.classical._moved import moved_loss
from profuse.classical._scikit import ScikitModel
from profuse.classical._trees import check_trees
from profuse.schema import Task

__all__ = ["GradientBoosting"]

_MOST_TREES = 300
_ROWS_PER_LEVEL = 16  # with fewer, trees do better on codes taken as numbers: they find no split among rare levels


class GradientBoosting(ScikitModel):
    """Histogram gradient boosting: of at most 300 trees per class, as many as have the smallest validation loss.

    The loss is the log loss or the squared error. Where the metric asks for a quantile, it is the pinball loss if that
    is smaller on validation rows: of errors of one shape everywhere the squared error tells more.
    """

    slow: ClassVar[bool] = True
    weighted: ClassVar[bool] = True
    scales: ClassVar[bool] = True
    widest: ClassVar[int] = 600
    trials: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"learning_rate": 0.1, "max_leaf_nodes": 15, "l2_regularization": 1.0},
        {"learning_rate": 0.05, "max_leaf_nodes": 31, "l2_regularization": 1.0},
        {"learning_rate": 0.1, "max_leaf_nodes": 7, "l2_regularization": 10.0},
        {"learning_rate": 0.05, "max_leaf_nodes": 63, "l2_regularization": 10.0},
        {"learning_rate": 0.2, "max_leaf_nodes": 15, "l2_regularization": 0.1},
    )

    def make(
        self, problem: Problem, y: np.ndarray, valid_rows: np.ndarray, *, settings: Mapping[str, Any], seed: int
    ) -> Any:
        from sklearn.compose import make_column_transformer
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OrdinalEncoder

        x, rows, codes = problem.x, problem.train_rows, problem.codes
        levels = np.array([min(255, len(np.unique(x[rows, j]))) for j in codes], dtype=int)
        named = levels * _ROWS_PER_LEVEL <= len(rows)
        # on few rows the time goes into scanning bins, and 64 are as good as 256; but each level needs its own
        n_bins = int(levels[named].max(initial=63 if len(rows) < 5_000 else 255))
        rare_together = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=n_bins)
        parts: list[tuple[Any, np.ndarray]] = [(rare_together, codes[named])]
        empty = np.setdiff1d(np.flatnonzero(np.isnan(x[rows]).all(0)), codes[named])
        if len(empty):  # a fold may lack the few numbers of a column, of which no bin can be made
            parts.append(("drop", empty))
        columns = make_column_transformer(*parts, remainder="passthrough")
        cls = HistGradientBoostingRegressor if self.task == "regression" else HistGradientBoostingClassifier
        seen, held, weights = columns.fit_transform(x[rows]), columns.transform(x[valid_rows]), problem.weights_of

        def fitted(**loss: Any) -> Any:
            model = cls(
                max_iter=_MOST_TREES,
                early_stopping=True,
                n_iter_no_change=15,
                max_bins=n_bins,
                categorical_features=np.arange(named.sum()),
                random_state=seed,
                **loss,
                **settings,
            )
            model.fit(
                seen, y[rows], weights(rows), X_val=held, y_val=y[valid_rows], sample_weight_val=weights(valid_rows)
            )
            best = max(1, int(np.argmax(model.validation_score_)))  # the first score is that of no tree
            del model._predictors[best:]
            return model.set_params(max_iter=best, early_stopping=False)  # as a refit takes it

        models = [fitted()]
        if (q := problem.quantile) is not None:
            models.append(fitted(loss="quantile", quantile=q))
            models.sort(key=lambda m: moved_loss((y[valid_rows] - m.predict(held))[:, None], q, weights(valid_rows)))
        return make_pipeline(columns, models[0])

    @staticmethod
    def size(estimator: Any) -> int:
        """Leaves."""
        return sum(tree.get_n_leaf_nodes() for tree in chain.from_iterable(estimator[-1]._predictors))

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = super().from_state(state, task, n_outputs)
        check_trees(made.estimators)
        return made
