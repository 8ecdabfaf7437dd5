"""Greedy selection: against all means there are, and what no selection may do."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pytest

from profuse.metrics import metric
from profuse.portfolio.selection import _is_better, _Judge, best_single, mixed, select
from profuse.portfolio.temperature import temperature_of


def said(n_rows: int, noises: tuple[float, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of members that see the truth through noise of their own, and the truth."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 2, n_rows)
    logits = np.stack([(2 * true - 1) + noise * rng.normal(size=n_rows) for noise in noises])
    p = 1 / (1 + np.exp(-logits))
    return np.stack([1 - p, p], axis=2), true


def test_members_that_err_apart_are_better_together_than_the_best_alone() -> None:
    predictions, true = said(600, (1.5, 1.5, 1.5, 30.0))
    auroc = metric("auroc")
    weights = select(predictions, true, auroc)
    new, new_true = said(4000, (1.5, 1.5, 1.5, 30.0), seed=1)
    alone = auroc(new_true, new[best_single(predictions, true, auroc)])
    assert weights.sum() == pytest.approx(1.0)
    assert weights[3] < 0.05
    assert auroc(new_true, mixed(new, weights)) > alone + 0.03


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_no_mean_of_three_is_better_on_the_rows_that_choose(name: str) -> None:
    predictions, true = said(600, (1.0, 1.6, 2.0, 2.5))
    score, sign = metric(name), 1 if metric(name).higher_is_better else -1
    chosen = sign * score(true, mixed(predictions, select(predictions, true, score)))
    singles = [sign * score(true, p) for p in predictions]
    # what the greedy path passes: each of these begins with the best and adds the best
    best = int(np.argmax(singles))
    pairs = [sign * score(true, predictions[[best, m]].mean(0)) for m in range(4)]
    threes = [sign * score(true, predictions[list(of)].mean(0)) for of in combinations_with_replacement(range(4), 3)]
    assert chosen >= max(singles)
    assert chosen >= max(pairs)
    assert chosen >= np.median(threes)


def test_of_members_that_are_equal_together_the_one_that_is_better_alone_is_taken() -> None:
    true = np.array([0, 1] * 300)
    right = np.eye(2)[true]
    worse = right.copy()
    worse[:10] = 0.5  # a tie: accuracy takes the first class
    weights = select(np.stack([worse, right, right * 0.98 + 0.01]), true, metric("accuracy"), metric("log_loss"))
    np.testing.assert_array_equal(weights, [0.0, 1.0, 0.0])


def test_the_order_of_members_changes_nothing_where_scores_differ() -> None:
    predictions, true = said(700, (1.0, 1.5, 2.0))
    order = [2, 0, 1]
    there = select(predictions, true, metric("log_loss"))
    again = select(predictions[order], true, metric("log_loss"))
    np.testing.assert_allclose(again, there[order])


def test_of_few_rows_weights_are_spread_and_repeat_with_the_seed() -> None:
    predictions, true = said(120, (1.5, 1.6, 1.7, 1.8))
    accuracy = metric("accuracy")
    first, other = (select(predictions, true, accuracy, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(first, select(predictions, true, accuracy, seed=0))
    assert (first != other).any()
    assert (first > 0).sum() >= 3
    assert first.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("clusters", [None, np.arange(200) // 4])
def test_of_few_rows_a_member_that_is_far_better_has_nearly_all_weight(clusters: np.ndarray | None) -> None:
    """With half of the members in each sample it would be absent from every second one."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=(200, 1))
    noise = rng.normal(size=(8, 200, 1)) * np.array([0.1, *[0.6] * 7])[:, None, None]
    weights = select(true + noise, true, metric("r2"), metric("mse"), clusters=clusters)
    assert weights[0] > 0.75  # .85 has the least error


@pytest.mark.parametrize("name", ["log_loss", "mse"])
def test_all_members_are_drawn_only_where_more_than_one_standard_error_says_so(name: str) -> None:
    rng = np.random.default_rng(0)
    loss = metric(name)
    judge = _Judge(metric("auroc" if name == "log_loss" else "r2"), loss, 0.5)
    true = rng.integers(0, 2, 400) if name == "log_loss" else rng.normal(size=(400, 1))
    other = said(400, (1.0,))[0][0] if name == "log_loss" else np.zeros((400, 1))
    right = np.eye(2)[true] if name == "log_loss" else true

    def verdict(gain: np.ndarray, rows_of: Any) -> bool:
        """Of answers nearer to the truth by `gain[row]`."""
        better = other + gain[:, None] * (right - other)
        better[:5], held = np.nan, other.copy()
        return _is_better(better, held, true, judge, rows_of)

    single = [np.array([i]) for i in range(400)]
    assert verdict(np.full(400, 0.2), single)
    assert not verdict(np.full(400, -0.2), single)
    assert not verdict(np.zeros(400), single)
    even = 0.2 * (-1.0) ** np.arange(400)
    assert not verdict(even, single)
    in_one = np.where(np.arange(400) < 40, 0.5, -0.01)
    assert verdict(in_one, single)
    assert not verdict(in_one, np.array_split(np.arange(400), 10))  # one of ten clusters
    nothing = np.full_like(other, np.nan)
    assert not _is_better(nothing, other, true, judge, single)


