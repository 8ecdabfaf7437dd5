"""The curve over rows: which fits it takes, that they are kept, and that it says what the rows did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from known_answers import make_product

from profuse.comparison.compare import compare
from profuse.comparison.engine import Event, compare_dataset
from profuse.comparison.methods import methods_asked
from profuse.comparison.options import CompareOptions
from profuse.comparison.plan import expected_seconds, made_smaller
from profuse.comparison.results import Results
from profuse.comparison.shares import curve_expected, shares_for
from profuse.comparison.summary import summarise
from profuse.data.dataset import Dataset
from profuse.models.options import ModelOptions
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.usefixtures("few_classical")

OPTIONS = CompareOptions(
    rounds=(), seeds=2, curve=True, retrain_without=False, questions=(), surest=0, portfolio="none",
    model=ModelOptions(width=8, members=1), train=TrainOptions(epochs=2, batch_size=64, refit=False),
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Dataset:
    return make_product(320)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> tuple[Path, Results, list[Event]]:
    out, events = tmp_path_factory.mktemp("curve"), list[Event]()
    return out, compare_dataset(data, OPTIONS, out, n_jobs=1, on_event=events.append), events


@pytest.mark.slow
def test_the_best_three_are_fitted_to_each_share_and_seed(finished: tuple[Path, Results, list[Event]]) -> None:
    _, results, _ = finished
    verdict, of = summarise(results).verdict, results.learning
    assert of is not None
    best = [verdict.fusion, verdict.single, verdict.classical]
    assert [(p.method, p.share) for p in of.points] == [(m, s) for m in best for s in (0.25, 0.5, 1.0)]
    assert all(p.n_seeds == 2 for p in of.points)
    assert {p.share: p.n_train for p in of.points} == {0.25: 52, 0.5: 103, 1.0: 205}
    assert {(g.method, g.against) for g in of.gains} == {(best[0], best[1]), (best[0], best[2])}
    assert [g.method for g in of.doublings] == best


@pytest.mark.slow
def test_points_and_gains_are_means_of_the_fits_on_the_same_test_rows(
    finished: tuple[Path, Results, list[Event]],
) -> None:
    out, results, _ = finished
    of = results.learning
    assert of is not None
    metric = results.config["metric"] or summarise(results).metric
    scores: dict[str, list[float]] = {}
    for path in sorted(out.glob("work/*/result.json")):
        facts = json.loads(path.read_text())
        scores.setdefault(facts["method"], []).append(facts["scores"]["test"][metric])
    for p in of.points:
        name = p.method if p.share == 1 else f"{p.method} at 1/{round(1 / p.share)} of the rows"
        assert p.value == pytest.approx(np.mean(scores[name]), abs=1e-6)
    values = {(p.method, p.share): p.value for p in of.points}
    row = summarise(results).row(of.points[0].method)
    whole = next(p for p in of.points if p.share == 1)
    assert (whole.low, whole.high) == (row.estimate.low, row.estimate.high)
    if summarise(results).metric == "accuracy":
        for g in of.gains:
            assert g.value == pytest.approx(values[g.method, g.share] - values[g.against, g.share], abs=1e-6)
        for g in of.doublings:
            assert g.value == pytest.approx(values[g.method, 1.0] - values[g.method, 0.5], abs=1e-6)


@pytest.mark.slow
def test_they_are_no_rows_of_the_table_and_no_models_are_kept_of_them(
    finished: tuple[Path, Results, list[Event]],
) -> None:
    out, results, _ = finished
    assert not [m.name for m in results.methods if " of the rows" in m.name]
    assert not [s.method for s in results.scores if " of the rows" in s.method]
    assert not [p.name for p in (out / "models").iterdir() if "of_the_rows" in p.name]


@pytest.mark.slow
def test_progress_counts_them(finished: tuple[Path, Results, list[Event]]) -> None:
    _, results, events = finished
    n = 2 * len(results.methods) + 2 * 6
    assert {e.n_total for e in events if e.stage == "fit"} == {n}
    assert (events[-1].n_done, events[-1].n_total) == (n, n)


@pytest.mark.slow
def test_a_second_run_fits_nothing_and_says_the_same(
    finished: tuple[Path, Results, list[Event]], data: Dataset
) -> None:
    out, results, _ = finished
    folders = sorted(p.name for p in (out / "work").iterdir())
    events: list[Event] = []
    again = compare_dataset(data, OPTIONS, out, n_jobs=1, on_event=events.append)
    assert [e.stage for e in events] == ["measure", "done"]
    assert again.learning == results.learning
    assert sorted(p.name for p in (out / "work").iterdir()) == folders


@pytest.mark.slow
def test_without_it_the_same_fits_are_taken(
    finished: tuple[Path, Results, list[Event]], data: Dataset, tmp_path: Path
) -> None:
    out, results, _ = finished
    events: list[Event] = []
    plain = compare_dataset(
        data, OPTIONS.model_copy(update={"curve": False}), out, n_jobs=1, on_event=events.append
    )  # fmt: skip
    assert plain.learning is None
    assert [e.stage for e in events] == ["measure", "done"]
    assert [(s.method, s.value) for s in plain.scores] == [(s.method, s.value) for s in results.scores]


@pytest.mark.slow
def test_where_rows_are_too_few_it_is_told(tmp_path: Path) -> None:
    results = compare(make_product(44), options=OPTIONS, seeds=1, out=tmp_path, n_jobs=1).results
    assert results.learning is None
    assert any("too few for a curve over rows" in note for note in results.dataset.notes)


@pytest.mark.parametrize(("n", "shares"), [(40, 0), (100, 1), (200, 2), (2000, 4)])
def test_shares_hold_enough_rows_to_learn_from(n: int, shares: int) -> None:
    assert len(shares_for(make_product(n), OPTIONS)) == shares
    assert shares_for(make_product(n), CompareOptions()) == ()


def test_a_time_limit_knows_of_them_and_gives_them_up_in_the_end() -> None:
    options = CompareOptions(curve=True, time_limit=600.0, portfolio="none")
    methods = methods_asked(options, ["a", "b"], "binary")[0]
    shares = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
    with_it = expected_seconds(methods, options, "hybrid concat", 60.0, 1, shares)
    without = expected_seconds(methods, options.model_copy(update={"curve": False}), "hybrid concat", 60.0, 1, shares)
    assert len(curve_expected(methods, options, shares)) == 3 * 4 * 3
    assert with_it > without + 3 * 60 * 15 / 16
    made, notes = made_smaller(options, 300.0, 60, lambda o: 1000.0 if o.curve else 100.0)
    assert not made.curve
    assert any("curve False instead of True" in note for note in notes)
