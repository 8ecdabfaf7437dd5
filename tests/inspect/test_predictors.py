"""Networks and classical models can be asked, by any door, and answer what hiding by hand shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_predictors import KINDS, by_door, labelled, predictor, prepared

from profuse.errors import ConfigError
from profuse.inspect.asked import order_by_content
from profuse.inspect.corrupt import corrupt
from profuse.metrics import metric, primary_metric

TASKS = ("multiclass", "regression")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", TASKS)
def test_importance_is_what_hiding_by_hand_shows(kind: str, task: str) -> None:
    asked, ready = predictor(kind, task), prepared(task)
    test = ready.dataset.rows(ready.split.test)
    answer = asked.ask("importance", test, n_resamples=20)
    primary, true = primary_metric(asked.task), ready.true(ready.split.test)
    inputs = asked.encode(test)
    full = primary(true, asked.predict_encoded(inputs))
    assert answer.score == pytest.approx(full, rel=1e-5)
    assert [e.name for e in answer.estimates] == ["note", "table"]
    for e in answer.estimates:
        gone = inputs[e.name].without(torch.ones(len(test), dtype=torch.bool))
        without = primary(true, asked.predict_encoded({**inputs, e.name: gone}))
        assert e.score == pytest.approx(without, rel=1e-5, abs=1e-9)
        assert e.value == pytest.approx(full - without, rel=1e-4, abs=1e-6)
        assert e.low <= e.value <= e.high
    assert any(e.value != 0 for e in answer.estimates) == (kind != "trivial")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("question", ["subsets", "missing", "calibration"])
def test_other_questions_are_answered_too(kind: str, question: str) -> None:
    asked = predictor(kind, "multiclass")
    rows = labelled("multiclass", 60, seed=3)
    if kind == "trivial" and question == "subsets":
        with pytest.raises(ConfigError, match="must use a modality that some row has; it uses"):
            asked.ask(question, rows)
        return
    answer = asked.ask(question, rows, n_resamples=20)
    assert answer.n_rows == 60
    assert all(np.isfinite([e.value, e.low, e.high]).all() for e in answer.estimates)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("question", ["noise", "misaligned"])
def test_noise_and_misaligned_rows_are_asked_of_predictors_of_all_kinds(kind: str, question: str) -> None:
    asked, rows = predictor(kind, "multiclass"), labelled("multiclass", 60, seed=3)
    if kind == "trivial":
        with pytest.raises(ConfigError, match="must use a modality that some row has; it uses"):
            asked.ask(question, rows)
        return
    answer = asked.ask(question, rows, levels=(1.0,), n_resamples=20, metric="log_loss")
    assert [e.modalities for e in answer.estimates] == [("note",), ("table",), ("note", "table")]
    assert answer.estimates[-1].value > 0
    assert all(np.isfinite([e.value, e.low, e.high]).all() for e in answer.estimates)


@pytest.mark.parametrize("kind", ["network", "linear", "portfolio"])
def test_noise_is_what_is_predicted_of_noisy_rows(kind: str) -> None:
    asked = predictor(kind, "multiclass")
    rows = asked.read(labelled("multiclass", 60, seed=3), need_target=True)
    ordered = rows.rows(order_by_content(rows, asked.modalities))
    answer = asked.ask("noise", rows, levels=(0.5,), kinds="mistyped", n_resamples=20, seed=4, metric="log_loss")
    true = asked.codec.encode(np.asarray(ordered.target))
    for e in answer.estimates:
        noisy = corrupt(ordered, e.modalities, 0.5, seed=4, noise="mistyped")
        assert e.score == pytest.approx(metric("log_loss")(true, asked.predict_encoded(asked.encode(noisy))), rel=1e-6)
    for name in asked.modalities:
        one, whole = asked.encode_one(rows, name), asked.encode(rows)[name]
        assert torch.equal(one.present, whole.present)
        assert len(one) == len(whole)


@pytest.mark.parametrize("kind", ["network", "linear"])
def test_every_door_gives_one_answer(kind: str, tmp_path: Path) -> None:
    asked, rows = predictor(kind, "multiclass"), labelled("multiclass", 40, seed=3)
    want = asked.ask("importance", rows)
    assert asked.ask("importance", by_door("path", rows, asked, tmp_path)) == want
    assert asked.ask("importance", asked.read(rows, need_target=True)) == want
    assert (
        asked.ask("importance", rows.sample(frac=1, random_state=0).reset_index(drop=True)).frame().equals(want.frame())
    )
    other = rows.rename(columns={"grade": "mark"})
    assert asked.ask("importance", other, target=["mark"]) == want


def test_rows_without_a_target_are_told() -> None:
    from profuse.errors import DataError

    with pytest.raises(DataError, match="grade"):
        predictor("network", "multiclass").ask("importance", labelled("multiclass").drop(columns="grade"))
