"""Networks that predict quantiles: in order, saved, asked, and right where the quantiles are known."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import mean_pinball_loss

import profuse
from profuse.cli._chosen import Chosen
from profuse.comparison.methods import methods_for
from profuse.comparison.options import CompareOptions
from profuse.data.dataset import Dataset
from profuse.data.split import Split
from profuse.data.tensors import from_tensors
from profuse.errors import ConfigError, DataError
from profuse.heads import QUANTILES, QuantileHead, ValuesHead
from profuse.inspect import ask
from profuse.inspect.conformal import Conformal
from profuse.metrics import metric
from profuse.models.build import build_model
from profuse.models.fit_linear import fit_linear
from profuse.models.options import ModelOptions
from profuse.portfolio.fitting import fit_portfolio
from profuse.predictor import NetworkPredictor, load_model
from profuse.predictor.described import card_of
from profuse.training.fitting import Prepared

SMALL: dict[str, Any] = {"head": "quantile", "width": 8, "members": 1}


def made(n: int, seed: int, n_targets: int = 1) -> tuple[Dataset, np.ndarray]:
    """`place` says where y lies, `noise` how far it is scattered: .3 or 2. Returns rows, and y's true quantiles."""
    draw = np.random.default_rng(seed)
    place, loud = draw.normal(size=(n, 1)), draw.random((n, 1)) < 0.5
    scale, sizes = np.where(loud, 2.0, 0.3), np.arange(1, n_targets + 1)
    y = sizes * (place + scale * draw.normal(size=(n, n_targets)))
    true = place[:, 0, None] + scale * norm.ppf(QUANTILES)
    rows = from_tensors(
        {"place": place, "noise": loud + 0.1 * draw.normal(size=(n, 1))}, y if n_targets > 1 else y[:, 0]
    )
    return rows, true


@lru_cache
def fitted(n_targets: int = 1) -> profuse.FusionRegressor:
    return profuse.FusionRegressor(epochs=2, **SMALL).fit(made(160, 0, n_targets)[0])


@pytest.mark.parametrize("n_targets", [1, 2])
def test_quantiles_are_in_order_and_the_middle_one_is_predicted(n_targets: int) -> None:
    model, new = fitted(n_targets), made(50, 1, n_targets)[0]
    three = model.predict_quantiles(new)
    assert three.shape == ((50, 3) if n_targets == 1 else (50, 2, 3))
    assert (np.diff(three, axis=-1) > 0).all()
    assert np.array_equal(model.predict(new), three[..., 1])
    if n_targets == 2:  # the second is twice as large
        widths = (three[..., 2] - three[..., 0]).mean(0)
        assert widths[1] / widths[0] == pytest.approx(2, rel=0.3)


def test_a_saved_model_says_the_same(tmp_path: Path) -> None:
    model, new = fitted(), made(50, 1)[0]
    model.save(tmp_path / "model")
    again = profuse.load_model(tmp_path / "model")
    assert isinstance(again, NetworkPredictor)
    assert np.array_equal(again.predict_quantiles(new), model.predict_quantiles(new))
    loaded = profuse.FusionRegressor.load(tmp_path / "model")
    assert loaded.head == "quantile"
    assert np.array_equal(loaded.predict_quantiles(new), model.predict_quantiles(new))


@pytest.mark.parametrize("n_targets", [1, 2])
def test_the_table_of_predictions_has_the_outer_quantiles(n_targets: int) -> None:
    model, new = fitted(n_targets).predictor_, made(20, 1, n_targets)[0]
    ends = [f"{f'{name}_' * (n_targets > 1)}{q}" for name in model.codec.names for q in ("q05", "q95")]
    frame = model.predict_frame(new)
    assert list(frame.columns[-2 * n_targets :]) == ends
    assert np.array_equal(frame[ends].to_numpy(), model.predict_quantiles(new)[..., [0, 2]].reshape(20, -1))


def test_a_column_of_predictions_must_not_be_called_like_a_target() -> None:
    model = fitted(2).predictor_
    new = made(5, 1, 2)[0]
    model.codec.names, kept = (f"{model.codec.names[1]}_q05", model.codec.names[1]), model.codec.names
    try:
        with pytest.raises(DataError, match="must differ; got '.*_q05' more than once"):
            model.predict_frame(new)
    finally:
        model.codec.names = kept


