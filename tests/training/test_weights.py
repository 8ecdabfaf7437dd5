"""Weights of classes and of rows: what they change in the loss, and what they leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from profuse import from_tensors
from profuse.classical import ClassicalFit, fit_classical
from profuse.data.split import Split
from profuse.errors import ConfigError, DataError, UnknownNameError
from profuse.heads import ClassHead, Head, LabelsHead, ValuesHead
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.training import classical_fits
from profuse.training.classical_fits import best_fit
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions
from profuse.training.weights import class_weights, log_class_weights, row_weights

pytestmark = pytest.mark.slow

N = 160
SPLIT = Split(np.arange(90), np.arange(90, 120), np.arange(120, N))
ALONE = {name: {"linear_path": False} for name in "ab"}
MODEL = ModelOptions(width=8, members=1, encoder_options=ALONE)
TRAIN = TrainOptions(epochs=2, batch_size=32)


@cache
def prepared(task: str = "binary") -> Prepared:
    """A class of one row in five. Every seventh row lacks b. Encoders have chosen."""
    return made(task)


def made(task: str = "binary", change: np.ndarray | None = None) -> Prepared:
    """The same; where `change` is, the target is another."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(N, 3)), rng.normal(size=(N, 3))
    score = a[:, 0] + b[:, 0] + rng.normal(size=N)
    y: Any = (score > np.quantile(score, 0.8)).astype(int)
    if task == "multiclass":
        y = np.digitize(score, [0.0, 1.5])
    elif task == "multilabel":
        y = np.stack([y, (a[:, 1] > 0).astype(int)], 1)
    elif task == "regression":
        y = score
    if change is not None:
        y = np.where(change, 1 - y, y)
    data = Prepared.make(from_tensors({"a": a, "b": b}, y, presence={"b": np.arange(N) % 7 > 0}), SPLIT)
    return data.choose(MODEL, data.inputs)


def said(predictor: NetworkPredictor, data: Prepared) -> np.ndarray:
    return predictor.predict_encoded(data.inputs, np.arange(N))


def fit(data: Prepared, weights: np.ndarray | None = None, model: ModelOptions = MODEL, **changes: Any) -> np.ndarray:
    options = TrainOptions.model_validate({**TRAIN.model_dump(), **changes})
    known = data if weights is None else replace(data, dataset=replace(data.dataset, weights=weights))
    return said(fit_model(known, model, options), data)


HEADS = [
    (ClassHead, torch.tensor([0, 2, 1, 2])),
    (LabelsHead, torch.eye(3)[[0, 2, 1, 2]]),
    (ValuesHead, torch.randn(4, 3)),
]


@pytest.mark.parametrize(("kind", "target"), HEADS)
@pytest.mark.parametrize("n_members", [1, 2])
def test_a_loss_is_the_mean_of_weight_times_loss(kind: type[Head], target: torch.Tensor, n_members: int) -> None:
    head, weights = kind(4, 3).eval(), torch.tensor([0.5, 2.0, 1.5, 0.0])
    outputs = torch.randn(4 * n_members, 3, generator=torch.Generator().manual_seed(0))
    goal = target.repeat_interleave(n_members, dim=0)
    each = head.losses(outputs, goal)
    by_row = weights.repeat_interleave(n_members)
    with head.weighted(weights):
        torch.testing.assert_close(head.loss(outputs, goal), (by_row * each).mean())
        some = torch.tensor([True, True, False, True]).repeat_interleave(n_members)
        torch.testing.assert_close(head.loss(outputs, goal, some), (by_row * each)[some].sum() / some.sum())
    torch.testing.assert_close(head.loss(outputs, goal), each.mean())


@pytest.mark.parametrize(("kind", "target"), HEADS[:2])
def test_error_and_calibration_with_a_weight_of_two_are_those_of_two_such_rows(
    kind: type[Head], target: torch.Tensor
) -> None:
    outputs = 3 * torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    again = torch.tensor([0, 1, 1, 2, 3, 3])
    one, two = kind(4, 3).eval(), kind(4, 3).eval()
    with one.weighted(torch.tensor([1.0, 2.0, 1.0, 2.0]) / 1.5):
        error = one.error(outputs, target)
        loss = one._loss_at(0.3, outputs, target)
    assert error == pytest.approx(two.error(outputs[again], target[again]), rel=0.05)  # Platt's smoothing counts rows
    expected = two.row_losses(outputs.double() / np.exp(0.3), target, 2 / 6)[again].mean().item()
    assert loss == pytest.approx(expected)


