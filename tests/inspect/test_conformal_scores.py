"""The mathematics of conformal prediction, against brute force and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_conformal import CLASSES, Drawn, rows, scored

from profuse.data.target import TargetCodec
from profuse.inspect.conformal_scores import LEAST, SPREAD, Said, fewest_rows, finite_from, quantile
from profuse.inspect.pattern_scores import PatternScores, pattern_name
from profuse.schema import Task

COVERAGES = (0.01, 0.2, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("n", [0, 1, 2, 8, 9, 10, 18, 19, 99, 100])
def test_the_quantile_is_the_least_score_that_holds_enough_of_one_row_more(coverage: float, n: int) -> None:
    scores = np.random.default_rng(n).normal(size=n)
    enough = [q for q in scores if (scores <= q).sum() / (n + 1) >= coverage - 1e-12]
    assert quantile(scores, coverage) == min(enough, default=math.inf)
    assert math.isfinite(quantile(scores, coverage)) == (n >= max(1, finite_from(coverage)))


@pytest.mark.parametrize("coverage", COVERAGES)
def test_a_quantile_of_enough_rows_varies_little_and_one_row_less_is_not_enough(coverage: float) -> None:
    def varies(n: int) -> float:
        return math.sqrt(coverage * (1 - coverage) / n) / (1 - coverage)

    n = fewest_rows(coverage)
    assert varies(n) <= SPREAD + 1e-9
    assert n == max(1, finite_from(coverage)) or varies(n - 1) > SPREAD
    assert fewest_rows(0.9) == 100


def test_the_coverage_of_new_rows_is_the_beta_distribution_that_the_text_says() -> None:
    rng, n, coverage = np.random.default_rng(0), 99, 0.9
    q = np.array([quantile(rng.random(n), coverage) for _ in range(4000)])  # scores are uniform: q is the coverage
    assert q.mean() == pytest.approx(coverage, abs=0.002)
    assert q.std() == pytest.approx(math.sqrt(coverage * (1 - coverage) / (n + 2)), rel=0.05)


def coverages(task: Task, *, by_pattern: bool, seeds: int = 40) -> dict[str, float]:
    """Mean coverage of new rows by pattern, over calibrations on some 200 to 470 rows a pattern."""
    held: dict[str, list[float]] = {}
    for seed in range(seeds):
        known = scored(rows(670, 2 * seed, task), by_pattern=by_pattern)
        new = scored(rows(2000, 2 * seed + 1, task), by_pattern=True)
        inside = new.scores <= known.quantiles(new.present if by_pattern else new.present[:, :0])
        for lacks in (False, True):
            held.setdefault("without a" if lacks else "complete", []).append(inside[new.present[:, 0] != lacks].mean())
    return {name: float(np.mean(values)) for name, values in held.items()}


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_each_pattern_is_covered_and_one_quantile_for_all_fails_the_hard_pattern(task: Task) -> None:
    mended = coverages(task, by_pattern=True)
    assert mended == pytest.approx({"complete": 0.9, "without a": 0.9}, abs=0.02)
    one = coverages(task, by_pattern=False)
    assert one["without a"] < 0.8
    assert one["complete"] > 0.92


def test_a_pattern_that_few_rows_have_is_covered_by_rows_in_which_it_is_made() -> None:
    held = []
    for seed in range(40):
        known = scored(rows(400, 2 * seed, lacks_a=0.02))
        assert known.chosen(np.array([False, True])).of == "hidden"
        new = scored(rows(1000, 2 * seed + 1, lacks_a=1.0))
        held.append((new.scores <= known.quantiles(new.present)).mean())
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)


def test_the_quantile_of_a_rare_pattern_is_that_of_rows_with_more_hidden() -> None:
    data = rows(300, 0, lacks_a=0.02, lacks_b=0.4)
    known = scored(data)
    has = known.present[:, 1]
    values = np.asarray(data.modalities["b"].values)[has]
    p = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    by_hand = quantile(1 - p[np.arange(len(p)), np.asarray(data.target)[has]], 0.9)
    chosen = known.chosen(np.array([False, True]))
    assert chosen.quantile == pytest.approx(by_hand)
    assert (chosen.n, chosen.of) == (has.sum(), "hidden")
    nothing = known.chosen(np.array([False, False]))
    assert nothing.quantile == pytest.approx(1 - 1 / CLASSES)
    assert nothing.n == 300


def test_a_pattern_that_cannot_be_made_of_enough_rows_has_the_quantile_of_all() -> None:
    known = scored(rows(400, 0, lacks_b=0.95))
    complete = known.chosen(np.array([True, True]))
    assert (complete.quantile, complete.n, complete.of) == (quantile(known.scores, 0.9), 400, "all")


def test_of_a_small_table_half_the_rows_are_enough() -> None:
    known = scored(rows(40, 0, lacks_a=0.3))
    assert known.chosen(np.array([True, True])).of == "own"
    assert known.chosen(np.array([False, True])).of == "hidden"
    assert scored(rows(12, 0)).fewest == finite_from(0.9)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_crossed_quantiles_are_those_of_the_other_rows_one_by_one(task: Task) -> None:
    known = scored(rows(500, 0, task))
    fold = np.random.default_rng(1).integers(3, size=500)
    parts = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(3)]
    crossed = known.crossed(known.present, parts)
    for row in range(500):
        like = (fold != fold[row]) & (known.present == known.present[row]).all(1)
        assert crossed[row] == quantile(known.scores[like], 0.9)
    some = known.crossed(known.present, parts[:1])
    assert (np.isnan(some) == (fold != 0)).all()


def test_the_order_of_calibration_rows_is_irrelevant() -> None:
    data = rows(500, 0)
    shuffled = scored(data.rows(np.random.default_rng(0).permutation(500)))
    for pattern in np.array([[True, True], [False, True], [False, False]]):
        assert shuffled.chosen(pattern) == scored(data).chosen(pattern)


def test_a_class_that_no_calibration_row_has_may_be_in_a_set() -> None:
    data = rows(600, 0)
    known = scored(data.rows(np.flatnonzero(np.asarray(data.target) != 3)))
    new = scored(rows(600, 1))
    sets = new.said.sets(known.quantiles(new.present))
    assert sets[new.true == 3, 3].mean() > 0.7


def test_sets_and_intervals_hold_exactly_the_targets_whose_score_is_at_most_the_quantile() -> None:
    classes, numbers = scored(rows(200, 0)), scored(rows(200, 0, "regression"))
    q = np.random.default_rng(0).uniform(0, 1, 200)
    for c in range(CLASSES):
        assert (classes.said.sets(q)[:, c] == (classes.said.scores(np.full(200, c)) <= q)).all()
    assert (classes.said.sizes(q) == classes.said.sets(q).sum(1)).all()
    ends = numbers.said.intervals(q)[:, 0]
    inside = (ends[:, 0] <= numbers.true[:, 0]) & (numbers.true[:, 0] <= ends[:, 1])
    assert (inside == (numbers.scores <= q)).all()
    assert numbers.said.sizes(q) == pytest.approx(ends[:, 1] - ends[:, 0])
    endless = numbers.said.intervals(np.full(200, np.inf))
    assert (endless == [-np.inf, np.inf]).all()
    assert classes.said.sets(np.full(200, np.inf)).all()


def test_intervals_of_several_targets_hold_together_in_units_of_each() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(4000, 2)) * [1.0, 100.0]
    codec = TargetCodec.fit(y, "regression", names=("x", "y"))
    said = Said.of(codec, np.zeros_like(y), None)
    q = np.full(4000, quantile(said.scores(y), 0.9))
    ends = said.intervals(q)
    together = ((ends[..., 0] <= y) & (y <= ends[..., 1])).all(1)
    assert together.mean() == pytest.approx(0.9, abs=0.002)
    assert (ends[0, 1] / ends[0, 0]) == pytest.approx(codec.std[1] / codec.std[0])


def test_where_models_differ_intervals_are_wider_and_narrower_on_average() -> None:
    rng = np.random.default_rng(0)
    sd = rng.uniform(0.1, 2.0, size=(4000, 1))
    y = sd * rng.normal(size=(4000, 1))
    codec = TargetCodec.fit(y[:, 0], "regression")
    aware, blind = (Said.of(codec, np.zeros_like(y), s) for s in (sd, None))
    q = [np.full(4000, quantile(s.scores(y), 0.9)) for s in (aware, blind)]
    assert aware.sizes(q[0]).mean() < 0.9 * blind.sizes(q[1]).mean()
    hard = sd[:, 0] > 1.6
    assert (aware.scores(y) <= q[0])[hard].mean() > 0.83
    assert (blind.scores(y) <= q[1])[hard].mean() < 0.75
    agreed = Said.of(codec, np.zeros_like(y), np.zeros_like(y))
    assert (agreed.difficulty == LEAST).all()


def test_patterns_are_of_the_modalities_that_the_predictor_uses() -> None:
    data = rows(50, 0)
    predictor = Drawn()
    predictor.modalities = ("b",)
    known = PatternScores.of(predictor, predictor.encode(data), np.asarray(data.target), coverage=0.9, by_pattern=True)
    assert known.names == ("b",)
    assert pattern_name(np.array([False, True, False]), ("a", "b", "c")) == "without a + c"
    assert pattern_name(np.array([True, True]), ("a", "b")) == "complete"


def test_patterns_made_together_are_as_made_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = rows(400, 0, lacks_a=0.02, lacks_b=0.02)
    patterns = np.array([[True, False], [False, True], [False, False]])
    alone = [scored(data).chosen(p).quantile for p in patterns]
    assert scored(data).quantiles(patterns).tolist() == alone
    monkeypatch.setattr("profuse.inspect.pattern_scores._AT_ONCE", 500)
    assert scored(data).quantiles(patterns).tolist() == alone


def test_many_rows_with_a_modality_hidden_are_not_all_needed() -> None:
    known = scored(rows(3000, 0, lacks_a=0.001))
    hidden = known.chosen(np.array([False, True]))
    assert (hidden.of, hidden.n) == ("hidden", 5 * known.fewest)
    exact = scored(rows(3000, 0, lacks_a=1.0)).chosen(np.array([False, True]))
    assert hidden.quantile == pytest.approx(exact.quantile, abs=0.03)