def test_an_untrained_model_is_as_wide_as_what_its_linear_path_leaves() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 1))
    rows = from_tensors({"a": x, "b": draw.normal(size=(400, 1))}, (x + 0.1 * draw.normal(size=x.shape))[:, 0])
    every = np.arange(400)
    ready = Prepared.make(rows, Split(every, every[:50], every[:0]))
    model = build_model(ready.pipeline.specs, "regression", 1, ModelOptions(**SMALL), n_rows=400, seed=0).plain
    fit_linear(model, ready.inputs, ready.target, torch.as_tensor(every))
    head = model.eval().head
    assert isinstance(head, QuantileHead)
    width = head.quantiles(model(ready.inputs).outputs).diff(dim=-1).sum(-1).detach().numpy() * ready.codec.std[0]
    assert width == pytest.approx(np.full((400, 1), 2 * 1.645 * 0.1), rel=0.2)


def test_what_has_no_quantiles_says_so() -> None:
    rows = made(60, 0)[0]
    plain = profuse.FusionRegressor(epochs=1, width=8, members=1).fit(rows)
    with pytest.raises(ConfigError, match="learned quantiles; got head='mean'"):
        plain.predict_quantiles(rows)
    assert plain.predictor_.band(plain.predictor_.encode(rows)) is None
    specs = plain.predictor_.pipeline.specs
    for task in ("binary", "multilabel"):
        with pytest.raises(ConfigError, match="Only numbers have quantiles"):
            build_model(specs, task, 2, ModelOptions(head="quantile"), n_rows=50, seed=0)
    with pytest.raises(ConfigError, match="head must be 'mean' in a portfolio"):
        fit_portfolio(rows, model=ModelOptions(head="quantile"))


@pytest.mark.parametrize("where", [{"fusion": "stacking"}, {"level": "hybrid", "decision": "stacking"}])
def test_an_operator_that_is_fitted_to_single_numbers_takes_no_quantiles(where: dict[str, Any]) -> None:
    specs, options = fitted().predictor_.pipeline.specs, ModelOptions(**{"fusion": "concat", **SMALL, **where})
    with pytest.raises(ConfigError, match="Stacking: .* one number; got head='quantile'"):
        build_model(specs, "regression", 1, options, n_rows=50, seed=0)


def test_the_portfolio_of_a_comparison_of_quantiles_is_fitted_to_means() -> None:
    base = ModelOptions(head="quantile", width=8, feedback="gate")
    method = methods_for("ab", [], rounds=(), base=base, task="regression", portfolio="quick")[0]
    (chosen,) = (m for m in method if m.portfolio is not None)
    made = Chosen(Path(), chosen, CompareOptions(model=base), "regression", ("y",))
    model, _, several = made.portfolio_options({}, {}, {})
    assert model == {"width": 8}
    assert several["preset"] == "quick"


def test_a_comparison_leaves_out_what_takes_no_quantiles_and_its_portfolio_predicts_means() -> None:
    methods, skipped = methods_for(
        "ab", ["stacking", "gated"], rounds=(), base=ModelOptions(head="quantile"), task="regression", portfolio="quick"
    )
    heads = {m.name: m.model.head for m in methods if m.model is not None}
    assert heads.pop("portfolio") == "mean"
    assert set(heads.values()) == {"quantile"}
    assert "gated" in heads
    assert {s.method: s.reason for s in skipped}["stacking"].startswith("is fitted to one number")