def test_a_metric_that_samples_do_not_define_still_gives_weights() -> None:
    predictions, _ = said(30, (1.0, 2.0))
    true = np.zeros(30, dtype=int)
    true[0] = 1  # most samples have one class: no AUROC there
    weights = select(predictions, true, metric("auroc"))
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1.0)


def test_one_member_has_all_the_weight() -> None:
    predictions, true = said(20, (1.0,))
    np.testing.assert_array_equal(select(predictions, true, metric("accuracy")), [1.0])


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_the_temperature_undoes_what_made_probabilities_too_sure_or_too_shy(task: str, factor: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3)) * 2
    if task == "multiclass":
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        true = (p.cumsum(1) < rng.random((len(p), 1))).sum(1)
        spoilt = np.exp(factor * logits) / np.exp(factor * logits).sum(1, keepdims=True)
    else:
        true = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(int)
        spoilt = 1 / (1 + np.exp(-factor * logits))
    assert temperature_of(task, spoilt, true) == pytest.approx(factor, rel=0.08)  # type: ignore[arg-type]
    held = temperature_of(task, spoilt, true, at_least=1.0)  # type: ignore[arg-type]
    assert held == pytest.approx(max(1.0, factor), rel=0.08)


def test_numbers_have_no_temperature() -> None:
    assert temperature_of("regression", np.zeros((3, 1)), np.zeros((3, 1))) == 1.0


