"""Intervals against SciPy, closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import linalg, signal, stats

from profuse.comparison.statistics import (
    Sample,
    holm,
    interval,
    paired_difference,
    pooled,
    r2_interval,
    seeds_only,
)
from profuse.data.time_blocks import time_blocks
from profuse.errors import DataError


def _samples(table: np.ndarray, clusters: np.ndarray | None = None) -> list[Sample]:
    """`table[seed, row]` as one sample a seed, all with the same rows."""
    ids = np.arange(table.shape[1])
    return [Sample(ids, ids if clusters is None else clusters, row) for row in table]


def test_one_seed_is_the_one_sample_t_interval_over_rows() -> None:
    x = np.random.default_rng(0).normal(1, 2, 40)
    found = interval(_samples(x[None]), n_train=100)
    oracle = stats.ttest_1samp(x, 0.0)
    ends = oracle.confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((x.mean(), ends.low, ends.high))
    assert found.p is None
    assert (found.n_seeds, found.n_rows, found.n_clusters) == (1, 40, 40)
    assert "one fit" in found.rule


def test_one_seed_s_paired_difference_is_about_the_paired_t_test_where_errors_are_normal() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 30))
    found = paired_difference(_samples(a[None]), _samples(b[None]), n_train=10)
    oracle = stats.ttest_rel(a, b)
    ends = oracle.confidence_interval(0.95)
    assert found.p == pytest.approx(oracle.pvalue, rel=0.02)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=0.03)


def test_right_or_wrong_is_compared_by_the_t_test() -> None:
    a, b = (np.random.default_rng(1).random((2, 300)) < 0.6).astype(float)
    found = paired_difference(_samples(a[None]), _samples(b[None]), n_train=10, proportion=True)
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=0.02)


def test_r2_s_interval_is_a_t_interval_in_logarithms_turned_back() -> None:
    logs = np.random.default_rng(2).normal(np.log(0.3), 1.0, 50)
    found = r2_interval(_samples(logs[None]), 0.7, n_train=10)
    half = stats.t.ppf(0.975, 49) * logs.std(ddof=1) / math.sqrt(50)
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.7, 1 - 0.3 * math.exp(half), 1 - 0.3 * math.exp(-half))
    )
    assert found.p is None


def test_rows_of_one_group_count_as_one() -> None:
    rng = np.random.default_rng(2)
    means = rng.normal(size=12)
    clusters = np.repeat(np.arange(12), 5)
    found = interval(_samples(means[clusters][None], clusters), n_train=100)
    ends = stats.ttest_1samp(means, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert (found.n_rows, found.n_clusters) == (60, 12)
    assert "60 test rows in 12 groups" in found.rule


def test_where_only_seeds_vary_it_is_the_t_interval_over_seeds() -> None:
    m = np.array([0.3, 0.5, 0.9, 0.4])
    found = interval(_samples(np.repeat(m[:, None], 50, axis=1)), n_train=100)
    ends = stats.ttest_1samp(m, 0.0).confidence_interval(0.95)
    assert (found.low, found.high, found.degrees) == pytest.approx((ends.low, ends.high, 3))


def test_seeds_that_agree_add_nothing_and_take_nothing() -> None:
    x = np.random.default_rng(3).normal(size=60)
    one, three = (interval(_samples(np.tile(x, (n, 1))), n_train=100) for n in (1, 3))
    assert (one.low, one.high) == pytest.approx((three.low, three.high))


def test_the_variance_is_that_of_the_two_way_random_model() -> None:
    """Oracle: mean squares of the crossed layout, (MS_rows + MS_seeds - MS_error) / (S G)."""
    rng = np.random.default_rng(4)
    n_seeds, n_rows = 4, 30
    x = rng.normal(size=(n_seeds, 1)) + rng.normal(size=n_rows) + rng.normal(size=(n_seeds, n_rows))
    rest = x - x.mean(0) - x.mean(1, keepdims=True) + x.mean()
    ms_error = (rest**2).sum() / ((n_seeds - 1) * (n_rows - 1))
    ms_rows, ms_seeds = n_seeds * x.mean(0).var(ddof=1), n_rows * x.mean(1).var(ddof=1)
    found = interval(_samples(x), n_train=100)
    assert found.standard_error**2 == pytest.approx((ms_rows + ms_seeds - ms_error) / (n_seeds * n_rows))
    below = (ms_rows**2 / (n_rows - 1) + ms_seeds**2 / (n_seeds - 1)) / (n_seeds * n_rows) ** 2
    assert found.degrees == pytest.approx(found.standard_error**4 / below)


def test_splits_of_their_own_without_row_noise_are_nadeau_and_bengio() -> None:
    m, n_test, n_train = np.array([0.80, 0.84, 0.79, 0.90, 0.85]), 25, 75
    samples = [
        Sample(s + 5 * np.arange(n_test), s + 5 * np.arange(n_test), np.full(n_test, v)) for s, v in enumerate(m)
    ]
    error = math.sqrt((1 / 5 + n_test / n_train) * m.var(ddof=1))
    for found in (interval(samples, n_train=n_train), seeds_only(m.tolist(), n_rows=n_test, n_train=n_train)):
        assert found.standard_error == pytest.approx(error)
        assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert "corrected" in interval(samples, n_train=n_train).rule


def test_seeds_only_with_shared_rows_is_the_plain_t_interval() -> None:
    m = [0.80, 0.84, 0.79]
    ends = stats.ttest_1samp(m, 0.0).confidence_interval(0.95)
    found = seeds_only(m, n_rows=10)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


@pytest.mark.parametrize("values", [[0.8], [0.1, 0.1, 0.1], [0.0, 0.0]])
def test_seeds_that_cannot_vary_or_do_not_say_nothing(values: list[float]) -> None:
    found = seeds_only(values, n_rows=10)
    assert (found.low, found.high, found.p) == (-math.inf, math.inf, 1.0)
    assert "nothing says" in found.rule


def test_where_neither_rows_nor_seeds_vary_nothing_is_shown() -> None:
    found = paired_difference(_samples(np.ones((3, 20))), _samples(np.zeros((3, 20))), n_train=10)
    assert (found.value, found.low, found.high, found.p) == (1.0, -math.inf, math.inf, 1.0)
    assert interval(_samples(np.ones((1, 20))), n_train=10, bounds=(0, 1)).low == 0


def test_rows_that_do_not_vary_have_the_variance_that_is_given_for_them() -> None:
    one, half = _samples(np.ones((1, 20))), _samples(np.full((1, 20), 0.5))
    found = paired_difference(one, half, n_train=10, unvaried=0.04)
    assert found.value == 0.5
    assert found.standard_error == pytest.approx(0.2)
    assert found.p == pytest.approx(2 * stats.t.sf(2.5, 19))
    assert interval(one, n_train=10, bounds=(0, 1), unvaried=0.04).low == pytest.approx(
        1 - 0.2 * stats.t.ppf(0.975, 19)
    )
    varied = _samples(np.random.default_rng(0).normal(size=(1, 20)))
    assert paired_difference(varied, half, n_train=10, unvaried=9.0) == paired_difference(varied, half, n_train=10)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_rows_that_do_not_vary_under_seeds_that_do_leave_no_signs_to_flip(value: float) -> None:
    """It went round for ever."""
    found = paired_difference(
        _samples(np.full((3, 20), value)), _samples(np.zeros((3, 20))), n_train=10, parts=((1e-4, 6.0),)
    )
    assert found.value == pytest.approx(value)
    assert found.standard_error == pytest.approx(0.01 / math.sqrt(3))
    assert found.high - found.value == pytest.approx(found.standard_error * float(stats.t.ppf(0.975, 6)))


def test_rows_of_a_single_group_stand_for_themselves_and_it_is_told() -> None:
    a, b = np.random.default_rng(14).normal(size=(2, 22))
    one = np.zeros(22, dtype=int)
    found = paired_difference(_samples(a[None], one), _samples(b[None], one), n_train=10)
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=0.05)
    assert "22 test rows of a single group, which say nothing of others" in found.rule
    right = np.tile(np.repeat([1.0, 0.0], [16, 6]), (3, 1))
    score = interval(_samples(right, one), n_train=10, proportion=True)
    oracle = stats.binomtest(16, 22).proportion_ci(method="wilson")
    assert (score.low, score.high) == pytest.approx((oracle.low, oracle.high), abs=0.02)


def test_seeds_that_see_one_group_each_are_compared_by_seeds() -> None:
    """A group is all of its seed's test rows: it tells how seeds differ, and nothing of rows."""
    m, ids = np.array([0.6, 0.7, 0.95]), np.arange(6)
    samples = [Sample(6 * s + ids, np.full(6, s), v + np.array([0.1, -0.1] * 3)) for s, v in enumerate(m)]
    found = interval(samples, n_train=12)
    assert found.standard_error == pytest.approx(math.sqrt((1 / 3 + 6 / 12) * m.var(ddof=1)))
    assert found.degrees == pytest.approx(2)


