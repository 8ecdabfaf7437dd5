"""What questions answer, against a predictor whose formula is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from not_none import not_none

from profuse.data.dataset import Dataset, ModalityData
from profuse.errors import ConfigError, DataError, UnknownNameError
from profuse.inspect import Answer, ask
from profuse.inspect.asked import hide, order_by_content
from profuse.inspect.importance import Importance
from profuse.inspect.subsets import subsets
from profuse.metrics import metric
from profuse.testing.question import QuestionSubject

SUBJECT = QuestionSubject(Importance)
PREDICTOR, DATA = SUBJECT.predictor, SUBJECT.dataset


def by_hand(name: str = "accuracy", *, a: bool = True, b: bool = True) -> float:
    """The score of the formula where `a` and `b` stand for whether they are seen."""
    inputs = PREDICTOR.encode(DATA)
    logit = sum(
        seen * slope * np.where(inputs[n].present.numpy(), inputs[n].values[:, 0].double().numpy(), 0.0)
        for n, slope, seen in (("a", 2.0, a), ("b", 1.0, b))
    )
    p = 1 / (1 + np.exp(-np.asarray(logit)))
    return metric(name)(PREDICTOR.codec.encode(not_none(DATA.target)), np.stack([1 - p, p], axis=1))


def values(answer: Answer) -> dict[str, float]:
    return {e.name: e.value for e in answer.estimates}


# -- hiding


def test_a_hidden_modality_is_missing_from_every_row_and_the_others_stay() -> None:
    inputs = PREDICTOR.encode(DATA)
    hidden = hide(inputs, ["b"])
    assert not hidden["b"].present.any()
    assert hidden["a"] is inputs["a"]
    assert hidden["c"] is inputs["c"]
    assert inputs["b"].present.any()


# -- importance


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "auroc", "macro_f1"])
def test_importance_is_the_score_less_the_one_without(name: str) -> None:
    sign = -1 if name == "log_loss" else 1
    answer = ask(PREDICTOR, DATA, "importance", metric=name)
    full, none = by_hand(name), by_hand(name, a=False, b=False)
    without = {"a": by_hand(name, a=False), "b": by_hand(name, b=False), "c": full}
    assert values(answer) == pytest.approx({n: sign * (full - s) for n, s in without.items()})
    assert {e.name: e.score for e in answer.estimates} == pytest.approx(without)
    assert answer.score == pytest.approx(full)
    assert answer.residual == pytest.approx(sign * ((full - none) - sum(full - s for s in without.values())))
    assert values(answer)["a"] > values(answer)["b"] > 0  # what helps is above 0, whatever the direction


def test_a_modality_that_no_row_has_is_not_said_to_be_worth_nothing() -> None:
    data = DATA.modalities["b"]
    gone = replace(DATA, modalities={**DATA.modalities, "b": replace(data, present=np.zeros(len(DATA), dtype=bool))})
    answer = ask(PREDICTOR, gone, "importance")
    assert set(values(answer)) == {"a", "c"}
    assert any("No row has 'b'" in note for note in answer.notes)


def test_groups_of_rows_widen_the_intervals() -> None:
    rows = np.repeat(np.arange(80), 9)
    many = replace(DATA.rows(rows), groups=rows, ids=None)
    alone = ask(PREDICTOR, replace(many, groups=None), "importance").estimates[0]
    tied = ask(PREDICTOR, many, "importance").estimates[0]
    assert tied.value == pytest.approx(alone.value)
    assert tied.high - tied.low == pytest.approx(3 * (alone.high - alone.low), rel=0.25)


# -- subsets


def test_subsets_are_all_of_a_few_and_the_telling_ones_of_many() -> None:
    assert subsets(["a"]) == [("a",)]
    assert subsets(["a", "b"]) == [("a",), ("b",), ("a", "b")]
    assert len(set(subsets("abcdef"))) == 63
    many = subsets("abcdefgh")
    assert sorted(map(len, many)) == [1] * 8 + [7] * 8 + [8]
    assert len(set(many)) == 17


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_subsets_gain_over_nothing(name: str) -> None:
    sign = -1 if name == "log_loss" else 1
    answer = ask(PREDICTOR, DATA, "subsets", metric=name)
    full, none = by_hand(name), by_hand(name, a=False, b=False)
    scores = {"a": by_hand(name, b=False), "b": by_hand(name, a=False), "a + b": full}
    assert {e.name: e.score for e in answer.estimates} == pytest.approx(scores)
    assert values(answer) == pytest.approx({n: sign * (s - none) for n, s in scores.items()})
    assert answer.residual == pytest.approx(sign * (full - scores["a"] - scores["b"] + none))


# -- missing


def test_what_is_missing_costs_more_at_a_higher_rate_and_the_reached_rates_are_told() -> None:
    answer = ask(PREDICTOR, DATA, "missing", rates=(0.05, 0.3, 0.6), metric="log_loss")
    loss = values(answer)
    assert loss["rate 0.05"] == 0.0  # a tenth is missing already: nothing more is removed
    assert 0.03 < loss["rate 0.3"] < loss["rate 0.6"]
    reached = [e.at for e in answer.estimates]
    present = np.stack([m.present for m in DATA.modalities.values()])
    assert reached[0] == pytest.approx(1 - present.mean(), abs=1e-3)
    assert reached[1:] == pytest.approx([0.3, 0.6], abs=0.05)


def test_another_seed_removes_others() -> None:
    one, same, other = (values(ask(PREDICTOR, DATA, "missing", seed=s, metric="log_loss")) for s in (0, 0, 1))
    assert one == same
    assert one != other


def test_all_predictors_meet_the_same_missing_rows() -> None:
    class Recorder(type(PREDICTOR)):  # type: ignore[misc]
        def predict_encoded(self, inputs: Any, rows: Any = None) -> np.ndarray:
            met.append({n: inputs[n].present.numpy() for n in "abc"})
            return np.asarray(super().predict_encoded(inputs, rows))

    seen: list[list[dict[str, np.ndarray]]] = []
    for slopes in ({"a": 2.0, "b": 1.0}, {"a": -1.0, "b": 0.0}):
        met: list[dict[str, np.ndarray]] = []
        recorder = Recorder(PREDICTOR.pipeline, PREDICTOR.codec)
        recorder.slopes = slopes
        ask(recorder, DATA, "missing", rates=(0.3, 0.5))
        seen.append(met)
    for one, other in zip(*seen, strict=True):
        for name in "abc":
            np.testing.assert_array_equal(one[name], other[name])
    assert [int(m["a"].sum() + m["b"].sum() + m["c"].sum()) for m in seen[0]] == sorted(
        (int(m["a"].sum() + m["b"].sum() + m["c"].sum()) for m in seen[0]), reverse=True
    )


# -- calibration


def probabilities_said(shift: float, n_rows: int = 4000) -> Answer:
    """A predictor that says `p + shift` of what happens with probability p."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 0.8, n_rows)
    happens = np.where(rng.random(n_rows) < p, "yes", "no").astype(object)
    data = replace(DATA.rows(np.zeros(n_rows, dtype=int)), target=happens, ids=None)
    values = np.stack([p, p], axis=1)
    data = replace(data, modalities={**data.modalities, "c": replace(data.modalities["c"], values=values)})

    class Says(type(PREDICTOR)):  # type: ignore[misc]
        def predict_encoded(self, inputs: Any, rows: Any = None) -> np.ndarray:
            prep = self.pipeline.preprocessors["c"]
            said = inputs["c"].values[:, 0].double().numpy() * prep._std[0] + prep._mean[0] + shift
            return np.stack([1 - said, said], axis=1)

    data = replace(
        data,
        modalities={
            n: replace(m, present=np.ones(n_rows, dtype=bool)) if n == "c" else m for n, m in data.modalities.items()
        },
    )
    return ask(Says(PREDICTOR.pipeline, PREDICTOR.codec), data, "calibration")


