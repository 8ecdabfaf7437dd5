"""Shapley values and interactions, against their definitions by orders and by games whose answer is known."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profuse.inspect.shapley import coalitions, evenness, interaction_weights, permutation_weights, shapley_weights

PLAYERS = tuple("abcde")


def game(players: tuple[str, ...] = PLAYERS, seed: int = 0) -> dict[tuple[str, ...], float]:
    rng = np.random.default_rng(seed)
    return {s: float(rng.normal()) for s in coalitions(players)}


def value(weights: dict[tuple[str, ...], float], v: dict[tuple[str, ...], float]) -> float:
    return sum(w * v[s] for s, w in weights.items())


def by_orders(v: dict[tuple[str, ...], float], m: str) -> float:
    """The mean over all orders of what m adds when it comes."""
    added = []
    for order in permutations(PLAYERS):
        before = tuple(sorted(order[: order.index(m)]))
        added.append(v[tuple(sorted((*before, m)))] - v[before])
    return float(np.mean(added))


@pytest.mark.parametrize("seed", range(3))
def test_a_shapley_value_is_what_is_added_on_average_over_all_orders(seed: int) -> None:
    v = game(seed=seed)
    for m, weights in shapley_weights(PLAYERS).items():
        assert value(weights, v) == pytest.approx(by_orders(v, m))


def test_shapley_values_are_efficient_symmetric_and_0_for_a_null_player() -> None:
    rng = np.random.default_rng(0)
    by_size = rng.normal(size=(2, 2, 3))  # by whether a is in, b is in, and how many of c and d; e changes nothing
    v = {s: float(by_size[int("a" in s), int("b" in s), ("c" in s) + ("d" in s)]) for s in coalitions(PLAYERS)}
    phi = {m: value(w, v) for m, w in shapley_weights(PLAYERS).items()}
    assert sum(phi.values()) == pytest.approx(v[PLAYERS] - v[()])
    assert phi["c"] == pytest.approx(phi["d"])
    assert phi["e"] == pytest.approx(0.0, abs=1e-12)


def test_the_interaction_of_two_is_the_difference_of_what_one_is_worth_with_and_without_the_other() -> None:
    """I_ij = phi_i of the game with j present, less phi_i of the game with j absent, both among the others."""
    v = game(seed=5)
    for (i, j), weights in interaction_weights(PLAYERS).items():
        others = tuple(p for p in PLAYERS if p != j)
        without = {s: v[s] for s in coalitions(others)}
        with_j = {s: v[tuple(sorted((*s, j)))] for s in coalitions(others)}
        of_i = shapley_weights(others)[i]
        assert value(weights, v) == pytest.approx(value(of_i, with_j) - value(of_i, without))


def test_only_what_two_do_together_is_their_interaction() -> None:
    v = {s: 1.0 * ("a" in s) + 2.0 * ("b" in s) + 5.0 * ("c" in s and "d" in s) for s in coalitions(PLAYERS)}
    found = {pair: value(w, v) for pair, w in interaction_weights(PLAYERS).items()}
    assert found == pytest.approx({pair: 5.0 * (pair == ("c", "d")) for pair in found}, abs=1e-12)


def test_two_players_have_one_interaction() -> None:
    assert interaction_weights("ab") == {("a", "b"): {("a", "b"): 1.0, ("a",): -1.0, ("b",): -1.0, (): 1.0}}


def test_random_orders_are_efficient_each_and_right_on_average() -> None:
    v = game(seed=2)
    pairs = permutation_weights(PLAYERS, 3000, seed=0)
    phi = [{m: value(w, v) for m, w in pair.items()} for pair in pairs]
    for one in phi:
        assert sum(one.values()) == pytest.approx(v[PLAYERS] - v[()])
    for m, weights in shapley_weights(PLAYERS).items():
        each = np.array([one[m] for one in phi])
        assert abs(each.mean() - value(weights, v)) < 4 * each.std() / np.sqrt(len(each))


def test_an_order_and_its_reverse_settle_a_game_of_pairs() -> None:
    """Antithetic: where no more than two interact, one pair of orders gives the exact value."""
    rng = np.random.default_rng(0)
    table = np.triu(rng.normal(size=(5, 5)))
    index: Any = {p: i for i, p in enumerate(PLAYERS)}
    v = {s: float(sum(table[index[p], index[q]] for p in s for q in s)) for s in coalitions(PLAYERS)}
    (pair,) = permutation_weights(PLAYERS, 1, seed=7)
    assert {m: value(w, v) for m, w in pair.items()} == pytest.approx(
        {m: value(w, v) for m, w in shapley_weights(PLAYERS).items()}
    )


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_evenness_is_from_0_to_1_whatever_the_order_and_the_scale(values: list[float]) -> None:
    even = float(evenness(np.array(values)))
    assert 0 <= even <= 1 + 1e-12
    assert even == pytest.approx(float(evenness(3 * np.array(values[::-1]))), abs=1e-9)


def test_evenness_is_1_of_equal_values_and_0_of_a_single_one() -> None:
    assert float(evenness(np.array([0.2, 0.2, 0.2]))) == pytest.approx(1)
    for one in ([0.3, 0.0], [0.3, -0.2], [-0.1, -0.2], [0.0, 0.0]):
        assert f"{float(evenness(np.array(one))):.2f}" == "0.00"  # and not -0.00
    # the entropy of (.75, .25), in bits
    np.testing.assert_allclose(evenness(np.array([[0.3, 0.1], [1.0, 1.0]])), [0.8112781, 1.0])
