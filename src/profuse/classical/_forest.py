"""Trees as arrays: a mean of many, walked by NumPy, which looks at bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np

__all__ = ["Forest", "Split", "Tree", "single"]

_BLOCK = 4_096  # rows walked together


class Split(NamedTuple):
    """A row goes left where its number `feature` is at most `threshold`, and where it is missing if `missing_left`."""

    feature: int
    threshold: float
    missing_left: bool
    left: Tree
    right: Tree


Tree: TypeAlias = "Split | np.ndarray"
"""A split, or a leaf `[output]`."""


@dataclass(frozen=True, eq=False)
class Forest:
    """The mean, or the sum, over all trees of the leaf that a row falls into.

    An inner node's left child is the next node; a row goes left where its number is at most the threshold.

    Attributes:
        starts: `[tree]`: each one's first node.
        features: `[node]`: which number is asked for; -1 in a leaf.
        thresholds: `[node]`, float32.
        right: `[node]`: the right child; of a leaf its row in `leaves`.
        missing_left: `[node]` bool: where a missing number goes.
        leaves: `[leaf, output]`, float32.
    """

    starts: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    leaves: np.ndarray

    @classmethod
    def of(cls, trees: Sequence[Any]) -> Self:
        """Returns fitted trees of scikit-learn (`tree_` of each), grown depth first; they predict the same."""
        parts: list[dict[str, np.ndarray]] = []
        n_nodes = n_leaves = 0
        for tree in trees:
            inner = tree.children_left >= 0
            assert (tree.children_left[inner] == np.flatnonzero(inner) + 1).all()
            place = np.cumsum(~inner) - 1 + n_leaves
            value = tree.value if tree.n_outputs == 1 else tree.value.transpose(0, 2, 1)
            parts.append({
                "starts": np.array([n_nodes]),
                "features": np.where(inner, tree.feature, -1),
                "thresholds": _at_most(np.where(inner, tree.threshold, 0.0)),
                "right": np.where(inner, tree.children_right + n_nodes, place),
                "missing_left": inner & (tree.missing_go_to_left != 0),
                "leaves": value[~inner, 0],
            })  # fmt: skip
            n_nodes, n_leaves = n_nodes + len(inner), n_leaves + int((~inner).sum())
        types: dict[str, Any] = dict.fromkeys(("starts", "features", "right"), np.int32)
        types |= {"thresholds": np.float32, "missing_left": np.bool_, "leaves": np.float32}
        return cls(**{name: np.concatenate([part[name] for part in parts]).astype(t) for name, t in types.items()})

    @classmethod
    def grown(cls, trees: Sequence[Tree]) -> Self:
        """Returns trees as arrays."""
        starts: list[int] = []
        nodes: list[tuple[int, float, int, bool]] = []
        leaves: list[np.ndarray] = []

        def add(tree: Tree) -> None:
            if isinstance(tree, np.ndarray):
                nodes.append((-1, 0.0, len(leaves), False))
                leaves.append(tree)
                return
            at = len(nodes)
            nodes.append((tree.feature, tree.threshold, 0, tree.missing_left))
            add(tree.left)
            nodes[at] = (*nodes[at][:2], len(nodes), nodes[at][3])
            add(tree.right)

        for tree in trees:
            starts.append(len(nodes))
            add(tree)
        features, thresholds, right, missing = (np.array(part) for part in zip(*nodes, strict=True))
        places = (part.astype(np.int32) for part in (np.array(starts), features, right))
        start, feature, child = places
        held = np.clip(thresholds, -2e30, 2e30)  # no number lies beyond: see `single`
        return cls(start, feature, _at_most(held), child, missing, np.array(leaves, dtype=np.float32))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Returns the mean `[row, output]` of float32 `x[row, number]`, NaN = missing."""
        return self.total(x) / len(self.starts)

    def total(self, x: np.ndarray) -> np.ndarray:
        """Returns the sum `[row, output]` of float32 `x[row, number]`, NaN = missing."""
        blocks = [self._block(x[i : i + _BLOCK]) for i in range(0, max(1, len(x)), _BLOCK)]
        return np.concatenate(blocks)

    def _block(self, x: np.ndarray) -> np.ndarray:
        total = np.zeros((len(x), self.leaves.shape[1]))
        for start in self.starts:
            node = np.full(len(x), start)
            rows = np.flatnonzero(self.features[node] >= 0)
            while len(rows):
                at = node[rows]
                value = x[rows, self.features[at]]
                left = (value <= self.thresholds[at]) | (np.isnan(value) & self.missing_left[at])
                node[rows] = np.where(left, at + 1, self.right[at])
                rows = rows[self.features[node[rows]] >= 0]
            total += self.leaves[self.right[node]]
        return total

    def state(self) -> dict[str, Any]:
        """Returns the arrays."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: Mapping[str, Any], n_numbers: int, n_outputs: int) -> Self:
        """Returns the forest whose `state` this is.

        Args:
            state: What `state` returned.
            n_numbers: How many numbers a row has.
            n_outputs: How many it predicts.

        Raises:
            ValueError: A walk through it would leave it, or not end.
        """
        names = ("starts", "features", "thresholds", "right", "missing_left", "leaves")
        made = cls(**{name: np.asarray(state[name]) for name in names})
        n, starts, inner = len(made.features), made.starts, made.features >= 0
        shapes = {getattr(made, name).shape for name in ("features", "thresholds", "right", "missing_left")}
        kinds = "".join(getattr(made, name).dtype.kind for name in names)
        if shapes != {(n,)} or kinds != "iifibf" or starts.ndim != 1 or made.leaves.shape[1:] != (n_outputs,):
            raise ValueError(f"a forest must be arrays of one length that predict {n_outputs} numbers")
        if not len(starts) or starts[0] != 0 or (np.diff(starts) <= 0).any() or starts[-1] >= n:
            raise ValueError("trees of a forest must begin one behind the other")
        node = np.arange(n)
        ends = np.append(starts[1:], n)[np.searchsorted(starts, node, side="right") - 1]
        later = (made.right > node) & (made.right < ends) & (node + 1 < ends)
        if not (later[inner].all() and (made.features < n_numbers).all()):
            raise ValueError("nodes of a tree must lead to later ones, by features that there are")
        leaf = made.right[~inner]
        if not ((leaf >= 0) & (leaf < len(made.leaves))).all() or not np.isfinite(made.leaves).all():
            raise ValueError("leaves of a tree must hold finite numbers that there are")
        return made


def single(x: np.ndarray) -> np.ndarray:
    """Returns float32, held to +-1e30: sums of what is larger are not finite."""
    return np.asarray(np.clip(x, -1e30, 1e30), dtype=np.float32)


def _at_most(thresholds: np.ndarray) -> np.ndarray:
    """Returns the largest float32 that is not above: float32 numbers compare with it as with the threshold."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
