"""What finished fits leave in the results: whose rows, in which groups, and what was taken for what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known_answers import make_product

from profuse.comparison.engine import _add, _confusion, _residuals
from profuse.comparison.jobs import JobResult
from profuse.comparison.methods import Method, methods_for
from profuse.comparison.results import DatasetFacts, Machine, Results
from profuse.comparison.running import Run
from profuse.data.dataset import Dataset
from profuse.data.time_blocks import time_blocks
from profuse.models.options import ModelOptions

ROWS = {0: [7, 3, 30, 21], 2: [1, 39, 8, 12]}
TRUE = {0: [0, 0, 1, 1], 2: [0, 0, 0, 1]}
SAID = {0: [0, 1, 1, 1], 2: [0, 1, 1, 0]}


def concat() -> Method:
    methods, _ = methods_for(["a", "b"], (), rounds=(), base=ModelOptions(), task="multiclass")
    return next(m for m in methods if m.name == "concat")


def fit(seed: int) -> JobResult:
    facts = {
        "method": "concat", "seed": seed, "threads": 1, "run": "r", "jobs": 1, "n_parameters": 5, "fit_seconds": 1.0,
        "predict_rows_per_second": 2.0, "n_rows": {"train": 20, "valid": 8, "test": 4}, "test_rows": ROWS[seed],
        "scores": {"valid": {"accuracy": 0.5 + seed}, "test": {"accuracy": 0.25 + seed}}, "curves": [],
        "ablation": [{"modality": m, "metric": "accuracy", "full": 1.0, "without": 0.5} for m in ("a", "b")],
    }  # fmt: skip
    return JobResult(facts, np.eye(2)[SAID[seed]] * 0.8 + 0.1, np.array(TRUE[seed]))


def collected(dataset: Dataset) -> Results:
    run = Run([concat()], [], Path("work"), Path("scratch"))
    run.found["concat"] = {2: fit(2), 0: fit(0)}
    construct: Any = DatasetFacts.model_construct  # without what is not asked here
    facts = construct(name="x", task="binary", classes=["other", "same"])
    results = Results(dataset=facts, machine=Machine.here())
    _add(results, run, concat(), dataset)
    return results


def test_scores_of_rows_stand_under_their_seed_and_row() -> None:
    results = collected(make_product(40))
    assert {seed: rows.ids.tolist() for seed, rows in results.rows.items()} == {
        seed: [str(row) for row in rows] if results.rows[seed].ids.dtype.kind in "UO" else rows
        for seed, rows in ROWS.items()
    }
    for seed, rows in results.rows.items():
        assert rows.scores["concat"].tolist() == [float(t == s) for t, s in zip(TRUE[seed], SAID[seed], strict=True)]
    scores = {(s.seed, s.split): (s.value, s.n_rows) for s in results.scores}
    assert scores == {(0, "valid"): (0.5, 8), (0, "test"): (0.25, 4), (2, "valid"): (2.5, 8), (2, "test"): (2.25, 4)}


def test_the_groups_of_rows_are_those_of_the_data_and_of_times_blocks() -> None:
    data = make_product(40)
    groups, times = np.array([f"g{i % 6}" for i in range(40)], dtype=object), np.arange(40.0)[::-1].copy()
    of_groups, of_both = collected(replace(data, groups=groups)), collected(replace(data, groups=groups, times=times))
    of_times = collected(replace(data, times=times))
    for seed, rows in ROWS.items():
        assert collected(data).rows[seed].groups is None
        for results in (of_groups, of_both):
            found = results.rows[seed].groups
            assert found is not None
            assert found.tolist() == groups[rows].tolist()
        blocks = of_times.rows[seed].groups
        assert blocks is not None
        assert blocks.astype(str).tolist() == time_blocks(times[rows]).astype(str).tolist()


def test_a_modality_that_no_test_row_has_has_no_ablation() -> None:
    data = make_product(40)
    present = ~np.isin(np.arange(40), ROWS[2])
    data = replace(data, modalities={**data.modalities, "b": replace(data.modalities["b"], present=present)})
    assert [(a.seed, a.modality) for a in collected(data).ablation] == [(0, "a"), (0, "b"), (2, "a")]


def test_confusions_are_counted_by_the_true_class_first_over_all_seeds() -> None:
    assert _confusion([fit(0), fit(2)], 2) == [[2, 3], [1, 2]]
    (told,) = collected(make_product(40)).confusion
    assert told.counts == [[2, 3], [1, 2]]


@pytest.mark.parametrize("n_targets", [1, 2])
def test_residuals_are_of_the_first_target_row_by_row(n_targets: int) -> None:
    true = np.arange(60.0).reshape(30, 2)[:, :n_targets]
    job = JobResult({}, true + 0.5, true)
    told = _residuals("concat", [job, job], "price", n=25)
    assert (told.method, told.target, len(told.true)) == ("concat", "price", 25)
    assert set(told.true) <= set(true[:, 0])
    assert np.subtract(told.predicted, told.true).tolist() == [0.5] * 25
