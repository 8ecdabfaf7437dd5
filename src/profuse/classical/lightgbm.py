"""Gradient boosting by LightGBM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from profuse._cores import threads_now
from profuse.classical._boosting import Boosting, Grown, Learned
from profuse.classical._forest import Split, Tree

__all__ = ["LightGBM"]


class LightGBM(Boosting):
    """Gradient boosting by LightGBM, in comparisons where its package is installed (extra `trees`).

    Trees are grown leaf by leaf, at most 500 rounds, as many as have the smallest validation loss. A saved model is
    plain arrays: it predicts without the package, and a damaged one is refused before compiled code could read it.

    Reference:
        Ke et al., LightGBM: A Highly Efficient Gradient Boosting Decision Tree (2017).
    """

    package: ClassVar[str] = "lightgbm"
    stands_for: ClassVar[str] = "gradient_boosting"
    trials: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 10, "feature_fraction": 0.5, "lambda_l2": 1.0},
        {"learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "feature_fraction": 0.8, "lambda_l2": 1.0},
        {"learning_rate": 0.05, "num_leaves": 7, "min_data_in_leaf": 5, "feature_fraction": 0.5, "lambda_l2": 10.0},
        {"learning_rate": 0.03, "num_leaves": 63, "min_data_in_leaf": 5, "feature_fraction": 0.3, "lambda_l2": 5.0},
        {"learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 40, "feature_fraction": 1.0, "lambda_l2": 0.1},
    )

    def grow(
        self,
        package: Any,
        learned: Learned,
        held: Learned | None,
        *,
        settings: Mapping[str, Any],
        seed: int,
        n_rounds: int,
        quantile: float | None = None,
    ) -> Grown:
        several = self.task == "multiclass"
        width = int(learned.y.max()) + 1 if several else 1
        goals = {"multiclass": "multiclass", "regression": "regression"}
        options = {
            **settings,
            "objective": goals.get(self.task, "binary") if quantile is None else "quantile",
            "num_threads": threads_now(),
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            **({"num_class": width} if several else {}),
            **({} if quantile is None else {"alpha": quantile}),
        }
        data = package.Dataset(learned.x, learned.y, weight=learned.weights, free_raw_data=False)
        stop = [package.early_stopping(30, verbose=False)] if held is not None else []
        sets = []
        if held is not None:
            sets = [package.Dataset(held.x, held.y, reference=data, weight=held.weights, free_raw_data=False)]
        booster = package.train(options, data, n_rounds, valid_sets=sets, callbacks=stop)
        best = booster.best_iteration if held is not None and booster.best_iteration > 0 else n_rounds
        dumped = booster.dump_model(num_iteration=best)["tree_info"]
        trees = [_tree(tree["tree_structure"], np.eye(width)[i % width]) for i, tree in enumerate(dumped)]
        return Grown(trees, np.zeros(width), best)


def _tree(node: Mapping[str, Any], column: np.ndarray) -> Tree:
    if "split_feature" not in node:
        return float(node["leaf_value"]) * column
    threshold = float(node["threshold"])
    # without a missing number in training, one that comes counts as 0
    left = bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0.0
    children = (_tree(node[side], column) for side in ("left_child", "right_child"))
    return Split(int(node["split_feature"]), threshold, left, *children)
