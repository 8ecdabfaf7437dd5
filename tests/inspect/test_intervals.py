"""Intervals are as wide as the rows, or groups of rows, allow; differences are paired."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import stats

from profuse.errors import DataError
from profuse.inspect.intervals import Scores
from profuse.metrics import metric

ACCURACY, R2, AUROC = metric("accuracy"), metric("r2"), metric("auroc")


def right(hits: np.ndarray) -> np.ndarray:
    """Predictions of class 0 where `hits`, else of class 1."""
    return np.stack([hits, ~hits], axis=1).astype(float)


def scores(predictions: dict[Any, np.ndarray], *, clusters: np.ndarray | None = None, **how: Any) -> Scores:
    n = len(next(iter(predictions.values())))
    clusters = np.arange(n) if clusters is None else clusters
    return Scores(ACCURACY, np.zeros(n, dtype=int), predictions, clusters, **{"seed": 0, "n_resamples": 2000, **how})


def half(ends: tuple[float, float, float]) -> float:
    return (ends[2] - ends[1]) / 2


def drawn(share: float, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < share


def test_the_interval_of_a_share_is_that_of_the_binomial() -> None:
    hits = drawn(0.7, 400)
    value, low, high = scores({"a": right(hits)}).score("a")
    assert value == hits.mean()
    expected = stats.t.ppf(0.975, 399) * np.sqrt(value * (1 - value) / 399)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.06)


def test_a_difference_is_paired_over_rows() -> None:
    """Two methods that are right in the same rows but for ten: the rows they share say nothing of the difference."""
    hits = drawn(0.5, 400)
    better = hits | (np.cumsum(~hits) <= 10)
    found = scores({"a": right(better), "b": right(hits)})
    gain = found.gain("a", "b")
    assert gain[0] == pytest.approx(10 / 400)
    assert half(gain) == pytest.approx(1.97 * np.sqrt(0.025 * 0.975 / 399), rel=0.1)
    assert half(gain) < half(found.score("a")) / 2
    assert found.gain("b", "a")[0] == -gain[0]


@pytest.mark.parametrize("copies", [4, 16])
def test_rows_of_a_group_count_as_one(copies: int) -> None:
    hits = np.repeat(drawn(0.6, 50), copies)
    groups = np.repeat(np.arange(50), copies)
    alone, tied = scores({"a": right(hits)}), scores({"a": right(hits)}, clusters=groups)
    assert half(tied.score("a")) == pytest.approx(np.sqrt(copies) * half(alone.score("a")), rel=0.1)
    assert any("50 groups" in note for note in tied.notes)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    inside = []
    for seed in range(300):
        _, low, high = scores({"a": right(drawn(0.8, 60, seed))}, n_resamples=100).score("a")
        inside.append(low <= 0.8 <= high)
    assert 0.90 <= np.mean(inside) <= 0.985


def test_equal_predictions_have_no_difference_at_all() -> None:
    hits = drawn(0.6, 40)
    assert scores({"a": right(hits), "b": right(hits.copy())}).gain("a", "b") == (0.0, 0.0, 0.0)


def test_all_right_is_not_certainly_right() -> None:
    hits = np.ones(60, dtype=bool)
    interval: tuple[object, ...] = scores({"a": right(hits)}).score("a")
    assert interval == (1.0, pytest.approx(0.95), 1.0)  # the rule of three
    surer = np.stack([np.full(60, 0.9), np.full(60, 0.1)], axis=1)
    gain: tuple[object, ...] = scores({"a": right(hits), "b": surer}).gain("a", "b")
    assert gain == (0.0, pytest.approx(-0.05), pytest.approx(0.05))


def test_an_interval_ends_where_the_score_does() -> None:
    _, low, high = scores({"a": right(np.arange(20) > 0)}).score("a")
    assert low < 0.95
    assert high == 1.0


def test_a_metric_without_units_of_a_share_has_an_interval_too() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 1))
    found = Scores(R2, y, {"a": y + 0.5 * rng.normal(size=y.shape)}, np.arange(200), seed=0, n_resamples=300)
    value, low, high = found.score("a")
    assert low < value < high <= 1
    assert 0.03 < (high - low) / 2 < 0.15


def test_samples_on_which_a_score_is_not_defined_are_left_out_and_counted() -> None:
    y = np.array([1, *[0] * 9])
    probability = np.linspace(0.9, 0.1, 10)
    found = Scores(
        AUROC, y, {"a": np.stack([1 - probability, probability], axis=1)}, np.arange(10), seed=0, n_resamples=200
    )
    (note,) = [n for n in found.notes if "left out" in n]
    assert 40 < int(note.split()[0]) < 100  # (9 / 10)^10 of 200 have no 1


def test_a_score_that_no_sample_has_is_told() -> None:
    y = np.array([0, 1])
    with pytest.raises(DataError, match="AUROC.* must be defined on samples of the 2 rows; it is on"):
        Scores(AUROC, y, {"a": np.eye(2)}, np.arange(2), seed=0, n_resamples=2)


def test_a_single_group_is_told() -> None:
    found = scores({"a": right(drawn(0.6, 30))}, clusters=np.full(30, 7))
    assert any("single group" in note for note in found.notes)
    assert half(found.score("a")) > 0.1


def test_one_seed_gives_one_interval() -> None:
    hits = right(drawn(0.6, 30))
    one, same, other = (scores({"a": hits}, seed=s).score("a") for s in (0, 0, 1))
    assert one == same
    assert one != other


def test_a_function_of_sums_has_the_interval_of_its_own_samples() -> None:
    """A sum itself is as `combined` tells; twice the same score is twice as wide; R2 and errors count upwards."""
    hits = [drawn(share, 300, seed) for seed, share in enumerate((0.6, 0.8))]
    made = scores({"a": right(hits[0]), "b": right(hits[1])})
    sums = [{"b": 1.0, "a": -1.0}, {"a": 0.5}]
    for i, each in enumerate(sums):
        seen = made.of_sums(partial(np.take, indices=i, axis=-1), sums, (-1.0, 1.0))
        assert seen == pytest.approx(made.combined(each))
    total = made.of_sums(lambda values: values.sum(-1), [{"a": 1.0}, {"a": 1.0}], (0.0, 2.0))
    assert half(total) == pytest.approx(2 * half(made.combined({"a": 1.0})))
    errors = Scores(metric("mse"), np.zeros((3, 1)), {0: np.ones((3, 1))}, np.arange(3), seed=0, n_resamples=10)
    assert errors.of_sums(lambda values: values[..., 0], [{0: 1.0}], (-9.0, 0.0))[0] == -1
