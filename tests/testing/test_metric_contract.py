"""The contract of metrics: metrics by checks, and for each check a broken metric that it must reject."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from profuse.errors import UnknownNameError
from profuse.metrics import METRICS, Metric
from profuse.testing import METRIC_CHECKS, ContractError, check_metric

Array = np.ndarray


def hard(y: Array, p: Array) -> Array:
    return p.argmax(1) if y.ndim == 1 else (p >= 0.5).astype(int)


def by_column(score: Any) -> Any:
    """The mean over columns; of two classes the second column alone."""

    def mean(y: Array, p: Array) -> float:
        if y.ndim == 1:
            y = np.eye(p.shape[1], dtype=int)[y]
            y, p = (y, p) if y.shape[1] > 2 else (y[:, 1:], p[:, 1:])
        return float(np.mean([score(y[:, k], p[:, k]) for k in range(y.shape[1])]))

    return mean


def calibration_error(y: Array, p: Array) -> float:
    """Bin by bin, as it is written down."""
    top, right, error = p.max(1), p.argmax(1) == y, 0.0
    for i in range(15):
        rows = (top >= i / 15) & ((top < (i + 1) / 15) | (i == 14))
        if rows.any():
            error += rows.mean() * abs(right[rows].mean() - top[rows].mean())
    return error


def concordance(y: Array, p: Array) -> float:
    """Pair by pair, as it is written down."""
    right = pairs = 0.0
    for (y1, p1), (y2, p2) in combinations(zip(y, p, strict=True), 2):
        if y1 != y2:
            pairs += 1
            right += 0.5 if p1 == p2 else float((y1 < y2) == (p1 < p2))
    return right / pairs


ORACLES: dict[str, Any] = {
    "accuracy": lambda y, p: sk.accuracy_score(y, hard(y, p)),
    "macro_f1": lambda y, p: sk.f1_score(y, hard(y, p), average="macro"),
    "exact_match": lambda y, p: sk.accuracy_score(y, hard(y, p)),
    "micro_f1": lambda y, p: sk.f1_score(y, hard(y, p), average="micro"),
    "average_precision": by_column(sk.average_precision_score),
    "log_loss": lambda y, p: sk.log_loss(y, np.clip(p, np.finfo(np.float32).eps, 1.0), labels=range(p.shape[1])),
    "auroc": by_column(sk.roc_auc_score),
    "ece": calibration_error,
    "r2": sk.r2_score,
    "mse": sk.mean_squared_error,
    "rmse": lambda y, p: np.sqrt(sk.mean_squared_error(y, p)),
    "mae": sk.mean_absolute_error,
    "balanced_accuracy": lambda y, p: sk.balanced_accuracy_score(y, hard(y, p)),
    "f1": lambda y, p: sk.f1_score(y, hard(y, p)),
    "brier": lambda y, p: (
        np.mean([sk.brier_score_loss(a, b) for a, b in zip(y.T, p.T, strict=True)])
        if y.ndim == 2
        else sk.brier_score_loss(y, p, scale_by_half=True, labels=list(range(p.shape[1])))
    ),
    "rmsle": lambda y, p: np.sqrt(sk.mean_squared_log_error(y, np.maximum(p, 0))),
    "pinball": lambda y, p: sk.mean_pinball_loss(y, p, alpha=0.9),
    "spearman": lambda y, p: np.mean([stats.spearmanr(a, b).statistic for a, b in zip(y.T, p.T, strict=True)]),
    "concordance": lambda y, p: np.mean([concordance(a, b) for a, b in zip(y.T, p.T, strict=True)]),
}
"""Each metric computed by somebody else, or in another way."""


def oracle(name: str) -> Any:
    assert name in ORACLES, f"add {name!r}, computed in another way, to ORACLES in tests/testing/{Path(__file__).name}"
    return ORACLES[name]


def test_every_metric_has_an_oracle() -> None:
    assert set(ORACLES) <= set(METRICS), "an oracle of no metric: take it out of ORACLES, or name the metric"
    for name in METRICS:
        assert oracle(name)


@pytest.mark.parametrize(("name", "check"), list(product(METRICS, METRIC_CHECKS)))
@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")
def test_the_metric_keeps_the_contract(name: str, check: str) -> None:
    check_metric(METRICS.part(name), oracle(name), checks=[check])  # type: ignore[arg-type]


class Honest(Metric):
    """The share of rows whose most probable class is the true one."""

    name = "honest"
    label = "honest"
    tasks = ("binary", "multiclass")

    def score(self, y: Array, p: Array) -> float:
        return float(self.row_scores(y, p).mean())

    def row_scores(self, y: Array, p: Array) -> Array:
        return np.asarray((p.argmax(1) == y).astype(float))


class SaysNothing(Honest):
    __doc__ = None
    name = "Says Nothing"


class LeavesItsRange(Honest):
    range = (0.5, 1.0)


class NeverPerfect(Honest):
    def score(self, y: Array, p: Array) -> float:
        return 0.9 * super().score(y, p)


class TurnedAround(Honest):
    higher_is_better = False
    range = (-1.0, 1.0)


class CountsRowsTwice(Honest):
    def row_scores(self, y: Array, p: Array) -> Array:
        return 2 * super().row_scores(y, p)

    def score(self, y: Array, p: Array) -> float:
        return float((p.argmax(1) == y).mean())


class LooksAtTheFirstRow(Honest):
    def score(self, y: Array, p: Array) -> float:
        weight = 1 / (1 + np.arange(len(y)))
        return float((super().row_scores(y, p) * weight).sum() / weight.sum())


class DividesByNothing(Honest):
    def score(self, y: Array, p: Array) -> float:
        return super().score(y, p) if y.any() else float("nan")


class Rounds(Honest):
    def score(self, y: Array, p: Array) -> float:
        p[:] = np.round(p)
        return super().score(y, p)


class Approximates(Honest):
    def score(self, y: Array, p: Array) -> float:
        return float(super().score(y, p) ** 1.01)


class IsNoMedian(Metric):
    """A mean of squares, which is best at the mean."""

    name = "no_median"
    label = "mean of squares"
    higher_is_better = False
    tasks = ("regression",)
    quantile = 0.5

    def score(self, y: Array, p: Array) -> float:
        return float(np.square(y - p).mean())


class IsSure(Honest):
    of_answers = True

    def score(self, y: Array, p: Array) -> float:
        return float(p[np.arange(len(y)), y].mean())


BROKEN: dict[str, type[Metric]] = {
    "declared": SaysNothing,
    "stays_in_range": LeavesItsRange,
    "perfect_is_best": NeverPerfect,
    "worse_scores_worse": TurnedAround,
    "row_scores_average": CountsRowsTwice,
    "best_at_quantile": IsNoMedian,
    "answers_alone": IsSure,
    "order_irrelevant": LooksAtTheFirstRow,
    "undefined_raises": DividesByNothing,
    "inputs_left_alone": Rounds,
    "oracle_agrees": Approximates,
}


def test_every_check_has_something_broken_that_it_must_reject() -> None:
    assert set(BROKEN) == set(METRIC_CHECKS)


@pytest.mark.parametrize("check", METRIC_CHECKS)
def test_the_check_rejects_the_broken_metric_and_passes_the_honest_one(check: str) -> None:
    with pytest.raises(ContractError, match=f"^{BROKEN[check].__name__}, {check}: "):
        check_metric(BROKEN[check], ORACLES["accuracy"], checks=[check])
    check_metric(Honest, ORACLES["accuracy"], checks=[check])


class HalfOfTheRows(Metric):
    """The median over rows of |y - p|: the same while few rows are wrong."""

    name = "half_of_the_rows"
    label = "median absolute error"
    higher_is_better = False
    range = (0.0, float("inf"))
    tasks = ("regression",)

    def score(self, y: Array, p: Array) -> float:
        return float(np.median(np.abs(y - p).reshape(len(y), -1), axis=0).mean())


class HalfTurnedAround(HalfOfTheRows):
    higher_is_better = True


def test_a_metric_may_stay_the_same_while_few_rows_are_wrong_but_not_run_the_other_way() -> None:
    check_metric(HalfOfTheRows, sk.median_absolute_error)
    with pytest.raises(ContractError, match="worse_scores_worse: .* with higher_is_better=True"):
        check_metric(HalfTurnedAround, sk.median_absolute_error, checks=["worse_scores_worse"])


def test_an_unknown_check_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'declared'"):
        check_metric(Honest, ORACLES["accuracy"], checks=["declare"])


class SaysNothingBelow(Metric):
    """The mean over rows of |y - p|, which says that it is for targets of at least 0 and takes others too."""

    name = "says_nothing_below"
    label = "mean absolute error"
    higher_is_better = False
    range = (0.0, float("inf"))
    tasks = ("regression",)
    least_target = 0.0

    def score(self, y: Array, p: Array) -> float:
        return float(np.abs(y - p).mean())


def test_targets_below_the_least_that_a_metric_takes_must_raise() -> None:
    with pytest.raises(ContractError, match=r"undefined_raises: .* targets below least_target=0.0 must raise"):
        check_metric(SaysNothingBelow, sk.mean_absolute_error)