def test_balanced_is_scikit_learns() -> None:
    y = np.array([0] * 70 + [1] * 20 + [2] * 10)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    np.testing.assert_allclose(class_weights("balanced", np.bincount(y), "abc"), expected)  # type: ignore[arg-type]


def test_classes_that_are_not_named_have_a_weight_of_one() -> None:
    np.testing.assert_array_equal(class_weights({"7": 3.0}, np.array([5, 5]), [3, 7]), [1.0, 3.0])


@pytest.mark.parametrize("by_class", [None, np.array([1.0, 4.0])])
@pytest.mark.parametrize("by_row", [None, np.random.default_rng(0).random(N) + 0.1])
def test_weights_of_training_rows_have_a_mean_of_one(by_class: np.ndarray | None, by_row: np.ndarray | None) -> None:
    data = prepared()
    weights = row_weights(by_class, data.target, SPLIT, by_row, who="fit")
    if by_class is None and by_row is None:
        assert weights is None
        return
    assert weights is not None
    assert float(weights[:90].mean()) == pytest.approx(1)
    ones = np.ones(N)
    expected = (ones if by_class is None else by_class[data.target.numpy()]) * (ones if by_row is None else by_row)
    np.testing.assert_allclose(weights / weights[0], expected / expected[0])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_equal_weights_change_no_digit(task: str) -> None:
    data = prepared(task)
    np.testing.assert_array_equal(fit(data, np.full(N, 3.0)), fit(data))


@pytest.mark.parametrize(
    ("rounds", "members", "linear_path"),
    [
        pytest.param(*case, marks=() if case in [(1, 1, False), (2, 3, True)] else pytest.mark.slow)
        for case in product((1, 2), (1, 3), (False, True))
    ],
)
def test_weights_of_classes_are_the_same_weights_of_their_rows(rounds: int, members: int, linear_path: bool) -> None:
    options = {name: {"linear_path": linear_path} for name in "ab"}
    model = MODEL.model_copy(update={"rounds": rounds, "members": members, "encoder_options": options})
    data = prepared()
    by_row = np.where(data.target.numpy() == 1, 4.0, 1.0)
    plain, by_class = fit(data, model=model), fit(data, model=model, class_weight={1: 4})
    np.testing.assert_allclose(by_class, fit(data, by_row, model=model), atol=1e-6)
    assert np.abs(by_class - plain).max() > 0.01


BLENDING = {"balance": "gradient_blending", "balance_options": {"span": 1}, "epochs": 4}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"balance": "uniform"}, {"balance": "mla"}, BLENDING])
def test_what_rows_of_no_weight_are_is_not_learned(changes: Mapping[str, Any]) -> None:
    """Other targets there leave every prediction as it is; with weights they would not."""
    some = np.random.default_rng(1).random(N) < 0.3
    some[120:] = False
    other = [prepared(), made(change=some)]
    one, two = (fit(data, np.where(some, 0.0, 1.0), **changes) for data in other)
    np.testing.assert_array_equal(one, two)
    assert np.abs(np.subtract(*[fit(data, **changes) for data in other])).max() > 1e-3