def test_a_calibrated_predictor_has_the_error_of_its_rows_and_no_more() -> None:
    answer = probabilities_said(0.0)
    error, chance = answer.estimates
    assert chance.low <= error.value <= chance.high
    assert abs(answer.residual or 0.0) < 0.015
    assert 0.005 < chance.value < 0.04


def test_a_predictor_that_is_too_sure_is_shown_to_be() -> None:
    answer = probabilities_said(0.15)
    error, chance = answer.estimates
    assert error.value == pytest.approx(0.15, abs=0.02)
    assert error.low > chance.high
    assert answer.residual == pytest.approx(error.value - chance.value)
    assert error.high - error.low == pytest.approx(2 * 1.96 * np.sqrt(0.65 * 0.35 / 4000), rel=0.15)


# -- asking


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ask(PREDICTOR, DATA, "importence"), UnknownNameError, "got question='importence'. Did you mean 'imp"),
        (lambda: ask(PREDICTOR, DATA, "importance", metric="r2"), UnknownNameError, "importance: metric must be a kno"),
        (lambda: ask(PREDICTOR, DATA, "missing", rate=0.1), ConfigError, "missing has the options rates, .*got 'rate'"),
        (lambda: ask(PREDICTOR, DATA, "missing", rates="0.1"), ConfigError, "rates of missing should be"),
        (lambda: ask(PREDICTOR, DATA, "missing", rates=(1.0,)), ConfigError, r"from 0 to below 1.*rates=\[1.0\]"),
        (lambda: ask(PREDICTOR, DATA, "missing", rates=(0.1, 0.1)), ConfigError, "each once"),
        (lambda: ask(PREDICTOR, DATA, "noise", levels=(0.5, 0.2)), ConfigError, "ascending; got levels="),
        (lambda: ask(PREDICTOR, DATA, "noise", levels=()), ConfigError, r"got levels=\[\]"),
        (lambda: ask(PREDICTOR, DATA, "noise", modalities=["d"]), UnknownNameError, "noise: modality must be a known"),
        (lambda: ask(PREDICTOR, DATA, "calibration", metric="auroc"), ConfigError, "metric must be 'ece'"),
        (lambda: ask(PREDICTOR, DATA, "importance", seed=-1), ConfigError, "seed must be at least 0.*got seed=-1"),
        (lambda: ask(PREDICTOR, DATA, "importance", n_resamples=3), ConfigError, "n_resamples at least 20"),
        (lambda: ask(PREDICTOR, replace(DATA, target=None), "importance"), DataError, "ask: rows must have a target"),
    ],
)
def test_what_cannot_be_asked_is_told(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_question_with_options_of_its_own_can_be_asked() -> None:
    assert ask(PREDICTOR, DATA, Importance(metric="auroc")) == ask(PREDICTOR, DATA, "importance", metric="auroc")


def test_a_question_given_as_an_object_takes_no_more_options() -> None:
    with pytest.raises(ConfigError, match="options must be given to the question itself; got metric"):
        ask(PREDICTOR, DATA, Importance(), metric="auroc")


def test_the_predictor_itself_can_be_asked() -> None:
    assert PREDICTOR.ask("subsets", DATA, seed=3) == ask(PREDICTOR, DATA, "subsets", seed=3)


def test_an_answer_is_a_frame_json_and_a_text() -> None:
    import json

    answer = ask(PREDICTOR, DATA, "importance")
    frame = answer.frame()
    assert list(frame["name"]) == ["a", "b", "c"]
    assert list(frame.columns) == ["name", "value", "low", "high", "n", "score", "modalities", "at"]
    read = json.loads(answer.to_json())
    assert read["estimates"][0]["value"] == answer.estimates[0].value
    assert read["residual"] == answer.residual
    assert f"residual: {read['residual']:.4f}" in repr(answer)
    assert json.loads(replace(answer, residual=float("inf")).to_json())["residual"] is None


@pytest.mark.parametrize("kind", ["vector", "table", "text", "image"])
def test_rows_of_any_kind_have_an_order_of_their_own(kind: str) -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    n = 30
    held: Any = {
        "vector": rng.normal(size=(n, 3)),
        "table": pd.DataFrame({"x": rng.normal(size=n), "c": rng.choice(np.array(["p", "q", None], dtype=object), n)}),
        "text": np.array([f"word {i}" for i in rng.permutation(n)], dtype=object),
        "image": rng.integers(0, 255, size=(n, 4, 4, 3)).astype(np.uint8),
    }[kind]
    present = rng.random(n) < 0.8

    data = Dataset("x", {"m": ModalityData(kind, held, present)}, rng.normal(size=n), "regression")
    shuffled = rng.permutation(n)
    one, other = data, data.rows(shuffled)
    first = one.rows(order_by_content(one, ["m"]))
    second = other.rows(order_by_content(other, ["m"]))
    assert first.digest() == second.digest()
    assert first.digest() != one.digest()
    assert bool((torch.as_tensor(first.target) != torch.as_tensor(one.target)).any())


def test_two_classes_are_measured_by_auroc_unless_a_metric_is_named() -> None:
    assert ask(PREDICTOR, DATA, "importance").metric == "auroc"
    assert ask(PREDICTOR, DATA, "importance", metric="accuracy").metric == "accuracy"


def test_targets_that_are_integers_or_floats_give_one_answer() -> None:
    target = np.arange(len(DATA)) % 7
    # rows that hold the same are told apart by their targets alone
    same = {n: replace(m, values=np.zeros_like(m.values)) for n, m in DATA.modalities.items()}
    whole, real = (replace(DATA, modalities=same, target=target.astype(kind)) for kind in (np.int64, np.float64))
    orders = [order_by_content(rows, PREDICTOR.modalities) for rows in (whole, real)]
    assert orders[0].tolist() == orders[1].tolist()