@pytest.mark.slow
def test_quantiles_are_those_of_the_task_and_better_than_linear_ones_that_do_not_see_the_scatter() -> None:
    (train, _), (new, true) = made(600, 0), made(2000, 1)
    model = profuse.FusionRegressor(epochs=25, **SMALL).fit(train)
    three, y = model.predict_quantiles(new), np.asarray(new.target)
    assert ((three[:, 0] <= y) & (y <= three[:, 2])).mean() == pytest.approx(0.9, abs=0.06)
    width = three[:, 2] - three[:, 0]
    loud = true[:, 2] - true[:, 0] > 3
    assert width[loud].mean() == pytest.approx((true[:, 2] - true[:, 0])[loud].mean(), rel=0.25)
    assert width[~loud].mean() < 0.35 * width[loud].mean()
    assert np.abs(three[:, 1] - true[:, 1]).mean() < 0.3  # y's deviation is 1.7
    place = np.asarray(train.modalities["place"].values)
    for k, q in ((0, 0.05), (2, 0.95)):
        blind = QuantileRegressor(quantile=q, alpha=0).fit(place, np.asarray(train.target))
        said = blind.predict(np.asarray(new.modalities["place"].values))
        least, loss = (mean_pinball_loss(y, p, alpha=q) for p in (true[:, k], three[:, k]))
        assert least * 0.97 < loss < 0.5 * (least + mean_pinball_loss(y, said, alpha=q))
    held = made(400, 2)[0]
    ends = Conformal.fit(model.predictor_, held).intervals(new)
    inside = (ends[:, 0] <= y) & (y <= ends[:, 1])
    assert inside.mean() == pytest.approx(0.9, abs=0.04)
    assert inside[loud].mean() > 0.83
    assert np.diff(ends[~loud], axis=1).mean() < 0.35 * np.diff(ends[loud], axis=1).mean()
    answer = ask(model.predictor_, held, "conformal", n_resamples=20, noise=0.0)
    by = {e.name: e for e in answer.estimates}
    assert by["all rows"].value == pytest.approx(0.9, abs=0.04)
    assert by["place hidden"].value == pytest.approx(0.9, abs=0.04)
    assert by["place hidden"].score > by["all rows"].score  # type: ignore[operator]


@pytest.mark.parametrize("fusion", ["concat", pytest.param("mean_logits", marks=pytest.mark.slow)])
def test_a_metric_that_asks_for_a_quantile_has_it_learned(fusion: str, tmp_path: Path) -> None:
    (train, _), (new, true) = made(500, 0), made(1000, 1)
    how: dict[str, Any] = {"fusion": fusion, "epochs": 15, "width": 8, "members": 1, "refit": False}
    y, of = np.asarray(new.target), metric("pinball")
    high, mean = (profuse.FusionRegressor(metric=name, **how).fit(train) for name in ("pinball", None))
    said = high.predict(new)
    assert (y <= said).mean() == pytest.approx(0.9, abs=0.06)
    least = of(y, true[:, 1] + (true[:, 2] - true[:, 1]) * norm.ppf(0.9) / norm.ppf(QUANTILES[2]))
    assert least < of(y, said) < 0.7 * of(y, mean.predict(new))
    assert "learned the .9 quantile, as 'pinball' asks" in str(card_of(high.predictor_))
    assert "quantile, as" not in str(card_of(mean.predictor_))
    high.predictor_.save(tmp_path / "model")
    np.testing.assert_allclose(load_model(tmp_path / "model").predict(new), said, rtol=1e-6)


def test_the_head_of_a_quantile_begins_at_it_and_learns_by_the_pinball_loss() -> None:
    head, target = ValuesHead(4, 2), torch.randn(400, 2).double().exp()
    head.quantile = 0.8
    head.begin(target)
    outputs = head(torch.randn(400, 4)).double()
    np.testing.assert_allclose(outputs[0].detach().numpy(), np.quantile(target.numpy(), 0.8, axis=0), rtol=1e-5)
    losses = head.row_losses(outputs, target).detach().numpy()
    oracle = [
        mean_pinball_loss(target.numpy()[i : i + 1], outputs.detach().numpy()[i : i + 1], alpha=0.8) for i in range(9)
    ]
    np.testing.assert_allclose(losses[:9], 2 * np.array(oracle))
    assert head.error(outputs, target) == pytest.approx(losses.mean())
    with head.weighted(torch.linspace(0.5, 1.5, 400)):
        weighed = head.error(outputs, target)
    assert weighed == pytest.approx((losses * np.linspace(0.5, 1.5, 400)).mean())


def test_a_head_of_quantiles_is_not_said_to_have_learned_that_of_the_metric() -> None:
    model = profuse.FusionRegressor(epochs=1, metric="pinball", **SMALL).fit(made(80, 0)[0]).predictor_
    assert model.trained_on is not None
    assert (model.trained_on.metric, model.trained_on.quantile) == ("", None)
    assert "quantile, as" not in str(card_of(model))