@pytest.mark.parametrize("refit", [False, True])
def test_nor_by_linear_paths(refit: bool) -> None:
    """They alone are the model: no step moves it."""
    some = np.random.default_rng(1).random(N) < 0.3
    some[120:] = False
    model = MODEL.model_copy(update={"encoder_options": {}, "fusion": "concat", "level": "feature"})
    still: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-30, "weight_decay": 0.0, "refit": refit}
    made_of = [replace(d, choices={}) for d in (prepared(), made(change=some))]
    one, two = (fit(data, np.where(some, 0.0, 1.0), model=model, **still) for data in made_of)
    np.testing.assert_allclose(one, two, atol=1e-6)
    assert np.abs(np.subtract(*[fit(data, model=model, **still) for data in made_of])).max() > 1e-2


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_classical_models_have_the_weights_that_networks_have(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []

    def seen(*args: Any, **options: Any) -> ClassicalFit:
        found.append(options["weights"])
        return fit_classical(*args, **options)

    monkeypatch.setattr(classical_fits, "fit_classical", seen)
    data = prepared(task)
    by_row = np.random.default_rng(0).random(N)
    weighed = replace(data, dataset=replace(data.dataset, weights=by_row))
    by_class = {"1": 3.0} if task == "binary" else None
    for known in (data, weighed):
        for asked in {None: None, "asked": by_class}.values():
            best_fit("trivial", ("a", "b"), known, TrainOptions(class_weight=asked), trials=1, seed=0)
            wanted = known.weights(asked)
            assert (found[-1] is None) == (wanted is None)
            if wanted is not None:
                np.testing.assert_array_equal(found[-1], wanted.numpy())


@pytest.mark.parametrize("linear_path", [False, True])
def test_balanced_classes_are_answered_about_alike(linear_path: bool) -> None:
    """Probabilities are those of classes that were equally frequent, with a linear path too, solved without weights."""
    data = prepared()
    model = MODEL.model_copy(update={"encoder_options": {n: {"linear_path": linear_path} for n in "ab"}})
    plain, balanced = (fit(data, model=model, class_weight=w, epochs=5)[:, 1].mean() for w in (None, "balanced"))
    assert plain < 0.35
    assert balanced > plain + 0.1


def test_the_logarithm_of_a_class_is_that_of_the_mean_weight_of_its_rows() -> None:
    found = log_class_weights(torch.tensor([1.0, 3.0, 0.5, 0.0]), torch.tensor([0, 0, 2, 3]), 4)
    np.testing.assert_allclose(found.exp(), [2.0, 1e-6, 0.5, 1e-6], rtol=1e-5)


def test_an_untrained_model_of_linear_paths_is_moved_by_the_logarithms_of_the_weights() -> None:
    """P(class) x weight, to which nothing was added yet: its log odds move by log 4."""
    data, model = prepared(), MODEL.model_copy(update={"encoder_options": {}, "fusion": "concat", "level": "feature"})
    still = {"learning_rate": 1e-30, "weight_decay": 0.0, "refit": False}
    fitted = [
        fit_model(data, model, TrainOptions(epochs=1, class_weight=weight, **still)) for weight in (None, {"1": 4.0})
    ]
    odds = []
    for f in fitted:
        f.model.head.temperature.fill_(1.0)  # which was calibrated to weighted rows
        p = said(f, data)
        odds.append(np.log(p[:, 1] / p[:, 0]))
    np.testing.assert_allclose(odds[1] - odds[0], np.log(4), atol=1e-3)


@pytest.mark.parametrize(
    ("task", "asked", "error", "message"),
    [
        ("binary", {"2": 3.0}, UnknownNameError, "fit: class_weight: class must be .*'2'"),
        ("regression", "balanced", ConfigError, "class_weight must go with a target of classes; .* a regression task"),
        ("multilabel", {"0": 2.0}, ConfigError, "class_weight must go with a target of classes; .* a multilabel task"),
    ],
)
def test_weights_of_what_is_no_class_are_refused(task: str, asked: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(prepared(task), class_weight=asked)


@pytest.mark.parametrize(
    "asked", ["balance", {}, {"1": 0}, {"1": -1.0}, {"1": float("inf")}, {"1": True}, {"1": "4"}, 3]
)
def test_what_is_no_weight_of_a_class_is_told(asked: Any) -> None:
    with pytest.raises(
        ValueError, match="class_weight must be 'balanced', or for each class that is named a finite num"
    ):
        TrainOptions(class_weight=asked)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(N - 1), "all parts must have one entry a row; got 159 of 'weights'"),
        (np.ones((N, 1)), "weights must be one value a row"),
        (np.full(N, "heavy"), "weights must be numbers, one a row"),
        (np.full(N, np.nan), "weights must be finite numbers of at least 0; got nan first, in 160 rows"),
        (np.where(np.arange(N) == 3, -2.0, 1.0), r"got -2 first, in 1 row \(3; counted from 0\)"),
        (np.where(np.arange(N) < 90, 0.0, 1.0), "above 0 for some of the training rows"),
        (np.where(np.arange(N) < 90, 1.0, 0.0), "above 0 for some of the validation rows"),
    ],
)
def test_what_are_no_weights_of_rows_is_told(weights: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(prepared(), weights)


@pytest.mark.parametrize("fusion", ["trusted", "stacking", "multiplicative_late"])
def test_an_operator_with_a_loss_of_its_own_takes_no_weights(fusion: str) -> None:
    with pytest.raises(ConfigError, match="has a loss of its own, which takes no weights; got class_weight='balanced'"):
        fit(prepared(), model=MODEL.model_copy(update={"fusion": fusion, "level": None}), class_weight="balanced")
