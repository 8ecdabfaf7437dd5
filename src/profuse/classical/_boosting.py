"""Gradient boosting by a package that may be missing: what it has grown is kept as arrays, which need it no more."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from profuse._optional import need
from profuse.classical._base import ClassicalModel, Problem
from profuse.classical._forest import Forest, Tree, single
from profuse.classical._levels import Levels
from profuse.classical._machines import outputs_of
from profuse.classical._moved import moved_loss, quantile_of
from profuse.schema import Task

__all__ = ["Boosting", "Grown", "Learned"]


class Learned(NamedTuple):
    """Rows of one column of the target.

    Attributes:
        x: float32 `[row, number]`, NaN = missing.
        y: Classes, 0 and 1, or values, `[row]`.
        weights: How much rows count, `[row]`; None: all alike.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None


class Grown(NamedTuple):
    """Trees whose leaves add up to scores.

    Attributes:
        trees: Leaves are `[score]`: one for each class of several, else one.
        offset: `[score]`, added to the sum.
        n_rounds: Of boosting, that a refit does again.
        quantile: That was learned; None: the mean.
    """

    trees: list[Tree]
    offset: np.ndarray
    n_rounds: int
    quantile: float | None = None


class Boosting(ClassicalModel):
    """Boosted trees of one column of the target after the other, in rounds that validation rows choose.

    A category of at most 8 levels is a column for each, one of more is the mean target of its level, over other
    training rows, and how often the level occurs. Where the metric asks for a quantile of numbers, the pinball loss is
    learned in place of the squared error if that is smaller on validation rows.
    """

    slow: ClassVar[bool] = True
    weighted: ClassVar[bool] = True
    scales: ClassVar[bool] = True
    widest: ClassVar[int] = 600

    def __init__(self, task: Task, n_outputs: int) -> None:
        super().__init__(task, n_outputs)
        self.levels: Levels | None = None
        self.forest: Forest | None = None
        self.offset = np.zeros(n_outputs)

    @abstractmethod
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
        """Returns trees that have learned from training rows.

        Args:
            package: Imported.
            learned: Training rows, of two targets at least; classes of several are 0, 1, ... without a gap.
            held: Those that choose how many rounds; None: all are done.
            settings: One of `trials`.
            seed: Of all that is drawn.
            n_rounds: At most.
            quantile: Of numbers, that is learned; None: the mean.
        """

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        package = need(self.package, "trees", f"fitting {type(self).__name__}")
        x: Any = problem.x
        one = self.task in ("binary", "multiclass")
        columns = [problem.target] if one else list(problem.target.T)
        wanted = np.eye(self.n_outputs)[problem.target] if one else np.asarray(problem.target, dtype=np.float64)

        def grown(rows: np.ndarray, held: np.ndarray | None, how: Sequence[_How]) -> list[_How]:
            self.levels, z = Levels.fit(x[rows], problem.codes, wanted[rows], seed)
            z = single(z)
            z_held = None if held is None else single(self.levels(x[held]))
            made = [
                self._column(
                    package,
                    Learned(z, y[rows], problem.weights_of(rows)),
                    None if held is None or z_held is None else Learned(z_held, y[held], problem.weights_of(held)),
                    settings=settings, seed=seed, n_rounds=each.n_rounds, quantile=each.quantile,
                )
                for y, each in zip(columns, how, strict=True)
            ]  # fmt: skip
            self.forest = Forest.grown(
                [
                    _mapped(tree, partial(self._scores_of, column=j))
                    for j, part in enumerate(made)
                    for tree in part.trees
                ]
            )
            self.offset = np.sum([self._scores_of(part.offset, j) for j, part in enumerate(made)], axis=0)
            return [_How(part.n_rounds, part.quantile) for part in made]

        chosen = grown(problem.train_rows, problem.choosing_rows, [_How(_MOST_ROUNDS, problem.quantile)] * len(columns))
        valid = self.predict(x[problem.valid_rows])
        if refit:
            grown(problem.known_rows, None, chosen)
        return valid

    def _column(
        self,
        package: Any,
        learned: Learned,
        held: Learned | None,
        *,
        settings: Mapping[str, Any],
        seed: int,
        n_rounds: int,
        quantile: float | None,
    ) -> Grown:
        """Returns `grow` of the classes that training rows have; the others are hardly ever predicted.

        With rows held out and a quantile, the better of one that learns it and one that learns the mean.
        """
        several = self.task == "multiclass"
        present, y = np.unique(learned.y, return_inverse=True)
        if len(present) < 2 or not learned.x.shape[1]:
            return Grown([np.zeros(self.n_outputs if several else 1)], self._constant(learned, quantile), n_rounds)
        if several:
            learned = learned._replace(y=y)
            if held is not None:
                seen = np.isin(held.y, present)
                weights = None if held.weights is None else held.weights[seen]
                held = Learned(held.x[seen], np.searchsorted(present, held.y[seen]), weights) if seen.any() else None
        grow = partial(self.grow, package, learned, held, settings=settings, seed=seed, n_rounds=n_rounds)
        made = grow(quantile=quantile)._replace(quantile=quantile)
        if quantile is not None and held is not None and len(held.y):
            made = min(grow(quantile=None), made, key=lambda g: _error(g, held, quantile))
        if not several or len(present) == self.n_outputs:
            return made
        spread = np.eye(self.n_outputs)[present]
        offset = made.offset @ spread + np.where(spread.any(0), 0.0, made.offset.min() + _NEVER)
        return Grown([_mapped(tree, lambda leaf: leaf @ spread) for tree in made.trees], offset, made.n_rounds)

    def _constant(self, learned: Learned, quantile: float | None) -> np.ndarray:
        """Returns the scores of the mean, of a quantile, or of how frequent the classes are."""
        y, weights = learned.y, learned.weights
        if quantile is not None:
            return quantile_of(y[:, None], quantile, weights)
        if self.task == "regression":
            return np.array([float(np.average(y, weights=weights))])
        counts = np.bincount(y.astype(int), weights, minlength=self.n_outputs if self.task == "multiclass" else 2)
        scores = np.log(np.maximum(counts, counts.sum() * np.exp(_NEVER)))
        return np.asarray(scores if self.task == "multiclass" else scores[1:] - scores[:1])

    def _scores_of(self, scores: np.ndarray, column: int) -> np.ndarray:
        """Returns scores of one column of the target as `[output]`: of two classes that of the first is 0."""
        if self.task == "multiclass":
            return scores
        made = np.zeros(self.n_outputs)
        made[1 if self.task == "binary" else column] = scores[0]
        return made

    def predict(self, x: Any) -> np.ndarray:
        assert self.levels is not None
        assert self.forest is not None
        return outputs_of(self.task, self.forest.total(single(self.levels(x))) + self.offset, 1.0)

    @property
    def n_parameters(self) -> int:
        return 0 if self.forest is None else len(self.forest.leaves)

    def state(self) -> dict[str, Any]:
        assert self.levels is not None
        assert self.forest is not None
        return {"levels": self.levels.state(), "forest": self.forest.state(), "offset": self.offset}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = cls(task, n_outputs)
        made.levels = Levels.from_state(state["levels"])
        made.forest = Forest.from_state(state["forest"], made.levels.n_columns, n_outputs)
        made.offset = np.asarray(state["offset"])
        if made.offset.shape != (n_outputs,) or made.offset.dtype.kind != "f" or not np.isfinite(made.offset).all():
            raise ValueError(f"offset must be {n_outputs} finite numbers; got {made.offset.dtype}{made.offset.shape}")
        return made


_MOST_ROUNDS = 500
_NEVER = -10.0  # the score of a class without a training row


class _How(NamedTuple):
    """What a refit does again."""

    n_rounds: int
    quantile: float | None


def _error(grown: Grown, held: Learned, quantile: float) -> float:
    """Returns the mean pinball loss on rows held out, by predictions that are moved to the quantile."""
    said = Forest.grown(grown.trees).total(held.x) + grown.offset
    return moved_loss(held.y[:, None] - said, quantile, held.weights)


def _mapped(tree: Tree, of: Callable[[np.ndarray], np.ndarray]) -> Tree:
    """Returns the tree with other leaves."""
    if isinstance(tree, np.ndarray):
        return of(tree)
    return tree._replace(left=_mapped(tree.left, of), right=_mapped(tree.right, of))
