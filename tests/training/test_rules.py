"""What training must never do wrong: each test fails where one of its rules is broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from known_answers import make_product
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from profuse.data.split import Split
from profuse.errors import ConfigError
from profuse.fusion import DecisionFusion, Fused, TargetFacts
from profuse.fusion.encoder_decoder.concat import Concat
from profuse.fusion.encoder_decoder.mean_logits import MeanLogits
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.models.trainable import Trainable, Validation
from profuse.tokens import Raw, Tokens
from profuse.training import fitting, loop
from profuse.training.balance import BALANCES, balance
from profuse.training.balanced import mean_losses
from profuse.training.fitting import Prepared, fit_model
from profuse.training.history import Epoch
from profuse.training.loop import Recipe, train
from profuse.training.optimizer import adamw
from profuse.training.options import TrainOptions

pytestmark = pytest.mark.slow

TRAIN, VALID, TEST = np.arange(120), np.arange(120, 160), np.arange(160, 200)
MODEL = ModelOptions(fusion="concat", width=8, members=1, dropout=0.0)
ONE_MEMBER = MODEL.model_copy(update={"members": 1})
"""Of more members an operator is given each row so many times."""
OPTIONS = TrainOptions(epochs=3, batch_size=40, refit=False, device="cpu")


@cache
def prepared(**options: Any) -> Prepared:
    """Encoders have chosen, and linear paths are solved once."""
    data = Prepared.make(make_product(**options), Split(TRAIN, VALID, TEST))
    return data.choose(MODEL, data.inputs)


# -- which rows are learned from, and which are only looked at


@dataclass(frozen=True)
class Call:
    """One call of a model."""

    model: FusionModel
    learns: bool
    rows: tuple[int, ...]
    present: Tensor


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """All calls of all models; rows are known by what their modality `a` holds.

    But for the calls that measure the loss of training rows for the report: `test_loop` shows that they change nothing.
    """
    number = {values.numpy().tobytes(): row for row, values in enumerate(prepared().inputs["a"].values)}
    made: list[Call] = []
    forward = FusionModel.forward

    def noted(self: FusionModel, inputs: Mapping[str, Raw]) -> Any:
        rows = tuple(number[values.numpy().tobytes()] for values in inputs["a"].values)
        present = torch.stack([raw.present for raw in inputs.values()], dim=1)
        made.append(Call(self, self.training, rows, present))
        return forward(self, inputs)

    monkeypatch.setattr(FusionModel, "forward", noted)
    monkeypatch.setattr(fitting, "train", lambda *parts, **options: train(*parts, **{**options, "looks": False}))
    return made


def rows_of(calls: list[Call], *, learns: bool) -> set[int]:
    return {row for call in calls if call.learns is learns for row in call.rows}


def by_model(calls: list[Call]) -> list[list[Call]]:
    models = list({id(call.model): call.model for call in calls}.values())
    return [[call for call in calls if call.model is model] for model in models]


def test_only_training_rows_are_learned_from_and_only_validation_rows_are_judged(calls: list[Call]) -> None:
    fit_model(prepared(), MODEL, OPTIONS)
    assert rows_of(calls, learns=True) == set(TRAIN)
    assert rows_of(calls, learns=False) == set(VALID)


def test_what_is_learned_anew_has_training_and_validation_rows_for_as_many_epochs_as_were_chosen(
    calls: list[Call],
) -> None:
    options = OPTIONS.model_copy(update={"refit": True, "epochs": 12, "learning_rate": 0.05, "patience": 12})
    history = fit_model(prepared(), MODEL, options).history
    assert history is not None
    assert 0 < history.best_epoch < history.epochs[-1].epoch  # else none, or all of them, would do as well
    first, again = by_model(calls)
    assert rows_of(first, learns=True) == set(TRAIN)
    learned = [row for call in again if call.learns for row in call.rows]
    assert np.bincount(learned, minlength=200).tolist() == [history.best_epoch] * 160 + [0] * 40


def test_every_row_is_learned_from_once_an_epoch_in_another_order_by_epoch_and_seed(calls: list[Call]) -> None:
    orders = []
    for seed in (0, 0, 1):
        calls.clear()
        fit_model(prepared(), MODEL, OPTIONS.model_copy(update={"seed": seed}))
        rows = np.array([row for call in calls if call.learns for row in call.rows]).reshape(3, 120)
        assert (np.sort(rows, axis=1) == TRAIN).all()
        assert not (rows[0] == rows[1]).all()
        orders.append(rows)
    one, same, other = orders
    assert (one == same).all()
    assert not (one == other).all()
    assert not (one[0] == TRAIN).all()


def test_modality_dropout_hides_modalities_while_learning_and_never_while_judging(calls: list[Call]) -> None:
    fit_model(prepared(), MODEL, OPTIONS.model_copy(update={"modality_dropout": 0.5}))
    learned = torch.cat([call.present for call in calls if call.learns])
    assert learned.any(1).all()
    assert 0.5 < learned.double().mean() < 0.8  # two thirds are kept
    assert not torch.equal(learned[:120], learned[120:240])
    assert all(call.present.all() for call in calls if not call.learns)


class Keeps(Concat):
    """Remembers a few rows."""

    n_remembered = 9


def test_what_an_operator_is_shown_to_remember_are_training_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    data, shown = prepared(), []
    number = {values.numpy().tobytes(): row for row, values in enumerate(data.inputs["a"].values)}
    remember = FusionModel.remember

    def noted(self: FusionModel, inputs: Mapping[str, Raw]) -> None:
        shown.append([number[values.numpy().tobytes()] for values in inputs["a"].values])
        remember(self, inputs)

    monkeypatch.setattr(FusionModel, "remember", noted)
    fit_model(data, MODEL, OPTIONS, operator=Keeps)
    assert len(shown) == 1 + 3
    assert all(len(rows) == 9 and set(rows) <= set(TRAIN) and rows == shown[0] for rows in shown)


def test_preprocessing_and_the_targets_codec_know_training_rows_alone() -> None:
    data, changed = make_product(task="regression"), make_product(task="regression")
    assert changed.target is not None
    changed.target[120:] = 100 + changed.target[120:]
    changed.modalities["a"].values[120:] += 50
    one, other = (Prepared.make(d, Split(TRAIN, VALID, TEST)) for d in (data, changed))
    assert one.codec.state() == other.codec.state()
    assert one.codec.mean[0] == pytest.approx(np.mean(np.asarray(data.target)[:120]))
    assert one.codec.std[0] == pytest.approx(np.std(np.asarray(data.target)[:120]))
    for name, preprocessor in one.pipeline.preprocessors.items():
        mine, theirs = preprocessor.state(), other.pipeline.preprocessors[name].state()
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(np.asarray(mine[k]), np.asarray(theirs[k])) for k in mine)


# -- operators of one's own that training must do something for


class Judge(MeanLogits):
    """Is fitted out of fold and told of the target, as a user's own operator may be."""

    out_of_fold = True
    fitted: Tensor
    fits: list[tuple[Tensor, Tensor, Tensor]] = []  # of all copies
    facts: list[TargetFacts] = []

    def __init__(self, channels: Mapping[str, int], width: int, *, link: Any = "softmax") -> None:
        super().__init__(channels, width, link=link)
        self.register_buffer("fitted", torch.zeros(()))

    def prepare(self, target: TargetFacts) -> None:
        self.facts.append(target)

    def fit_out_of_fold(self, outputs: Tensor, present: Tensor, targets: Tensor) -> None:
        self.fits.append((outputs, present, targets))
        self.fitted.fill_(1.0)