def test_of_means_that_score_alike_the_one_with_the_smaller_loss_is_taken() -> None:
    """Accuracy cannot tell a member from one that is as right and surer; the loss can."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 600)
    right = rng.random(600) < 0.9
    shy = np.where(right == (true == 1), 0.55, 0.45)
    sure = np.where(right == (true == 1), 0.9, 0.1)
    members = np.stack([np.stack([1 - p, p], axis=1) for p in (shy, sure)])
    accuracy, loss = metric("accuracy"), metric("log_loss")
    np.testing.assert_array_equal(select(members, true, accuracy, loss), [0.0, 1.0])
    np.testing.assert_array_equal(select(members, true, accuracy), [1.0, 0.0])  # the first of equals


def test_many_rows_choose_once_and_a_weight_that_is_next_to_nothing_is_none() -> None:
    predictions, true = said(6_000, (1.5, 1.5, 40.0))
    weights = select(predictions, true, metric("auroc"), metric("log_loss"))
    assert weights[2] == 0.0
    assert (weights[:2] > 0.3).all()


def test_clusters_of_one_row_each_and_one_cluster_of_all_change_nothing() -> None:
    predictions, true = said(700, (1.0, 1.5, 2.0))
    plain = select(predictions, true, metric("log_loss"))
    for clusters in (np.random.default_rng(0).permutation(700), np.zeros(700, dtype=int)):
        np.testing.assert_array_equal(select(predictions, true, metric("log_loss"), clusters=clusters), plain)


def test_the_fewer_clusters_the_more_equal_are_the_weights_of_members_that_are_good() -> None:
    """Of C clusters 10 / (10 + C) of the weight is divided among the good ones, and none of that among the others."""
    predictions, true = said(1200, (1.0, 1.6, 1.7, 100.0))
    trivial = np.full((1, len(true), 2), 0.5)
    members = np.concatenate([predictions, trivial])
    smallest = []
    for n_clusters in (5, 20, 100, 400):
        clusters = np.arange(1200) % n_clusters
        weights = select(members, true, metric("auroc"), clusters=clusters, trivial=4)
        assert weights.sum() == pytest.approx(1.0)
        assert weights[:3].min() >= (10 / (10 + n_clusters)) / 3 - 1e-9
        assert weights[4] == 0.0
        assert weights[3] < 0.05
        smallest.append(weights[:3].min())
    assert smallest == sorted(smallest, reverse=True)
    assert smallest[0] > smallest[-1] + 0.05


def test_gains_are_over_the_worst_member_where_none_is_trivial() -> None:
    predictions, true = said(600, (1.0, 1.3, 100.0))
    weights = select(predictions, true, metric("auroc"), clusters=np.arange(600) % 2)
    assert weights[2] < 0.05
    assert weights[:2].min() > 0.35


def test_what_is_best_in_one_long_block_does_not_get_all_the_weight() -> None:
    """One of ten blocks has most of what the first member is better by; elsewhere the second is better."""
    rng = np.random.default_rng(0)
    blocks, true = np.repeat(np.arange(10), 100), rng.normal(size=(1000, 1))
    errors = np.where(blocks[:, None] == 3, 0.0, 0.75) + 0.02 * rng.normal(size=(1000, 1))
    other = np.where(blocks[:, None] == 3, 2.0, 0.70) + 0.02 * rng.normal(size=(1000, 1))
    members = np.stack([true + errors, true + other])
    alone = select(members, true, metric("mse"))
    together = select(members, true, metric("mse"), clusters=blocks)
    assert alone[0] > 0.85
    assert together[1] > alone[1] + 0.05


def test_clusters_are_known_by_any_numbers() -> None:
    predictions, true = said(300, (1.0, 1.5, 2.0))
    clusters = np.arange(300) % 7
    plain = select(predictions, true, metric("log_loss"), clusters=clusters)
    np.testing.assert_allclose(select(predictions, true, metric("log_loss"), clusters=clusters * 10 + 3), plain)


def test_many_rows_in_few_clusters_are_bagged_too() -> None:
    predictions, true = said(6_000, (1.5, 1.5, 40.0))
    weights = select(predictions, true, metric("auroc"), clusters=np.arange(6_000) % 8)
    assert weights[2] < 0.05
    assert weights[:2].min() > 0.35


def with_trivial(predictions: np.ndarray, true: np.ndarray, n_folds: int = 5) -> np.ndarray:
    """Adds a member that answers the same in each fold: how often the classes are in the other ones."""
    n_classes = predictions.shape[2]
    fold, rates = np.arange(len(true)) % n_folds, np.empty(predictions.shape[1:])
    for k in range(n_folds):
        rates[fold == k] = np.bincount(true[fold != k], minlength=n_classes) / (fold != k).sum()
    return np.concatenate([predictions, rates[None]])


@pytest.mark.parametrize("n_rows", [120, 6_000])
@pytest.mark.parametrize("name", ["auroc", "accuracy", "f1"])
def test_always_the_same_answer_is_not_mixed_into_probabilities(name: str, n_rows: int) -> None:
    """What orders rows does not see it, and rounding gave it most of the weight; two answers of three are "no"."""
    rng = np.random.default_rng(0)
    true = (rng.random(n_rows) < 1 / 3).astype(int)
    logits = np.stack([2 * true - 1 - np.log(2) / 2 + noise * rng.normal(size=n_rows) for noise in (1.0, 1.4, 1.8)])
    p = 1 / (1 + np.exp(-logits))
    members = with_trivial(np.stack([1 - p, p], axis=2), true)
    weights = select(members, true, metric(name), metric("log_loss"), trivial=3)
    assert weights[3] == 0.0
    loss = metric("log_loss")
    assert loss(true, mixed(members, weights)) <= min(loss(true, m) for m in members) + 0.01


def test_always_the_same_answer_is_chosen_where_nothing_is_better() -> None:
    rng = np.random.default_rng(0)
    true, p = rng.integers(0, 2, 2_000), rng.random((2, 2_000))
    members = np.concatenate([np.stack([1 - p, p], axis=2), np.full((1, 2_000, 2), 0.5)])
    np.testing.assert_array_equal(select(members, true, metric("log_loss"), metric("log_loss"), trivial=2), [0, 0, 1])


@pytest.mark.parametrize("name", ["r2", "mse", "spearman"])
def test_the_mean_shrinks_numbers_only_where_that_lessens_their_errors(name: str) -> None:
    """Of y + e with e of the variance of y half of it is the best answer; of y alone all of it is."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=(3_000, 1))
    noisy, sure = true + rng.normal(size=(3_000, 1)), true + 0.1 * rng.normal(size=(3_000, 1))
    for member, expected in ((noisy, 0.5), (sure, 0.99)):
        members = np.stack([member, np.zeros_like(true)])
        weights = select(members, true, metric(name), metric("mse"), trivial=1)
        if name == "spearman":  # which shrinking changes by rounding alone
            assert weights[0] >= expected - 0.05
        else:
            assert weights[0] == pytest.approx(expected, abs=0.05)


def test_of_probabilities_that_order_rows_alike_the_honest_ones_are_taken() -> None:
    """AUROC is all but the same; the log loss is not."""
    predictions, true = said(6_000, (1.0,))
    p = predictions[0, :, 1]
    shy = 0.5 + 0.02 * (p - 0.5) + 1e-4 * (2 * true - 1)  # a little better in order
    members = np.stack([np.stack([1 - q, q], axis=1) for q in (shy, p)])
    auroc = metric("auroc")
    assert auroc(true, members[0]) > auroc(true, members[1])
    assert select(members, true, auroc, metric("log_loss"))[1] > 0.9


def test_without_a_share_the_loss_only_parts_what_the_metric_scores_alike() -> None:
    """The first orders rows better, the second is better calibrated."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 6_000)
    logits = 2 * true - 1 + rng.normal(size=6_000)
    honest = 1 / (1 + np.exp(-2 * logits))
    shy = 0.5 + 0.02 * (honest - 0.5) + 0.002 * (2 * true - 1)
    members = np.stack([np.stack([1 - p, p], axis=1) for p in (shy, honest)])
    auroc, loss = metric("auroc"), metric("log_loss")
    assert select(members, true, auroc, loss)[1] > 0.9
    assert select(members, true, auroc, loss, loss_share=0.0)[0] == 1.0
