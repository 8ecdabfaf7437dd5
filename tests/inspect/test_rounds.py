"""Round by round: predictions, states and probes are those of the rounds; what feedback brings is seen where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made_predictors import data, predictor

from profuse.data.split import Split
from profuse.data.tensors import from_tensors
from profuse.inspect import ask
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions


def progressive(task: str = "multiclass", **options: Any) -> tuple[NetworkPredictor, Any]:
    rows = data(task)[0]
    at = np.arange(len(rows))
    ready = Prepared.make(rows, Split(at[:90], at[90:120], at[120:]))
    made = fit_model(ready, ModelOptions(width=8, **{"rounds": 3, **options}), TrainOptions(epochs=2))
    assert isinstance(made, NetworkPredictor)
    return made, rows


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["concat", "token_transformer", "stagewise", "bottleneck"])
@pytest.mark.parametrize("members", [1, 2])
def test_the_last_round_is_the_prediction_and_its_state_the_fused_vector(fusion: str, members: int) -> None:
    model, rows = progressive(fusion=fusion, members=members)
    inputs = model.encode(rows)
    said, states = model.predict_encoded_rounds(inputs), model.states_by_round(inputs)
    assert said.shape == (3, len(rows), 3)
    np.testing.assert_allclose(said[-1], model.predict_encoded(inputs), atol=1e-6)
    assert {len(s) for s in states.values()} == {3}
    assert {*states} == {"", "note", "table"}
    np.testing.assert_allclose(states[""][-1], model.representation(inputs), atol=1e-6)
    first = fit_like_plain(model, rows)
    np.testing.assert_allclose(states[""][0], first, atol=1e-6)


def fit_like_plain(model: NetworkPredictor, rows: Any) -> np.ndarray:
    """Returns the fused vector of the same model, run for one round."""
    rounds = model.model.rounds
    model.model.rounds = 1
    try:
        return model.representation(model.encode(rows))
    finally:
        model.model.rounds = rounds


@pytest.mark.slow
def test_a_model_without_rounds_has_one() -> None:
    rows = data("multiclass")[0]
    for kind in ("network", "linear", "portfolio"):
        model = predictor(kind, "multiclass")
        inputs = model.encode(rows)
        np.testing.assert_allclose(model.predict_encoded_rounds(inputs), model.predict_encoded(inputs)[None])
        answer = ask(model, rows, "rounds", n_resamples=20)
        assert not [e for e in answer.estimates if "round 2" in e.name]
        assert any("one round" in note for note in answer.notes)
        assert any("probed in a network" in note for note in answer.notes) == (kind != "network")


def test_scores_are_those_of_rounds_and_steps_add_up() -> None:
    model, rows = progressive(fusion="concat", members=1)
    answer = ask(model, rows, "rounds", metric="accuracy", n_resamples=20)
    said, true = model.predict_encoded_rounds(model.encode(rows)), model.codec.encode(np.asarray(rows.target))
    wanted = [float((p.argmax(1) == true).mean()) for p in said]
    assert answer.details["scores"] == pytest.approx(wanted)
    of = {e.name: e for e in answer.estimates}
    assert of["round 3"].value == pytest.approx(wanted[2] - wanted[0])
    assert answer.residual == pytest.approx(0.0, abs=1e-9)
    assert answer.details["settled"][-1] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"task": "regression"}, {"task": "multilabel"}, {"rounds": "equilibrium"}])
def test_other_targets_and_equilibrium_are_answered(options: dict[str, Any]) -> None:
    model, rows = progressive(**{"fusion": "concat", "members": 1, **options})
    answer = ask(model, rows, "rounds", n_resamples=20)
    assert answer.score == pytest.approx(answer.details["scores"][-1])
    probed = any("probe" in e.name for e in answer.estimates)
    assert probed == (options.get("task") != "multilabel")


def test_a_probe_is_held_against_one_answer_for_all_rows() -> None:
    rows = data("binary")[0]
    answer = ask(predictor("network", "binary"), rows, "rounds", metric="auroc", n_resamples=20)
    probes = [e for e in answer.estimates if "probe" in e.name]
    assert probes
    for probe in probes:  # not against answers that differ from fold to fold, which rank rows wrongly
        assert probe.score is not None
        assert probe.value == pytest.approx(probe.score - 0.5)


def test_probes_can_be_left_out() -> None:
    answer = ask(predictor("progressive network", "multiclass"), data("multiclass")[0], "rounds", probes=False)
    assert not [e for e in answer.estimates if "probe" in e.name]


@pytest.mark.slow
def test_what_is_fed_back_is_seen_by_the_probe_of_the_branch_that_needs_it() -> None:
    """A vector names which of 4 numbers counts; 2 channels cannot hand on all of them, so feedback must tell which."""
    rng = np.random.default_rng(0)
    n = 1_000
    items, which = rng.normal(size=(n, 4)).astype(np.float32), rng.integers(0, 4, n)
    given = {"items": items, "pointer": np.eye(4, dtype=np.float32)[which]}
    rows = from_tensors(given, items[np.arange(n), which])
    at = np.arange(n)
    ready = Prepared.make(rows, Split(at[:666], at[666:800], at[800:]))
    options = ModelOptions(fusion="concat", level="feature", width=32, members=1, rounds=2, encoders={"items": "mlp"})
    model = fit_model(ready, options, TrainOptions(epochs=30, batch_size=128, learning_rate=1e-2))
    answer = ask(model, rows.rows(at[800:]), "rounds", n_resamples=50)
    of = {e.name: e for e in answer.estimates}
    assert of["round 2"].low > 0.05
    assert of["items: probe, round 2"].low > 0.05
    assert answer.details["settled"][0] < 0.5