@pytest.fixture
def judge() -> type[Judge]:
    Judge.fits.clear()
    Judge.facts.clear()
    return Judge


@pytest.mark.parametrize("refit", [False, True])
def test_an_operator_that_asks_for_it_is_fitted_on_rows_its_members_have_not_learned_from(
    refit: bool, judge: type[Judge], calls: list[Call]
) -> None:
    data = prepared(task="multiclass", absent=0.2)
    whole = replace(data, inputs=prepared(task="multiclass").inputs)  # all rows can be told apart
    fitted = fit_model(whole, ONE_MEMBER, OPTIONS.model_copy(update={"refit": refit}), operator=judge)
    folds = by_model(calls)[1:4]
    held_out = []
    for fold in folds:
        learned, judged = rows_of(fold, learns=True), rows_of(fold, learns=False)
        assert learned < set(TRAIN)
        assert not learned & judged
        held_out += sorted(judged - set(VALID))
        assert learned | (judged - set(VALID)) == set(TRAIN)
    assert sorted(held_out) == sorted(TRAIN)
    ((outputs, present, targets),) = judge.fits
    assert outputs.shape == (120, 2, 3)
    assert present.all()
    assert sorted(targets.tolist()) == sorted(data.target[:120].tolist())
    decider = fitted.model.plain.decider
    assert isinstance(decider, Judge)
    assert decider.fitted == 1
    assert len(by_model(calls)) == 4 + refit


