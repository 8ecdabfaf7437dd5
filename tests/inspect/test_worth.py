"""What a modality is worth to rows that lack it: against worlds in which that is known, with gaps that hang on rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.pipeline import Pipeline
from profuse.data.target import TargetCodec
from profuse.errors import ConfigError, UnknownNameError
from profuse.inspect import ask
from profuse.inspect.worth import Worth
from profuse.predictor import Predictor
from profuse.predictor.saving import PartStore
from profuse.schema import Task
from profuse.tokens import Raw

SURE, VAGUE, OTHER = 0.95, 0.5, 0.8
"""P(a = y) where a is sure and where it is vague; P(b = y)."""


class Bayes(Predictor):
    """The posterior of y in a world where a holds a sign and whether it is sure, b a sign; y is 0 or 1 alike."""

    def __init__(self, data: Dataset, regression: bool = False) -> None:
        self.pipeline = Pipeline.fit(data, np.arange(len(data)))
        self.codec = TargetCodec.fit(np.asarray(data.target), data.task)
        self.modalities, self.schema, self.source = ("a", "b"), None, ""
        self.regression = regression
        self.n_calls = 0

    n_parameters = 0

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
        return {
            name: Raw(Tensor(np.asarray(data.values, dtype=np.float32)), Tensor(data.present) > 0)
            for name, data in dataset.modalities.items()
        }

    def predict_encoded(self, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
        self.n_calls += 1
        a, b = inputs["a"], inputs["b"]
        known_a, known_b = a.present.numpy(), b.present.numpy()
        if self.regression:
            x = a.values[:, 0].double().numpy() * known_a + b.values[:, 0].double().numpy() * known_b
            return np.asarray(x[:, None] if rows is None else x[rows, None])
        p = np.where(a.values[:, 1].numpy() > 0, SURE, VAGUE)
        logit = np.log(p / (1 - p)) * a.values[:, 0].double().numpy() * known_a
        logit += np.log(OTHER / (1 - OTHER)) * b.values[:, 0].double().numpy() * known_b
        second = 1 / (1 + np.exp(-logit))
        made = np.stack([1 - second, second], axis=1)
        return made if rows is None else made[rows]

    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        raise NotImplementedError


def world(n: int = 4_000, seed: int = 0, *, gaps: str = "vague", task: Task = "binary") -> Dataset:
    """Rows in which b is lacking: of most vague ones and few sure ones, of some at random, or of none."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        a, b = rng.normal(size=(n, 1)), 0.5 * rng.normal(size=(n, 1))
        values = {"a": np.concatenate([a, a], axis=1), "b": b}
        target: np.ndarray = (a + b + 0.1 * rng.normal(size=(n, 1)))[:, 0]
        sure = np.ones(n, dtype=bool)
    else:
        y, sure = rng.integers(0, 2, n), rng.random(n) < 0.5
        sign = 2 * y - 1.0
        a = np.where(rng.random(n) < np.where(sure, SURE, VAGUE), sign, -sign)
        b = np.where(rng.random(n) < OTHER, sign, -sign)
        values, target = {"a": np.stack([a, sure], axis=1), "b": b[:, None]}, y
    rate = {"vague": np.where(sure, 0.1, 0.8), "random": np.full(n, 0.3), "none": np.zeros(n)}[gaps]
    there = {"a": np.ones(n, dtype=bool), "b": rng.random(n) >= rate}
    modalities = {k: ModalityData("vector", v, there[k]) for k, v in values.items()}
    return Dataset("world", modalities, target, task)


def entropy(p: float) -> float:
    return float(-p * np.log(p) - (1 - p) * np.log(1 - p))


def gain_of_b(p: float) -> float:
    """I(y; b) in nats where P(y = 1) is p: by Bayes' rule over both values of b."""
    result = entropy(p)
    for q in (OTHER, 1 - OTHER):
        seen = p * q + (1 - p) * (1 - q)
        result -= seen * entropy(p * q / seen)
    return result


def test_it_is_the_information_that_the_lacking_rows_would_have_got() -> None:
    """Where vague rows lack b most often, it is worth more to them than to the rows that have it."""
    data = world()
    answer = ask(Bayes(data), data, "worth", modalities=["b"])
    (b,) = answer.estimates
    sure = np.asarray(data.modalities["a"].values)[~data.modalities["b"].present, 1] > 0
    truth = np.where(sure, gain_of_b(SURE), gain_of_b(VAGUE)).mean()
    assert b.low < truth < b.high
    assert b.value == pytest.approx(truth, abs=0.02)
    assert b.n == len(sure)
    of_those_that_have_it = np.where(
        np.asarray(data.modalities["a"].values)[data.modalities["b"].present, 1] > 0, gain_of_b(SURE), gain_of_b(VAGUE)
    ).mean()
    assert of_those_that_have_it < b.low - 0.03