def test_unequal_groups_are_those_of_bell_and_mccaffrey() -> None:
    """Oracle: bias-reduced linearization of a regression on a constant, written with its matrices."""
    rng = np.random.default_rng(15)
    sizes = np.array([1, 3, 4, 9, 20])
    groups, n = np.repeat(np.arange(5), sizes), sizes.sum()
    x = rng.normal(size=5)[groups] + rng.normal(size=n)
    annihilator = np.eye(n) - 1 / n
    weights = np.stack([
        np.where(groups == g, 1.0, 0.0) / n
        @ linalg.block_diag(np.eye((groups < g).sum()), _root(annihilator[groups == g][:, groups == g]),
                            np.eye((groups > g).sum()))
        @ annihilator
        for g in range(5)
    ])  # fmt: skip
    found = interval(_samples(x[None], groups), n_train=100)
    assert found.standard_error**2 == pytest.approx(((weights @ x) ** 2).sum())
    gram = weights @ weights.T
    assert found.degrees == pytest.approx(np.trace(gram) ** 2 / (gram**2).sum())


def _root(a: np.ndarray) -> np.ndarray:
    """`a^(-1/2)`."""
    return np.asarray(linalg.fractional_matrix_power(a, -0.5))


@pytest.mark.parametrize("n_groups", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("sizes", ["equal", "lognormal", "one of half"])
def test_groups_of_any_sizes_cover_about_as_often_as_they_say(n_groups: int, sizes: str) -> None:
    rng, hits = np.random.default_rng(16), 0
    for _ in range(400):
        n = np.full(n_groups, 10)
        if sizes == "lognormal":
            n = np.maximum(1, rng.lognormal(2, 1, n_groups)).astype(int)
        if sizes == "one of half":
            n[0] = 10 * (n_groups - 1)
        groups = np.repeat(np.arange(n_groups), n)
        x = rng.normal(size=n_groups)[groups] + rng.normal(size=len(groups))
        found = interval(_samples(x[None], groups), n_train=100)
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / 400 <= 0.985


def test_all_right_is_wilson_s_interval_not_certainty() -> None:
    found = interval(_samples(np.ones((1, 400))), n_train=10, proportion=True, bounds=(0, 1))
    q = stats.t.ppf(0.975, 399)
    assert found.low == pytest.approx(400 / (400 + q**2))
    assert found.high == 1.0


def test_a_proportion_of_one_seed_is_near_scipy_s_wilson() -> None:
    x = np.repeat([1.0, 0.0], [130, 20])
    found = interval(_samples(x[None]), n_train=10, proportion=True)
    oracle = stats.binomtest(130, 150).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-3)


