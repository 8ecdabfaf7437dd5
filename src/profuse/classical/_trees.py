"""Trees of saved estimators of scikit-learn: what compiled code follows without a look at bounds is checked before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

__all__ = ["check_trees", "parts_of"]


def check_trees(estimators: Any) -> None:
    """Checks each tree among the parts of `estimators`: places of nodes, features and categories.

    Raises:
        ValueError: A tree is none.
    """
    from sklearn.ensemble._forest import BaseForest
    from sklearn.ensemble._gb import BaseGradientBoosting
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
    from sklearn.tree import BaseDecisionTree

    for part in parts_of(estimators):
        if isinstance(part, BaseHistGradientBoosting) and hasattr(part, "_predictors"):
            _check_histogram_trees(part)
        elif isinstance(part, BaseForest | BaseGradientBoosting) and hasattr(part, "estimators_"):
            for tree in np.ravel(np.asarray(part.estimators_, dtype=object)):
                _check_tree(tree, part.n_features_in_)  # it is handed rows that nothing looks at again
        elif isinstance(part, BaseDecisionTree) and hasattr(part, "tree_"):
            _check_tree(part, part.n_features_in_)


def parts_of(value: Any) -> Iterator[Any]:
    """Yields `value` and all that it is made of, each once."""
    seen: dict[int, Any] = {}
    todo = [value]
    while todo:
        part = todo.pop()
        if id(part) in seen or part is None or isinstance(part, str | bytes | int | float | type):
            continue
        seen[id(part)] = part  # kept, so that no other part gets its id
        yield part
        if isinstance(part, Mapping):
            todo += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            todo += part
        elif isinstance(part, np.ndarray):
            todo += part.ravel().tolist() if part.dtype == object else []
        else:
            todo += getattr(part, "__dict__", {}).values()


def _check_tree(owner: Any, n_features: int) -> None:
    tree = owner.tree_
    inner = np.flatnonzero(tree.children_left != -1)
    children = np.stack([tree.children_left[inner], tree.children_right[inner]])
    _check_places(inner, children, tree.feature[inner], tree.node_count, min(n_features, owner.n_features_in_))


def _check_places(inner: np.ndarray, children: np.ndarray, features: np.ndarray, n: int, n_features: int) -> None:
    in_place = n > 0 and (children > inner).all() and (children < n).all()
    if not in_place or not ((features >= 0) & (features < n_features)).all():
        raise ValueError("nodes of a tree must lead to later ones, by features that there are")


def _check_histogram_trees(model: Any) -> None:
    n_features = model._preprocess_X(np.zeros((1, model.n_features_in_)), reset=False).shape[1]
    known, of_feature = model._bin_mapper.make_known_categories_bitsets()
    for tree in chain.from_iterable(model._predictors):
        nodes, left = tree.nodes, tree.raw_left_cat_bitsets
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        children = np.stack([nodes[inner][side].astype(np.int64) for side in ("left", "right")])
        features = nodes[inner]["feature_idx"].astype(np.int64)
        _check_places(inner, children, features, len(nodes), n_features)
        by_category = nodes[inner]["is_categorical"] != 0
        sets, places = nodes[inner]["bitset_idx"][by_category], features[by_category]
        if len(sets) and not (
            left.shape[1:] == known.shape[1:]
            and (sets < len(left)).all()
            and (places < len(of_feature)).all()
            and (of_feature[places] < len(known)).all()
        ):
            raise ValueError("nodes of a tree must ask for categories that there are")
