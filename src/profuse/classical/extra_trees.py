"""Extremely randomised trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from profuse.classical._base import ClassicalModel, Problem
from profuse.classical._forest import Forest, single
from profuse.classical._levels import Levels
from profuse.classical._machines import Rows, error_of, outputs_of
from profuse.schema import Task

__all__ = ["ExtraTrees"]

_N_TREES, _N_TRIED = 200, 30  # of which validation rows choose
_MOST_NUMBERS = 8e6  # in the leaves of all trees
_FLOOR = 1e-3  # below which no probability is, before it is sharpened
_SHARPNESS = tuple(float(t) for t in 2.0 ** np.arange(-1, 2.01, 0.25))


class _Setting(NamedTuple):
    """How trees are grown: fewest rows of a leaf, and the share of the numbers that a split looks at; 0: their root."""

    least_rows: int
    share: float


_SETTINGS = (_Setting(1, 0.0), _Setting(1, 1.0), _Setting(4, 0.3))
_MOST_LOOKED_AT = 5e5  # numbers at the first split: with more a fit would take minutes


class ExtraTrees(ClassicalModel):
    """The mean of 200 trees, each split at the best of random thresholds of some random numbers, of all training rows.

    Validation rows choose, by 30 trees, how small leaves may be and how many numbers a split looks at, and then the
    power to which probabilities are raised (none is below .001): the mean of many trees is not sure enough. Missing
    numbers go to the side that suits them best. A category of at most 8 levels is a column for each, one of more is
    the mean target of its level, over other training rows, and how often the level occurs. Leaves are larger where
    all together would hold more than 8 million numbers, and a split looks at fewer numbers where rows times these are
    more than 500,000.

    Reference:
        Geurts, Ernst, Wehenkel, Extremely randomized trees (2006).
    """

    trials: ClassVar = ({},)
    weighted: ClassVar[bool] = True
    scales: ClassVar[bool] = True
    widest: ClassVar[int] = 600

    def __init__(self, task: Task, n_outputs: int) -> None:
        super().__init__(task, n_outputs)
        self.levels: Levels | None = None
        self.forest: Forest | None = None
        self.sharpness = 1.0

    def fit(self, problem: Problem, *, settings: Mapping[str, Any], seed: int, refit: bool) -> np.ndarray:
        rows = Rows(problem.x, problem.target, problem.codes, self.task, self.n_outputs, problem.weights)
        held = problem.choosing_rows
        valid_x, wanted, weights = problem.x[held], rows.wanted(held), rows.weights_of(held)
        known = self._fitter(rows, problem.train_rows, seed)
        tried = []
        for setting in _SETTINGS:
            self.levels, self.forest = known(setting, _N_TRIED)
            tried.append((error_of(self.task, wanted, self._best_outputs(valid_x, wanted, weights), weights), setting))
        setting = min(tried)[1]
        self.levels, self.forest = known(setting, _N_TREES)
        valid = self._best_outputs(valid_x, wanted, weights)
        if len(held) < len(problem.valid_rows):
            valid = self.predict(problem.x[problem.valid_rows])
        if refit:
            self.levels, self.forest = self._fitter(rows, problem.known_rows, seed)(setting, _N_TREES)
        return valid

    def _fitter(self, rows: Rows, train: np.ndarray, seed: int) -> Any:
        """Returns what grows trees on the rows `train`."""
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        x: Any = rows.x
        levels, z = Levels.fit(x[train], rows.codes, rows.wanted(train), seed)
        classes = self.task in ("binary", "multiclass")
        n, numbers = z.shape[1], len(train) * max(2, self.n_outputs) * _N_TREES

        def grown(setting: _Setting, n_trees: int) -> tuple[Levels, Forest]:
            cls = ExtraTreesClassifier if classes else ExtraTreesRegressor
            model = cls(
                n_trees,
                min_samples_leaf=max(setting.least_rows, int(np.ceil(numbers / (1.5 * _MOST_NUMBERS)))),
                max_features=int(max(np.sqrt(n), min(setting.share * n, _MOST_LOOKED_AT / len(train)), 1)),
                random_state=seed,
            )
            y = rows.y[train] if classes else rows.wanted(train)
            model.fit(single(z), y if classes or y.shape[1] > 1 else y[:, 0], rows.weights_of(train))
            forest = Forest.of([tree.tree_ for tree in model.estimators_])
            if classes:
                leaves = np.zeros((len(forest.leaves), self.n_outputs), dtype=np.float32)
                leaves[:, model.classes_.astype(int)] = forest.leaves
                forest = Forest(**{**vars(forest), "leaves": leaves})
            return levels, forest

        return grown

    def _best_outputs(self, x: np.ndarray, wanted: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        """Returns the predictions with the power that has the smallest error, and keeps it."""
        scores = self._scores(x)
        said = [(outputs_of(self.task, scores, t), t) for t in (_SHARPNESS if self.task != "regression" else (1.0,))]
        outputs, self.sharpness = min(said, key=lambda s: error_of(self.task, wanted, s[0], weights))
        return outputs

    def _scores(self, x: np.ndarray) -> np.ndarray:
        assert self.levels is not None
        assert self.forest is not None
        p = self.forest.predict(single(self.levels(x)))
        if self.task == "regression":
            return p
        p = np.maximum(p, _FLOOR)
        return np.asarray(np.log(p) if self.task != "multilabel" else np.log(p / np.maximum(1.0 - p, _FLOOR)))

    def predict(self, x: Any) -> np.ndarray:
        return outputs_of(self.task, self._scores(x), self.sharpness)

    @property
    def n_parameters(self) -> int:
        return 0 if self.forest is None else len(self.forest.leaves)

    def state(self) -> dict[str, Any]:
        assert self.levels is not None
        assert self.forest is not None
        return {"levels": self.levels.state(), "forest": self.forest.state(), "sharpness": self.sharpness}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], task: Task, n_outputs: int) -> Self:
        made = cls(task, n_outputs)
        made.levels = Levels.from_state(state["levels"])
        made.forest = Forest.from_state(state["forest"], made.levels.n_columns, n_outputs)
        made.sharpness = float(state["sharpness"])
        if not (np.isfinite(made.sharpness) and made.sharpness > 0):
            raise ValueError(f"sharpness must be above 0; got {made.sharpness}")
        return made