def test_two_methods_that_always_agree_are_not_certainly_equal() -> None:
    same = _samples(np.ones((3, 50)))
    found = paired_difference(same, same, n_train=10, proportion=True)
    assert found.value == 0
    assert found.low < 0 < found.high
    assert found.p == 1.0


def test_the_pseudo_row_weighs_one_row_however_large_its_group() -> None:
    same, groups = np.ones((1, 200)), np.repeat(np.arange(5), 40)
    found = paired_difference(_samples(same, groups), _samples(same, groups), n_train=10, proportion=True)
    assert found.high == pytest.approx(stats.t.ppf(0.975, 4) / math.sqrt(200 * 199))


@pytest.mark.parametrize(("n_groups", "width"), [(5, 0.25), (22, 0.1)])
def test_accuracies_in_few_groups_are_compared_as_surely_as_their_rows_allow(n_groups: int, width: float) -> None:
    rng, groups, hits = np.random.default_rng(17), np.repeat(np.arange(n_groups), 40), 0
    widths: list[float] = []
    for _ in range(400):
        lift = rng.normal(0.05, 0.03, n_groups)[groups]
        a, b = (rng.random(len(groups)) < 0.8 + lift), (rng.random(len(groups)) < 0.8)
        x, y = (_samples(r[None].astype(float), groups) for r in (a, b))
        found = paired_difference(x, y, n_train=10, proportion=True)
        hits, widths = hits + (found.low <= 0.05 <= found.high), [*widths, found.high - found.low]
    assert 0.92 <= hits / 400 <= 0.98
    assert np.median(widths) < width


