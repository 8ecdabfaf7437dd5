"""One row explained: values add up, what changes nothing has 0, and what was planted is named, whatever its kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_predictors import data, predictor
from scipy.special import expit, logit
from torch import Tensor

from profuse.data.dataset import Dataset
from profuse.data.target import TargetCodec
from profuse.data.tensors import from_tensors
from profuse.errors import ConfigError, UnknownNameError
from profuse.inspect import Answer, ask
from profuse.inspect.pieces import Orders
from profuse.predictor import Predictor, load_model
from profuse.predictor.decision import Decision
from profuse.predictor.saving import PartStore
from profuse.tokens import Raw

RATE = 8_000
PLANTED = {
    "table": lambda v: float(v["a"] == 1) if v["a"] == v["a"] else 0.0,
    "text": lambda v: float("good" in v.split()),
    "image": lambda v: float(np.asarray(v, float)[4:8, 8:12].std() > 60),
    "series": lambda v: float(np.nan_to_num(np.asarray(v)[6:9]).sum() > 3),
    "audio": lambda v: float(np.abs(np.fft.rfft(np.asarray(v)))[3_000 * len(v) // RATE] > 100),
    "vector": lambda v: float(np.nan_to_num(v[2])),
}
PIECE = {
    "table": "a = 1",
    "text": "good",
    "image": "rows 4 to 7, columns 8 to 11",
    "series": "steps 6 to 8",
    "audio": "2000 to 4000 Hz",
    "vector": "number 2 = 1",
}


class Planted(Predictor):
    """P(yes) of what is planted in each modality: `expit(sum_m slope_m planted_m + product of all)`."""

    def __init__(self, slopes: Mapping[str, float], product: float = 0.0) -> None:
        self.codec = TargetCodec.fit(np.array(["no", "yes"] * 5, dtype=object), "binary")
        self.modalities = tuple(slopes)
        self.schema, self.source = None, ""
        self.slopes, self.product = slopes, product

    @property
    def n_parameters(self) -> int:
        return len(self.slopes)

    def encode(self, dataset: Dataset, kept: dict[Any, Any] | None = None) -> dict[str, Raw]:
        return {name: self.encode_one(dataset, name) for name in dataset.modalities}

    def encode_one(self, dataset: Dataset, name: str, kept: dict[Any, Any] | None = None) -> Raw:
        modality = dataset.modalities[name]
        rows = modality.values.to_dict("records") if modality.frame is not None else modality.values
        values = [PLANTED[modality.kind](v) if p else 0.0 for v, p in zip(rows, modality.present, strict=True)]
        return Raw(torch.tensor(values)[:, None], torch.from_numpy(modality.present.copy()))

    def predict_encoded(self, inputs: Mapping[str, Raw], rows: np.ndarray | None = None) -> np.ndarray:
        each = [(inputs[n].values[:, 0] * inputs[n].present).double().numpy() for n in self.modalities]
        score = sum(s * x for s, x in zip(self.slopes.values(), each, strict=True)) + self.product * np.prod(each, 0)
        second = expit(np.asarray(score))
        outputs = np.stack([1 - second, second], axis=1)
        return outputs if rows is None else outputs[rows]

    def packed(self, parts: PartStore | None = None) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
        raise NotImplementedError


def rows(n: int = 3) -> Dataset:
    """The first row has all that is planted, the others nothing."""
    rng = np.random.default_rng(0)
    pictures = np.full((n, 12, 12, 1), 100, np.uint8)
    pictures[0, 4:8, 8:12, 0] = np.where(np.indices((4, 4)).sum(0) % 2, 0, 255)
    series = [np.zeros((9, 1), np.float32) for _ in range(n)]
    series[0][6:9] = 2
    t = np.arange(2_000) / RATE
    sounds = [0.2 * np.sin(2 * np.pi * 400 * t) for _ in range(n)]
    sounds[0] = sounds[0] + 0.4 * np.sin(2 * np.pi * 3_000 * t)
    first = np.arange(n) == 0
    given = {
        "table": pd.DataFrame({"a": first.astype(float), "b": rng.normal(size=n)}),
        "text": ["a good film", *["a bad film"] * (n - 1)],
        "image": ("image", pictures),
        "series": ("series", series),
        "audio": ("audio", sounds),
        "vector": np.stack([np.ones(n), np.ones(n), first.astype(float), np.ones(n)], axis=1),
    }
    return from_tensors(given, None, rates={"audio": RATE})


def only(*names: str, n: int = 3) -> Dataset:
    every = rows(n)
    return Dataset("made", {k: every.modalities[k] for k in names}, None, "binary")


def explained(model: Predictor, given: Dataset, **options: Any) -> Answer:
    return ask(model, given, "row", **{"id": 0, "output": "yes", "n_units": 9, **options})


@pytest.mark.parametrize("name", PLANTED)
def test_the_piece_that_was_planted_has_all_of_it(name: str) -> None:
    answer = explained(
        Planted({name: 2.0}), only(name), scale="log-odds", n_units={"audio": 36, "series": 3}.get(name, 9)
    )
    pieces = answer.details["pieces"][name]
    own = [p["value"] for p in pieces if PIECE[name] in p["label"]]
    assert answer.estimates[0].value == pytest.approx(2.0)
    assert sum(own) == pytest.approx(2.0)
    assert all(p["value"] == pytest.approx(0.0) for p in pieces if PIECE[name] not in p["label"])
    assert answer.residual == pytest.approx(0.0, abs=1e-9)


def test_values_are_the_slopes_of_a_sum_and_a_product_is_shared_evenly() -> None:
    slopes = {"table": 1.0, "text": -2.0, "vector": 0.5}
    answer = explained(Planted(slopes, product=3.0), only(*slopes), scale="log-odds")
    values = answer.details["modalities"]
    assert values == pytest.approx({n: s + 1.0 for n, s in slopes.items()})
    assert answer.details["whole"] - answer.details["nothing"] == pytest.approx(sum(values.values()))


def test_values_are_those_of_all_orders() -> None:
    model, given = Planted({"table": 1.0, "text": 2.0, "vector": -1.0}, product=2.0), only("table", "text", "vector")
    names = sorted(model.modalities)
    inputs = {n: p.rows(torch.tensor([0])) for n, p in model.encode(given).items()}

    def f(shown: tuple[str, ...]) -> float:
        gone = torch.tensor([True])
        return float(model.predict_encoded({n: p if n in shown else p.without(gone) for n, p in inputs.items()})[0, 1])

    orders = [*permutations(names)]
    wanted = {n: np.mean([f(o[: o.index(n) + 1]) - f(o[: o.index(n)]) for o in orders]) for n in names}
    assert explained(model, given).details["modalities"] == pytest.approx(wanted)


def test_an_interaction_of_pieces_is_shared_by_them_within_the_interval() -> None:
    rng = np.random.default_rng(0)
    orders = Orders.drawn(3, ["other"], 41, rng)

    def both(kept: np.ndarray, shown: np.ndarray) -> np.ndarray:
        return np.asarray((kept[:, 0] & kept[:, 1]) * (1.0 + shown[:, 0]))

    shares = orders.shares(both)
    # an order and its reverse share the product evenly, and meet the other modality once before and once after
    assert shares.values.sum() == pytest.approx(1.5)
    assert shares.values[2] == 0.0
    assert (np.abs(shares.values[:2] - 0.75) <= shares.half[:2] + 1e-12).all()
    assert shares.half[0] < 0.3


def test_intervals_hold_the_value_of_all_orders() -> None:
    weights = np.random.default_rng(1).normal(size=(5, 5))

    def game(kept: np.ndarray, shown: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("si,ij,sj->s", kept, weights, kept) + 0.0 * shown.sum(1))

    wanted = (weights + weights.T).sum(1) / 2  # the Shapley value of a quadratic game
    held = []
    for seed in range(100):
        shares = Orders.drawn(5, ["other"], 6, np.random.default_rng(seed)).shares(game)
        held.append(np.abs(shares.values - wanted) <= shares.half + 1e-9)
    assert np.mean(held) > 0.93


def test_a_missing_modality_adds_nothing_and_is_told() -> None:
    given = only("table", "text")
    gone = given.modalities["text"].present.copy()
    gone[0] = False
    given = Dataset("made", {**given.modalities, "text": _with(given.modalities["text"], gone)}, None, "binary")
    answer = explained(Planted({"table": 1.0, "text": 1.0}), given)
    assert [*answer.details["modalities"]] == ["table"]
    assert any("no text" in note for note in answer.notes)


def _with(modality: Any, present: np.ndarray) -> Any:
    return replace(modality, present=present)


def test_a_row_without_anything_is_refused_by_its_number() -> None:
    given = only("text")
    gone = np.zeros(3, dtype=bool)
    given = Dataset("made", {"text": _with(given.modalities["text"], gone)}, None, "binary")
    with pytest.raises(ConfigError, match="row 1 has none"):
        ask(Planted({"text": 1.0}), given, "row", id=1)


def test_what_changes_the_answer_is_named() -> None:
    answer = explained(Planted({"table": 4.0, "text": -1.0}), only("table", "text"))
    changes = answer.details["changes"]
    assert changes["modalities"] == {"without": ["table"], "answer": "no"}
    assert changes["pieces"] == {"without": ["table: a = 1"], "answer": "no"}


def test_pieces_that_add_the_most_matter_more_than_those_drawn_at_random() -> None:
    answer = explained(Planted({"text": 3.0, "vector": 1.0, "image": 0.5}), only("text", "vector", "image"))
    removed = answer.details["removed"]
    mean, half = removed["random"]
    assert removed["top"] > mean + half > 0


def test_the_nearest_rows_are_those_that_are_alike() -> None:
    given = only("text", n=6)
    texts = given.modalities["text"].values
    texts[4] = "so good"
    answer = explained(Planted({"text": 3.0}), given)
    near = answer.details["nearest"]
    assert near[0]["row"] == 4
    assert near[0]["distance"] == 0.0
    assert near[1]["distance"] > 0
    assert 0 not in [n["row"] for n in near]


def test_rows_are_found_by_id_or_number() -> None:
    given = replace(only("text"), ids=np.array(["x7", "x8", "x9"], dtype=object))
    model = Planted({"text": 1.0})
    assert ask(model, given, "row", id="x9").details["row"] == 2
    with pytest.raises(ConfigError, match="'x7', 'x8', 'x9'"):
        ask(model, given, "row", id=2)
    assert ask(model, replace(given, ids=None), "row", id="2").details["row"] == 2
    with pytest.raises(ConfigError, match="number, counted from 0"):
        ask(model, replace(given, ids=None), "row", id=3)


def test_without_an_id_the_surest_error_is_explained() -> None:
    given = replace(only("text", n=4), target=np.array(["no", "yes", "no", "yes"], dtype=object))
    answer = ask(Planted({"text": 3.0}), given, "row")
    assert answer.details["row"] == 0  # predicted "yes" with .95, and it is "no"
    assert answer.details["truth"] == "no"


def test_an_output_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="yes"):
        ask(Planted({"text": 1.0}), only("text"), "row", id=0, output="yess")


@pytest.mark.parametrize("options", [{"n_orders": 1}, {"n_units": 0}, {"nearest": -1}, {"scale": "percent"}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        ask(Planted({"text": 1.0}), only("text"), "row", **options)


@pytest.mark.parametrize("kind", ["network", "progressive network", "linear", "extra_trees", "portfolio"])
def test_every_predictor_is_explained_and_values_add_up(kind: str) -> None:
    given = data("multiclass")[0]
    answer = ask(predictor(kind, "multiclass"), given, "row", id=3, n_orders=4)
    details = answer.details
    total = sum(details["modalities"].values())
    assert total == pytest.approx(details["whole"] - details["nothing"], abs=1e-9)
    pieces = sum(p["value"] for of in details["pieces"].values() for p in of)
    assert answer.residual == pytest.approx(total - pieces, abs=1e-6)
    assert json.loads(answer.to_json())["details"]["row"] == 3


@pytest.mark.parametrize("task", ["regression", "multilabel", "two numbers"])
def test_other_targets_are_explained(task: str) -> None:
    model, given = predictor("linear", task), data(task)[0]
    answer = ask(model, given, "row", id=3, n_orders=4)
    said = model.predict_encoded(model.encode(given.rows(np.array([3]))))[0]
    names = list(model.codec.names if model.task == "regression" else map(str, model.classes))
    assert answer.details["whole"] == pytest.approx(said[names.index(answer.details["output"])])


def test_an_explanation_is_the_same_after_save_and_load(tmp_path: Any) -> None:
    model, given = predictor("portfolio", "binary"), data("binary")[0]
    model.save(tmp_path / "m")
    before, after = (ask(m, given, "row", id=5, n_orders=4) for m in (model, load_model(tmp_path / "m")))
    np.testing.assert_allclose([e.value for e in after.estimates], [e.value for e in before.estimates], atol=1e-6)


def test_log_odds_and_probabilities_speak_of_the_same_row() -> None:
    model, given = Planted({"text": 2.0}), only("text")
    p, z = (explained(model, given, scale=s).details for s in ("probability", "log-odds"))
    assert logit(p["whole"]) == pytest.approx(z["whole"])
    assert logit(p["nothing"]) == pytest.approx(z["nothing"])


def test_the_surest_error_is_one_of_what_the_decision_answers() -> None:
    class Careful(Planted):
        decision = Decision(threshold=0.4)

    given = replace(only("text", n=4), target=np.array(["yes", "yes", "yes", "no"], dtype=object))
    answer = ask(Careful({"text": 0.0}), given, "row")  # all are predicted .5, so that "yes" is answered
    assert answer.details["truth"] == "no"
