"""Least squares with a linear or a Gaussian kernel, linear margins, logistic regression: as arrays, at their best."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from profuse.classical._encoding import Encoding, Scaling
from profuse.data.features import Matrix
from profuse.schema import Task

__all__ = ["Choice", "Kind", "Machine", "Rows", "best_machine", "error_of", "outputs_of"]

Split = tuple[np.ndarray, np.ndarray]
_MOST_ROWS, _ENOUGH_ROWS = 5_000, 1_000
"""Training rows up to which all pairs of them are looked at, at the end and while settings are chosen; of more, a
random part stands for all."""


_BY_PAIRS = ("gauss", "tube")  # the Gaussian kernel
_TUBE = 0.05  # of the deviation of the targets: smaller errors count nothing
Kind = Literal["gauss", "line", "margin", "logistic", "tube"]


class Setting(NamedTuple):
    """How a machine is fitted."""

    kind: Kind
    scaling: Scaling
    penalty: float
    width: float = 1.0


@dataclass(frozen=True, eq=False)
class Rows:
    """What machines learn from.

    Attributes:
        x: `[row, feature]`.
        y: See `Problem.target`.
        codes: Features that hold categories.
        task: Of the target.
        n_outputs: Classes, labels or values.
        weights: How much each counts; None: all alike.
    """

    x: Matrix
    y: np.ndarray
    codes: np.ndarray
    task: Task
    n_outputs: int
    weights: np.ndarray | None = None

    def weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Returns the weights of rows; None where all count alike."""
        return None if self.weights is None else self.weights[rows]

    def wanted(self, rows: np.ndarray) -> np.ndarray:
        """Returns `[row, output]`: 0 and 1 for classes and labels, else the values."""
        if self.task in ("binary", "multiclass"):
            return np.asarray(self.y[rows][:, None] == np.arange(self.n_outputs), dtype=np.float64)
        values: np.ndarray = np.asarray(self.y[rows], dtype=np.float64).reshape(len(rows), -1)
        return values


@dataclass(frozen=True, eq=False)
class Machine:
    """scores = k(z, support) weights + offset, with k(a, b) = a . b, or exp(-width |a - b|^2).

    Attributes:
        encoding: Features to z.
        support: `[support, feature]` of the Gaussian kernel; None of the linear one, whose support are the axes.
        weights: `[support, output]`.
        offset: `[output]`.
        width: Of the Gaussian kernel.
    """

    encoding: Encoding
    support: np.ndarray | None
    weights: np.ndarray
    offset: np.ndarray
    width: float

    def scores(self, x: Matrix) -> np.ndarray:
        """Returns `[row, output]`."""
        z = self.encoding(x)
        if self.support is None:
            return np.asarray(z @ self.weights + self.offset, dtype=np.float64)
        blocks = [z[i : i + 1024] for i in range(0, max(1, z.shape[0]), 1024)]
        kernels = (np.exp(-self.width * _distances(block, self.support)) for block in blocks)
        return np.asarray(np.concatenate([k @ self.weights for k in kernels]) + self.offset)

    def state(self) -> dict[str, Any]:
        """Returns the arrays."""
        return {**vars(self), "encoding": self.encoding.state()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], n_outputs: int) -> Self:
        """Returns the machine whose `state` this is.

        Raises:
            ValueError: Its parts do not fit each other.
        """
        support = None if state["support"] is None else np.asarray(state["support"])
        weights, offset = np.asarray(state["weights"]), np.asarray(state["offset"])
        if weights.ndim != 2 or offset.shape != (n_outputs,) or weights.shape[1] != n_outputs:
            raise ValueError(f"weights must be of {n_outputs} outputs; got {weights.shape} and {offset.shape}")
        if support is not None and (support.ndim != 2 or len(support) != len(weights)):
            raise ValueError(f"there must be weights for each row of support; got {support.shape} and {weights.shape}")
        return cls(Encoding.from_state(state["encoding"]), support, weights, offset, float(state["width"]))


def outputs_of(task: Task, scores: np.ndarray, sharpness: float) -> np.ndarray:
    """Returns probabilities `[row, class or label]`, or the values themselves."""
    if task == "regression":
        return scores
    s = sharpness * scores
    if task == "multilabel":
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * s)))
    s = np.exp(s - s.max(1, keepdims=True))
    return np.asarray(s / s.sum(1, keepdims=True))


