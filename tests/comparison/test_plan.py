"""What a comparison will take is told before its first fit, and a time limit makes it smaller in a stated order."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from known_answers import make_product

import profuse
from profuse.comparison import plan, runner
from profuse.comparison.engine import Event, compare_dataset
from profuse.comparison.jobs import run_job
from profuse.comparison.methods import methods_asked
from profuse.comparison.options import CompareOptions
from profuse.comparison.plan import expected_seconds, limit_of, made_smaller, with_portfolio
from profuse.comparison.results import Results
from profuse.errors import ConfigError
from profuse.models.options import ModelOptions
from profuse.portfolio.members import Member
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.slow

ONE = 10.0
"""Seconds of a network in a made world, of 100 epochs; a second one on all rows takes as long."""


def cost(options: CompareOptions) -> float:
    n_networks = 4 + len(options.rounds)
    epochs, again = options.train.epochs or 100, 1.0 if options.train.refit is False else 2.0
    return ONE * again * epochs / 100 * (options.seeds * n_networks + 2 * options.retrain_without)


def smaller(limit: float, own: bool = True, **options: Any) -> Any:
    asked = CompareOptions(**({"time_limit": limit} if own else {}), **options)
    return made_smaller(asked, limit, 100, cost)


def size(made: CompareOptions) -> tuple[int, ...]:
    refit = made.train.refit is not False
    return int(made.retrain_without), int(refit), made.seeds, len(made.rounds), made.train.epochs or 100


def test_what_fits_is_left_as_it_was() -> None:
    assert made_smaller(CompareOptions(), 1000, 100, cost) == (CompareOptions(), [])
    assert made_smaller(CompareOptions(), None, 100, cost) == (CompareOptions(), [])


@pytest.mark.parametrize("own", [True, False])
def test_what_is_made_fits_and_is_as_large_as_may_be(own: bool) -> None:
    for limit in [*range(11 if own else 12, 500)]:
        made, notes = smaller(limit, own)
        assert cost(made) <= 0.9 * limit, limit
        assert len(notes) == (size(made) != size(CompareOptions()))
        n_epochs = made.train.epochs
        if n_epochs is not None:  # one epoch more would not fit
            more = made.model_copy(update={"train": made.train.model_copy(update={"epochs": n_epochs + 1})})
            assert cost(more) > 0.9 * limit


def test_things_are_made_smaller_in_the_stated_order() -> None:
    seen = [size(smaller(limit)[0]) for limit in range(500, 1, -1)]
    kinds = list(dict.fromkeys(kind[:4] for kind in seen))
    assert kinds == [(1, 1, 3, 1), (0, 1, 3, 1), (0, 0, 3, 1), (0, 0, 2, 1), (0, 0, 2, 0), (0, 0, 1, 0)]
    fewest = {kind: min(s[4] for s in seen if s[:4] == kind) for kind in kinds}
    assert list(fewest.values()) == [100, 100, 100, 40, 40, 5]


def test_what_the_user_has_set_stays_unless_the_limit_is_the_users_own() -> None:
    for limit in (200, 60, 20, 3):
        made, _ = smaller(limit, own=False, seeds=3, train=TrainOptions(epochs=100))
        assert (made.seeds, made.train.epochs) == (3, 100)
        made, _ = smaller(limit, own=False, rounds=(2, 3), retrain_without=True, train=TrainOptions(refit=True))
        assert (made.rounds, made.retrain_without, made.train.refit) == ((2, 3), True, True)
    made, _ = smaller(3, seeds=3, rounds=(2, 3), train=TrainOptions(refit=True))
    assert (made.seeds, made.rounds, made.train.refit) == (1, (), False)


def test_what_is_other_is_told_and_what_cannot_be_done_too() -> None:
    _, notes = smaller(60)
    assert notes == [
        "To end within 60 s: retrain_without False instead of True, refit False instead of automatic, seeds 2 instead "
        "of 3, epochs 54 instead of 100."
    ]
    _, notes = smaller(60, own=False)
    assert notes[0].startswith("To end within 60 s, the usual time for so many rows: retrain_without False")
    assert notes[0].endswith(" --time-limit sets another time, or none.")
    made, notes = smaller(1)
    assert size(made) == (0, 0, 1, 0, 5)
    assert "rounds none instead of 2" in notes[0]
    assert "expected to take 2 s" in notes[1]
    assert "left out" in notes[1]
    made, notes = smaller(1, own=False)
    assert size(made) == (0, 0, 1, 0, 20)
    assert "left out" not in notes[1]


def test_a_portfolio_has_a_part_of_the_users_time() -> None:
    without, _ = smaller(220)
    beside, _ = smaller(220, portfolio="quick")
    assert without.seeds == 3
    assert beside.seeds < 3


def test_the_portfolio_is_a_row_where_it_fits_in() -> None:
    def expected(options: CompareOptions) -> float:
        counted = options.portfolio != "none" and options.portfolio != "auto" and options.time_limit == "none"
        return cost(options) + 100.0 * options.seeds * counted

    usual = CompareOptions()
    whole = cost(usual) + 300
    made, seconds = with_portfolio(usual, whole + 30, expected)
    assert made.portfolio == "default"
    assert seconds == pytest.approx(330 / 3)
    assert with_portfolio(usual, whole - 1, expected)[0].portfolio == "none"
    made, seconds = with_portfolio(usual, float("inf"), expected)
    assert (made.portfolio, seconds) == ("default", None)


@pytest.mark.slow
@pytest.mark.usefixtures("few_classical")
@pytest.mark.parametrize(("seconds", "there"), [(0.5, True), (100.0, False)])
def test_a_comparison_has_it_or_says_why_not(
    seconds: float, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_time", lambda *args: (seconds, 0.0, 12))
    monkeypatch.setattr(
        "profuse.portfolio.fitting.members_of", lambda *args, **more: [Member("linear", ("a", "b"), "linear")]
    )
    train = TrainOptions(epochs=12, batch_size=64, refit=False)
    found = run(tmp_path / "o", seeds=1, portfolio="auto", train=train)
    assert ("portfolio" in {m.name for m in found.methods}) is there
    assert [s.method for s in found.skipped] == ([] if there else ["portfolio"])
    assert found.config["portfolio"] == ("default" if there else "none")


def test_the_usual_limit_grows_with_rows_methods_and_trials() -> None:
    usual = CompareOptions()
    assert limit_of(usual, 100, 1.0) == limit_of(usual, 1500, 0.5) == 600
    assert limit_of(usual, 15_000, 1.0) == limit_of(usual, 100, 10.0) == 6000
    assert limit_of(CompareOptions(trials=3), 100, 1.0) == 1800
    assert limit_of(CompareOptions(time_limit="none"), 100, 1.0) is None
    assert limit_of(CompareOptions(time_limit="2m"), 15_000, 10.0) == 120


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
    assert seconds(portfolio="default") == usual  # it has time of its own
    assert seconds(portfolio="default", time_limit="none") > 1.5 * usual
    assert 4 * 3 * 10 / n_jobs < usual < 20 * 3 * 10 / n_jobs


SMALL: dict[str, Any] = {
    "rounds": (),
    "retrain_without": False,
    "portfolio": "none",
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
    run(tmp_path / "o", events, seeds=1, train=TrainOptions(epochs=12, batch_size=64, refit=False))
    stages = [e.stage for e in events]
    assert stages.index("prepare") < stages.index("plan") < stages.index("fit")
    assert stages[-2:] == ["measure", "done"]
    assert all(e.left is not None and e.left >= 0 for e in events[stages.index("plan") : -2])


@pytest.mark.usefixtures("few_classical")
def test_a_second_run_plans_the_same_and_fits_nothing_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # as if a fit took 400 s, so that what is planned does not depend on the machine
    monkeypatch.setattr(plan, "_time", lambda *args: (400.0, 0.0, 100))
    events: list[Event] = []
    found = run(tmp_path / "o", events, seeds=2, time_limit=300)
    smaller = "To end within 5 min: seeds 1 instead of 2, epochs 39 instead of 100."
    first = next(i for i, e in enumerate(events) if e.stage == "fit")
    assert smaller in [e.said for e in events[:first]]  # before it is done, not only at the end
    assert (found.config["seeds"], found.config["train"]["epochs"]) == (1, 39)
    assert smaller in found.dataset.notes
    assert {c.epoch for c in found.curves} <= set(range(40))
    monkeypatch.setattr(plan, "_time", lambda *args: (1.0, 0.0, 100))  # another measurement would plan otherwise

    def never(*args: object) -> None:
        raise AssertionError("nothing is to be fitted")

    monkeypatch.setattr(runner, "run_job", never)
    again = run(tmp_path / "o", seeds=2, time_limit=300)
    assert again.config == found.config
    assert [s.value for s in again.scores] == [s.value for s in found.scores]


@pytest.mark.usefixtures("few_classical")
def test_a_damaged_plan_is_made_anew(tmp_path: Path) -> None:
    run(tmp_path / "o", seeds=1, train=TrainOptions(epochs=12, batch_size=64, refit=False))
    path = tmp_path / "o" / "work" / "plan.json"
    path.write_text("{", encoding="utf-8")
    shutil.rmtree(next(path.parent.glob("a_only-seed0-*")))  # something is left to be fitted
    run(tmp_path / "o", seeds=1, train=TrainOptions(epochs=12, batch_size=64, refit=False))
    assert json.loads(path.read_text(encoding="utf-8"))["epochs"] == 12


@pytest.mark.usefixtures("few_classical")
def test_fits_that_would_begin_too_late_are_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_fits = 0

    def slow(job: Any) -> Path:  # the clock jumps after the fits of the first seed
        nonlocal n_fits
        n_fits += 1
        if n_fits == n_methods + 1:
            now = time.time() + 10_000
            monkeypatch.setattr("profuse.comparison.runner.time.time", lambda: now)
        return run_job(job)

    options = CompareOptions(**SMALL)
    n_methods = len(methods_asked(options, ["a", "b"], "binary")[0])
    monkeypatch.setattr(runner, "run_job", slow)
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
