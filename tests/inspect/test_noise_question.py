"""What `noise` and `misaligned` answer, against a predictor whose formula is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from not_none import not_none

from profuse.data.dataset import Dataset, ModalityData, object_array
from profuse.errors import ConfigError, UnknownNameError
from profuse.inspect import Answer, ask
from profuse.inspect.asked import order_by_content
from profuse.inspect.corrupt import corrupt
from profuse.inspect.noise import Noise
from profuse.metrics import metric
from profuse.testing.question import QuestionSubject

SUBJECT = QuestionSubject(Noise)
PREDICTOR, DATA = SUBJECT.predictor, SUBJECT.dataset
CLEAN = not_none(ask(PREDICTOR, DATA, "importance", metric="log_loss").score)


def values(answer: Answer) -> dict[str, float]:
    return {e.name: e.value for e in answer.estimates}


# -- noise


def test_noise_is_the_one_that_corrupt_makes() -> None:
    answer = ask(PREDICTOR, DATA, "noise", levels=(0.4,), modalities=("a",), seed=5, metric="log_loss")
    ordered = DATA.rows(order_by_content(DATA, PREDICTOR.modalities))
    noisy = PREDICTOR.encode(corrupt(ordered, "a", 0.4, seed=5))
    true = PREDICTOR.codec.encode(not_none(ordered.target))
    (estimate,) = answer.estimates
    assert estimate.score == pytest.approx(metric("log_loss")(true, PREDICTOR.predict_encoded(noisy)))
    assert estimate.value == pytest.approx(not_none(estimate.score) - CLEAN)
    assert answer.residual is None


def test_noise_in_a_modality_that_is_not_used_costs_nothing() -> None:
    answer = ask(PREDICTOR, DATA, "noise", levels=(0.5, 1.0), modalities=["c"], metric="log_loss")
    assert [(e.value, e.low, e.high) for e in answer.estimates] == [(0.0, 0.0, 0.0)] * 2


def test_noise_in_all_is_told_beside_each() -> None:
    answer = ask(PREDICTOR, DATA, "noise", levels=(0.5, 1.0), metric="log_loss")
    loss = values(answer)
    assert list(loss) == [f"{n}, level {p}" for n in ("a", "b", "a + b") for p in ("0.5", "1")]
    assert answer.residual == pytest.approx(loss["a + b, level 1"] - loss["a, level 1"] - loss["b, level 1"])
    assert loss["a, level 1"] > loss["a, level 0.5"] > 0


@pytest.mark.parametrize("question", ["noise", "misaligned"])
def test_what_hiding_a_modality_would_cost_in_place_of_noise_is_told(question: str) -> None:
    answer = ask(PREDICTOR, DATA, question, levels=0.5, metric="log_loss")
    hidden = {
        n: e.value for n, e in zip("ab", ask(PREDICTOR, DATA, "importance", metric="log_loss").estimates, strict=False)
    }
    both = values(ask(PREDICTOR, DATA, "subsets", metric="log_loss"))["a + b"]
    costs = f"a {hidden['a']:.4f}, b {hidden['b']:.4f}, a + b {both:.4f}"
    assert any(note.startswith(f"Hidden altogether they would cost: {costs}.") for note in answer.notes)


def test_each_kind_of_noise_is_asked_for_by_itself() -> None:
    answer = ask(PREDICTOR, DATA, "noise", levels=(0.5, 1.0), kinds=("drift", "mistyped"), metric="log_loss")
    loss = values(answer)
    assert list(loss) == [
        f"{n}, {kind}, level {p}" for kind in ("drift", "mistyped") for n in ("a", "b", "a + b") for p in ("0.5", "1")
    ]
    residuals = [
        loss[f"a + b, {kind}, level 1"] - loss[f"a, {kind}, level 1"] - loss[f"b, {kind}, level 1"]
        for kind in ("drift", "mistyped")
    ]
    assert answer.residual == pytest.approx(np.mean(residuals))
    worst = max(answer.estimates, key=lambda e: e.value)
    assert f"Worst: {worst.name}: log_loss {worst.score:.4f}, {worst.value:.4f} lost." in answer.notes
    one = ask(PREDICTOR, DATA, "noise", levels=(0.5, 1.0), kinds="drift", metric="log_loss")
    assert values(one) == {name: v for name, v in loss.items() if "drift" in name}


def test_a_modality_without_a_kind_of_noise_is_left_out_and_told() -> None:
    words = ModalityData("text", object_array([f"w{i % 7}" for i in range(len(DATA))]), np.ones(len(DATA), dtype=bool))
    with_words = replace(DATA, modalities={**DATA.modalities, "w": words})

    class Reads(type(PREDICTOR)):  # type: ignore[misc]
        def encode(self, dataset: Dataset, kept: Any = None) -> dict[str, Any]:
            encoded = super().encode(replace(dataset, modalities={n: dataset.modalities[n] for n in "abc"}))
            return {**encoded, "w": encoded["c"]}

    reader = Reads(PREDICTOR.pipeline, PREDICTOR.codec)
    reader.modalities = ("a", "b", "w")
    answer = ask(reader, with_words, "noise", kinds=["drift"], levels=[1.0])
    assert {e.modalities for e in answer.estimates} == {("a",), ("b",), ("a", "b")}
    assert any("'w' (text) has no noise called drift: left out there." in note for note in answer.notes)
    with pytest.raises(
        ConfigError, match=r"a modality must have the noise asked for; got kinds='drift'. 'w' has usual, m"
    ):
        ask(reader, with_words, "noise", kinds=["drift"], modalities=["w"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"kinds": "drfit"},
            UnknownNameError,
            r"got kinds='drfit'. Did you mean 'drift' \(of table, audio, series, vector\)",
        ),
        ({"kinds": ["blur"]}, ConfigError, r"got kinds='blur'. 'a' has usual, white, shuffled, drift, scale, mistyped"),
        ({"kinds": ["drift", "drift"]}, ConfigError, "each once; got kinds=\\['drift', 'drift'\\]"),
        ({"kinds": []}, ConfigError, "names of noise, each once; got kinds="),
        ({"modalities": ["z"]}, UnknownNameError, "noise: modality must be a known name; got modality='z'"),
    ],
)
def test_wrong_noise_is_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(PREDICTOR, DATA, "noise", **options)


def test_noise_that_changes_nothing_is_told() -> None:
    constant = replace(DATA.modalities["a"], values=np.ones_like(DATA.modalities["a"].values))
    rows = replace(DATA, modalities={**DATA.modalities, "a": constant})
    notes = ask(PREDICTOR, rows, "noise", kinds=["white", "mistyped"], levels=0.5, metric="log_loss").notes
    assert [note.partition(":")[0] for note in notes if "changes nothing" in note] == ["'white' changes nothing in 'a'"]


# -- misaligned


def test_misaligned_rows_have_the_modality_of_others_and_only_of_those_that_have_it() -> None:
    met: list[dict[str, Any]] = []

    class Recorder(type(PREDICTOR)):  # type: ignore[misc]
        def predict_encoded(self, inputs: Any, rows: Any = None) -> np.ndarray:
            met.append(dict(inputs))
            return np.asarray(super().predict_encoded(inputs, rows))

    answer = ask(Recorder(PREDICTOR.pipeline, PREDICTOR.codec), DATA, "misaligned", levels=(0.4, 1.0), seed=2)
    assert [e.name for e in answer.estimates] == [f"{n}, level {p}" for n in ("a", "b", "a + b") for p in ("0.4", "1")]
    clean, low, _, both, high, *_ = met
    moved = []
    for noisy in (low, high, both):
        assert noisy["c"] is clean["c"]
        assert torch.equal(noisy["a"].present, clean["a"].present)
        assert torch.equal(noisy["a"].values[~clean["a"].present], clean["a"].values[~clean["a"].present])
        there = clean["a"].present
        assert sorted(noisy["a"].values[there, 0].tolist()) == sorted(clean["a"].values[there, 0].tolist())
        moved.append((noisy["a"].values != clean["a"].values).any(1))
    assert torch.equal(low["b"].values, clean["b"].values)
    assert not torch.equal(both["b"].values, clean["b"].values)
    assert not (moved[0] & ~moved[1]).any()
    assert 0.2 < float(moved[0].double().mean()) < 0.5 < float(moved[1].double().mean())


def test_misaligned_costs_what_the_formula_says() -> None:
    answer = ask(PREDICTOR, DATA, "misaligned", levels=(0.5, 1.0), metric="log_loss")
    loss = values(answer)
    assert 0 < loss["a, level 0.5"] < loss["a, level 1"]
    assert answer.residual == pytest.approx(loss["a + b, level 1"] - loss["a, level 1"] - loss["b, level 1"])
    assert answer.score == pytest.approx(CLEAN)
    unused = ask(PREDICTOR, DATA, "misaligned", modalities="c", metric="log_loss")
    assert {(e.value, e.low, e.high) for e in unused.estimates} == {(0.0, 0.0, 0.0)}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"what": "time"}, ConfigError, r"must have a time.*got what='time' and 'a' \(vector\), 'b' \(vector\)"),
        ({"what": "space"}, ConfigError, "'rows' or 'time'; got 'space'"),
        ({"levels": [0.5, 0.2]}, ConfigError, "misaligned: levels must be from 0 to 1, ascending"),
        ({"modalities": "z"}, UnknownNameError, "misaligned: modality must be a known name"),
    ],
)
def test_wrong_misalignment_is_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(PREDICTOR, DATA, "misaligned", **options)