def error_of(task: Task, wanted: np.ndarray, outputs: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Returns the log loss, or the squared error: the mean over rows, which count by their weights."""
    p = np.clip(outputs, 1e-7, 1.0)
    if task == "regression":
        each = (wanted - outputs) ** 2
    elif task == "multilabel":
        each = -(wanted * np.log(p) + (1 - wanted) * np.log(np.clip(1 - outputs, 1e-7, 1.0)))
    else:
        each = -(wanted * np.log(p)).sum(1)
    return float(np.mean(each) if weights is None else np.average(each.reshape(len(each), -1).mean(1), weights=weights))


class Choice(NamedTuple):
    """A machine's best setting, the error that it was chosen by, and the factor that makes its scores probabilities."""

    error: float
    setting: Setting
    sharpness: float
    outputs: np.ndarray


def best_machine(rows: Rows, splits: Sequence[Split], kind: Kind) -> tuple[Choice, Callable[[np.ndarray], Machine]]:
    """Returns the best choice on rows that are held out, and what fits it on any rows.

    Settings are walked one at a time from the middle, each as long as the error falls.

    Args:
        rows: All rows.
        splits: Rows to learn from and rows held out, each.
        kind: Of the machine.
    """
    held = np.concatenate([h for _, h in splits])
    wanted, weights = rows.wanted(held), rows.weights_of(held)

    def tried(setting: Setting, fitters: Sequence[_Fitter]) -> Choice:
        made = zip(fitters, splits, strict=True)
        scores = np.concatenate([fitter(setting).scores(rows.x[h]) for fitter, (_, h) in made])
        if kind == "tube":  # by what it learns: a few large errors do not choose
            return Choice(float(np.average(np.abs(wanted - scores).mean(1), weights=weights)), setting, 1.0, scores)
        if rows.task == "regression":
            return Choice(error_of(rows.task, wanted, scores, weights), setting, 1.0, scores)
        sharp = [(outputs_of(rows.task, scores, t), t) for t in (_SHARPNESS if kind != "logistic" else (1.0,))]
        errors = ((error_of(rows.task, wanted, p, weights), t, p) for p, t in sharp)
        error, sharpness, outputs = min(errors, key=lambda m: m[:2])
        return Choice(error, setting, sharpness, outputs)

    quick = [_Fitter(rows, train, _ENOUGH_ROWS) for train, _ in splits]

    @cache
    def quickly(setting: Setting) -> Choice:
        return tried(setting, quick)

    dense = isinstance(rows.x, np.ndarray)
    starts = [Setting(kind, scaling, _START[kind]) for scaling in (("each", "together") if dense else ("each",))]
    best = min((quickly(s) for s in starts), key=lambda c: c.error)
    for moves in _moves(kind):
        for move in moves:
            while (further := quickly(move(best.setting))).error < best.error and _inside(further.setting):
                best = further
    setting = best.setting
    if kind in _BY_PAIRS and max(len(train) for train, _ in splits) > _ENOUGH_ROWS:
        best = tried(setting, [_Fitter(rows, train) for train, _ in splits])
    return best, lambda train: _Fitter(rows, train)(setting)


_SHARPNESS = tuple(float(t) for t in 2.0 ** np.arange(-1, 6.01, 0.5))
_MOST_STEPS = 200_000
_START = {"gauss": 0.1, "line": 1.0, "margin": 1.0, "logistic": 1.0, "tube": 1.0}


def _inside(s: Setting) -> bool:
    return 1e-4 <= s.penalty <= 1e4 and 1 / 30 <= s.width <= 30


def _moves(kind: str) -> Iterator[tuple[Callable[[Setting], Setting], ...]]:
    def penalty(factor: float) -> Callable[[Setting], Setting]:
        return lambda s: s._replace(penalty=s.penalty * factor)

    def width(factor: float) -> Callable[[Setting], Setting]:
        return lambda s: s._replace(width=s.width * factor)

    yield penalty(10.0), penalty(0.1)
    if kind in _BY_PAIRS:
        yield width(3.0), width(1 / 3)
        yield penalty(10.0), penalty(0.1)


class _Fitter:
    """Fits machines on the same rows; what does not depend on the setting is made once."""

    def __init__(self, rows: Rows, train: np.ndarray, most: int = _MOST_ROWS) -> None:
        self.rows, self.train = rows, train
        some = np.random.default_rng(0).permutation(len(train))[:most]
        self.few = train[np.sort(some)]
        self._made: dict[Any, Any] = {}

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def __call__(self, s: Setting) -> Machine:
        make = {"margin": self._classifier, "logistic": self._classifier, "tube": self._tube}.get(
            s.kind, self._least_squares
        )
        made: Machine = self._once(s, lambda: make(s))
        return made

    def _encoded(self, scaling: Scaling, train: np.ndarray) -> tuple[Encoding, Matrix]:
        x = self.rows.x[train]
        encoding = Encoding.fit(x, self.rows.codes, scaling)
        return encoding, encoding(x)

    def _least_squares(self, s: Setting) -> Machine:
        by_feature = s.kind == "line" and self.rows.x.shape[1] < len(self.few)
        used = self.train if by_feature else self.few
        encoding, z = self._once((s.scaling, len(used)), lambda: self._encoded(s.scaling, used))
        wanted, counts = self.rows.wanted(used), self.rows.weights_of(used)
        offset = np.average(wanted, 0, counts)
        wanted = wanted - offset
        # sum_i c_i (y_i - f_i)^2 is a sum of squares of rows times sqrt(c_i)
        root = None if counts is None else np.sqrt(counts)[:, None]
        wanted = wanted if root is None else root * wanted
        n = len(used) if counts is None else float(counts.sum())
        if s.kind == "line":
            z = z if root is None else self._once((s.scaling, len(used), "scaled"), lambda: _times(z, root))
            gram = self._once((s.scaling, "line"), lambda: _gram(z.T if by_feature else z))
            penalty = s.penalty * max(float(np.trace(gram)) / n, 1e-12)
            weights = _solved(gram, penalty, z.T @ wanted) if by_feature else z.T @ _solved(gram, penalty, wanted)
            return Machine(encoding, None, np.asarray(weights), offset, 1.0)
        kernel, width = self._kernel(s, z, counts)
        if root is None:
            return Machine(encoding, z, _solved(kernel, s.penalty, wanted), offset, width)
        return Machine(encoding, z, root * _solved(root * kernel * root.T, s.penalty, wanted), offset, width)

    def _kernel(self, s: Setting, z: Matrix, counts: np.ndarray | None) -> tuple[np.ndarray, float]:
        """Returns the Gaussian kernel of the few rows z, `[row, row]`, and its width, in units of their distances."""
        distances = self._once((s.scaling, "gauss"), lambda: _distances(z, z))
        mean = float(distances.mean()) if counts is None else float(counts @ distances @ counts) / counts.sum() ** 2
        width = s.width / max(mean, 1e-12)
        return np.exp(-width * distances), width

    def _tube(self, s: Setting) -> Machine:
        """Support vector regression of each column of the target, their support together."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import SVR

        encoding, z = self._once((s.scaling, len(self.few)), lambda: self._encoded(s.scaling, self.few))
        wanted, counts = self.rows.wanted(self.few), self.rows.weights_of(self.few)
        kernel, width = self._kernel(s, z, counts)
        weights, offset = np.zeros(wanted.shape), np.zeros(wanted.shape[1])
        middle = np.average(wanted, 0, counts)
        units = np.sqrt(np.average((wanted - middle) ** 2, 0, counts)).clip(min=1e-12)
        for j, (y, unit) in enumerate(zip(wanted.T, units, strict=True)):
            model = SVR(kernel="precomputed", C=1.0 / s.penalty, epsilon=_TUBE, max_iter=_MOST_STEPS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # as for a classifier
                model.fit(kernel, y / unit, counts)
            weights[model.support_, j] = unit * model.dual_coef_[0]
            offset[j] = unit * model.intercept_[0]
        used = weights.any(1)
        return Machine(encoding, np.asarray(z)[used], weights[used], offset, width)

    def _classifier(self, s: Setting) -> Machine:
        from sklearn.base import clone
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        encoding, z = self._once((s.scaling, len(self.train)), lambda: self._encoded(s.scaling, self.train))
        wanted, of = self.rows.wanted(self.train), self.rows.n_outputs
        weights, offset = np.zeros((z.shape[1], of)), np.full(of, -30.0)
        c, counts = 1.0 / s.penalty, self.rows.weights_of(self.train)
        model = LogisticRegression(C=c, max_iter=300) if s.kind == "logistic" else LinearSVC(C=c, random_state=0)

        def fit(z: Matrix, y: np.ndarray) -> Any:
            with warnings.catch_warnings():
                # the iterations are the same budget for every penalty; a coarser optimum is not an error
                warnings.simplefilter("ignore", ConvergenceWarning)
                return clone(model).fit(z, y, counts)

        if self.rows.task == "multilabel":
            for j, y in enumerate(wanted.T):
                if len(np.unique(y)) > 1:
                    one = fit(z, y)
                    weights[:, j], offset[j] = one.coef_[0], one.intercept_[0]
                else:
                    offset[j] = 30.0 if y[0] else -30.0
            return Machine(encoding, None, weights, offset, 1.0)
        one = fit(z, wanted.argmax(1))
        if len(one.classes_) == 2:
            weights[:, one.classes_[1]], offset[one.classes_] = one.coef_[0], (0.0, one.intercept_[0])
        else:
            weights[:, one.classes_], offset[one.classes_] = one.coef_.T, one.intercept_
        return Machine(encoding, None, weights, offset, 1.0)


def _gram(x: Matrix) -> np.ndarray:
    """Returns x x^T, added up in double precision: single would leave less than a small penalty of levels that add up
    to 1."""
    if not isinstance(x, np.ndarray):
        return np.asarray((x.astype(np.float64) @ x.T.astype(np.float64)).toarray())
    made = np.zeros((len(x), len(x)))
    for start in range(0, x.shape[1], 2048):
        block = x[:, start : start + 2048].astype(np.float64)
        made += block @ block.T
    return made


def _times(z: Matrix, factor: np.ndarray) -> Matrix:
    """Returns the rows times a factor each, `[row, 1]`."""
    return factor * z if isinstance(z, np.ndarray) else z.multiply(factor).tocsr()


def _distances(a: Matrix, b: np.ndarray) -> np.ndarray:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    squares: np.ndarray = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2.0 * (a @ b.T)
    np.maximum(squares, 0.0, out=squares)
    return squares


def _solved(kernel: np.ndarray, penalty: float, wanted: np.ndarray) -> np.ndarray:
    shifted = kernel + penalty * np.eye(len(kernel))
    return np.asarray(cho_solve(cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False), wanted))
