"""What a comparison will take is told before its first fit, and a time limit makes it smaller in a stated order."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from known_answers import make_product

import profuse
from profuse.comparison import plan, running
from profuse.comparison.engine import Event, compare_dataset
from profuse.comparison.jobs import run_job
from profuse.comparison.methods import methods_asked
from profuse.comparison.options import CompareOptions
from profuse.comparison.plan import expected_seconds, made_smaller
from profuse.comparison.results import Results
from profuse.errors import ConfigError
from profuse.models.options import ModelOptions
from profuse.training.options import TrainOptions

ONE = 10.0
"""Seconds of a network in a made world, of 100 epochs."""


def cost(options: CompareOptions) -> float:
    n_networks = 4 + len(options.rounds)
    epochs = options.train.epochs or 100
    return ONE * epochs / 100 * (options.seeds * n_networks + 2 * options.retrain_without)


def smaller(limit: float, cost: Callable[[CompareOptions], float] = cost, **options: Any) -> Any:
    return made_smaller(CompareOptions(time_limit=limit, **options), 100, cost)


def test_what_fits_is_left_as_it_was() -> None:
    options = CompareOptions(time_limit=1000)
    assert made_smaller(options, 100, cost) == (options, [])
    assert made_smaller(CompareOptions(), 100, cost) == (CompareOptions(), [])


def test_less_time_never_makes_more_and_what_is_made_fits() -> None:
    sizes = []
    for limit in (400, 180, 160, 120, 60, 30, 20, 10, 5, 3):
        made, notes = smaller(limit)
        assert cost(made) <= 0.9 * limit, limit
        assert not any("Even so" in note for note in notes)
        sizes.append((made.retrain_without, made.seeds, made.train.epochs or 100, len(made.rounds)))
    for before, after in itertools.pairwise(sizes):
        assert all(a <= b for a, b in zip(after[:2], before[:2], strict=True))
        assert after[3] <= before[3]
    assert sizes[0] == (True, 3, 100, 1)
    assert [s[1] for s in sizes if s[0]] == [3] * sum(s[0] for s in sizes)  # fits without each go before a seed does


def test_seeds_go_before_epochs_below_twenty_and_those_before_variants() -> None:
    for limit in range(2, 170):
        made, _ = smaller(limit)
        epochs = made.train.epochs or 100
        if epochs < 20:
            assert (made.seeds, made.rounds) == (1, ())
        if made.rounds == ():
            assert made.seeds == 1
        if made.seeds == 1:
            assert not made.retrain_without


def test_what_is_other_is_told_and_what_cannot_be_done_too() -> None:
    _, notes = smaller(60)
    assert notes == [
        "To end within 60 s: seeds 2 instead of 3, epochs 54 instead of 100, retrain_without False instead of True."
    ]
    made, notes = smaller(1)
    assert (made.seeds, made.train.epochs, made.rounds) == (1, 5, ())
    assert "rounds none instead of [2]" in notes[0]
    assert "expected to take 2 s" in notes[1]


def test_a_portfolio_has_a_part_of_the_time() -> None:
    without, _ = smaller(180)
    beside, _ = smaller(180, portfolio="quick")
    assert without.seeds == 3
    assert beside.seeds < 3


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_all_fits_take_grows_with_them(n_jobs: int) -> None:
    def seconds(**options: Any) -> float:
        made = CompareOptions(**options)
        methods, _ = methods_asked(made, ["a", "b"], "binary")
        return expected_seconds(methods, made, "hybrid:concat", 10.0, n_jobs)

    usual = seconds()
    assert seconds(seeds=6) == pytest.approx(2 * seconds(seeds=3), rel=0.15)
    assert seconds(rounds=()) < usual
    assert seconds(retrain_without=False) < usual
    assert seconds(portfolio="default") > 1.5 * usual
    assert 4 * 3 * 10 / n_jobs < usual < 20 * 3 * 10 / n_jobs


SMALL: dict[str, Any] = {
    "rounds": (),
    "retrain_without": False,
    "model": ModelOptions(width=8, members=1),
    "train": TrainOptions(batch_size=64, refit=False),
}


def run(out: Path, events: list[Event] | None = None, n_jobs: int = 1, **options: Any) -> Results:
    made = CompareOptions(**{**SMALL, **options})
    return compare_dataset(
        make_product(100), made, out, n_jobs=n_jobs, on_event=None if events is None else events.append
    )


@pytest.mark.usefixtures("few_classical")
def test_the_whole_time_is_told_before_the_first_fit_and_later_at_each_event(tmp_path: Path) -> None:
    events: list[Event] = []
    run(tmp_path / "o", events, seeds=1, train=TrainOptions(epochs=2, batch_size=64, refit=False))
    stages = [e.stage for e in events]
    assert stages.index("prepare") < stages.index("plan") < stages.index("fit")
    assert all(e.left is not None and e.left >= 0 for e in events[stages.index("plan") :] if e.stage != "done")


@pytest.mark.usefixtures("few_classical")
def test_a_second_run_plans_the_same_and_fits_nothing_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # as if a fit took 400 s, so that what is planned does not depend on the machine
    monkeypatch.setattr(plan, "_time", lambda *args: (400.0, 100))
    found = run(tmp_path / "o", seeds=2, time_limit=300)
    assert (found.config["seeds"], found.config["train"]["epochs"]) == (1, 12)
    assert "To end within 5 min: seeds 1 instead of 2, epochs 12 instead of 100." in found.dataset.notes
    assert {c.epoch for c in found.curves} <= set(range(13))
    monkeypatch.setattr(plan, "_time", lambda *args: (1.0, 100))  # another measurement would plan otherwise

    def never(*args: object) -> None:
        raise AssertionError("nothing is to be fitted")

    monkeypatch.setattr(running, "run_job", never)
    again = run(tmp_path / "o", seeds=2, time_limit=300)
    assert again.config == found.config
    assert [s.value for s in again.scores] == [s.value for s in found.scores]


@pytest.mark.usefixtures("few_classical")
def test_a_damaged_plan_is_made_anew(tmp_path: Path) -> None:
    run(tmp_path / "o", seeds=1, train=TrainOptions(epochs=1, batch_size=64, refit=False))
    path = tmp_path / "o" / "work" / "plan.json"
    path.write_text("{", encoding="utf-8")
    shutil.rmtree(next(path.parent.glob("a_only-seed0-*")))  # something is left to be fitted
    run(tmp_path / "o", seeds=1, train=TrainOptions(epochs=1, batch_size=64, refit=False))
    assert json.loads(path.read_text(encoding="utf-8"))["epochs"] == 1


@pytest.mark.usefixtures("few_classical")
def test_fits_that_would_begin_too_late_are_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_fits = 0

    def slow(job: Any) -> Path:  # the clock jumps after the fits of the first seed
        nonlocal n_fits
        n_fits += 1
        if n_fits == n_methods + 1:
            now = time.time() + 10_000
            monkeypatch.setattr("profuse.comparison.running.time.time", lambda: now)
        return run_job(job)

    options = CompareOptions(**SMALL)
    n_methods = len(methods_asked(options, ["a", "b"], "binary")[0])
    monkeypatch.setattr(running, "run_job", slow)
    found = run(tmp_path / "o", seeds=2, time_limit=2_000, train=TrainOptions(epochs=1, batch_size=64, refit=False))
    at = {seed: {s.method for s in found.scores if s.seed == seed} for seed in (0, 1)}
    assert (len(at[0]), len(at[1])) == (n_methods, 1)
    assert any("was over before all was fitted" in n and "seed 1" in n for n in found.dataset.notes)
    assert not [s for s in found.skipped if "time limit" in s.reason]


def test_presets_fill_what_is_not_set() -> None:
    quick = CompareOptions(preset="quick", seeds=4, train=TrainOptions(epochs=3)).filled()
    assert (quick.seeds, quick.rounds, quick.retrain_without) == (4, (), False)
    assert (quick.train.epochs, quick.train.refit) == (3, False)
    best = CompareOptions(preset="best").filled()
    assert (best.seeds, best.trials, best.portfolio, best.train) == (5, 3, "default", TrainOptions())
    assert CompareOptions().filled() == CompareOptions()
    assert best.filled() == best


@pytest.mark.parametrize("limit", ["soon", -1, 0, "3 days"])
def test_a_time_limit_that_is_none_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigError, match="time_limit"):
        profuse.compare("synthetic", time_limit=limit)