def test_the_difference_changes_sign_with_the_order_and_nothing_else() -> None:
    rng = np.random.default_rng(5)
    a, b = (_samples(rng.normal(size=(3, 40))) for _ in range(2))
    x, y = paired_difference(a, b, n_train=10), paired_difference(b, a, n_train=10)
    assert (x.value, x.low, x.high, x.p) == pytest.approx((-y.value, -y.high, -y.low, y.p))


def test_other_rows_are_refused() -> None:
    a, b = _samples(np.ones((2, 5))), _samples(np.ones((2, 6)))
    with pytest.raises(DataError, match="the same seeds and test rows"):
        paired_difference(a, b, n_train=10)
    with pytest.raises(DataError, match="finite scores"):
        interval(_samples(np.full((1, 3), np.nan)), n_train=10)


def test_holm_is_the_step_down_of_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_holm_rejects_what_sequential_testing_rejects() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        p = rng.random(6) ** 3
        rejected = set()
        for step, k in enumerate(np.argsort(p)):
            if p[k] > 0.05 / (6 - step):
                break
            rejected.add(int(k))
        assert {k for k, v in enumerate(holm(p.tolist())) if v <= 0.05} == rejected


def test_pooling_takes_the_block_out_and_moderates_the_rest() -> None:
    rng = np.random.default_rng(7)
    table = rng.normal(size=(6, 3)) + 10 * rng.normal(size=3)
    found = pooled({str(k): row.tolist() for k, row in enumerate(table)})
    assert found is not None
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    assert found.residual == pytest.approx((rest**2).sum() / (2 * 5))
    assert found.block == pytest.approx(table.mean(0).var(ddof=1) - found.residual / 6)
    ((variance, degrees),) = found.difference("0", "1") or ()
    own = (table[0] - table[1]).var(ddof=1)
    assert (variance, degrees) == pytest.approx(((2 * own + 4 * 2 * found.residual) / 6, 6))
    assert found.score("absent") is None


@pytest.mark.parametrize("shape", [(4, 3), (6, 1)])
def test_too_small_a_table_is_not_pooled(shape: tuple[int, int]) -> None:
    assert pooled({str(k): [0.0] * shape[1] for k in range(shape[0])}) is None


def _coverage(n_seeds: int, fit: float, ease: float, n: int = 400) -> float:
    """How often the interval holds the truth, 0; `fit` is in standard errors of the row noise."""
    rng, n_rows, hits = np.random.default_rng(8), 60, 0
    for _ in range(n):
        seed = rng.normal(0, fit / math.sqrt(n_rows), (n_seeds, 1))
        x = (
            seed + rng.normal(0, ease, n_rows) + rng.normal(0, 1, (n_seeds, n_rows))
            if ease
            else seed + rng.normal(0, 1, (n_seeds, n_rows))
        )
        found = interval(_samples(x), n_train=100)
        hits += found.low <= 0 <= found.high
    return hits / n


@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize(("fit", "ease"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (4.0, 1.0)])
def test_the_interval_covers_about_as_often_as_it_says(n_seeds: int, fit: float, ease: float) -> None:
    assert 0.905 <= _coverage(n_seeds, fit, ease) <= 0.995


@pytest.mark.slow
def test_the_pooled_rule_covers_where_methods_vary_differently() -> None:
    rng, n_rows, n_methods, hits, total = np.random.default_rng(9), 60, 8, 0, 0
    for _ in range(150):
        spread = np.exp(rng.normal(0, 0.5, n_methods)) / math.sqrt(n_rows)
        block = rng.normal(0, 2 / math.sqrt(n_rows), 3)
        fits = block + spread[:, None] * rng.normal(size=(n_methods, 3))
        tables = fits[:, :, None] + rng.normal(size=n_rows) + rng.normal(size=(n_methods, 3, n_rows))
        prior = pooled({str(k): t.mean(1).tolist() for k, t in enumerate(tables)})
        assert prior is not None
        for k in range(1, n_methods):
            parts = prior.difference(str(k), "0")
            found = paired_difference(_samples(tables[k]), _samples(tables[0]), n_train=100, parts=parts)
            hits, total = hits + (found.low <= 0 <= found.high), total + 1
    assert 0.92 <= hits / total <= 0.995


