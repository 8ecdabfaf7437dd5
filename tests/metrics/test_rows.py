"""What each row contributes to a metric: against the jackknife and closed forms, and as intervals made of it."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

from profuse.comparison.statistics import Sample, interval, paired_difference
from profuse.errors import ConfigError, DataError
from profuse.metrics import METRICS, metric
from profuse.schema import Task

Array = np.ndarray


def _draw(task: str, n: int, rng: np.random.Generator, *, ties: bool = True) -> tuple[Array, Array]:
    """Rows of a task, with predictions that are of some use; one class or label of six rows is positive."""
    if task == "regression":
        y = rng.lognormal(size=n)
        p = y + rng.normal(size=n)
        return (np.round(y, 1), np.round(p, 1)) if ties else (y, p)
    if task == "multilabel":
        y = (rng.random((n, 3)) < 0.3).astype(int)
        p = 1 / (1 + np.exp(-(1.5 * y - 1 + rng.normal(size=y.shape))))
        return y, np.round(p, 2) if ties else p
    n_classes = 2 if task == "binary" else 3
    y = np.minimum(rng.choice(6, n), n_classes - 1) if n_classes > 2 else (rng.random(n) < 1 / 6).astype(int)
    raw = np.exp(1.2 * np.eye(n_classes)[y] + rng.normal(size=(n, n_classes)) - np.arange(n_classes))
    raw = np.round(raw, 1) + 0.05 if ties else raw
    return y, raw / raw.sum(1, keepdims=True)


SMOOTH = [
    (name, task)
    for name in METRICS
    for task in metric(name).tasks
    if name not in ("ece", "r2", "accuracy", "rmse")  # no row scores; an argument of its own; trivial; refused
]


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize(("name", "task"), SMOOTH)
def test_row_contributions_agree_with_the_jackknife_to_first_order(name: str, task: Task, ties: bool) -> None:
    """Oracle: the metric with each row left out in turn."""
    m, n = metric(name), 400
    y, p = _draw(task, n, np.random.default_rng(3), ties=ties)
    whole = m(y, p)
    pseudo = np.array([n * whole - (n - 1) * m(y[k], p[k]) for k in ~np.eye(n, dtype=bool)])
    rows = m.row_scores(y, p)
    assert rows.mean() == pytest.approx(whole, abs=1e-9)
    assert np.corrcoef(rows, pseudo)[0, 1] > 0.995
    assert rows.std() == pytest.approx(pseudo.std(), rel=0.05)


@pytest.mark.parametrize("name", ["spearman", "concordance"])
def test_rows_that_are_mostly_ties_agree_with_the_jackknife_and_the_order_of_rows_changes_nothing(name: str) -> None:
    m, n, rng = metric(name), 300, np.random.default_rng(6)
    y = rng.choice(4, n, p=[0.7, 0.15, 0.1, 0.05]).astype(float)
    p = np.clip(y + rng.choice([-1, 0, 1], n), 0, 3)
    whole, rows = m(y, p), m.row_scores(y, p)
    pseudo = np.array([n * whole - (n - 1) * m(y[k], p[k]) for k in ~np.eye(n, dtype=bool)])
    assert rows == pytest.approx(pseudo, abs=0.02 * np.ptp(pseudo))
    order = rng.permutation(n)
    assert m.row_scores(y[order], p[order]) == pytest.approx(rows[order])
    by_pair: dict[tuple[float, float], float] = {}
    for at, value in zip(zip(y.tolist(), p.tolist(), strict=True), rows.tolist(), strict=True):
        assert by_pair.setdefault(at, value) == pytest.approx(value)  # rows that are alike contribute alike


def test_rows_of_auroc_have_the_variance_of_delong() -> None:
    """Oracle: structural components, pair by pair."""
    y, p = _draw("binary", 150, np.random.default_rng(4))
    one, none = p[y == 1, 1], p[y == 0, 1]
    wins = (one[:, None] > none) + 0.5 * (one[:, None] == none)
    want = wins.mean(1).var(ddof=1) / len(one) + wins.mean(0).var(ddof=1) / len(none)
    rows = metric("auroc").row_scores(y, p)
    assert ((rows - wins.mean()) ** 2).sum() / len(y) ** 2 == pytest.approx(want)


def test_rows_of_balanced_accuracy_have_the_variance_of_classes_drawn_each_by_itself() -> None:
    y, p = _draw("multiclass", 150, np.random.default_rng(5))
    recalls = [(p.argmax(1) == k)[y == k] for k in range(3)]
    want = sum(r.var(ddof=1) / len(r) for r in recalls) / 9
    rows = metric("balanced_accuracy").row_scores(y, p)
    assert ((rows - np.mean([r.mean() for r in recalls])) ** 2).sum() / len(y) ** 2 == pytest.approx(want)


def test_a_class_without_a_row_has_no_part_in_balanced_accuracy() -> None:
    y, p = np.array([0, 0, 2, 2]), np.eye(3)[[0, 1, 2, 1]]
    assert metric("balanced_accuracy")(y, p) == 0.5
    assert metric("balanced_accuracy").row_scores(y, p).mean() == pytest.approx(0.5)


@pytest.mark.parametrize(("name", "want"), [("spearman", 0.0), ("concordance", 0.5)])
def test_equal_predictions_order_nothing(name: str, want: float) -> None:
    y, p = np.arange(20.0), np.full(20, 3.0)
    assert metric(name)(y, p) == want
    assert metric(name).row_scores(y, p) == pytest.approx(np.full(20, want))


def test_equal_scores_have_an_auroc_of_one_half_and_a_precision_as_frequent_as_the_class() -> None:
    y, p = np.arange(20) % 4 // 3, np.tile([0.75, 0.25], (20, 1))
    assert metric("auroc").row_scores(y, p) == pytest.approx(np.full(20, 0.5))
    assert metric("average_precision").row_scores(y, p).mean() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "y", "p", "message"),
    [
        ("rmsle", [-1.0, 2.0], [1.0, 2.0], "rmsle: targets must be at least 0; got -1"),
        ("spearman", [2.0, 2.0], [1.0, 2.0], "spearman: the target must vary"),
        ("concordance", [2.0, 2.0], [1.0, 2.0], "concordance: the target must vary"),
        ("f1", [0, 0], [[1.0, 0.0], [1.0, 0.0]], "at least one label must be set or predicted"),
        ("average_precision", [0, 0], [[1.0, 0.0], [1.0, 0.0]], "average_precision: at least two classes"),
        ("auroc", [1, 1], [[1.0, 0.0], [1.0, 0.0]], "auroc: at least two classes"),
    ],
)
def test_where_a_metric_is_not_defined_neither_are_its_rows(name: str, y: list, p: list, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match=message) as told:
        metric(name)(np.array(y), np.array(p))
    assert re.search(r"\. (Give .*, or n|N)ame another metric\.$", str(told.value))  # a question ends with it
    with pytest.raises(DataError):
        metric(name).row_scores(np.array(y), np.array(p))


def test_a_prediction_below_zero_counts_as_zero_in_rmsle() -> None:
    y = np.array([0.0, 1.0, 3.0])
    assert metric("rmsle")(y, np.array([-5.0, 1.0, 3.0])) == 0.0


def test_a_metric_that_is_no_mean_over_rows_says_so() -> None:
    y, p = _draw("binary", 20, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="row_scores: the metric must tell what each row contributes; got 'ece'"):
        metric("ece").row_scores(y, p)


def test_a_root_of_squared_errors_names_the_metric_that_ranks_alike() -> None:
    with pytest.raises(ConfigError, match="got 'rmse', which does not. Rank by 'mse', which ranks alike"):
        metric("rmse").row_scores(np.arange(3.0), np.zeros(3))


@pytest.mark.parametrize(("name", "task"), SMOOTH)
def test_ten_thousand_rows_take_less_than_half_a_second(name: str, task: Task) -> None:
    y, p = _draw(task, 10_000, np.random.default_rng(0), ties=False)
    start = time.process_time()
    metric(name)(y, p)
    metric(name).row_scores(y, p)
    assert time.process_time() - start < 0.5


def _another(task: str, y: Array, rng: np.random.Generator) -> Array:
    """Predictions of a second method, as good as `_draw`'s."""
    if task == "regression":
        return np.asarray(y + rng.normal(size=len(y)))
    if task == "multilabel":
        return np.asarray(1 / (1 + np.exp(-(1.5 * y - 1 + rng.normal(size=y.shape)))))
    n_classes = 2 if task == "binary" else 3
    raw = np.exp(1.2 * np.eye(n_classes)[y] + rng.normal(size=(len(y), n_classes)) - np.arange(n_classes))
    return np.asarray(raw / raw.sum(1, keepdims=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("auroc", "binary"),
        ("auroc", "multilabel"),
        ("average_precision", "binary"),
        ("f1", "binary"),
        ("macro_f1", "multiclass"),
        ("balanced_accuracy", "binary"),
        ("brier", "multiclass"),
        ("spearman", "regression"),
        ("concordance", "regression"),
        ("rmsle", "regression"),
        ("pinball", "regression"),
    ],
)
def test_intervals_made_of_rows_cover_and_equal_methods_are_rarely_shown_to_differ(name: str, task: Task) -> None:
    m, n, rng = metric(name), 300, np.random.default_rng(1)
    truth = m(*_draw(task, 200_000, rng, ties=False))
    covered = shown = 0
    for _ in range(400):
        y, p = _draw(task, n, rng, ties=False)
        one, two = (Sample(np.arange(n), np.arange(n), m.row_scores(y, q)) for q in (p, _another(task, y, rng)))
        found = interval([one], n_train=n)
        covered += found.low <= truth <= found.high
        shown += (paired_difference([one], [two], n_train=n).p or 0.0) < 0.05
    assert 0.9 < covered / 400 < 0.985
    assert shown / 400 < 0.09
