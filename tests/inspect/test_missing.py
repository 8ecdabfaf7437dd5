"""What is missing at random, against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from profuse.errors import ConfigError, ShapeError, UnknownNameError
from profuse.inspect import ask
from profuse.inspect.missing import Missing, drop_modalities
from profuse.testing.question import QuestionSubject


def plausible(n_hits: int, n: int, p: float) -> bool:
    return bool(stats.binomtest(int(n_hits), int(n), p).pvalue > 1e-4)


@pytest.mark.parametrize("n_modalities", [2, 3, 5])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 0.7])
def test_the_missing_rate_is_the_one_asked_for_and_no_row_is_empty(n_modalities: int, rate: float) -> None:
    present = np.ones((6000, n_modalities), dtype=bool)
    kept = drop_modalities(present, rate, seed=0)
    expected = min(rate, 1 - 1 / n_modalities)  # one of M modalities remains
    assert 1 - kept.mean() == pytest.approx(expected, abs=0.01)
    assert kept.any(1).all()
    if rate < 1 - 1 / n_modalities:
        assert kept.mean(0) == pytest.approx(np.full(n_modalities, 1 - rate), abs=0.03)  # all alike


def test_modalities_are_removed_independently() -> None:
    """With q the probability of one removal, a pair stays together with probability (1 - q)^2."""
    kept = drop_modalities(np.ones((20_000, 2), dtype=bool), 0.3, seed=1)
    q = 1 - np.sqrt(1 - 2 * 0.3)  # rate = q - q^2 / 2
    assert plausible(kept.all(1).sum(), 20_000, (1 - q) ** 2)


def test_what_is_absent_counts_as_missing_and_stays_absent() -> None:
    present = np.random.default_rng(0).random((6000, 3)) < 0.8
    for rate in (0.4, 0.6):
        kept = drop_modalities(present, rate, seed=0)
        assert 1 - kept.mean() == pytest.approx(rate, abs=0.01)
        assert not (kept & ~present).any()
        np.testing.assert_array_equal(kept.any(1), present.any(1))
    np.testing.assert_array_equal(drop_modalities(present, 0.1, seed=0), present)  # a fifth is missing already


def test_what_is_missing_at_a_low_rate_is_missing_at_a_higher_one() -> None:
    present = np.ones((500, 4), dtype=bool)
    low, same, high, other = (drop_modalities(present, r, seed=s) for r, s in ((0.2, 0), (0.2, 0), (0.5, 0), (0.2, 1)))
    np.testing.assert_array_equal(low, same)
    assert not (high & ~low).any()
    assert (low != other).any()


@pytest.mark.parametrize(
    ("present", "rate", "seed", "error", "message"),
    [
        (np.ones((3, 2), bool), 1.0, 0, ConfigError, "below 1 and seed at least 0; got rate=1.0, seed=0"),
        (np.ones((3, 2), bool), 0.5, -2, ConfigError, "got rate=0.5, seed=-2"),
        (np.ones((3, 2)), 0.5, 0, ShapeError, r"present must be bool \[row, modality\]; got float64\[3, 2\]"),
        (np.ones(3, bool), 0.5, 0, ShapeError, r"got bool\[3\]"),
    ],
)
def test_wrong_arguments_of_drop_modalities_are_told(
    present: np.ndarray, rate: float, seed: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        drop_modalities(present, rate, seed=seed)


# -- some modalities more often than others


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_odds_move_what_is_missing_to_one_modality_at_the_same_total_rate(rate: float) -> None:
    present = np.ones((20_000, 3), dtype=bool)
    kept = drop_modalities(present, rate, seed=0, odds=(8, 1, 1))
    gone = 1 - kept.mean(0)
    assert gone.mean() == pytest.approx(rate, abs=0.01)
    assert kept.any(1).all()
    assert gone[0] > 2 * gone[1]
    assert gone[1] == pytest.approx(gone[2], abs=0.015)
    q = gone[1]  # removed independently, but for rows that would lose all
    if rate < 0.3:
        assert gone[0] == pytest.approx(8 * q, rel=0.1)
    lower = drop_modalities(present, rate - 0.05, seed=0, odds=(8, 1, 1))
    assert not (kept & ~lower).any()


def test_equal_odds_are_none() -> None:
    present = np.random.default_rng(0).random((500, 3)) < 0.8
    np.testing.assert_array_equal(
        drop_modalities(present, 0.5, seed=3, odds=(2, 2, 2)), drop_modalities(present, 0.5, seed=3)
    )


def test_each_modality_has_the_rate_that_is_asked_of_it_as_far_as_one_remains() -> None:
    present = np.random.default_rng(0).random((20_000, 3)) < (1.0, 0.9, 1.0)
    present[:, 0] = True
    kept = drop_modalities(present, (0.0, 0.4, 0.7), seed=0)
    assert 1 - kept.mean(0) == pytest.approx([0.0, 0.4, 0.7], abs=0.015)
    assert not (kept & ~present).any()
    all_gone = drop_modalities(present, (1.0, 1.0, 1.0), seed=0)
    assert (all_gone.sum(1) == 1).all()
    assert (all_gone.mean(0) > 0.25).all()
    already = drop_modalities(present, (0.0, 0.05, 0.0), seed=0)  # a tenth is missing already
    np.testing.assert_array_equal(already, present)
    low = drop_modalities(present, (0.0, 0.3, 0.5), seed=0)
    assert not (kept & ~low).any()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rate": (0.1, 0.2, 0.3)}, ShapeError, r"one for each of 2 modalities; got rate=\(0.1, 0.2, 0.3\)"),
        ({"rate": 0.1, "odds": (1.0,)}, ShapeError, r"odds=\(1.0,\)"),
        ({"rate": 0.1, "odds": (1.0, 0.0)}, ConfigError, "odds must be above 0"),
        ({"rate": (0.1, 0.2), "odds": (1.0, 1.0)}, ConfigError, "not with a rate for each"),
        ({"rate": (0.1, 1.2)}, ConfigError, "rate must be from 0"),
    ],
)
def test_wrong_odds_and_rates_are_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        drop_modalities(np.ones((3, 2), dtype=bool), seed=0, **options)


# -- the question


SUBJECT = QuestionSubject(Missing)
PREDICTOR, DATA = SUBJECT.predictor, SUBJECT.dataset


def test_rates_by_modality_are_one_condition_whose_reached_rates_are_told() -> None:
    answer = ask(PREDICTOR, DATA, "missing", rates_by_modality={"a": 0.8, "b": 0.3}, metric="log_loss")
    (estimate,) = answer.estimates
    assert estimate.name == "a 0.8, b 0.3"
    assert estimate.value > 0
    note = next(n for n in answer.notes if n.startswith("Reached rates: a 0.8, b 0.3: a 0."))
    assert ", b 0." in note
    other = ask(PREDICTOR, DATA, "missing", rates_by_modality={"a": 0.3, "b": 0.8}, metric="log_loss").estimates[0]
    assert estimate.value > other.value  # a tells more


def test_imbalanced_takes_most_from_each_modality_in_turn_and_the_worst_is_told() -> None:
    answer = ask(PREDICTOR, DATA, "missing", protocol="imbalanced", rates=(0.3, 0.5), metric="log_loss")
    loss = {e.name: e for e in answer.estimates}
    assert list(loss) == [f"mostly {n}, rate {r}" for n in "abc" for r in (0.3, 0.5)]
    assert loss["mostly a, rate 0.3"].value > loss["mostly c, rate 0.3"].value
    reached = [e.at for e in answer.estimates]
    assert reached == pytest.approx([0.3, 0.5] * 3, abs=0.06)
    worst = max(answer.estimates, key=lambda e: e.value)
    assert answer.notes[0] == f"Worst: {worst.name}: log_loss {worst.score:.4f}, {worst.value:.4f} lost."


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"protocol": "fixed"}, ConfigError, "got protocol='fixed'. Ask 'subsets'"),
        (
            {"rates_by_modality": {"z": 0.5}},
            UnknownNameError,
            "missing: modality must be a known name; got modality='z'",
        ),
        ({"rates_by_modality": {"a": 1.5}}, ConfigError, r"rates from 0 to 1; got \{'a': 1.5\}"),
        ({"rates_by_modality": {}}, ConfigError, "must name modalities"),
        ({"rates_by_modality": {"a": 0.5}, "rates": [0.2]}, ConfigError, "without rates and protocol"),
        ({"rates": [0.2, 0.2]}, ConfigError, "each once"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(PREDICTOR, DATA, "missing", **options)


def test_one_rate_needs_no_list() -> None:
    assert ask(PREDICTOR, DATA, "missing", rates=0.3) == ask(PREDICTOR, DATA, "missing", rates=[0.3])
