"""Redundant, unique and synergistic information of two sources, against known gates and other solvers."""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
import pytest

from profuse.errors import DataError
from profuse.inspect.pid import PID, pid

AND = 0.75 * log2(4 / 3)  # what one input says of the conjunction: .31128


def gate(says: Callable[[int, int], Any]) -> np.ndarray:
    """Counts of two fair bits and what is said of them."""
    cells = [(a, b, says(a, b)) for a in range(2) for b in range(2)]
    seen = sorted({y for _, _, y in cells})
    joint = np.zeros((2, 2, len(seen)))
    for a, b, y in cells:
        joint[a, b, seen.index(y)] += 1
    return joint


def of(cells: list[tuple[int, int, int]]) -> np.ndarray:
    joint = np.zeros(tuple(np.max(cells, axis=0) + 1))
    for cell in cells:
        joint[cell] += 1
    return joint


BITS = [(a, b) for a in range(2) for b in range(2)]
GATES: dict[str, tuple[np.ndarray, tuple[float, float, float, float]]] = {
    "xor": (gate(lambda a, b: a ^ b), (0, 0, 0, 1)),
    "and": (gate(lambda a, b: a & b), (AND, 0, 0, 0.5)),
    "or": (gate(lambda a, b: a | b), (AND, 0, 0, 0.5)),
    "sum": (gate(lambda a, b: a + b), (0.5, 0, 0, 1)),
    "the first": (gate(lambda a, b: a), (0, 1, 0, 0)),
    "the second": (gate(lambda a, b: b), (0, 0, 1, 0)),
    "copy": (gate(lambda a, b: (a, b)), (0, 1, 1, 0)),
    "all equal": (of([(0, 0, 0), (1, 1, 1)]), (1, 0, 0, 0)),
    "redundant and xor": (
        of([(2 * r + a, 2 * r + b, 2 * r + (a ^ b)) for r in range(2) for a, b in BITS]),
        (1, 0, 0, 1),
    ),
    "and, the first has both": (of([(2 * a + b, b, a & b) for a, b in BITS]), (AND, 0.5, 0, 0)),
    "xor, the first has both": (of([(2 * a + b, b, a ^ b) for a, b in BITS]), (0, 1, 0, 0)),
    "nothing": (np.ones((2, 3, 2)), (0, 0, 0, 0)),
}


def numbers(found: PID) -> list[float]:
    return [found.redundancy, found.unique_1, found.unique_2, found.synergy]


def information(joint: np.ndarray) -> float:
    p = joint / joint.sum()
    independent = p.sum(1, keepdims=True) * p.sum(0)
    return float((p[p > 0] * np.log2(p[p > 0] / independent[p > 0])).sum())


@pytest.mark.parametrize("name", GATES)
def test_a_gate_has_its_known_parts(name: str) -> None:
    joint, expected = GATES[name]
    assert numbers(pid(joint)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_two_bits_and_a_bit_are_what_a_fine_grid_finds(seed: int) -> None:
    """Two numbers are free, one for each y: all of their values are tried."""
    p = np.random.default_rng(seed).dirichlet(np.full(8, 0.7)).reshape(2, 2, 2)
    first, second = p.sum(1), p.sum(0)
    low, high = np.maximum(0, first[0] + second[0] - p.sum((0, 1))), np.minimum(first[0], second[0])
    s = np.linspace(0, 1, 801)
    corner = [low[y] + s * (high[y] - low[y]) for y in range(2)]
    a = np.stack(np.meshgrid(*corner, indexing="ij"), axis=-1)  # Q(0, 0, y)
    q = np.stack([a, first[0] - a, second[0] - a, p.sum((0, 1)) - first[0] - second[0] + a])
    q = np.clip(q, 1e-300, None)
    least = float((q * np.log2(q / (q.sum(-1, keepdims=True) * q.sum(0)))).sum((0, -1)).min())
    found = pid(p)
    assert found.synergy == pytest.approx(information(p.reshape(4, 2)) - least, abs=2e-5)
    assert found.unique_1 == pytest.approx(least - information(second), abs=2e-5)


def by_turns(p: np.ndarray, rounds: int = 4000) -> float:
    """min I_Q(X1 X2; Y): Q given y by scaling to its sums, then the mean over y, in turns (Banerjee et al. 2018)."""
    first, second, of_y = p.sum(1), p.sum(0), p.sum((0, 1))
    mean = p.sum(2)
    for _ in range(rounds):
        q = np.repeat(mean[:, :, None], p.shape[2], axis=2)
        for _ in range(20):
            q *= (first / q.sum(1))[:, None]
            q *= (second / q.sum(0))[None]
        mean = q.sum(2)
    return float((q * np.log2(q / (mean[:, :, None] * of_y))).sum())


@pytest.mark.parametrize("seed", range(3))
def test_larger_alphabets_are_what_projections_in_turns_find(seed: int) -> None:
    p = np.random.default_rng(seed).dirichlet(np.full(36, 0.5)).reshape(3, 4, 3)
    least = by_turns(p)
    found = pid(p)
    assert found.redundancy + found.unique_1 + found.unique_2 == pytest.approx(least, abs=1e-4)
    assert found.redundancy + found.unique_1 + found.unique_2 <= least + 1e-7


@pytest.mark.parametrize("seed", range(10))
def test_parts_are_not_negative_and_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 5, 3))
    p = rng.multinomial(40, np.full(int(np.prod(shape)), 1 / np.prod(shape))).reshape(shape)
    found = pid(p)
    assert min(numbers(found)) >= 0
    assert found.total == pytest.approx(information(p.reshape(-1, shape[2])), abs=1e-9)
    assert found.redundancy + found.unique_1 == pytest.approx(information(p.sum(1)), abs=1e-9)
    assert found.redundancy + found.unique_2 == pytest.approx(information(p.sum(0)), abs=1e-9)
    swapped = pid(p.transpose(1, 0, 2))
    assert numbers(swapped) == pytest.approx([numbers(found)[k] for k in (0, 2, 1, 3)], abs=1e-6)


def test_symbols_that_never_occur_change_nothing() -> None:
    wide = np.zeros((4, 3, 5))
    wide[np.ix_([0, 3], [0, 2], [1, 4])] = GATES["and"][0]
    assert numbers(pid(wide)) == pytest.approx(GATES["and"][1], abs=1e-6)


@pytest.mark.parametrize(
    "joint", [np.ones((2, 2)), np.zeros((2, 2, 2)), -np.ones((2, 2, 2)), np.full((2, 2, 2), np.nan)]
)
def test_what_is_no_distribution_is_refused(joint: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"pid: joint must be \[x1, x2, y\]"):
        pid(joint)
