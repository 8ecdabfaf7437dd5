"""Models that are no networks, on hand-made features; "add yours": one file, one line here.

They see the same training rows as the networks and are chosen by the same validation rows: the trial, the number of
trees, the strength of the linear model's penalty. Features are those of `profuse.data.features`, fitted on training
rows only: of all modalities together, or of one alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
from scipy import sparse

from profuse.classical._base import ClassicalModel, Problem
from profuse.classical._moved import Moved
from profuse.classical._own import OwnEstimator
from profuse.classical._scales import BothScales, all_skewed_from
from profuse.classical._scikit import ScikitModel
from profuse.data.features import Matrix, features_named
from profuse.errors import ConfigError
from profuse.kinds import kind_named
from profuse.metrics import Metric
from profuse.registry import table
from profuse.schema import Task

__all__ = [
    "CLASSICAL",
    "ClassicalFit",
    "ClassicalModel",
    "Problem",
    "ScikitModel",
    "classical",
    "feature_sets_for",
    "fit_classical",
    "fittable",
    "fittable_to",
    "restored",
    "side_by_side",
]

CLASSICAL = table(
    "classical",
    {
        "trivial": "profuse.classical.trivial:Trivial",
        "gradient_boosting": "profuse.classical.gradient_boosting:GradientBoosting",
        "extra_trees": "profuse.classical.extra_trees:ExtraTrees",
        "lightgbm": "profuse.classical.lightgbm:LightGBM",
        "catboost": "profuse.classical.catboost:CatBoost",
        "support_vectors": "profuse.classical.support_vectors:SupportVectors",
        "linear": "profuse.classical.linear:Linear",
        "yardstick": "profuse.classical.yardstick:Yardstick",
    },
)


_AROUND: dict[type[Moved] | type[BothScales], tuple[str, ...]] = {Moved: ("model",), BothScales: ("plain", "curved")}


def classical(name: str) -> type[ClassicalModel]:
    """Returns the class of the classical model called `name`."""
    return cast(type[ClassicalModel], CLASSICAL.part(name))


def fittable() -> list[str]:
    """Returns the names of all classical models but those whose optional package is missing here."""
    needed = {name: classical(name).package for name in CLASSICAL}
    return [name for name, package in needed.items() if not package or find_spec(package) is not None]


def fittable_to(task: Task) -> tuple[list[str], dict[str, str]]:
    """Returns the names of those `fittable` that can learn a task; and why others that are not ours cannot, by name."""
    reasons = {name: classical(name).not_for(task) for name in fittable()}
    return [name for name, reason in reasons.items() if not reason], {
        n: r for n, r in reasons.items() if r and n not in CLASSICAL.builtin
    }


def restored(name: str, state: Mapping[str, Any], task: Task, n_outputs: int) -> ClassicalModel:
    """Returns a fitted model from its `state`; one of an estimator's own needs no registered name.

    Raises:
        UnknownNameError: There is no model called so.
        ValueError: It is the state of no such model.
    """
    for around, parts in _AROUND.items():
        if state.get("of") == around.kind:
            inside = {part: restored(name, cast(Any, state[part]), task, n_outputs) for part in parts}
            return around.from_state({**state, **inside}, task, n_outputs)
    if state.get("of") != OwnEstimator.kind:
        return classical(name).from_state(state, task, n_outputs)
    known = CLASSICAL.part(name) if name in CLASSICAL else None
    cls = known if isinstance(known, type) and issubclass(known, OwnEstimator) else OwnEstimator
    made = cls.from_state(state, task, n_outputs)
    made.name = name
    return made


def feature_sets_for(name: str, kinds: Mapping[str, str]) -> list[dict[str, str]]:
    """Returns what a classical model is tried with: each time a set of features for each modality.

    A model of all modalities is tried once: with the sparse set of a kind if it takes sparse ones, else with the first.
    A "single" one is tried with each full set of the kind.

    Args:
        name: Of the model.
        kinds: The kind of each modality.
    """
    model = classical(name)
    sets = {
        m: [s for s in kind_named(kind).feature_sets if model.sparse or not features_named(s).sparse]
        for m, kind in kinds.items()
    }
    if model.role == "single":
        full = {m: [s for s in several if features_named(s).alone] or several for m, several in sets.items()}
        return [{m: chosen} for m, several in full.items() for chosen in several]
    return [{m: next((s for s in several if features_named(s).sparse), several[0]) for m, several in sets.items()}]


@dataclass(frozen=True, eq=False)
class ClassicalFit:
    """A fitted model.

    Attributes:
        model: Fitted.
        valid_prediction: What it predicted for the validation rows before it was fitted anew with them.
        fit_seconds: How long it took.
    """

    model: ClassicalModel
    valid_prediction: np.ndarray
    fit_seconds: float

    @property
    def n_parameters(self) -> int:
        """Coefficients, or leaves."""
        return self.model.n_parameters

    def predict(self, x: Matrix) -> np.ndarray:
        """Returns probabilities or standardised values `[row, output]` of `x[row, feature]`."""
        return self.model.predict(x)


def fit_classical(
    name: str,
    features: Mapping[str, Matrix],
    target: np.ndarray,
    train_rows: np.ndarray,
    valid_rows: np.ndarray,
    task: Task,
    n_outputs: int,
    *,
    trial: int = 0,
    seed: int = 0,
    refit: bool = False,
    categories: Mapping[str, Sequence[bool]] | None = None,
    folds: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    metric: Metric | None = None,
    zero: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> ClassicalFit:
    """Fits one model.

    Args:
        name: Of the model.
        features: `[row, feature]` by modality, NaN = missing; sparse ones for models that take them.
        target: Encoded: class codes `[row]`, 0/1 `[row, label]`, standardised values `[row, target]`.
        train_rows: Learned from.
        valid_rows: Choose the number of trees, and the strength of the linear model's penalty.
        task: What kind of target.
        n_outputs: Classes, labels or values.
        trial: Which of the model's `trials`.
        seed: Of gradient boosting's subsampling of bins.
        refit: Fit anew on training and validation rows together, with the trees or the strength that validation chose.
        categories: For each feature of a modality, whether it holds codes of a category; none of a modality left out.
        folds: See `Problem`.
        metric: See `Problem`.
        zero: See `Problem`.
        weights: `[row]`, at least 0: how much rows count. Training rows of weight 0 are left out; None: all alike.

    Raises:
        UnknownNameError: An unknown name.
        ConfigError: Sparse features, or weights, for a model that takes none; a task that it declines.
    """
    cls = classical(name)
    if reason := cls.not_for(task):
        raise ConfigError(f"{name}: the model must be for a {task} target; {reason}. Use another.")
    start = time.perf_counter()
    if weights is not None:
        if not cls.weighted:
            raise ConfigError(
                f"{name}: rows must count alike, as this model takes no weights; got some. Leave out the weights of "
                "rows and of classes, or teach it `Problem.weights` and set `weighted = True`."
            )
        train_rows = train_rows[weights[train_rows] > 0]
        folds = None if folds is None else [tuple(r[weights[r] > 0] for r in fold) for fold in folds]
    names = sorted(features, key=lambda k: (not _is_dense(features[k]), k))  # as `side_by_side` puts them
    parts = []
    for k in names:
        part = features[k]
        if isinstance(part, np.ndarray):
            part = np.where(np.isnan(part[train_rows]).all(0), 0.0, part)  # nothing is learned of it
        elif not cls.sparse:
            raise ConfigError(
                f"{name}: features must be dense, as this model takes no sparse ones; got sparse ones of {k!r}. Use "
                "those that `feature_sets_for` names."
            )
        parts.append(part)
    of = categories or {}
    codes = np.flatnonzero([c for k in names for c in of.get(k) or [False] * features[k].shape[1]])
    widths = tuple(part.shape[1] for part in parts if not _is_dense(part))
    x = side_by_side(parts, len(target))
    problem = Problem(x, target, train_rows, valid_rows, codes, folds, metric, widths, zero, weights)
    model: ClassicalModel = cls(task, n_outputs)
    if problem.quantile is not None and not cls.quantiles:
        model = Moved(model)
    if cls.scales and task == "regression" and (zero_of_logs := all_skewed_from(problem)) is not None:
        model = BothScales(model, cls(task, n_outputs), zero_of_logs)
    valid = model.fit(problem, settings=cls.trials[trial % len(cls.trials)], seed=seed, refit=refit)
    return ClassicalFit(model, valid, time.perf_counter() - start)


def side_by_side(parts: Sequence[Matrix], n_rows: int) -> Matrix:
    """Returns the features of several modalities as one matrix: sparse if a part is, the dense ones before those."""
    dense = [np.zeros((n_rows, 0)), *(np.asarray(p, dtype=np.float64) for p in parts if isinstance(p, np.ndarray))]
    thin = [part for part in parts if not isinstance(part, np.ndarray)]
    together = np.concatenate(dense, axis=1)
    if not thin:
        return together
    if len(thin) == 1 and not together.shape[1]:
        return thin[0]
    return sparse.hstack([sparse.csr_matrix(together), *thin], format="csr")


def _is_dense(part: Matrix) -> bool:
    return isinstance(part, np.ndarray)
