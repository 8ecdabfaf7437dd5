"""Gradient boosting by CatBoost."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from profuse._cores import threads_now
from profuse.classical._boosting import Boosting, Grown, Learned
from profuse.classical._forest import Split, Tree

__all__ = ["CatBoost"]


class CatBoost(Boosting):
    """Gradient boosting by CatBoost, in comparisons where its package is installed (extra `trees`).

    Trees ask the same question at all nodes of a level, at most 300 rounds (200 of several classes, with twice the
    learning rate), as many as have the smallest validation loss. A saved model is plain arrays: it predicts without the
    package.

    *Differs from the paper*: categories are those of `profuse.classical`, no ordered statistics.

    Reference:
        Prokhorenkova et al., CatBoost: unbiased boosting with categorical features (2018).
    """

    package: ClassVar[str] = "catboost"
    trials: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"learning_rate": 0.12, "depth": 4, "l2_leaf_reg": 3.0, "rsm": 0.3},
        {"learning_rate": 0.12, "depth": 6, "l2_leaf_reg": 3.0, "rsm": 0.2},
        {"learning_rate": 0.2, "depth": 3, "l2_leaf_reg": 10.0, "rsm": 0.5},
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
        goals = {"multiclass": "MultiClass", "regression": "RMSE"}
        options = {
            **settings,
            "loss_function": goals.get(self.task, "Logloss") if quantile is None else f"Quantile:alpha={quantile}",
            "iterations": min(n_rounds, 200 if several else 300),  # a round takes all classes and many times the time
            "learning_rate": settings["learning_rate"] * (2.0 if several else 1.0),
            "border_count": 64,
            "thread_count": threads_now(),
            "random_seed": seed,
            "allow_writing_files": False,
            "verbose": False,
            **({"classes_count": width} if several else {}),
        }
        model = package.CatBoost(options)
        held_out: dict[str, Any] = {}
        if held is not None:
            known = (held.x, held.y) if held.weights is None else package.Pool(held.x, held.y, weight=held.weights)
            held_out = {"eval_set": known, "early_stopping_rounds": 30, "use_best_model": True}
        model.fit(learned.x, learned.y, sample_weight=learned.weights, **held_out)
        with tempfile.TemporaryDirectory() as folder:
            model.save_model(str(Path(folder) / "model.json"), format="json")
            dumped = json.loads((Path(folder) / "model.json").read_text())
        features = dumped["features_info"]["float_features"]
        scale, bias = dumped["scale_and_bias"]
        trees = []
        for tree in dumped["oblivious_trees"]:
            leaves = scale * np.reshape(tree["leaf_values"], (-1, width))
            trees.append(_tree(tree["splits"] or [], leaves, features))
        return Grown(trees, np.resize(np.asarray(bias, dtype=np.float64), width), len(trees))


def _tree(
    splits: Sequence[Mapping[str, Any]],
    leaves: np.ndarray,
    features: Sequence[Mapping[str, Any]],
    level: int = 0,
    at: int = 0,
) -> Tree:
    """Returns the tree below `level`: the leaf's place has a bit of each level, 1 where the number is above."""
    if level == len(splits):
        return np.asarray(leaves[at])
    feature = features[splits[level]["float_feature_index"]]
    left = feature.get("nan_value_treatment") != "AsTrue"
    below, above = (_tree(splits, leaves, features, level + 1, at | bit << level) for bit in (0, 1))
    return Split(int(feature["flat_feature_index"]), float(splits[level]["border"]), left, below, above)
