"""The loop: it learns, it is repeatable, it keeps the best epoch, and it reads nothing it must not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from known_answers import make_product
from not_none import not_none

from profuse.data.dataset import Dataset
from profuse.data.split import Split
from profuse.errors import ConfigError, ProfuseError
from profuse.fusion import Fused
from profuse.fusion.encoder_decoder.concat import Concat
from profuse.fusion.encoder_decoder.product_of_experts import ProductOfExperts
from profuse.fusion.encoder_decoder.stacking import Stacking
from profuse.heads import head_for
from profuse.layers.linear_path import LinearPath
from profuse.layers.ridge import Ridge
from profuse.models.build import build_model
from profuse.models.fit_linear import fit_linear
from profuse.models.fusion_model import JOINT, FusionModel
from profuse.models.options import ModelOptions
from profuse.predictor import NetworkPredictor
from profuse.tokens import Raw, Tokens
from profuse.training import fitting, solving
from profuse.training import loop as train_module
from profuse.training.balance import ModalityDropout
from profuse.training.balance.uniform import Uniform
from profuse.training.balanced import mean_losses
from profuse.training.fitting import Prepared, fit_model
from profuse.training.history import Epoch, History
from profuse.training.loop import batches, retrain, train
from profuse.training.optimizer import adamw
from profuse.training.options import TrainOptions

OPTIONS = TrainOptions(epochs=3, batch_size=32, refit=False)
MODEL = ModelOptions(fusion="concat", width=16, members=1)


def prepared(dataset: Dataset) -> Prepared:
    rows = np.arange(len(dataset))
    return Prepared.make(dataset, Split(rows[:120], rows[120:160], rows[160:]))


@cache
def product(task: str = "binary") -> Prepared:
    """What many tests learn from; encoders have chosen, and linear paths are solved once."""
    data = prepared(make_product(task=task))
    return data.choose(MODEL, data.inputs)


def built() -> FusionModel:
    data = product()
    model = build_model(data.pipeline.specs, "binary", 2, MODEL, n_rows=100, seed=0)
    assert isinstance(model, FusionModel)
    return model


def weights(model: NetworkPredictor) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.model.parameters()])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_the_loss_falls_on_every_task(task: str) -> None:
    model = fit_model(product(task=task), MODEL, OPTIONS)
    assert model.history is not None
    assert model.history.epochs[-1].train_loss < model.history.epochs[1].train_loss


def test_training_rows_are_measured_as_validation_rows_are_and_nothing_else_changes() -> None:
    data = product()
    rows, other = torch.arange(60), torch.arange(60, 100)
    found = {}
    for looks in (False, True):
        model = built()
        history = train(model, data.inputs, data.target, rows, rows, OPTIONS, looks=looks)
        found[looks] = history, torch.cat([p.detach().flatten() for p in model.parameters()])
    (plain, before), (looked, after) = found[False], found[True]
    assert torch.equal(before, after)
    assert [e.valid_loss for e in plain.epochs] == [e.valid_loss for e in looked.epochs]
    assert all(math.isnan(e.train_eval_loss) for e in plain.epochs)
    known = [e for e in looked.epochs if not math.isnan(e.train_eval_loss)]
    assert 2 <= len(known) <= 22
    assert [e.train_eval_loss for e in known] == pytest.approx([e.valid_loss for e in known])  # the same rows
    apart = train(built(), data.inputs, data.target, rows, other, OPTIONS, looks=True).epochs
    assert any(abs(e.train_eval_loss - e.valid_loss) > 1e-3 for e in apart)


def test_two_runs_with_one_seed_give_the_same_numbers() -> None:
    data = product()
    one, same, other = (fit_model(data, MODEL, OPTIONS.model_copy(update={"seed": s})) for s in (0, 0, 1))
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))


def test_the_global_random_state_is_left_as_it_was() -> None:
    state = torch.get_rng_state()
    fit_model(product(), MODEL, OPTIONS)
    assert torch.equal(torch.get_rng_state(), state)


def test_test_rows_have_no_influence() -> None:
    dataset = make_product()
    changed = make_product()
    changed.modalities["a"].values[160:] = 1e3
    changed.target[160:] = changed.target[160:][::-1]  # type: ignore[index]
    one, same = (fit_model(prepared(d), MODEL, OPTIONS) for d in (dataset, changed))
    assert torch.equal(weights(one), weights(same))


def test_the_weights_kept_are_those_of_the_best_epoch() -> None:
    data = product()
    seen: list[Epoch] = []
    model = fit_model(data, MODEL, OPTIONS.model_copy(update={"epochs": 12}), callbacks=[seen.append])
    assert model.history is not None
    untrained, *trained = model.history.epochs
    assert untrained.epoch == 0  # no epoch has ended there
    assert trained == seen
    assert model.history.best == min([untrained, *seen], key=lambda e: e.valid_error)
    said = model.predict_encoded(data.inputs, data.split.valid).argmax(1)
    assert np.mean(said == data.target[120:160].numpy()) == pytest.approx(model.history.best.valid_score)


@pytest.mark.parametrize("balance", [None, "uniform"])
def test_a_network_learns_beside_what_its_paths_make_of_rows_left_out(
    balance: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[float] = []
    linear = FusionModel.linear

    def watched(self: FusionModel, inputs: Mapping[str, Raw]) -> dict[str, torch.Tensor]:
        added = linear(self, inputs)
        plain = linear(self, {n: Raw(raw.values, raw.mask) for n, raw in inputs.items()})
        if self.training:
            moved.append(min(float((added[n] - plain[n]).abs().max()) for n in added))
        return added

    monkeypatch.setattr(FusionModel, "linear", watched)
    options = OPTIONS.model_copy(update={"balance": balance, "epochs": 1, "modality_dropout": 0.3})
    fit_model(product(task="regression"), MODEL, options)
    assert len(moved) == 4  # steps
    assert min(moved) > 1e-4


def test_a_fit_that_finds_nothing_better_keeps_the_linear_paths_as_they_are() -> None:
    """Too high a learning rate spoils each epoch; learned anew on all rows it is the paths too."""
    options = TrainOptions(epochs=3, batch_size=32, learning_rate=0.3, warmup_fraction=0.0, refit=True)
    data = prepared(make_product(task="regression"))
    target = data.inputs["a"].values[:, :1]
    data = dataclasses.replace(data, target=(target - target.mean()) / target.std())
    model = fit_model(data, MODEL, options)
    assert model.history is not None
    assert model.history.best_epoch == 0
    plain = model.model.plain
    known = {n: raw.rows(torch.arange(160, 200)) for n, raw in data.inputs.items()}
    torch.testing.assert_close(plain(known).outputs, plain.linear(known)[JOINT])
    torch.testing.assert_close(plain(known).outputs, data.target[160:200], atol=0.1, rtol=0)


def copied(kind: str | None) -> Dataset:
    """Each row is there five times, and its target is noise; copies belong together by their `kind`."""
    few, five = make_product(task="regression"), np.arange(200) // 5
    copies = {n: dataclasses.replace(m, values=np.asarray(m.values)[five]) for n, m in few.modalities.items()}
    dataset = dataclasses.replace(few, modalities=copies, target=np.random.default_rng(0).normal(size=200)[five])
    return dataclasses.replace(dataset, **({} if kind is None else {kind: five}))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["groups", "times", None])
def test_a_network_learns_beside_what_is_known_of_a_row_without_those_it_belongs_to(
    kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its copies seem to tell a row's target."""
    data = prepared(copied(kind))
    given: list[dict[str, Raw]] = []

    def watched(learn: Callable[..., Any]) -> Callable[..., Any]:
        def watching(model: FusionModel, inputs: dict[str, Raw], *rest: Any, **options: Any) -> Any:
            given.append(inputs)
            return learn(model, inputs, *rest, **options)

        return watching

    monkeypatch.setattr(fitting, "train", watched(train))
    monkeypatch.setattr(fitting, "retrain", watched(retrain))
    fit_model(data, MODEL, OPTIONS.model_copy(update={"epochs": 1, "refit": True}))
    for inputs, n in zip(given, (120, 160), strict=True):  # training rows, and then those with the validation rows
        shares = [not_none(raw.contributions)[:n, 0, 0] for raw in inputs.values()]
        along = torch.corrcoef(torch.stack([torch.stack(shares).sum(0), data.target[:n, 0]]))[0, 1]
        assert along > 0.9 if kind is None else along < 0.5  # of 24 and 32 targets that are noise


