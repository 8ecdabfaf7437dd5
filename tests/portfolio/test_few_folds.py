"""Where time is short, models are fitted to fewer folds: none that has been fitted to enough of them is thrown away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_fits import EPOCHS, NET, QUICK, TRIVIAL, a_cut, run_fits, several
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from not_none import not_none

from profuse.metrics import metric
from profuse.portfolio.cut import Cut
from profuse.portfolio.estimate import nested_outputs

SIX = [TRIVIAL, *several(2), NET, replace(QUICK, name="slow"), replace(QUICK, name="slower")]
SECONDS = {"trivial": 0.0, "quick 0": 1.0, "quick 1": 2.0, "net": 6.0, "slow": 3.0, "slower": 4.0}


@pytest.mark.parametrize(("speed", "expected"), [(1.0, 5), (1.5, 4), (2.0, 3)])
def test_a_slower_machine_means_fewer_folds_and_not_fewer_models(
    monkeypatch: pytest.MonkeyPatch, speed: float, expected: int
) -> None:
    """All fits take 80 s at speed 1: with 100 s all folds are done."""
    done = run_fits(monkeypatch, SIX, lambda name, now: speed * SECONDS[name], 100.0)
    assert sorted(set(done.names) - {"net (again)"}) == sorted(m.name for m in SIX)
    assert len(not_none(done.cut).folds) == expected
    assert done.now <= 100


def test_a_machine_that_is_slowed_in_the_middle_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_fits(monkeypatch, SIX, lambda name, now: SECONDS[name] * (1 if now < 30 else 4), 100.0)
    assert {"quick 0", "quick 1", "net", "slow"} <= set(done.names)
    assert len(not_none(done.cut).folds) >= 1


@pytest.mark.parametrize("by_time", [False, True])
def test_all_models_are_judged_on_the_rows_of_the_folds_that_each_has(
    monkeypatch: pytest.MonkeyPatch, by_time: bool
) -> None:
    done = run_fits(
        monkeypatch, SIX, lambda name, now: 2.0 * SECONDS[name], 100.0, a_cut(rows_a_fold=300, by_time=by_time)
    )
    cut = not_none(done.cut)
    assert 1 < len(cut.folds) < 5
    held = np.arange(5 * 300).reshape(5, 300)
    kept = held[-len(cut.folds) :] if by_time else held[: len(cut.folds)]  # of rows with times the latest ones
    np.testing.assert_array_equal(cut.rows, kept.ravel())
    np.testing.assert_array_equal(cut.fold_of, np.repeat(np.arange(len(cut.folds)), 300))
    np.testing.assert_array_equal(cut.true, cut.rows % 2)
    assert len(cut.lacking) == len(cut.clusters) == len(cut.rows)
    for result in done.members:
        np.testing.assert_array_equal(result.held[()][:, 1], cut.rows)
        # where rows have times one fit to all rows predicts, else the mean of the same folds
        predictors: list[Any] = list(result.predictors)
        numbers = [number for _, number in predictors]
        assert numbers == ([5] if by_time else list(range(len(cut.folds))))


def test_at_least_two_hundred_rows_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of folds of 60 rows each model needs four: one with time for two is left out, and the others have all."""
    members = [TRIVIAL, QUICK, replace(QUICK, name="dear")]
    done = run_fits(monkeypatch, members, lambda name, now: 25.0 * (name == "dear"), 60.0, a_cut(8, 60))
    assert done.names == ["trivial", "quick"]
    assert "dear" in done.skipped
    assert len(not_none(done.cut).folds) == 8
    assert run_fits(monkeypatch, members, lambda name, now: 25.0 * (name == "dear"), 120.0, a_cut(8, 60)).names[-1] == (
        "dear"
    )


def test_one_more_classical_model_is_not_worth_most_folds_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [TRIVIAL, QUICK, replace(QUICK, name="dear"), replace(QUICK, name="last")]
    done = run_fits(monkeypatch, members, lambda name, now: 25.0 if name == "dear" else 0.1, 60.0)
    assert done.names == ["trivial", "quick", "last"]
    assert len(not_none(done.cut).folds) == 5
    # a network is: its epochs come from the time of fewer folds
    done = run_fits(monkeypatch, [*members[:2], NET], lambda name, now: 60.0 if name == "net" else 0.1, 60.0)
    assert "net" in done.names


