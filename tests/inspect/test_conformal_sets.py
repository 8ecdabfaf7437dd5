"""`Conformal`: sets and intervals of new rows hold what was asked for, and a table says them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_conformal import CLASSES, Drawn, rows
from made_predictors import NETWORKS, PORTFOLIO, inputs, labelled, predictor

from profuse.errors import ConfigError, DataError
from profuse.inspect.conformal import Conformal
from profuse.predictor import load_model


def test_sets_of_new_rows_hold_what_was_asked_for_in_each_pattern() -> None:
    calibrated = Conformal.fit(Drawn(), rows(4000, 0), coverage=0.8)
    new = rows(4000, 1)
    sets, true = calibrated.sets(new), np.asarray(new.target)
    assert sets.shape == (4000, CLASSES)
    for has in (True, False):
        some = new.modalities["a"].present == has
        assert sets[some, true[some]].mean() == pytest.approx(0.8, abs=0.03)
    assert sets[new.modalities["a"].present].sum(1).mean() < sets[~new.modalities["a"].present].sum(1).mean()


def test_intervals_of_new_rows_hold_what_was_asked_for() -> None:
    calibrated = Conformal.fit(Drawn("regression"), rows(4000, 0, "regression"), coverage=0.8)
    new = rows(4000, 1, "regression", lacks_a=1.0)
    low, high = calibrated.intervals(new).T
    assert ((low <= new.target) & (new.target <= high)).mean() == pytest.approx(0.8, abs=0.03)


def test_a_pattern_that_no_calibration_row_has_is_covered_too() -> None:
    calibrated = Conformal.fit(Drawn(), rows(1000, 0, lacks_a=0.0))
    new = rows(4000, 1, lacks_a=1.0)
    sets = calibrated.sets(new)
    assert sets[np.arange(4000), np.asarray(new.target)].mean() == pytest.approx(0.9, abs=0.03)
    blind = Conformal.fit(Drawn(), rows(1000, 0, lacks_a=0.0), by_pattern=False).sets(new)
    assert blind[np.arange(4000), np.asarray(new.target)].mean() < 0.7


def test_the_order_of_calibration_rows_is_irrelevant_where_some_of_them_are_taken() -> None:
    known, new = rows(3000, 0, "regression", lacks_a=0.0), rows(200, 1, "regression", lacks_a=0.5)
    shuffled = known.rows(np.random.default_rng(0).permutation(3000))
    one, other = (Conformal.fit(Drawn("regression"), r).intervals(new) for r in (known, shuffled))
    assert (one == other).all()


def test_a_higher_coverage_has_larger_sets() -> None:
    known, new = rows(3000, 0, lacks_a=0.01), rows(500, 1, lacks_a=0.3)
    small, large = (Conformal.fit(Drawn(), known, coverage=c).sets(new) for c in (0.7, 0.95))
    assert (small <= large).all()
    assert small.sum() < large.sum()


@pytest.mark.parametrize("kind", [*NETWORKS, "linear", PORTFOLIO])
def test_the_table_says_the_sets_and_a_saved_model_the_same(kind: str, tmp_path: Path) -> None:
    asked = predictor(kind, "multiclass")
    known, new = labelled("multiclass", 150, seed=3), inputs(40, seed=4)
    calibrated = Conformal.fit(asked, known)
    frame, sets = calibrated.predict_frame(new), calibrated.sets(new)
    plain = asked.predict_frame(new)
    pd.testing.assert_frame_equal(frame[list(plain)], plain)
    assert list(frame)[len(plain.columns) :] == ["set"]
    for text, row in zip(frame["set"], sets, strict=True):
        assert text.split("|") == [str(c) for c, has in zip(asked.classes, row, strict=True) if has] or not row.any()
    asked.save(tmp_path / "model")
    again = Conformal.fit(load_model(tmp_path / "model"), known)
    assert (again.sets(new) == sets).all()
    assert any("(new rows): " in note for note in frame.attrs["notes"])


@pytest.mark.parametrize(("task", "ends"), [("regression", ["low", "high"]), ("two numbers", None)])
def test_the_table_says_the_ends_of_intervals(task: str, ends: list[str] | None) -> None:
    asked = predictor("linear", task)
    calibrated = Conformal.fit(asked, labelled(task, 150, seed=3))
    new = inputs(40, seed=4)
    frame, intervals = calibrated.predict_frame(new), calibrated.intervals(new)
    names = ends or [f"{t}_{end}" for t in ("price", "weight") for end in ("low", "high")]
    assert list(frame)[-len(names) :] == names
    assert frame[names].to_numpy() == pytest.approx(intervals.reshape(40, -1))
    middle = intervals.mean(-1).reshape(40, -1)
    assert middle == pytest.approx(np.asarray(asked.predict(new)).reshape(40, -1))


def test_the_target_of_calibration_rows_may_be_given() -> None:
    asked, known = predictor("linear", "multiclass"), labelled("multiclass", 150, seed=3)
    calibrated = Conformal.fit(asked, known.drop(columns="grade"), target=known["grade"].to_numpy())
    assert (calibrated.sets(known) == Conformal.fit(asked, known).sets(known)).all()


def test_rows_without_bounds_are_told() -> None:
    calibrated = Conformal.fit(Drawn("regression"), rows(8, 0, "regression"))
    assert np.isinf(calibrated.intervals(rows(5, 1, "regression"))).all()
    found = predictor("linear", "multiclass")
    notes = Conformal.fit(found, labelled("multiclass", 8, seed=3)).predict_frame(inputs(5, seed=4)).attrs["notes"]
    assert "5 rows have sets of all classes" in notes[-1]
    assert "at least 9 rows must calibrate" in notes[-1]


def test_what_cannot_be_said_is_an_error() -> None:
    classes, numbers = (
        Conformal.fit(Drawn(), rows(50, 0)),
        Conformal.fit(Drawn("regression"), rows(50, 0, "regression")),
    )
    with pytest.raises(ConfigError, match="must be numbers; got task='multiclass'. Use sets"):
        classes.intervals(rows(5, 1))
    with pytest.raises(ConfigError, match="must be classes; got task='regression'. Use intervals"):
        numbers.sets(rows(5, 1, "regression"))
    with pytest.raises(ConfigError, match="coverage must be above 0 and below 1; got coverage=1.0"):
        Conformal.fit(Drawn(), rows(50, 0), coverage=1.0)
    with pytest.raises(ConfigError, match="classes or numbers; got task='multilabel'"):
        Conformal.fit(predictor("linear", "multilabel"), labelled("multilabel"))
    with pytest.raises(DataError, match="Conformal: rows must have a target"):
        Conformal.fit(Drawn(), replace(rows(50, 0), target=None))
    joined = Drawn()
    joined.codec.classes = np.array(["a|b", "c", "d", "e"])
    named = replace(rows(50, 0), target=joined.codec.classes[np.asarray(rows(50, 0).target)])
    with pytest.raises(DataError, match=r"classes must not hold '\|'.*got 'a\|b'"):
        Conformal.fit(joined, named).predict_frame(named)
