"""Balancing methods: their formulas, and that training with them does what they say."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from known_answers import make_product
from scipy.optimize import minimize_scalar

from profuse.data.split import Split
from profuse.errors import ConfigError, UnknownNameError
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.progressive import ProgressiveFusion
from profuse.schema import Spec
from profuse.tokens import Raw
from profuse.training.balance import BALANCES, Balance, balance, unimodal_confidence
from profuse.training.balance.gradient_blending import GradientBlending, blend
from profuse.training.balance.mla import MLA, shrink
from profuse.training.balance.mmpareto import MMPareto, pareto_weight
from profuse.training.balance.ogm_ge import OGMGE
from profuse.training.balance.uniform import Uniform
from profuse.training.balanced import mean_losses
from profuse.training.fitting import Prepared, fit_model
from profuse.training.options import TrainOptions
from profuse.training.step import Step, flat

SPECS = {name: Spec(kind="vector", n_channels=4) for name in "abc"}
ONE = ModelOptions(fusion="concat", width=8, members=1)


def prepared(**options: Any) -> Prepared:
    """Rows of two modalities; encoders have chosen."""
    rows = np.arange(200)
    data = Prepared.make(make_product(**options), Split(rows[:120], rows[120:160], rows[160:]))
    return data.choose(ONE, data.inputs)


PRODUCT, LABELS = prepared(), prepared(task="multilabel", absent=0.1)


def model(**options: object) -> FusionModel | ProgressiveFusion:
    given = {"fusion": "concat", "width": 8, "dropout": 0.0, **options}
    return build_model(SPECS, "multiclass", 3, ModelOptions(**{"members": 1, **given}), n_rows=100, seed=0)


def batch(n_rows: int = 12) -> tuple[dict[str, Raw], torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    there = torch.ones(n_rows, dtype=torch.bool)
    inputs = {name: Raw(torch.randn(n_rows, 4, generator=generator), there) for name in SPECS}
    inputs["b"] = inputs["b"].without(torch.arange(n_rows) < 2)
    return inputs, torch.arange(n_rows) % 3


def backward(balancing: Balance, built: FusionModel | ProgressiveFusion) -> dict[str, torch.Tensor]:
    """The gradients that the method leaves at every parameter."""
    inputs, target = batch()
    built.zero_grad()
    output = built(inputs)
    balancing.backward(*built.losses(output, target), unimodal_confidence(built, output, target))
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in built.named_parameters()}


def plain(built: FusionModel | ProgressiveFusion) -> dict[str, torch.Tensor]:
    inputs, target = batch()
    built.zero_grad()
    built.loss(built(inputs), target).backward()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in built.named_parameters()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(one[n], two[n], atol=1e-7) for n in one)


def of_encoder(gradients: dict[str, torch.Tensor], built: FusionModel, name: str) -> torch.Tensor:
    prefix = f"encoders.{built.names.index(name)}."
    return torch.cat([g.flatten() for n, g in gradients.items() if n.startswith(prefix)])


# -- what they have in common


@pytest.mark.parametrize("name", BALANCES)
def test_a_model_without_own_losses_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"every modality must have a loss of its own; got unimodal_loss_weight=0.0"):
        balance(name)(model(unimodal_loss_weight=0.0))


@pytest.mark.parametrize("name", BALANCES)
@pytest.mark.parametrize("options", [{"fusion": "trusted"}, {"level": "hybrid", "decision": "multiplicative_late"}])
def test_a_model_whose_decision_owns_its_loss_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(Trusted|MultiplicativeLate)\. Set unimodal_loss_weight above 0, and use"):
        balance(name)(model(**options))


def test_the_joint_loss_of_a_hybrid_that_is_measured_is_that_which_is_trained() -> None:
    built = model(level="hybrid").eval()
    inputs, target = batch(40)
    balancing = Uniform(built)
    joint, own = mean_losses(built, inputs, target, torch.arange(40), balancing)
    step, own_of_step, _ = Step(built, balancing)(*flat(inputs), target)
    torch.testing.assert_close(joint, step)
    for name, loss in own_of_step.items():
        torch.testing.assert_close(own[name], loss)


@pytest.mark.parametrize("name", BALANCES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"level": "hybrid"},
        pytest.param({"fusion": "mean_logits"}, marks=pytest.mark.slow),
        {"rounds": 2},
        pytest.param({"level": "hybrid", "decision": "quality_aware"}, marks=pytest.mark.slow),
    ],
)
def test_training_with_it_lowers_the_loss_at_every_level(name: str, options: dict[str, object]) -> None:
    train = TrainOptions(epochs=3, batch_size=30, refit=False, balance=name)
    fitted = fit_model(LABELS, ModelOptions(**{"fusion": "concat", "width": 8, "members": 1, **options}), train)
    assert fitted.history is not None
    losses = [e.train_loss for e in fitted.history.epochs if e.epoch > 0]  # 0 is the untrained model
    assert losses[-1] < losses[0]
    assert not fitted.model.head.linear._forward_pre_hooks


@pytest.mark.parametrize("name", BALANCES)
def test_it_trains_in_mixed_precision(name: str) -> None:
    options = TrainOptions(epochs=2, batch_size=40, balance=name, precision="bf16-mixed", refit=True)
    fitted = fit_model(PRODUCT, ONE, options)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in fitted.model.parameters())


def test_a_single_modality_trains_as_without() -> None:
    options = ONE.model_copy(update={"unimodal_loss_weight": 0.0})
    fits = [
        fit_model(PRODUCT, options, TrainOptions(epochs=2, refit=False, balance=name), modalities=("a",))
        for name in (None, "mmpareto")
    ]
    one, two = (np.asarray(f.predict_encoded(PRODUCT.inputs)) for f in fits)
    np.testing.assert_array_equal(one, two)


def test_equal_seeds_give_equal_models() -> None:
    train = TrainOptions(epochs=2, batch_size=40, refit=True, balance="ogm_ge")
    one, two = (fit_model(PRODUCT, ONE, train).predict_encoded(PRODUCT.inputs) for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"balance": "ogm"}, "Did you mean 'ogm_ge'"),
        ({"balance": "ogm_ge", "balance_options": {"beta": 1}}, "has the options alpha, noise; got 'beta'"),
        ({"balance": "uniform", "balance_options": {"alpha": 1}}, r"has the options \(none\); got 'alpha'"),
        ({"balance_options": {"alpha": 1}}, "balance_options need a balance"),
        ({"balance": "uniform", "precision": "16-mixed"}, "use bf16-mixed"),
    ],
)
def test_wrong_options_are_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainOptions(**options)


def test_an_unknown_method_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mmpareto'"):
        balance("pareto")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: OGMGE(m, alpha=-1), "OGMGE: alpha and noise must be at least 0; got alpha=-1"),
        (lambda m: MMPareto(m, gamma=0), "MMPareto: gamma must be above 0; got gamma=0"),
        (lambda m: GradientBlending(m, span=0), "GradientBlending: span must be at least 1; got span=0"),
        (lambda m: MLA(m, alpha=0), "MLA: alpha must be above 0; got alpha=0"),
    ],
)
def test_numbers_out_of_range_are_told(make: Callable[[Any], object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        make(model())


# -- uniform


def test_uniform_is_the_gradient_of_the_sum_of_all_losses() -> None:
    built = model()
    found = backward(Uniform(built), built)
    inputs, target = batch()
    built.zero_grad()
    joint, own = built.losses(built(inputs), target)
    (joint + own["a"] + own["b"] + own["c"]).backward()
    assert same(found, {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in built.named_parameters()})


# -- OGM-GE


def test_with_alpha_0_the_gradients_are_as_without() -> None:
    built = model()
    assert same(backward(OGMGE(built, alpha=0.0), built), plain(built))


def test_only_the_encoders_that_lead_are_slowed_down_by_the_factor() -> None:
    built = model()
    assert isinstance(built, FusionModel)
    balancing = OGMGE(built, alpha=0.5, noise=0.0)
    told = {"a": torch.tensor(0.6), "b": torch.tensor(0.2), "c": torch.tensor(0.3)}
    factors = balancing.factors(told)
    assert float(factors["a"]) == pytest.approx(1 - np.tanh(0.5 * (0.6 / 0.25 - 1)))
    assert float(factors["b"]) == float(factors["c"]) == 1
    inputs, target = batch()
    built.zero_grad()
    balancing.backward(*built.losses(built(inputs), target), told)
    found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in built.named_parameters()}
    before = plain(built)
    torch.testing.assert_close(of_encoder(found, built, "a"), float(factors["a"]) * of_encoder(before, built, "a"))
    torch.testing.assert_close(of_encoder(found, built, "b"), of_encoder(before, built, "b"))


@given(st.lists(st.floats(1e-3, 1), min_size=3, max_size=3), st.floats(0, 5))
def test_a_factor_is_above_0_and_at_most_1_and_the_weakest_keeps_its_gradient(s: list[float], alpha: float) -> None:
    factors = OGMGE(MODEL, alpha=alpha).factors(dict(zip("abc", torch.tensor(s), strict=True)))
    assert all(0 <= float(f) <= 1 for f in factors.values())
    assert float(factors["abc"[int(np.argmin(s))]]) == pytest.approx(1, abs=1e-5)


MODEL = model()


@pytest.mark.parametrize(("s", "factors"), [
    ((0.3, 0.0, 0.3), (1, 1, 1)),
    ((0.3, 0.0, 0.0), (1, 1, 1)),
    ((0.0, 0.0, 0.0), (1, 1, 1)),
    ((0.6, 0.0, 0.3), (1 - np.tanh(0.3), 1, 1)),
])  # fmt: skip
def test_a_modality_that_is_absent_in_a_whole_batch_slows_nobody_down(s: Any, factors: Any) -> None:
    found = OGMGE(MODEL, alpha=0.3).factors(dict(zip("abc", torch.tensor(s), strict=True)))
    assert [float(f) for f in found.values()] == pytest.approx(list(factors))


def test_the_noise_has_the_spread_of_the_scaled_gradient() -> None:
    built = model(width=64)
    assert isinstance(built, FusionModel)
    told = {"a": torch.tensor(0.9), "b": torch.tensor(0.1), "c": torch.tensor(0.1)}
    inputs, target = batch()
    grads = []
    for noise in (0.0, 1.0):
        built.zero_grad()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            OGMGE(built, alpha=0.1, noise=noise).backward(*built.losses(built(inputs), target), told)
        largest = max((p for p in built.encoders[0].parameters()), key=lambda p: p.numel())
        assert largest.grad is not None
        grads.append(largest.grad.clone())
    assert float((grads[1] - grads[0]).std() / grads[0].std()) == pytest.approx(1, rel=0.1)


def test_skill_is_the_mean_probability_of_the_true_class_of_the_rows_that_have_the_modality() -> None:
    built = model(label_smoothing=0.2)
    inputs, target = batch()
    output = built(inputs)
    found = unimodal_confidence(built, output, target)
    probs = output.parts["b"].softmax(-1)[torch.arange(12), target]
    assert float(found["b"]) == pytest.approx(float(probs[2:].mean().detach()), rel=1e-5)
    assert built.head.training


# -- MMPareto


@given(st.integers(0, 10_000))
def test_the_weight_of_conflicting_gradients_is_that_of_the_shortest_combination(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=5), rng.normal(size=5)
    if one @ two > 0:
        two = -two
    a = float(pareto_weight(torch.tensor(one), torch.tensor(two)))
    best = minimize_scalar(lambda w: np.sum((w * one + (1 - w) * two) ** 2), bounds=(0, 1), method="bounded")
    assert a == pytest.approx(best.x, abs=1e-4)
    d = a * one + (1 - a) * two
    assert min(d @ one, d @ two) >= d @ d - 1e-9  # it lowers both losses


def test_agreeing_gradients_are_summed_and_lengthened() -> None:
    assert float(pareto_weight(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]))) == 0.5
    built = model()
    assert isinstance(built, FusionModel)
    inputs, target = batch()
    joint, own = built.losses(built(inputs), target)
    parameters = list(built.encoders[0].parameters())
    flat = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])
        for loss in (joint, own["a"])
    ]
    a = pareto_weight(*flat)
    d = 2 * (a * flat[0] + (1 - a) * flat[1])
    want = 1.5 * torch.maximum(d.norm(), (flat[0] + flat[1]).norm()) * d / d.norm()
    torch.testing.assert_close(of_encoder(backward(MMPareto(built), built), built, "a"), want)


@pytest.mark.parametrize("fusion", ["vote", "stacking"])
def test_a_joint_loss_without_gradient_leaves_the_own_ones(fusion: str) -> None:
    built = model(fusion=fusion)
    found = backward(MMPareto(built, gamma=1.5), built)
    inputs, target = batch()
    built.zero_grad()
    _, own = built.losses(built(inputs), target)
    torch.stack([*own.values()]).sum().backward()
    for name, parameter in built.named_parameters():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        factor = 1.5 if name.startswith("encoders") else 1.0
        torch.testing.assert_close(found[name], expected * factor)


def test_opposite_gradients_make_no_step() -> None:
    built = model()
    assert isinstance(built, FusionModel)
    parameters = list(built.encoders[0].parameters())
    weight, loss = parameters[0], torch.stack([p.sum() for p in parameters]).sum()
    own = {"a": -2 * loss, "b": 0 * weight.sum(), "c": 0 * weight.sum()}
    MMPareto(built).backward(loss, own, {})
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.zeros_like(weight))


def test_what_is_no_encoder_gets_the_sum_of_all_gradients() -> None:
    built = model()
    found, want = backward(MMPareto(built), built), backward(Uniform(built), built)
    shared = [n for n in found if not n.startswith("encoders.")]
    assert shared
    for name in shared:
        torch.testing.assert_close(found[name], want[name], msg=name)


# -- gradient blending


def test_equal_histories_give_equal_weights_and_so_does_no_gain_at_all() -> None:
    even = {"a": (1.0, 1.2), "b": (1.0, 1.2), "c": (1.0, 1.2)}
    assert blend(even, dict.fromkeys(even, (0.5, 0.9))) == pytest.approx(dict.fromkeys(even, 1 / 3))
    assert blend(even, dict.fromkeys(even, (0.5, 1.9))) == pytest.approx(dict.fromkeys(even, 1 / 3))


def test_the_weights_are_gain_over_overfitting_squared() -> None:
    before = {"a": (1.0, 1.0), "b": (1.0, 1.0)}
    after = {"a": (0.4, 0.6), "b": (0.6, 0.7)}  # gains .4 and .3; gaps grew by .2 and .1
    raw = np.array([0.4 / 0.2**2, 0.3 / 0.1**2])
    assert list(blend(before, after).values()) == pytest.approx(list(raw / raw.sum()))


@pytest.mark.parametrize("changes", [(-0.2, 0.1), (0.2, -0.1), (-0.3, -0.05), (0.4, 0.02), (-0.02, 0.02)])
def test_a_gap_counts_by_how_much_it_changed_whether_it_grew_or_shrank(changes: tuple[float, float]) -> None:
    before = dict.fromkeys("ab", (1.0, 1.2))
    after = {name: (0.7 - change, 0.9) for name, change in zip("ab", changes, strict=True)}  # both gain .3
    raw = 0.3 / np.square(changes)
    assert list(blend(before, after).values()) == pytest.approx(list(raw / raw.sum()))


@pytest.mark.parametrize("change", [0.0, 1e-9, -1e-9])
def test_a_gap_that_did_not_change_is_divided_by_the_floor(change: float) -> None:
    weights = blend(dict.fromkeys("ab", (1.0, 1.2)), {"a": (0.7 - change, 0.9), "b": (0.6, 0.9)}, floor=0.05)
    raw = np.array([0.3 / 0.05**2, 0.3 / 0.1**2])
    assert list(weights.values()) == pytest.approx(list(raw / raw.sum()))


def test_a_loss_that_rose_gets_nothing() -> None:
    assert blend(dict.fromkeys("ab", (1.0, 1.2)), {"a": (0.9, 1.3), "b": (0.9, 1.0)}) == {"a": 0, "b": 1}


def test_blending_weighs_the_losses_and_repeats_what_it_found() -> None:
    built = model()
    balancing = GradientBlending(built)
    balancing.repeat({"(all)": 0.1, "a": 0.2, "b": 0.3, "c": 0.4})
    found = backward(balancing, built)
    inputs, target = batch()
    built.zero_grad()
    joint, own = built.losses(built(inputs), target)
    (0.1 * joint + 0.2 * own["a"] + 0.3 * own["b"] + 0.4 * own["c"]).backward()
    assert same(found, {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in built.named_parameters()})


def test_a_fit_anew_uses_the_weights_that_validation_gave() -> None:
    train = TrainOptions(epochs=6, batch_size=30, refit=True, balance="gradient_blending", balance_options={"span": 1})
    fitted = fit_model(PRODUCT, ONE, train)
    assert fitted.history is not None
    assert len(fitted.history.balance_weights) == fitted.history.best_epoch
    assert fitted.history.balance_weights[0] == {}  # all alike
    for weights in fitted.history.balance_weights[2:]:
        assert set(weights) == {"(all)", "a", "b"}
        assert sum(weights.values()) == pytest.approx(1)


def test_a_fit_anew_uses_in_each_epoch_what_the_first_one_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was learned after the best epoch, or later in it, must not rule the fit anew from its first step."""
    used: list[list[dict[str, float]]] = [[]]
    backward = GradientBlending.backward

    def noted(self: GradientBlending, *losses: Any) -> None:
        if used[-1][-1:] != [self.weights()]:
            used[-1].append(self.weights())
        backward(self, *losses)

    close = GradientBlending.close

    def closed(self: GradientBlending) -> None:
        used.append([])
        close(self)

    monkeypatch.setattr(GradientBlending, "close", closed)
    monkeypatch.setattr(GradientBlending, "backward", noted)
    train = TrainOptions(epochs=8, batch_size=30, refit=True, balance="gradient_blending", balance_options={"span": 1})
    history = fit_model(PRODUCT, ONE, train).history
    assert history is not None
    first, again, _ = used
    assert len(first) > 2
    assert again == first[: len(again)]
    assert again == [weights for weights, _ in groupby(map(dict, history.balance_weights))]  # they may come back