def test_the_rows_of_outputs_presence_and_targets_belong_together(judge: type[Judge]) -> None:
    """A modality that holds the class itself: its head must be right about the targets that are handed over."""
    data = prepared()
    there = torch.arange(200) % 5 > 0
    known = torch.nn.functional.one_hot(data.target, 4).float()
    told = replace(data, inputs={**data.inputs, "a": Raw(known, there)})
    options = OPTIONS.model_copy(update={"epochs": 10, "batch_size": 20, "learning_rate": 0.03})
    fit_model(told, ONE_MEMBER, options, operator=judge)
    ((outputs, present, targets),) = judge.fits
    assert (present[:, 0] == torch.isin(torch.arange(120), there.nonzero()[:, 0])).float().mean() < 1  # shuffled
    assert present[:, 0].sum() == there[:120].sum()
    assert (outputs[present[:, 0], 0].argmax(1) == targets[present[:, 0]]).all()


def test_an_operator_that_does_not_ask_is_not_fitted(judge: type[Judge], calls: list[Call]) -> None:
    class Plain(Judge):
        out_of_fold = False

    fit_model(prepared(), MODEL, OPTIONS, operator=Plain)
    assert not judge.fits
    assert len(by_model(calls)) == 1


def test_an_operator_that_asks_must_have_the_method() -> None:
    class Forgets(MeanLogits):
        out_of_fold = True

    assert not DecisionFusion.out_of_fold
    with pytest.raises(ConfigError, match="Forgets: fit_out_of_fold must be written where out_of_fold is True"):
        Forgets({"a": 2, "b": 2}, 2)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_an_operator_is_told_how_frequent_classes_are_in_the_rows_it_learns_from(task: str, judge: type[Judge]) -> None:
    data = prepared(task=task)
    fit_model(data, MODEL, OPTIONS.model_copy(update={"epochs": 1, "refit": True}), operator=judge)
    assert [facts.n_rows for facts in judge.facts] == [120, 80, 80, 80, 120]
    target = data.target[:120]
    for facts in (judge.facts[0], judge.facts[-1]):
        if task == "regression":
            assert facts.shares is None
        elif task == "multilabel":
            assert facts.shares is not None
            torch.testing.assert_close(facts.shares, (target.sum(0) + 1) / 122)
        else:
            counts = torch.bincount(target) + 1
            assert facts.shares is not None
            torch.testing.assert_close(facts.shares, counts / counts.sum())


class TellsAll(Concat):
    """A feature operator that is told of the target, and of its training."""

    def __init__(self, channels: Mapping[str, int], width: int) -> None:
        super().__init__(channels, width)
        self.facts: list[TargetFacts] = []
        self.progresses: list[float] = []

    def prepare(self, target: TargetFacts) -> None:
        self.facts.append(target)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        if self.training:
            self.progresses.append(self.progress)
        return super().fuse(tokens)


@pytest.mark.parametrize("options", [{}, {"rounds": 2}, {"level": "hybrid"}])
def test_operators_of_features_are_told_too_in_every_kind_of_model(options: dict[str, Any]) -> None:
    fitted = fit_model(prepared(), MODEL.model_copy(update=options), OPTIONS, operator=TellsAll)
    operator = fitted.model.plain.fusion
    assert isinstance(operator, TellsAll)
    assert [facts.n_rows for facts in operator.facts] == [120]
    assert sorted(set(operator.progresses)) == pytest.approx([1 / 3, 2 / 3, 1])


# -- balancing methods