@pytest.mark.parametrize("kind", ["groups", "times", None])
def test_validation_rows_choose_penalties_where_rows_belong_together_and_training_anew_takes_them(
    kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies in training rows would say that the smallest penalty is the best."""
    data = prepared(copied(kind))
    chosen: list[list[float]] = []

    def watched(model: FusionModel, *rest: Any, **options: Any) -> dict[str, Raw]:
        made = fit_linear(model, *rest, **options)
        chosen.append([float(path.chosen[0]) for path in model.linear_paths.paths])  # type: ignore[index]
        return made

    monkeypatch.setattr(solving, "fit_linear", watched)
    fit_model(data, MODEL, OPTIONS.model_copy(update={"epochs": 1, "refit": True}))
    first, again = chosen
    if kind is None:
        assert max(first) < 1e-2
    else:
        assert min(first) > 2e-2
        assert again == first


def test_fits_of_the_same_rows_solve_their_linear_paths_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data, options = prepared(make_product()), OPTIONS.model_copy(update={"epochs": 1, "refit": True})
    data = data.choose(MODEL, data.inputs)  # which asks ridge regressions too
    fit_model(data, MODEL, options)
    n_paths = 1 + len(data.inputs)
    assert len(data.solved) == 2 * n_paths  # of the training rows, and of those with the validation rows
    monkeypatch.setattr(Ridge, "solve", None)
    fit_model(data, MODEL.model_copy(update={"fusion": "sum"}), options.model_copy(update={"seed": 1}))


def test_training_stops_when_patience_is_over() -> None:
    options = TrainOptions(epochs=40, patience=2, batch_size=32, learning_rate=1e-9, refit=False)
    model = fit_model(product(), MODEL, options)
    assert model.history is not None
    assert model.history.epochs[-1].epoch <= model.history.best_epoch + 2


def test_max_steps_bounds_the_epochs() -> None:
    options = TrainOptions(epochs=50, batch_size=30, max_steps=9, patience=50, refit=False)
    model = fit_model(product(), MODEL, options)
    assert model.history is not None
    assert model.history.epochs[-1].epoch == 3  # 4 steps an epoch, rounded up


def test_a_model_that_is_not_finite_after_its_last_step_is_told() -> None:
    """The loss of an epoch is that before its last step; the validation rows, or the weights, tell what came of it."""
    far = TrainOptions(epochs=1, batch_size=1000, learning_rate=1e30, warmup_fraction=0.0)
    with pytest.raises(ProfuseError, match="validation error of epoch 1 must stay finite.*Lower learning_rate"):
        fit_model(product(), MODEL, far)
    data, model = product(), built()
    done = History((Epoch(1, 0.0, 0.0, 0.0, 0.0),), 1, 100, 0.0)
    with pytest.raises(ProfuseError, match=r"encoders.* must stay finite; got .*Lower learning_rate"):
        retrain(model, data.inputs, data.target, torch.arange(100), far.model_copy(update={"weight_decay": 1e30}), done)


def test_a_frozen_number_that_is_not_finite_is_the_users_own() -> None:
    """A causal mask, say."""
    data, model = product(), built()
    model.register_parameter("causal", torch.nn.Parameter(torch.tensor([-math.inf]), requires_grad=False))
    done = History((Epoch(1, 0.0, 0.0, 0.0, 0.0),), 1, 100, 0.0)
    assert retrain(model, data.inputs, data.target, torch.arange(100), OPTIONS, done) > 0


@pytest.mark.slow
def test_a_fit_anew_takes_batches_as_the_first_one_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between 1,000 and 1,249 rows all rows would have another batch size than training rows alone."""
    steps: list[int] = []
    make = adamw

    def counted(*args: Any, n_steps: int, **options: Any) -> Any:
        steps.append(n_steps)
        return make(*args, n_steps=n_steps, **options)

    monkeypatch.setattr(train_module, "adamw", counted)
    data = make_product(1_100)
    rows = np.arange(1_100)
    split = Split(rows[:900], rows[900:], rows[:0])
    fit_model(Prepared.make(data, split), MODEL, TrainOptions(epochs=1, refit=True))
    assert steps == [29, 35]  # batches of 32


def test_parameters_are_counted_that_were_trained() -> None:
    """Of early fusion nothing is mixed; of a decision there is no joint head."""
    data = product()
    for options, unused in (
        ({"fusion": "concat"}, ()),
        ({"fusion": "concat", "level": "raw", "unimodal_loss_weight": 0.0}, ("encoders.0.mlp", "encoders.1.mlp")),
        ({"fusion": "mean_logits"}, ("head",)),
    ):
        trained = fit_model(data, ModelOptions(width=8, members=1, **options), OPTIONS.model_copy(update={"epochs": 1}))
        model = trained.model
        idle = sum(p.numel() for n, p in model.named_parameters() if n.startswith(unused))
        assert (idle > 0) == bool(unused)
        assert trained.n_parameters == sum(p.numel() for p in model.parameters()) - idle


def test_a_validation_target_without_spread_has_no_r2() -> None:
    head = head_for("regression")(4, 2)
    outputs, target = torch.zeros(3, 2), torch.tensor([[0.3, 0.1], [0.3, 0.2], [0.3, 0.6]])
    spread = float((target[:, 1] - target[:, 1].mean()).square().sum())
    assert head.score(outputs, target) == pytest.approx(1 - float(target[:, 1].square().sum()) / spread)
    assert math.isnan(head.score(outputs[:1], target[:1]))


def test_losses_of_many_rows_are_those_of_a_sample() -> None:
    """Rows of a table are often sorted; the first of them would be of one class."""
    data = make_product(6_000)
    inputs = Prepared.make(data, Split(np.arange(4_000), np.arange(4_000, 6_000), np.arange(0)))
    seen: list[torch.Tensor] = []
    model = built()
    loss = model.losses
    model.losses = lambda output, target: seen.append(target) or loss(output, target)  # type: ignore[method-assign, func-returns-value]
    for _ in range(2):
        mean_losses(model, inputs.inputs, torch.arange(6_000) % 2, torch.arange(4_000), Uniform(model))
    assert sum(map(len, seen)) == 4_000
    half = len(seen) // 2
    assert torch.equal(torch.cat(seen[:half]), torch.cat(seen[half:]))


def test_a_loss_that_is_no_longer_finite_is_told() -> None:
    data = product(task="regression")
    with pytest.raises(ProfuseError, match="the loss of epoch .* must stay finite.*Lower learning_rate"):
        fit_model(data, MODEL, TrainOptions(epochs=5, learning_rate=1e30, max_grad_norm=1e30))


def test_training_needs_rows_on_both_sides() -> None:
    data = product()
    model = build_model(data.pipeline.specs, "binary", 2, MODEL, n_rows=9, seed=0)
    none = torch.zeros(0, dtype=torch.long)
    with pytest.raises(ConfigError, match="rows to learn from and to validate; got 3 and 0"):
        train(model, data.inputs, data.target, torch.arange(3), none, OPTIONS)


@pytest.mark.slow
def test_small_data_are_learned_anew_with_their_validation_rows() -> None:
    """The second training is the first one's twin on more rows: as many epochs, the same seed."""
    data = product()
    refit = fit_model(data, MODEL, OPTIONS.model_copy(update={"refit": True}))
    plain = fit_model(data, MODEL, OPTIONS)
    assert refit.history is not None
    assert plain.history is not None
    assert refit.history.epochs == plain.history.epochs
    assert not torch.equal(weights(refit), weights(plain))
    np.testing.assert_array_equal(refit.valid_prediction, plain.predict_encoded(data.inputs, data.split.valid))
    swapped = make_product()
    assert swapped.target is not None
    swapped.target[120:160] = swapped.target[120:160][::-1].copy()
    assert not torch.equal(
        weights(fit_model(prepared(swapped), MODEL, OPTIONS.model_copy(update={"refit": True}))), weights(refit)
    )


@pytest.mark.parametrize(("refit", "n_solved"), [(False, 3), (True, 6)])
def test_linear_paths_are_solved_once_for_each_set_of_rows(
    refit: bool, n_solved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    solved: list[int] = []
    solve = LinearPath.fit

    def noted(self: LinearPath, parts: Any, target: torch.Tensor, **options: Any) -> Any:
        solved.append(len(target))
        return solve(self, parts, target, **options)

    monkeypatch.setattr(LinearPath, "fit", noted)
    data = prepared(make_product())
    fit_model(data, MODEL, OPTIONS.model_copy(update={"refit": refit, "epochs": 1}))
    n_train, n_valid = len(data.split.train), len(data.split.valid)
    assert solved == ([n_train] * 3 + [n_train + n_valid] * 3)[:n_solved]  # of a, of b, and the joint one


@pytest.mark.parametrize("fusion", ["concat", "stacking"])
def test_how_sure_a_model_is_hangs_on_validation_rows_and_is_kept_when_it_is_trained_anew(fusion: str) -> None:
    data = product(task="multiclass")
    model = MODEL.model_copy(update={"fusion": fusion})
    plain, refit = (fit_model(data, model, OPTIONS.model_copy(update={"refit": r})) for r in (False, True))
    head = plain.model.head
    assert head.temperature != 1
    assert torch.equal(head.temperature, refit.model.head.temperature)
    valid = torch.as_tensor(data.split.valid)
    outputs = torch.cat([o.outputs for o in train_module.predict(plain.model, data.inputs, valid)])
    kept = float(head.temperature)
    head.calibrate(outputs, data.target[valid])
    assert float(head.temperature) == pytest.approx(kept)
    learned = torch.as_tensor(data.split.train)
    outputs = torch.cat([o.outputs for o in train_module.predict(plain.model, data.inputs, learned)])
    head.calibrate(outputs, data.target[learned])
    assert float(head.temperature) != pytest.approx(kept, rel=0.02)


@pytest.mark.parametrize(("n_rows", "refits"), [(1_999, True), (2_000, False)])
def test_large_data_are_not_learned_anew_unless_asked(n_rows: int, refits: bool) -> None:
    assert TrainOptions().refits(n_rows) is refits
    assert TrainOptions(refit=not refits).refits(n_rows) is not refits


def test_batches_cover_every_row_once_and_leave_no_row_alone() -> None:
    inputs = {"x": Raw(torch.arange(33.0)[:, None], torch.ones(33, dtype=torch.bool))}
    parts = list(batches(inputs, torch.arange(33), 8, generator=torch.Generator().manual_seed(0)))
    assert sorted(torch.cat([rows for _, rows in parts]).tolist()) == list(range(33))
    assert min(len(rows) for _, rows in parts) > 1
    for batch, rows in parts:
        assert torch.equal(batch["x"].values[:, 0], rows.float())


def test_stacking_is_fitted_on_rows_its_experts_have_not_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    original = Stacking.fit_out_of_fold

    def spy(self: Stacking, outputs: torch.Tensor, present: torch.Tensor, targets: torch.Tensor) -> object:
        seen["n"] = len(targets)
        return original(self, outputs, present, targets)

    monkeypatch.setattr(Stacking, "fit_out_of_fold", spy)
    data = product()
    model = fit_model(data, ModelOptions(fusion="stacking", width=16, members=1), OPTIONS)
    assert seen["n"] == 120
    assert model.predict_encoded(data.inputs, data.split.test).shape == (40, 2)


def test_a_hybrid_fits_its_stacking_on_all_heads_and_knows_how_frequent_classes_are() -> None:
    data, short = product(task="multiclass"), OPTIONS.model_copy(update={"epochs": 1})
    stacked, told = (
        fit_model(data, ModelOptions(fusion="concat", level="hybrid", decision=name, width=8, members=1), short).model
        for name in ("stacking", "product_of_experts")
    )
    assert isinstance(stacked.plain.decider, Stacking)
    assert stacked.plain.decider.maps.abs().amax((1, 2)).min() > 0  # the joint head's too
    shares = torch.bincount(data.target[torch.as_tensor(data.split.train)], minlength=3) + 1
    assert isinstance(told.plain.decider, ProductOfExperts)
    torch.testing.assert_close(told.plain.decider.prior, (shares / shares.sum()).log())


@pytest.mark.parametrize("fusion", ["concat", "similarity_network", "trusted"])
def test_mixed_precision_trains_and_leaves_a_model_of_single_precision(fusion: str) -> None:
    data = prepared(make_product(absent=0.1))
    options = OPTIONS.model_copy(update={"precision": "bf16-mixed", "epochs": 2, "device": "cpu", "refit": True})
    fitted = fit_model(data, ModelOptions(fusion=fusion, width=8, members=1), options)
    assert {p.dtype for p in fitted.model.parameters()} == {torch.float32}
    said = fitted.predict_encoded(data.inputs)
    np.testing.assert_allclose(said.sum(1), 1, atol=1e-6)


def test_regression_predictions_are_in_the_targets_units() -> None:
    dataset = make_product(task="regression")
    moved = Dataset("moved", dataset.modalities, not_none(dataset.target) * 1000 + 5e4, "regression")
    one, two = (fit_model(prepared(d), MODEL, OPTIONS) for d in (dataset, moved))
    np.testing.assert_allclose(one.predict(dataset) * 1000 + 5e4, two.predict(moved), rtol=1e-4, atol=1)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_true_values_are_those_of_the_rows_as_metrics_take_them(task: str) -> None:
    dataset, rows = make_product(task=task), np.array([190, 3, 150])
    target = np.asarray(dataset.target)[rows]
    codes = {"binary": np.array(["other", "same"]), "multiclass": np.arange(3)}
    true = prepared(dataset).true(rows)
    if task in codes:
        assert true.tolist() == [codes[task].tolist().index(t) for t in target.tolist()]
    else:
        np.testing.assert_allclose(true, target.reshape(3, -1), rtol=1e-5)


def test_a_product_of_experts_knows_how_frequent_classes_are_in_training() -> None:
    data = product(task="multiclass")
    model = fit_model(
        data, ModelOptions(fusion="product_of_experts", width=8), OPTIONS.model_copy(update={"epochs": 1})
    )
    counts = np.bincount(data.target[:120].numpy(), minlength=3) + 1
    np.testing.assert_allclose(model.model.fusion.prior.exp(), counts / counts.sum(), rtol=1e-5)  # type: ignore[union-attr, operator]


class TestModalityDropout:
    def test_the_last_modality_of_a_row_is_never_dropped(self) -> None:
        present = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) < 0.6
        keep = ModalityDropout(0.9).draw(present, torch.Generator().manual_seed(1))
        assert (keep <= present).all()
        assert torch.equal(keep.any(1), present.any(1))

    @pytest.mark.parametrize(("n_modalities", "prob"), [(2, 0.5), (3, 0.3)])
    def test_the_keep_rate_is_conditional_on_one_being_left(self, n_modalities: int, prob: float) -> None:
        present = torch.ones(200_000, n_modalities, dtype=torch.bool)
        keep = ModalityDropout(prob).draw(present, torch.Generator().manual_seed(0))
        expected = (1 - prob) / (1 - prob**n_modalities)
        assert keep.double().mean().item() == pytest.approx(expected, abs=0.003)

    def test_zero_changes_nothing(self) -> None:
        present = torch.rand(50, 3) < 0.6
        assert torch.equal(ModalityDropout(0.0).draw(present, torch.Generator()), present)

    def test_near_certainty_one_modality_is_left_and_each_as_often(self) -> None:
        present = torch.tensor([[True, True, False]]).expand(20_000, 3)
        keep = ModalityDropout(1 - 1e-7).draw(present, torch.Generator().manual_seed(0))
        assert torch.equal(keep.sum(1), torch.ones(20_000, dtype=torch.long))
        assert keep.double().mean(0).tolist() == pytest.approx([0.5, 0.5, 0], abs=0.02)

    def test_a_certain_drop_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"prob must be in \[0, 1\); got prob=1"):
            ModalityDropout(1)

    def test_training_with_it_makes_a_model_that_stands_a_missing_modality(self) -> None:
        data = product()
        model = fit_model(data, MODEL, OPTIONS.model_copy(update={"modality_dropout": 0.5}))
        gone = {**data.inputs, "a": data.inputs["a"].without(torch.ones(200, dtype=torch.bool))}
        assert np.isfinite(model.predict_encoded(gone)).all()


class Remembers(Concat):
    n_remembered = 7

    def __init__(self, channels: Mapping[str, int], width: int) -> None:
        super().__init__(channels, width)
        self.seen: list[object] = []

    def remember(self, tokens: Mapping[str, Tokens]) -> None:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.seen.append(next(iter(tokens.values())).values)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        if self.training:
            self.seen.append(self.progress)
        return super().fuse(tokens)


def test_an_operator_is_shown_the_same_training_rows_each_epoch_and_told_how_far_training_is() -> None:
    options = TrainOptions(epochs=4, batch_size=200, refit=False)
    model = fit_model(product(), MODEL, options, operator=Remembers).model
    assert isinstance(model, FusionModel)
    assert isinstance(model.fusion, Remembers)
    seen = model.fusion.seen
    assert [s for s in seen if isinstance(s, float)] == [0.25, 0.5, 0.75, 1.0]
    shown = [s for s in seen if isinstance(s, torch.Tensor)]
    assert [type(s) is float for s in seen] == [False, True] * 4 + [False]
    assert {len(s) for s in shown} == {7}
    assert not torch.equal(shown[0], shown[-1])
    assert model.fusion.progress == 1.0