def test_resampled_splits_of_one_table_cover_the_long_run_score() -> None:
    rng, n_rows, n_test = np.random.default_rng(10), 300, 60
    found = []
    for _ in range(500):
        x = rng.normal(size=(n_rows, 4))
        y = x.sum(1) / 2 + rng.normal(size=n_rows) > 0
        samples = []
        for _seed in range(3):
            order = rng.permutation(n_rows)
            test, train = order[:n_test], order[n_test:]
            weights = np.linalg.lstsq(x[train], y[train] - 0.5, rcond=None)[0]
            samples.append(Sample(test, test, ((x[test] @ weights > 0) == y[test]).astype(float)))
        found.append(interval(samples, n_train=n_rows - n_test, proportion=True))
    truth = np.mean([f.value for f in found])
    assert np.mean([f.low <= truth <= f.high for f in found]) >= 0.93


def test_time_blocks_are_runs_of_nearly_equal_size_that_split_no_moment() -> None:
    times = np.random.default_rng(11).permutation(np.repeat(np.arange(300), 2))
    blocks = time_blocks(times, n_blocks=20)
    assert np.all(np.diff(blocks[np.argsort(times, kind="stable")]) >= 0)
    assert np.bincount(blocks).tolist() == [30] * 20
    assert all(len(set(blocks[times == t])) == 1 for t in range(300))
    with pytest.raises(DataError, match="n_blocks must be at least 2"):
        time_blocks(times, n_blocks=1)


@pytest.mark.parametrize(("n_rows", "n_blocks"), [(3, 3), (60, 5), (200, 6), (1000, 10), (2000, 13), (10_000, 22)])
def test_blocks_of_time_are_as_many_as_the_cube_root_of_the_rows(n_rows: int, n_blocks: int) -> None:
    assert len(np.unique(time_blocks(np.arange(n_rows)))) == n_blocks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_rows", "likeness", "least"),
    [(100, 0.7, 0.9), (100, 0.9, 0.85), (200, 0.9, 0.89)]
    + [(n, 0.0, 0.92) for n in (100, 200, 500, 2000)]
    + [(n, rho, 0.92) for n, rho in ((200, 0.7), (500, 0.7), (500, 0.9), (2000, 0.9), (10_000, 0.9))],
)
def test_blocks_of_time_cover_where_rows_next_to_each_other_are_alike(
    n_rows: int, likeness: float, least: float
) -> None:
    """Each row's score takes the fraction `likeness` of the score before it."""
    steps = np.random.default_rng(12).normal(size=(600, n_rows + 100))
    x = signal.lfilter([1.0], [1.0, -likeness], steps, axis=1)[:, 100:]
    blocks = time_blocks(np.arange(n_rows))
    found = [interval(_samples(row[None], blocks), n_train=100) for row in x]
    assert least <= np.mean([f.low <= 0 <= f.high for f in found]) <= 0.975


def test_counting_rows_that_are_alike_one_by_one_covers_far_too_little() -> None:
    steps = np.random.default_rng(12).normal(size=(300, 600))
    x = signal.lfilter([1.0], [1.0, -0.9], steps, axis=1)[:, 100:]
    found = [interval(_samples(row[None]), n_train=100) for row in x]
    assert np.mean([f.low <= 0 <= f.high for f in found]) < 0.5


def test_names_of_rows_and_groups_may_be_texts_or_any_integers() -> None:
    x = np.random.default_rng(13).normal(size=(2, 12))
    groups = np.repeat(np.arange(4), 3)
    plain = interval(_samples(x, groups), n_train=9)
    for other in (groups * 10**12 - 5, np.array(list("wxyz"))[groups]):
        found = interval(_samples(x, other), n_train=9)
        assert (found.low, found.high, found.n_clusters) == pytest.approx((plain.low, plain.high, 4))