@pytest.mark.parametrize("name", BALANCES)
def test_a_balancing_method_makes_the_gradients_of_every_step_and_is_told_of_each(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, counts = balance(name), dict.fromkeys(("backward", "after_step", "after_epoch", "close"), 0)

    def counted(hook: str) -> Any:
        original = getattr(kind, hook)

        def call(self: Any, *values: Any) -> Any:
            counts[hook] += 1
            return original(self, *values)

        return call

    for hook in counts:
        monkeypatch.setattr(kind, hook, counted(hook))
    model = fit_model(prepared(), MODEL, OPTIONS.model_copy(update={"balance": name})).model
    n_steps = 3 * 3 * (3 if name == "mla" else 1)  # epochs, batches, passes: each modality and all
    assert counts == {"backward": n_steps, "after_step": n_steps, "after_epoch": 3, "close": 1}
    plain = fit_model(prepared(), MODEL, OPTIONS).model
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_a_balancing_method_compares_losses_of_training_rows_with_those_of_validation_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[list[int]] = []
    original = mean_losses

    def recorded(model: Any, inputs: Any, target: Tensor, rows: Tensor, balancing: Any, weights: Any) -> Any:
        measured.append(rows.tolist())
        return original(model, inputs, target, rows, balancing, weights)

    monkeypatch.setattr(loop, "mean_losses", recorded)
    fit_model(prepared(), MODEL, OPTIONS.model_copy(update={"balance": "gradient_blending"}))
    assert measured == [TRAIN.tolist(), VALID.tolist()] * (len(measured) // 2)
    assert measured


# -- the loop itself, on a model whose errors are written down


class Scripted(Trainable[Tensor]):
    """One weight that every step moves; its validation errors are a script."""

    def __init__(self, errors: Sequence[float] = (), *, steepness: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 4))
        self.errors, self.steepness = list(errors), steepness
        self.judged: list[Tensor] = []

    @property
    def unit(self) -> str:
        return "points"

    def forward(self, inputs: Mapping[str, Raw]) -> Tensor:
        return inputs["x"].values @ self.weight

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.steepness * (output.sum(1) - target).square().mean()

    def validate(self, outputs: Sequence[Tensor], target: Tensor) -> Validation:
        self.judged.append(self.weight.detach().clone())
        error = self.errors[len(self.judged) - 1]
        return Validation(error, -error, error)


def run(model: Scripted, *, recipe: Recipe | None = None, **options: Any) -> Any:
    inputs = {"x": Raw(torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.ones(40).bool())}
    given = TrainOptions(**{"epochs": len(model.errors), "batch_size": 10, "device": "cpu", **options})
    return train(model, inputs, torch.ones(40), torch.arange(30), torch.arange(30, 40), given, recipe=recipe)


@pytest.mark.parametrize(("errors", "best"), [([5, 3, 1, 2, 4], 3), ([1, 2, 3], 1), ([3, 2, 1], 3), ([2, 1, 1, 1], 2)])
def test_the_weights_that_are_left_are_those_of_the_epoch_with_the_smallest_error(
    errors: list[float], best: int
) -> None:
    model = Scripted(errors)
    history = run(model, patience=10)
    assert history.best_epoch == best
    assert history.best == history.epochs[best - 1]
    assert torch.equal(model.weight, model.judged[best - 1])
    others = [weight for i, weight in enumerate(model.judged) if i != best - 1]
    assert not any(torch.equal(model.weight, weight) for weight in others)
    assert [epoch.valid_error for epoch in history.epochs] == errors


@pytest.mark.parametrize(
    ("errors", "n_epochs"),
    [
        ([9, 8, 7, 6, 5, 4, 3, 2], 8),  # it gets better all the time
        ([1, 2, 3, 4, 5, 6, 7, 8], 4),
        ([5, 1, 2, 3, 4, 0, 0, 0], 5),
        ([5, 6, 7, 4, 5, 6, 3, 2], 8),
    ],
)
def test_training_ends_when_the_error_was_not_smaller_for_as_many_epochs_as_patience_has(
    errors: list[float], n_epochs: int
) -> None:
    assert len(run(Scripted(errors), patience=3).epochs) == n_epochs


@pytest.mark.parametrize(
    ("best", "n_epochs", "ends"),
    [(1, 60, 11), (12, 60, 22), (20, 60, 30), (30, 60, 45), (2, 10, 6), (2, 21, 9), (50, 60, 60)],
)
def test_training_waits_half_as_long_again_as_the_best_epoch_took_unless_patience_is_given(
    best: int, n_epochs: int, ends: int
) -> None:
    """At least for 10 epochs, or for a third of few, and never for fewer than 4."""
    errors = [abs(best - epoch) for epoch in range(1, n_epochs + 1)]
    assert len(run(Scripted(errors)).epochs) == ends
    assert len(run(Scripted(errors), patience=2).epochs) == best + 2


@pytest.mark.parametrize(
    ("n_rows", "n_epochs"), [(200, 100), (2_000, 100), (4_000, 50), (10_000, 30), (40_000, 26), (400_000, 6)]
)
def test_few_rows_may_be_seen_more_often_and_many_are_bounded_by_steps(n_rows: int, n_epochs: int) -> None:
    """4,000 steps: 40,000 rows make 157 of them an epoch, 400,000 rows 782."""
    assert TrainOptions().n_epochs(n_rows) == n_epochs
    assert TrainOptions(epochs=7, max_steps=10_000).n_epochs(n_rows) == 7


def test_the_untrained_model_is_kept_where_it_counts_and_no_epoch_is_better() -> None:
    for errors, best in (([1, 2, 3], 0), ([3, 2, 4], 1)):
        model = Scripted(errors)
        history = run(model, recipe=Recipe(untrained_counts=True), epochs=2)
        assert history.best_epoch == best
        assert history.best.valid_error == min(errors)
        assert torch.equal(model.weight, model.judged[best])
        assert [epoch.epoch for epoch in history.epochs] == [0, 1, 2]


class Draws(Scripted):
    """Draws at random while it learns, as dropout does."""

    def forward(self, inputs: Mapping[str, Raw]) -> Tensor:
        if self.training:
            self.drawn: list[float] = [*getattr(self, "drawn", []), float(torch.rand(()))]
        return super().forward(inputs)


def test_what_is_drawn_hangs_on_seed_epoch_and_batch_and_on_no_state_outside() -> None:
    drawn = []
    for outside, seed in ((1, 0), (2, 0), (1, 5)):
        model = Draws([2, 1])
        torch.manual_seed(outside)
        run(model, seed=seed)
        drawn.append(model.drawn)
    one, same, other = drawn
    assert one == same
    assert len({*one, *other}) == 12  # two epochs of three batches, by two seeds


def descent(model: nn.Module, **options: Any) -> Any:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return optimizer, LambdaLR(optimizer, lambda step: 1.0)


@pytest.mark.parametrize("norm", [0.5, 2.0])
def test_no_gradient_is_longer_than_the_option_says_and_a_short_one_stays_as_it_is(norm: float) -> None:
    """A step of plain descent is its gradient."""
    options: dict[str, Any] = {
        "recipe": Recipe(optimizer=descent),
        "max_grad_norm": norm,
        "batch_size": 30,
        "averaging": 0.0,
    }
    model = Scripted([1], steepness=1e4)
    run(model, **options)
    assert float(model.weight.detach().norm()) == pytest.approx(norm, rel=1e-4)
    gentle = Scripted([1], steepness=1e-3)
    run(gentle, **options)
    assert 0 < float(gentle.weight.detach().norm()) < 0.1


def test_every_row_weighs_the_same_in_the_loss_of_an_epoch() -> None:
    """Batches of 20 and 10 rows."""
    seen: list[float] = []

    class Told(Scripted):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            loss = super().loss(output, target)
            seen.append(float(loss.detach()) * len(target) / 30)
            return loss

    history = run(Told([1]), batch_size=20)
    assert history.epochs[0].train_loss == pytest.approx(sum(seen), rel=1e-6)


# -- the optimizer


class Parts(nn.Module):
    """A layer of each sort."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 3), nn.LayerNorm(3)
        self.words, self.conv = nn.Embedding(5, 3), nn.Conv1d(3, 3, 2)


def test_weights_decay_and_biases_norms_and_embeddings_do_not() -> None:
    """Without a gradient's help, what changes has decayed."""
    model = Parts()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer, _ = adamw(model, learning_rate=0.1, weight_decay=0.5, warmup_fraction=0.0, n_steps=1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = dict(model.named_parameters())
    decayed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert decayed == {"linear.weight", "conv.weight"}
    torch.testing.assert_close(after["linear.weight"].detach(), before["linear.weight"] * 0.95)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(before)


@pytest.mark.parametrize(("fraction", "peak"), [(0.1, 10), (0.5, 50), (0.0, 1)])
def test_the_rate_rises_in_equal_steps_to_its_peak_and_falls_to_nothing(fraction: float, peak: int) -> None:
    optimizer, schedule = adamw(Parts(), learning_rate=0.2, weight_decay=0.0, warmup_fraction=fraction, n_steps=100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert int(np.argmax(rates)) + 1 in (peak, peak + 1)
    assert max(rates) == pytest.approx(0.2)
    np.testing.assert_allclose(rates[:peak], 0.2 * np.arange(1, peak + 1) / peak)
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates[-1] < 0.01
    assert {group["lr"] for group in optimizer.param_groups} == {optimizer.param_groups[0]["lr"]}


def test_the_schedule_makes_a_step_for_each_batch_and_is_done_when_training_is() -> None:
    steps: list[int] = []

    def counted(model: nn.Module, *, n_steps: int, **options: Any) -> Any:
        optimizer, schedule = adamw(model, n_steps=n_steps, **options)
        optimizer.register_step_post_hook(lambda *_: steps.append(schedule.last_epoch))
        steps.append(-n_steps)
        return optimizer, schedule

    run(Scripted([4, 3, 2, 1]), recipe=Recipe(optimizer=counted))
    assert steps == [-12, *range(12)]


def test_epochs_are_numbered_from_one() -> None:
    first, second = run(Scripted([2.0, 1.0])).epochs
    assert first == Epoch(1, first.train_loss, 2.0, -2.0, 2.0)
    assert second.epoch == 2