@pytest.mark.slow
def test_the_interval_holds_in_most_worlds() -> None:
    hits = []
    for seed in range(60):
        data = world(600, seed)
        (b,) = ask(Bayes(data), data, "worth", modalities=["b"], seed=seed).estimates
        sure = np.asarray(data.modalities["a"].values)[~data.modalities["b"].present, 1] > 0
        hits.append(b.low < np.where(sure, gain_of_b(SURE), gain_of_b(VAGUE)).mean() < b.high)
    assert np.mean(hits) > 0.8  # 89 of 100: sixty rows tell of most that lack it


@pytest.mark.slow
def test_where_no_row_lacks_it_it_is_what_hiding_it_costs_all_rows() -> None:
    data = world(gaps="none")
    answer = ask(Bayes(data), data, "worth")
    losses = {e.name: e.value for e in ask(Bayes(data), data, "importance", metric="log_loss").estimates}
    assert {e.name: e.value for e in answer.estimates} == pytest.approx(losses)
    assert [e.value for e in answer.estimates] == sorted((e.value for e in answer.estimates), reverse=True)
    assert sum("No row lacks" in note for note in answer.notes) == 2


def test_rows_of_one_group_are_told_to_be_drawn_together() -> None:
    data = world(200)
    grouped = replace(data, groups=np.arange(200) // 4)
    for rows, told in ((data, "200 rows"), (grouped, "50 groups of rows")):
        assert any(f"samples of {told}." in note for note in ask(Bayes(data), rows, "worth").notes)


def test_rows_are_told_apart() -> None:
    data, new = world(), world(500, seed=5)
    bare = Dataset(new.name, new.modalities, None, "binary")
    frame = Worth().rows(Bayes(data), data, bare)
    lacking = ~new.modalities["b"].present
    values = frame["worth of b"].to_numpy()
    assert np.array_equal(np.isnan(values), ~lacking)
    assert frame["worth of a"].isna().all()
    sure = np.asarray(new.modalities["a"].values)[:, 1] > 0
    assert values[lacking & ~sure].min() > values[lacking & sure].max()
    assert values[lacking & ~sure].mean() == pytest.approx(gain_of_b(VAGUE), abs=0.02)
    assert values[lacking & sure].mean() == pytest.approx(gain_of_b(SURE), abs=0.02)


def test_of_numbers_it_is_the_squared_error_that_would_be_saved() -> None:
    data = world(gaps="random", task="regression")
    (b,) = ask(Bayes(data, regression=True), data, "worth", modalities="b").estimates
    assert b.value == pytest.approx(0.25, abs=0.03)
    assert b.low < 0.25 < b.high


@pytest.mark.slow
def test_a_mean_of_rows_by_another_score() -> None:
    data = world(gaps="none")
    by_name = {e.name: e.value for e in ask(Bayes(data), data, "worth", metric="accuracy").estimates}
    losses = {e.name: e.value for e in ask(Bayes(data), data, "importance", metric="accuracy").estimates}
    assert by_name == pytest.approx(losses)
    with pytest.raises(ConfigError, match="worth: the metric must be a mean over rows.*'auroc'"):
        ask(Bayes(data), data, "worth", metric="auroc")


def test_what_cannot_be_said_is_told() -> None:
    data = world(60)
    there = np.arange(60) < 10
    few = Dataset(
        "few",
        {**data.modalities, "b": ModalityData("vector", data.modalities["b"].values, there)},
        data.target,
        "binary",
    )
    answer = ask(Bayes(few), few, "worth")
    assert [e.name for e in answer.estimates] == ["a"]
    assert any("Nothing can be said of 'b': 10 rows have it; 20 are needed." in note for note in answer.notes)
    with pytest.raises(ConfigError, match="some rows must have what others lack"):
        ask(Bayes(few), few, "worth", modalities=["b"])
    with pytest.raises(UnknownNameError, match="worth: modality"):
        ask(Bayes(data), data, "worth", modalities=["sound"])


def test_more_rows_than_are_looked_at_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    data = world()
    (whole,) = ask(Bayes(data), data, "worth", modalities=["b"]).estimates
    monkeypatch.setattr("profuse.inspect._gaps._MOST", 700)
    answer = ask(Bayes(data), data, "worth", modalities=["b"])
    assert answer.estimates[0].n < whole.n
    assert answer.estimates[0].value == pytest.approx(whole.value, abs=0.03)
    assert any("were looked at" in note for note in answer.notes)
    frame = Worth().rows(Bayes(data), data, data)
    assert frame["worth of b"].notna().sum() == whole.n
