"""How long a comparison still takes is told within a third, before most of its methods were ever timed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from profuse.comparison.methods import Method, methods_for
from profuse.comparison.time_left import TimeLeft
from profuse.models.options import ModelOptions

ALONE = {"a": 20.0, "b": 28.0, "c": 6.0}


def methods(rounds: tuple[Any, ...] = (2,)) -> list[Method]:
    found, _ = methods_for(list(ALONE), [], rounds=rounds, base=ModelOptions(), task="multiclass")
    return found


def cost(method: Method) -> float:
    """Seconds of a fit in a made world, where a second round costs less than the first."""
    if method.model is None:
        return 0.1 if method.role == "trivial" else 9.0
    rounds = method.model.rounds
    assert isinstance(rounds, int)
    return (
        sum(ALONE[m] for m in method.modalities)
        * (1 + 0.7 * (rounds - 1))
        * (1.0 if len(method.modalities) == 1 else 1.1)
    )


def run(n_seeds: int, n_jobs: int, later: list[Method]) -> list[tuple[float, float | None]]:
    """Returns when each fit ended and what was told then, in the same world; the last entry is the end of all."""
    fits = [(m, seed) for seed in range(n_seeds) for m in methods()]
    left = TimeLeft(fits, n_jobs, later)
    waiting, clock = list(fits), 0.0
    running: dict[tuple[str, int], tuple[Method, float]] = {}
    told: list[tuple[float, float | None]] = []
    while waiting or running:
        while waiting and len(running) < n_jobs:
            method, seed = waiting.pop(0)
            running[method.name, seed] = (method, clock)
        ends = {fit: start + cost(m) for fit, (m, start) in running.items()}
        name, seed = first = min(ends, key=ends.__getitem__)
        clock = ends[first]
        method, _ = running.pop(first)
        left.finished(name, seed, cost(method))
        beats = [
            {"method": n, "seed": s, "spent": clock - start, "share": (clock - start) / cost(m)}
            if m.model is not None and clock > start else {"method": n, "seed": s}
            for (n, s), (m, start) in running.items()
        ]  # fmt: skip
        told.append((clock, left.seconds(beats)))
    workers = np.zeros(n_jobs)
    for m in later:
        workers[workers.argmin()] += cost(m)
    return [*told, (clock + float(workers.max()), 0.0)]


@pytest.mark.parametrize("n_jobs", [1, 2, 4])
@pytest.mark.parametrize("n_seeds", [1, 3])
def test_what_is_told_first_is_within_a_third_of_what_it_takes(n_jobs: int, n_seeds: int) -> None:
    default = next(m for m in methods() if m.default)
    *told, (end, _) = run(n_seeds, n_jobs, [default.without(m) for m in ALONE])
    guesses = [(clock, left) for clock, left in told if left is not None]
    assert guesses[0][0] < max(0.15 * end, 60)  # the time that three modalities take alone
    assert [left for clock, left in guesses if not abs(clock + left - end) < end / 3] == []


@pytest.mark.parametrize(("n_jobs", "within"), [(1, 1e-9), (2, 9.0)])
def test_once_all_methods_were_timed_the_rest_is_told_exactly(n_jobs: int, within: float) -> None:
    """But for a classical fit under way, of which nothing is known: 9 seconds."""
    *told, (end, _) = run(3, n_jobs, [])
    n = len(methods())
    guesses = [clock + left for clock, left in told[n + 2 :] if left is not None]
    assert guesses == pytest.approx([end] * (2 * n - 2), abs=within, rel=0)
    assert told[-1][1] == 0


def test_nothing_is_told_before_each_modality_was_seen_at_work() -> None:
    left = TimeLeft([(m, 0) for m in methods()], 2)
    assert left.seconds() is None
    left.finished("trivial", 0, 0.1)
    assert left.seconds([{"method": "a only", "seed": 0}]) is None
    under_way = [{"method": f"{m} only", "seed": 0, "share": 0.5, "spent": 10.0} for m in ALONE]
    assert left.seconds(under_way[:2]) is None
    assert left.seconds(under_way) is not None


def test_a_fit_that_failed_is_none_to_come_and_tells_nothing_of_its_method() -> None:
    (alone,) = (m for m in methods() if m.name == "a only")
    left = TimeLeft([(alone, 0), (alone, 1), (alone, 2)], 1)
    left.finished("a only", 0, 10.0)
    assert left.seconds() == 20
    left.finished("a only", 1, None)
    assert left.seconds() == 10
    other = TimeLeft([(m, 0) for m in methods()], 1)
    other.finished("c only", 0, None)
    other.finished("b only", 0, 10.0)
    other.finished("a only", 0, 10.0)
    assert other.seconds() is not None


def test_a_fit_under_way_is_counted_for_what_is_left_of_it_and_never_below_nothing() -> None:
    (alone,) = (m for m in methods() if m.name == "a only")
    left = TimeLeft([(alone, 0), (alone, 1)], 1)
    left.finished("a only", 0, 10.0)
    assert left.seconds([{"method": "a only", "seed": 1, "share": 0.4, "spent": 4.0}]) == 6
    assert left.seconds([{"method": "a only", "seed": 1, "share": 0.9, "spent": 40.0}]) == 0


def test_without_single_modalities_and_with_an_equilibrium_it_tells_too() -> None:
    found, _ = methods_for(
        ["a", "b"], [], rounds=(2, "equilibrium"), base=ModelOptions(), task="regression", singles=()
    )
    left = TimeLeft([(m, 0) for m in found], 1)
    left.finished("concat", 0, 10.0)
    rest = [m for m in found if m.name != "concat" and m.model is not None]
    want = 10 * sum({1: 1, 2: 2, "equilibrium": 4}[m.model.rounds] for m in rest if m.model is not None)
    assert left.seconds() == pytest.approx(want + 10 / 4 * sum(m.role == "classical" for m in found))


@pytest.mark.parametrize(("n_jobs", "seconds"), [(1, 50), (2, 30)])
def test_what_is_fitted_later_is_counted_after_all_the_rest(n_jobs: int, seconds: float) -> None:
    (alone,) = (m for m in methods() if m.name == "a only")
    default = next(m for m in methods() if m.default)
    left = TimeLeft([(alone, 0), (alone, 1)], n_jobs, [default.without(m) for m in "bc"])
    left.finished("a only", 0, 10.0)
    assert left.seconds() == seconds