# -- MLA


def test_the_projection_lets_less_of_a_used_direction_through_and_all_of_the_others() -> None:
    rng = np.random.default_rng(0)
    projection, directions = torch.eye(6, dtype=torch.float64), torch.tensor(rng.normal(size=(3, 6)))
    for h in directions:
        projection = shrink(projection, h, 1e-9)
    orthogonal = np.linalg.svd(directions.numpy())[2][3:]  # what no step has used
    np.testing.assert_allclose(projection @ directions.T, 0, atol=1e-6)
    np.testing.assert_allclose(orthogonal @ projection.numpy(), orthogonal, atol=1e-6)
    np.testing.assert_allclose(projection, projection.T, atol=1e-12)
    values = np.linalg.eigvalsh(projection.numpy())
    assert values.min() > -1e-9
    assert values.max() < 1 + 1e-9


def test_each_modality_has_a_pass_in_which_the_others_are_missing_and_the_last_pass_sees_all() -> None:
    built = model()
    balancing = MLA(built)
    inputs, _ = batch()
    seen = [
        ({n for n, raw in part.items() if bool(raw.present.any())}, rows) for part, rows in balancing.passes(inputs)
    ]
    balancing.close()
    assert [names for names, _ in seen] == [{"a"}, {"b"}, {"c"}, {"a", "b", "c"}]
    assert seen[1][1] is not None
    assert seen[1][1].tolist() == list(range(2, 12))  # rows without b have no pass for b
    assert seen[3][1] is None


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_step_of_the_head_is_kept_off_the_directions_of_the_steps_before(optimizer: Any) -> None:
    """AdamW's steps do not lie along gradients, have momentum and decay: it is the step that is projected."""
    built = model()
    weight = built.head.linear.weight
    steps = optimizer(built.parameters(), lr=0.01, weight_decay=0.1)
    balancing = MLA(built, alpha=1e-9)
    inputs, target = batch()
    for _ in range(2):  # the second batch begins anew, with momentum
        used: list[torch.Tensor] = []
        for part, rows in balancing.passes(inputs):
            before = weight.detach().clone()
            built.zero_grad()
            goal = target if rows is None else target[rows]
            output = built(part)
            balancing.backward(*built.losses(output, goal), unimodal_confidence(built, output, goal))
            steps.step()
            balancing.after_step()
            if rows is not None:
                change = weight.detach() - before
                for h in used:
                    assert float((change @ h).norm() / (change.norm() * h.norm())) < 1e-3
                assert balancing._direction is not None
                used.append(balancing._direction)
        assert (weight - before).abs().sum() > 0
    balancing.close()
    assert len(used) == 3
