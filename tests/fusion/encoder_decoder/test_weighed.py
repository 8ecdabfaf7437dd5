"""Decisions weighed row by row, and losses weighed by the others': QMF, PDF, the multiplicative loss; by NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from scipy.stats import entropy
from torch import Tensor
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion import DecisionFusion
from profuse.fusion.encoder_decoder.mean_logits import MeanLogits
from profuse.fusion.encoder_decoder.multiplicative_late import MultiplicativeLate
from profuse.fusion.encoder_decoder.predictive_dynamic import PredictiveDynamic, others, relative
from profuse.fusion.encoder_decoder.quality_aware import QualityAware, ranking_loss
from profuse.heads import ClassHead, Head, LabelsHead, ValuesHead
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

N_ROWS, N_CLASSES = 12, 4
NAMES = ("a", "b", "c")
CASES = [(cls, link) for cls in (QualityAware, PredictiveDynamic, MultiplicativeLate) for link in cls.links]
HEADS: dict[str, Callable[[int, int], Head]] = {"softmax": ClassHead, "sigmoid": LabelsHead, "identity": ValuesHead}
EVERYTHING = torch.ones(N_ROWS, 3, dtype=torch.bool)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def outputs(seed: int = 0, scale: float = 3.0, n_outputs: int = N_CLASSES) -> Tensor:
    return scale * normal(N_ROWS, 3, n_outputs, seed=seed)


def presence(seed: int = 0) -> Tensor:
    present = torch.rand(N_ROWS, 3, generator=torch.Generator().manual_seed(seed)) > 0.4
    present[0], present[1] = True, False
    return present


def as_tokens(values: Tensor, present: Tensor = EVERYTHING, names: tuple[str, ...] = NAMES) -> dict[str, Tokens]:
    return {name: Tokens.vector(values[:, i], present[:, i]) for i, name in enumerate(names)}


def made(
    cls: type[DecisionFusion],
    link: str = "softmax",
    names: tuple[str, ...] = NAMES,
    width: int = N_CLASSES,
    **options: Any,
) -> DecisionFusion:
    options["link"] = link
    operator = cls(dict.fromkeys(names, width), width, **options).double().eval()
    for i, parameter in enumerate(operator.parameters()):
        parameter.data += 0.5 * normal(*parameter.shape, seed=i)
    return operator


def target_of(link: str) -> Tensor:
    if link == "softmax":
        return torch.arange(N_ROWS) % N_CLASSES
    values = normal(N_ROWS, N_CLASSES, seed=9)
    return (values > 0).double() if link == "sigmoid" else values


def head_losses(f: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(f, target, reduction="none")


# -- what all of them do


@pytest.mark.parametrize(("cls", "link"), CASES)
def test_a_lone_expert_is_believed(cls: type[DecisionFusion], link: str) -> None:
    x, only = outputs(), torch.tensor([False, True, False]).expand(N_ROWS, 3)
    fused = made(cls, link)(as_tokens(x, only)).vector
    torch.testing.assert_close(fused, x[:, 1].log_softmax(1) if link == "softmax" else x[:, 1])


@pytest.mark.parametrize(("cls", "link"), CASES)
def test_experts_that_agree_are_left_as_they_are(cls: type[DecisionFusion], link: str) -> None:
    x = outputs()[:, :1].expand(-1, 3, -1)
    fused = made(cls, link)(as_tokens(x)).vector
    torch.testing.assert_close(fused, x[:, 1].log_softmax(1) if link == "softmax" else x[:, 1])


@pytest.mark.parametrize(("cls", "link"), CASES)
def test_dropping_an_expert_by_its_mask_is_fusing_the_others(cls: type[DecisionFusion], link: str) -> None:
    x, present = outputs(), torch.tensor([True, False, True]).expand(N_ROWS, 3)
    operator, fewer = made(cls, link), made(cls, link, ("a", "c"))
    state = {k.replace("mlps.2", "mlps.1"): v for k, v in operator.state_dict().items() if "mlps.1" not in k}
    fewer.load_state_dict(state)
    subset = fewer(as_tokens(x[:, [0, 2]], EVERYTHING[:, :2], ("a", "c")))
    torch.testing.assert_close(operator(as_tokens(x, present)).vector, subset.vector)


@pytest.mark.parametrize(("cls", "link"), [case for case in CASES if case[0] is not MultiplicativeLate])
def test_weights_sum_to_one_over_the_present_experts(cls: type[DecisionFusion], link: str) -> None:
    present = presence()
    weights = made(cls, link)(as_tokens(outputs(), present)).weights["decision"]
    torch.testing.assert_close(weights.sum(1), present.any(1).double())
    assert not weights[~present].any()


@pytest.mark.parametrize(("cls", "link"), CASES)
def test_losses_are_finite_and_change_nothing_where_no_row_has_an_expert(cls: type[DecisionFusion], link: str) -> None:
    head = HEADS[link](4, N_CLASSES).double().eval()
    x = outputs().requires_grad_()
    for present in (torch.zeros(N_ROWS, 3, dtype=torch.bool), EVERYTHING & (torch.arange(N_ROWS) == 2)[:, None]):
        told = made(cls, link).losses(x * present[..., None], present, target_of(link), head.losses)
        total = torch.stack([*told.values()]).sum()
        (gradient,) = torch.autograd.grad(total, x)
        assert total.isfinite()
        assert gradient.isfinite().all()
        assert not gradient[~present].any()
        if not present.any():
            assert total.item() == 0


@pytest.mark.parametrize(("cls", "link"), CASES)
def test_losses_and_fusion_survive_extreme_outputs(cls: type[DecisionFusion], link: str) -> None:
    head, operator = HEADS[link](4, N_CLASSES).eval(), made(cls, link).float()
    x = outputs(scale=300).float().requires_grad_()
    target = target_of(link) if link == "softmax" else target_of(link).float()
    told = operator.losses(x, EVERYTHING, target, head.losses)
    total = torch.stack([*told.values()]).sum() + operator(as_tokens(x)).vector.sum()
    total.backward()
    assert total.isfinite()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (QualityAware, {"temperature": 0.0}),
        (QualityAware, {"rank_weight": -1.0}),
        (PredictiveDynamic, {"hidden_dim": 0}),
        (PredictiveDynamic, {"confidence_weight": -1.0}),
        (MultiplicativeLate, {"beta": -0.5}),
    ],
)
def test_options_out_of_range_are_told(cls: type[DecisionFusion], options: dict[str, Any]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(ConfigError, match=f"^{cls.__name__}: .* must be .*got .*{name}={value}"):
        made(cls, **options)


# -- quality-aware


def test_the_energy_is_the_divergence_from_knowing_nothing() -> None:
    x = outputs()
    energy = made(QualityAware).energy(x)[..., 0].numpy()  # type: ignore[operator]
    np.testing.assert_allclose(energy, entropy(np.full(N_CLASSES, 1 / N_CLASSES), softmax(x.numpy(), 2), axis=2))
    flat = made(QualityAware).energy(torch.full((1, 3, N_CLASSES), -7.0).double())  # type: ignore[operator]
    torch.testing.assert_close(flat, torch.zeros(1, 3, 1).double())


def test_an_energy_is_never_negative_and_no_constant_added_to_the_logits_changes_anything() -> None:
    x, present = outputs(), presence()
    moved = x + 100 * normal(N_ROWS, 3, 1, seed=5) - 200
    operator = made(QualityAware)
    assert (operator.energy(moved) >= 0).all()  # type: ignore[operator]
    ours, theirs = operator(as_tokens(moved, present)), operator(as_tokens(x, present))
    torch.testing.assert_close(ours.vector, theirs.vector)
    torch.testing.assert_close(ours.weights["decision"], theirs.weights["decision"])


def test_logits_are_weighed_by_the_softmax_of_energies() -> None:
    x = outputs()
    fused = made(QualityAware, temperature=2.0)(as_tokens(x))
    logs = log_softmax(x.numpy(), 2)
    weights = softmax((-logs.mean(2) - np.log(N_CLASSES)) / 2, 1)
    np.testing.assert_allclose(fused.weights["decision"].numpy(), weights)
    np.testing.assert_allclose(fused.vector.numpy(), log_softmax((weights[..., None] * logs).sum(1), 1), atol=1e-12)


def test_the_temperature_leads_from_the_surest_expert_to_the_mean_of_all() -> None:
    x = outputs()
    hot, cold = made(QualityAware, temperature=1e9), made(QualityAware, temperature=1e-9)
    torch.testing.assert_close(hot(as_tokens(x)).vector, made(MeanLogits)(as_tokens(x)).vector)
    surest = cold.energy(x)[..., 0].argmax(1)  # type: ignore[operator]
    torch.testing.assert_close(cold(as_tokens(x)).vector, x[torch.arange(N_ROWS), surest].log_softmax(1))


@pytest.mark.parametrize("cls", [QualityAware, MultiplicativeLate])
def test_one_yes_or_no_is_the_same_as_two_classes(cls: type[DecisionFusion]) -> None:
    z, present = outputs(n_outputs=1), presence()
    target = torch.arange(N_ROWS) % 2
    two = torch.cat([torch.zeros_like(z), z], -1)
    labels, classes = made(cls, "sigmoid", width=1), made(cls, width=2)
    binary, pair = labels(as_tokens(z, present)).vector, classes(as_tokens(two, present)).vector
    torch.testing.assert_close(binary[:, 0], pair[:, 1] - pair[:, 0])
    ours = labels.losses(z, present, target[:, None].double(), LabelsHead(4, 1).eval().losses)
    theirs = classes.losses(two, present, target, ClassHead(4, 2).eval().losses)
    for name, loss in ours.items():
        torch.testing.assert_close(loss, theirs[name])


def test_the_ranking_loss_is_the_mean_over_pairs_of_rows() -> None:
    r, k, present = normal(N_ROWS, 3).sigmoid(), normal(N_ROWS, 3, seed=1).sigmoid(), presence()
    wrong = []
    for m in range(3):
        rows = [i for i in range(N_ROWS) if present[i, m]]
        for i in rows:
            for j in rows:
                if r[i, m] > r[j, m]:
                    wrong.append(max(0.0, float(r[i, m] - r[j, m] - k[i, m] + k[j, m])))
    assert ranking_loss(k, r, present).item() == pytest.approx(np.mean(wrong))
    assert ranking_loss(r, r, present).item() == pytest.approx(0)
    assert ranking_loss(1 - r, r, present).item() > ranking_loss(k, r, present).item()


def test_the_ranking_loss_makes_experts_surer_where_they_are_right_and_leaves_the_right_as_it_is() -> None:
    logits = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    operator = made(QualityAware, names=("a",), width=2)
    told = operator.losses(logits, torch.ones(2, 1).bool(), torch.tensor([0, 1]), head_losses)["ranking"]
    (gradient,) = torch.autograd.grad(told, logits)
    sureness = gradient[:, 0, 0] - gradient[:, 0, 1]  # both lean to the first class: rightly, and wrongly
    assert sureness[0] < 0 < sureness[1]
    r = torch.tensor([0.73105858, 0.26894142], dtype=torch.float64)
    assert told.item() == pytest.approx(0.1 * float(r[0] - r[1]))  # both are equally sure


@pytest.mark.parametrize("cls", [QualityAware, PredictiveDynamic])
def test_detached_weights_are_constants_to_the_fused_loss(cls: type[DecisionFusion]) -> None:
    x = outputs().requires_grad_()
    functional_of = normal(N_ROWS, N_CLASSES, seed=3)
    gradients = {}
    for detach in (False, True):
        operator = made(cls, detach=detach)
        fused = operator(as_tokens(x))
        (gradients[detach],) = torch.autograd.grad((fused.vector * functional_of).sum(), x)
    weights = fused.weights["decision"].detach()
    pooled = (weights[..., None] * x.log_softmax(2)).sum(1).log_softmax(1)
    (wanted,) = torch.autograd.grad((pooled * functional_of).sum(), x)
    torch.testing.assert_close(gradients[True], wanted)
    assert not torch.allclose(gradients[False], wanted, atol=1e-3)


# -- predictive dynamic


def test_what_the_others_lack_sums_to_one_and_for_two_is_the_papers() -> None:
    q, present = normal(N_ROWS, 3, 1).sigmoid(), presence()
    holo = others(-q.log(), present)
    torch.testing.assert_close(holo.sum(1)[:, 0], (present.sum(1) > 1).double())
    two = torch.tensor([True, True, False]).expand(N_ROWS, 3)
    q1, q2 = q[:, 0, 0], q[:, 1, 0]
    wanted = torch.stack([q2.log() / (q1 * q2).log(), q1.log() / (q1 * q2).log()], 1)
    torch.testing.assert_close(others(-q.log(), two)[:, :2, 0], wanted)


def test_what_the_others_lack_grows_with_ones_own_confidence() -> None:
    q = normal(N_ROWS, 3, 1).sigmoid()
    more = q.clone()
    more[:, 1] = (q[:, 1] + 1) / 2
    before, after = (others(-x.log(), EVERYTHING) for x in (q, more))
    assert (after[:, 1] > before[:, 1]).all()
    assert (after[:, [0, 2]] < before[:, [0, 2]]).all()


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_confidences_of_nothing_and_of_all_give_even_finite_weights(logit: float) -> None:
    operator = made(PredictiveDynamic, calibrate=False).float()
    for mlp in operator.mlps:  # type: ignore[union-attr]
        mlp[2].weight.data.zero_()
        mlp[2].bias.data.fill_(logit)
    x = outputs().float().requires_grad_()
    fused = operator(as_tokens(x))
    torch.testing.assert_close(fused.weights["decision"], torch.full((N_ROWS, 3), 1 / 3))
    fused.vector.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in operator.parameters())


def test_calibration_lowers_those_that_are_flatter_than_the_others() -> None:
    x = normal(N_ROWS, 3, 1).exp() + 0.1
    present = presence()
    got = relative(x, present)[..., 0].numpy()
    for row in range(N_ROWS):
        for m in range(3):
            rest = [float(x[row, j, 0]) for j in range(3) if j != m and present[row, j]]
            if present[row, m]:
                wanted = min(1.0, float(x[row, m, 0]) / np.mean(rest)) if rest else 1.0
                assert got[row, m] == pytest.approx(wanted)


def test_weights_are_the_softmax_of_calibrated_collaborative_belief() -> None:
    x, names = outputs()[:, :2], ("a", "b")
    operator = made(PredictiveDynamic, names=names)
    probs = softmax(x.numpy(), 2)
    q = expit(operator.confidence_logits(x)[..., 0].detach().numpy())  # type: ignore[operator]
    lack = 0.001 - np.log(q)
    belief = q + lack[:, ::-1] / lack.sum(1, keepdims=True)
    sharp = np.abs(probs - 1 / N_CLASSES).mean(2) + 0.001
    calibrated = belief * np.minimum(1, sharp / sharp[:, ::-1])
    tokens = as_tokens(x, EVERYTHING[:, :2], names)
    got = operator(tokens)
    np.testing.assert_allclose(got.weights["decision"].detach().numpy(), softmax(calibrated, 1))
    pooled = (softmax(calibrated, 1)[..., None] * log_softmax(x.numpy(), 2)).sum(1)
    np.testing.assert_allclose(got.vector.detach().numpy(), log_softmax(pooled, 1), atol=1e-12)
    trained = operator.train()(tokens).weights["decision"].detach().numpy()
    np.testing.assert_allclose(trained, softmax(belief, 1))


@pytest.mark.parametrize("link", PredictiveDynamic.links)
def test_the_confidence_loss_is_the_distance_to_the_probability_of_the_truth(link: str) -> None:
    x, present, target = outputs(), presence(), target_of(link)
    operator = made(PredictiveDynamic, link, confidence_weight=0.5)
    q = operator.confidence_logits(x).sigmoid().detach().numpy()  # type: ignore[operator]
    if link == "softmax":
        right = softmax(x.numpy(), 2)[np.arange(N_ROWS), :, target.numpy()][..., None]
    else:
        right = np.abs(1 - target.numpy()[:, None] - expit(x.numpy()))
    far = np.abs(q - right).mean(2)
    wanted = np.mean([far[present[:, m].numpy(), m].mean() for m in range(3)])
    told = operator.losses(x, present, target, head_losses)["confidence"]
    assert told.item() == pytest.approx(0.5 * wanted)


def test_the_confidence_loss_reaches_the_experts_unless_detached() -> None:
    for detach in (False, True):
        x = outputs().requires_grad_()
        operator = made(PredictiveDynamic, detach=detach)
        operator.losses(x, EVERYTHING, target_of("softmax"), head_losses)["confidence"].backward()
        assert (x.grad is None) == detach
        assert all(p.grad is not None and p.grad.any() for p in operator.parameters())


# -- the multiplicative loss


@pytest.mark.parametrize("link", MultiplicativeLate.links)
def test_the_prediction_is_the_mean_of_logits(link: str) -> None:
    x, present = outputs(), presence()
    tokens = as_tokens(x, present)
    torch.testing.assert_close(made(MultiplicativeLate, link)(tokens).vector, made(MeanLogits, link)(tokens).vector)


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_each_loss_is_weighed_by_the_others_failures(beta: float) -> None:
    x, present, target = outputs(), presence(), target_of("softmax")
    right = softmax(x.numpy(), 2)[np.arange(N_ROWS), :, target.numpy()]
    sums: list[list[float]] = [[], [], []]
    for row in range(N_ROWS):
        there = [m for m in range(3) if present[row, m]]
        for m in there:
            rest = [1.001 - right[row, i] for i in there if i != m]
            q = math.prod(rest) ** (beta / max(1, len(rest)))
            sums[m].append(-q * math.log(right[row, m]))
    told = made(MultiplicativeLate, beta=beta).losses(x, present, target, head_losses)["experts"]
    assert told.item() == pytest.approx(np.mean([np.mean(s) for s in sums]))


@pytest.mark.parametrize("link", MultiplicativeLate.links)
def test_without_beta_experts_are_trained_by_their_own_losses(link: str) -> None:
    x, present, target, head = outputs(), presence(), target_of(link), HEADS[link](4, N_CLASSES).double().eval()
    told = made(MultiplicativeLate, link, beta=0.0).losses(x, present, target, head.losses)["experts"]
    wanted = torch.stack([head.loss(x[:, m], target, present[:, m]) for m in range(3)]).mean()
    torch.testing.assert_close(told, wanted)


def test_detached_weights_leave_each_expert_its_own_gradient_times_the_weight() -> None:
    x, target = outputs()[:, :2].requires_grad_(), target_of("softmax")
    present = EVERYTHING[:, :2]
    gradients = {}
    for detach in (False, True):
        operator = made(MultiplicativeLate, names=("a", "b"), detach=detach)
        told = operator.losses(x, present, target, head_losses)["experts"]
        (gradients[detach],) = torch.autograd.grad(told, x)
    own = torch.stack([head_losses(x[:, m], target) for m in range(2)], 1)
    (plain,) = torch.autograd.grad(own.sum() / (2 * N_ROWS), x)
    q = (1.001 - (-own).exp()).sqrt().flip(1).detach()
    torch.testing.assert_close(gradients[True], q[..., None] * plain)
    # undetached, being right relieves the other, so that it is sought more
    chosen = (torch.arange(N_ROWS), slice(None), target)
    assert (gradients[False][chosen] < gradients[True][chosen]).all()


# -- in a model


SPECS = {"a": Spec(kind="vector", n_channels=4), "b": Spec(kind="vector", n_channels=3)}


def model_of(fusion: str, task: str) -> FusionModel:
    options = ModelOptions(members=1, width=16, fusion=fusion)
    model = build_model(SPECS, task, 3, options, n_rows=100, seed=0).eval()  # type: ignore[arg-type]
    assert isinstance(model, FusionModel)
    return model


def batch() -> dict[str, Raw]:
    return {
        name: Raw(normal(8, spec.n_channels, seed=i).float(), torch.arange(8) != i)
        for i, (name, spec) in enumerate(SPECS.items())
    }


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize(("name", "added"), [("quality_aware", "ranking"), ("predictive_dynamic", "confidence")])
def test_a_model_adds_the_operators_loss_to_the_fused_and_the_own_ones(name: str, added: str, task: str) -> None:
    model, target = model_of(name, task), torch.arange(8) % 3
    target = target if task == "multiclass" else functional.one_hot(target, 3).float()
    output = model(batch())
    x = torch.stack([output.parts[n].masked_fill(~output.present[n][:, None], 0) for n in model.names], 1)
    present = torch.stack([output.present[n] for n in model.names], 1)
    extra = model.fusion.losses(x, present, target, model.head.losses)[added]  # type: ignore[operator]
    own = torch.stack([model.head.loss(output.parts[n], target, output.present[n]) for n in model.names]).mean()
    loss = model.loss(output, target)
    torch.testing.assert_close(loss, model.head.loss(output.outputs, target) + own + extra)
    loss.backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None and not n.startswith("head.")]
    assert silent == []


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
@pytest.mark.parametrize("name", ["quality_aware", "multiplicative_late"])
def test_label_smoothing_has_no_part_in_how_right_an_expert_is(name: str, task: str) -> None:
    model, target = model_of(name, task), torch.arange(8) % 3
    assert model.head.label_smoothing == 0.1
    target = target if task == "multiclass" else functional.one_hot(target, 3).float()
    output = model(batch())

    def of_the_operator() -> Tensor:
        joint, _ = model.losses(output, target)
        return joint - model.head.loss(output.outputs, target) * model.has_output_loss

    measured = of_the_operator()
    model.head.train()
    torch.testing.assert_close(of_the_operator(), measured)


@pytest.mark.parametrize("task", ["multiclass", "multilabel", "regression"])
def test_a_model_with_the_multiplicative_loss_has_no_other(task: str) -> None:
    target = torch.arange(8) % 3 if task == "multiclass" else normal(8, 3, seed=4).gt(0).float()
    model = model_of("multiplicative_late", task)
    model.fusion.beta = 0.0  # type: ignore[assignment]
    vote = model_of("vote", task)  # trained by the experts' own losses alone
    loss = model.loss(model(batch()), target)
    torch.testing.assert_close(loss, vote.loss(vote(batch()), target))
    model.fusion.beta = 1.0  # type: ignore[assignment]
    assert 0 < model.loss(model(batch()), target) < loss