def test_time_that_is_left_goes_to_the_models_with_the_fewest_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its turn the network has time for two of the three folds that the others are fitted to."""
    members = [TRIVIAL, QUICK, NET, replace(QUICK, name="last")]
    # its first fit takes 8 s, and lets one believe that there is time for three in 25
    net = {0: 8.0, 1: 12.0}
    done = run_fits(monkeypatch, members, lambda name, now: net[now > 1] if name == "net" else 0.1, 50.0)
    at = [(n, fold) for n, fold, _ in done.fits if n != "trivial"]
    assert at[:8] == [*(("quick", i) for i in range(3)), ("net", 0), ("net", 1), *(("last", i) for i in range(3))]
    assert at[8:] == [("net", 2), ("quick", 3), ("net", 3), ("last", 3)]  # then there is no time for a fifth of each
    assert len(not_none(done.cut).folds) == 4
    assert {epochs for n, _, epochs in done.fits if n == "net"} == {EPOCHS}


def test_where_nothing_is_learned_yet_the_quickest_model_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"trivial": 0.0, "quick 0": 7.0, "quick 1": 5.0, "quick 2": 8.0}
    done = run_fits(monkeypatch, [TRIVIAL, *several(3)], lambda name, now: seconds[name], 9.0)
    assert done.names == ["trivial", "quick 1"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seconds=st.lists(st.floats(0.01, 30), min_size=3, max_size=6),
    network=st.integers(0, 6),
    limit=st.floats(1, 200),
    slowed=st.floats(1, 5),
    n_jobs=st.integers(1, 3),
    by_time=st.booleans(),
    rows_a_fold=st.sampled_from([30, 60, 500]),
)
def test_whatever_fits_take_the_limit_holds_and_no_model_is_judged_on_other_rows_than_the_rest(
    monkeypatch: pytest.MonkeyPatch, seconds: list[float], network: int, limit: float, slowed: float, n_jobs: int,
    by_time: bool, rows_a_fold: int,
) -> None:  # fmt: skip
    members = several(len(seconds))
    if network < len(members):
        members[network] = NET
    each = dict(zip([m.name for m in members], seconds, strict=True)) | {"trivial": 0.0, "net (again)": 30.0}

    def takes(name: str, now: float) -> float:
        return each[name] * (1.0 if now < limit / 2 else slowed)

    done = run_fits(monkeypatch, [TRIVIAL, *members], takes, limit, a_cut(5, rows_a_fold, by_time=by_time), n_jobs)
    assert done.now <= limit + max(seconds) * slowed  # no more than the fit that ran over it
    assert {n.removesuffix(" (again)") for n in done.names} | set(done.skipped) == {"trivial", *each} - {"net (again)"}
    assert not set(done.names) & set(done.skipped)
    cut = not_none(done.cut)
    assert len(cut.rows) >= min(200, 5 * rows_a_fold)
    for result in done.members:
        np.testing.assert_array_equal(result.held[()][:, 1], cut.rows)
        assert len(result.predictors) == (1 if by_time else len(cut.folds))
    shares = [(e.n_done, e.n_total) for e in done.events]
    assert all(0 <= n <= total for n, total in shares)
    assert len({total for _, total in shares}) == 1


def test_rows_of_one_fold_are_judged_in_parts_by_what_the_others_choose() -> None:
    """Of forty models that know nothing, the best on the rows that choose looks far better than chance."""
    rng, cut = np.random.default_rng(0), a_cut(5, 600)
    groups = replace(cut, clusters=np.repeat(np.arange(750), 4), dependent=True).of_folds([2])
    assert isinstance(groups, Cut)
    np.testing.assert_array_equal(groups.rows, np.arange(1_200, 1_800))
    assert len(set(zip(groups.clusters.tolist(), groups.fold_of.tolist(), strict=True))) == 150  # groups stay whole
    assert set(groups.fold_of) == set(range(5))
    one = cut.of_folds([2])
    p = rng.random((40, 600))
    held = np.stack([1 - p, p], axis=2)
    together, alone = nested_outputs(held, one, metric("accuracy"), 0)
    assert max(metric("accuracy")(one.true, q) for q in held) > 0.53
    assert metric("accuracy")(one.true, together) < 0.53
    assert metric("accuracy")(one.true, alone) < 0.53
    assert cut.of_folds(range(5)) is cut


def test_a_network_without_time_for_an_epoch_in_half_of_the_folds_has_epochs_in_fewer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 50 s it has 25: a third of them is less than one of 20 epochs that take 200 s, all of them are two."""
    members = [TRIVIAL, QUICK, NET, replace(QUICK, name="last")]
    done = run_fits(monkeypatch, members, lambda name, now: 200.0 if name == "net" else 0.0, 50.0)
    assert next(epochs for name, _, epochs in done.fits if name == "net") == 2
    assert "net" in done.names


def test_a_network_whose_linear_paths_took_its_turn_is_tried_again_in_the_time_that_others_have_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its turn is 29 s, its paths take 35, and another fold's would: one fold is what there is time for."""
    members = [QUICK, NET, replace(QUICK, name="last")]
    done = run_fits(monkeypatch, members, lambda name, now: {"net": 10.0}.get(name, 1.0), 60.0, before=35.0)
    assert sorted(set(done.names) - {"net (again)"}) == ["last", "net", "quick"]
    assert done.skipped == {}
    assert len(not_none(done.cut).folds) == 1
    assert done.now <= 60
