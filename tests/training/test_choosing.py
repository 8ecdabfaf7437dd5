"""Which epoch is kept: by the loss of validation rows, or by a metric that is smoothed over three epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from known_answers import make_product
from not_none import not_none
from torch import nn

from profuse.data.split import Split
from profuse.data.target import TargetCodec
from profuse.errors import ConfigError, UnknownNameError
from profuse.estimators.fusion import FusionRegressor
from profuse.heads import head_for
from profuse.metrics import METRICS, metric
from profuse.models.options import ModelOptions
from profuse.training import fitting
from profuse.training.choosing import BestEpoch, worth_by
from profuse.training.fitting import Prepared, fit_model
from profuse.training.history import Epoch
from profuse.training.options import TrainOptions

MODEL, TRAIN = ModelOptions(fusion="concat", width=8, members=1), TrainOptions(epochs=4, refit=False, patience=9)


def chosen(errors: Sequence[float], worths: Sequence[float] | None) -> tuple[int, float]:
    """The number of the best epoch, from 1, and that whose weights are kept."""
    model = nn.Linear(1, 1, bias=False)
    found = BestEpoch(model, by_worth=worths is not None)
    for i, error in enumerate(errors):
        nn.init.constant_(model.weight, i + 1.0)
        found.add(Epoch(i + 1, 0.0, 0.0, 0.0, error), 0.0 if worths is None else worths[i])
    nn.init.constant_(model.weight, 99.0)
    found.finish()
    return found.best, found.weights["weight"].item()


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("n", [1, 2, 3, 12])
def test_the_epoch_kept_is_that_with_the_best_mean_of_itself_and_its_neighbours(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    errors, worths = rng.random(n), rng.integers(0, 3, n).astype(float)  # with ties
    means = [np.mean(worths[max(0, i - 1) : i + 2]) for i in range(n)]
    best = 1 + max(range(n), key=lambda i: (means[i], -errors[i]))
    assert chosen(errors.tolist(), worths.tolist()) == (best, best)
    least = 1 + int(errors.argmin())
    assert chosen(errors.tolist(), None) == (least, least)


def test_a_single_high_value_does_not_choose() -> None:
    assert chosen([1.0] * 7, [0, 0.9, 0, 0.5, 0.6, 0.5, 0])[0] == 5


def test_what_is_nowhere_defined_leaves_the_choice_to_the_loss() -> None:
    assert chosen([3.0, 1.0, 2.0], [-np.inf] * 3) == (2, 2)
    assert chosen([1.0, 1.0, 1.0], None) == (1, 1)  # of equal ones the first


@pytest.mark.parametrize("name", ["mae", "spearman"])
def test_the_worth_is_the_metric_in_the_units_of_the_target(name: str) -> None:
    rng = np.random.default_rng(0)
    true = np.exp(rng.normal(size=40) + 3)
    codec, head = TargetCodec.fit(true, "regression"), head_for("regression")(4, 1)
    outputs = torch.as_tensor(codec.encode(true * 1.3 + 2)).float()
    batches = [SimpleNamespace(outputs=outputs[:30]), SimpleNamespace(outputs=outputs[30:])]
    value = {"mae": -np.abs(true * 0.3 + 2).mean(), "spearman": 1.0}[name]
    assert worth_by(metric(name), head, codec, true[:, None])(batches) == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize(("name", "true"), [("spearman", np.zeros(40)), ("mae", np.full(40, np.nan))])
def test_a_metric_that_is_not_defined_is_worth_nothing(name: str, true: np.ndarray) -> None:
    codec, head = TargetCodec.fit(np.arange(40.0), "regression"), head_for("regression")(4, 1)
    said = [SimpleNamespace(outputs=torch.linspace(-1, 1, 40)[:, None])]
    assert worth_by(metric(name), head, codec, true[:, None])(said) == -np.inf


def test_metrics_that_the_loss_tells_do_not_choose() -> None:
    able = {name for name in METRICS if metric(name).chooses_epochs}
    assert able == {"mae", "rmsle", "spearman", "concordance"}


@pytest.fixture(scope="module")
def ready() -> Prepared:
    rows = np.arange(160)
    return Prepared.make(make_product(160, task="regression"), Split(rows[:100], rows[100:140], rows[140:]))


def test_a_fit_keeps_the_epoch_that_its_metric_chooses(ready: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fit_model(ready, MODEL, TRAIN)
    same = fit_model(ready, MODEL, TRAIN, metric=metric("r2"))
    assert plain.history is not None
    assert same.history is not None
    assert (same.history.best_epoch, same.history.chosen_by) == (plain.history.best_epoch, "")
    calls = list[Any]()

    def worth(outputs: Sequence[Any]) -> float:
        calls.append(outputs)
        return -abs(len(calls) - 3)  # the untrained model is the first

    monkeypatch.setattr(fitting, "worth_by", lambda *args: worth)
    model = fit_model(ready, MODEL, TRAIN, metric=metric("mae"))
    assert model.history is not None
    assert (model.history.best_epoch, model.history.chosen_by) == (2, "mae")
    kept = torch.cat([o.outputs for o in calls[2]]).double().numpy()
    np.testing.assert_allclose(not_none(model.valid_prediction), ready.codec.in_units(kept), rtol=1e-5)


def test_an_estimator_takes_the_metric_and_keeps_its_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    made = FusionRegressor(metric="neg_mean_absolute_error", epochs=2, width=8, members=1).fit(x, np.exp(x[:, 0]))
    assert not_none(made.predictor_.history).chosen_by == "mae"
    made.save(tmp_path / "m")
    again = FusionRegressor.load(tmp_path / "m")
    assert again.metric == "neg_mean_absolute_error"
    assert not_none(again.predictor_.history).chosen_by == "mae"
    np.testing.assert_array_equal(again.predict(x), made.predict(x))
    with pytest.raises(UnknownNameError, match="FusionRegressor: metric must be a known name"):
        FusionRegressor(metric="maee").fit(x, x[:, 0])
    with pytest.raises(ConfigError, match="must be one of a regression task"):
        FusionRegressor(metric="f1").fit(x, x[:, 0])
