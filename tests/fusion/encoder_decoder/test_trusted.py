"""Trusted fusion against Dempster's rule spelled out, SciPy's Dirichlet and Beta distributions, and closed forms."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.special import digamma, expit, gammaln
from torch import Tensor
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion.encoder_decoder.trusted import Trusted, dirichlet_loss
from profuse.models.build import build_model
from profuse.models.fusion_model import FusionModel
from profuse.models.options import ModelOptions
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

Array = NDArray[np.float64]
N_ROWS, N_CLASSES = 12, 4
NAMES = ("a", "b", "c")


def outputs(seed: int = 0, scale: float = 3.0, n: int = 3, n_outputs: int = N_CLASSES) -> Tensor:
    return scale * torch.randn(N_ROWS, n, n_outputs, generator=torch.Generator().manual_seed(seed)).double()


def presence(seed: int = 0) -> Tensor:
    present = torch.rand(N_ROWS, 3, generator=torch.Generator().manual_seed(seed)) > 0.4
    present[0], present[1] = True, False
    return present


def as_tokens(values: Tensor, present: Tensor | None = None, names: tuple[str, ...] = NAMES) -> dict[str, Tokens]:
    present = torch.ones(values.shape[:2], dtype=torch.bool) if present is None else present
    return {name: Tokens.vector(values[:, i], present[:, i]) for i, name in enumerate(names)}


def made(names: tuple[str, ...] = NAMES, width: int = N_CLASSES, **options: Any) -> Trusted:
    return Trusted(dict.fromkeys(names, width), width, **options).double().eval()


def evidence(x: Tensor) -> Array:
    return np.asarray(np.log1p(np.exp(x.numpy())))


def opinion(e: Array) -> tuple[Array, float]:
    """Belief in each class, and uncertainty."""
    total = e.sum() + len(e)
    return e / total, len(e) / total


def dempster(first: tuple[Array, float], second: tuple[Array, float]) -> tuple[Array, float]:
    """The rule as the paper writes it: conflicting pairs of classes are left out, the rest is scaled to sum to 1."""
    (b1, u1), (b2, u2) = first, second
    conflict = sum(b1[i] * b2[j] for i in range(len(b1)) for j in range(len(b2)) if i != j)
    return (b1 * b2 + b1 * u2 + b2 * u1) / (1 - conflict), u1 * u2 / (1 - conflict)


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_the_closed_form_is_dempsters_rule_in_any_order(order: tuple[int, ...]) -> None:
    x = outputs()
    operator, tokens = made(), as_tokens(outputs())
    fused, left = operator(tokens).vector.exp().numpy(), operator.uncertainty(tokens).numpy()
    for row in range(N_ROWS):
        first, second, third = (opinion(evidence(x[row, i])) for i in order)
        belief, unsure = dempster(dempster(first, second), third)
        assert belief.sum() + unsure == pytest.approx(1)
        assert left[row, 0] == pytest.approx(unsure)
        np.testing.assert_allclose(fused[row], belief + unsure / N_CLASSES, atol=1e-12)


def test_the_prediction_of_one_expert_is_the_mean_of_its_dirichlet_distribution() -> None:
    x = outputs(n=1)
    fused = made(("a",))(as_tokens(x, names=("a",))).vector.exp().numpy()
    for row in range(N_ROWS):
        np.testing.assert_allclose(fused[row], stats.dirichlet.mean(evidence(x[row, 0]) + 1), atol=1e-12)


def test_a_missing_expert_is_one_without_evidence_and_neither_changes_anything() -> None:
    x, present = outputs(), presence()
    silent = torch.where(present[..., None], x, -1e4)
    masked, told = made()(as_tokens(x, present)), made()(as_tokens(silent))
    some = present.any(1)
    torch.testing.assert_close(masked.vector[some], told.vector[some])
    two = made(("a", "c"))(as_tokens(x[:, [0, 2]], names=("a", "c"))).vector
    gone = torch.tensor([True, False, True]).expand(N_ROWS, 3)
    torch.testing.assert_close(made()(as_tokens(x, gone)).vector, two)


def test_where_nothing_is_known_the_prediction_is_uniform_and_all_is_uncertain() -> None:
    tokens = as_tokens(outputs(), torch.zeros(N_ROWS, 3, dtype=torch.bool))
    fused = made()(tokens)
    assert not fused.vector.any()
    assert not fused.weights["decision"].any()
    torch.testing.assert_close(made().uncertainty(tokens), torch.ones(N_ROWS, 1).double())


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_uncertainty_never_exceeds_any_experts_even_where_they_contradict_each_other(link: str) -> None:
    x, present = outputs(scale=6.0), presence()
    fused = made(link=link).uncertainty(as_tokens(x, present))
    for i, name in enumerate(NAMES):
        alone = made((name,), link=link).uncertainty({name: Tokens.vector(x[:, i])})
        assert (fused <= alone + 1e-12)[present[:, i]].all()


def test_the_weights_are_the_experts_certainties() -> None:
    x, present = outputs(), presence()
    weights = made()(as_tokens(x, present)).weights["decision"].numpy()
    for row in range(N_ROWS):
        wanted = [1 - opinion(evidence(x[row, i]))[1] if present[row, i] else 0 for i in range(3)]
        np.testing.assert_allclose(weights[row], wanted, atol=1e-12)


def test_a_label_is_two_classes_whose_outputs_are_opposite() -> None:
    z, present = outputs(n_outputs=1), presence()
    target = torch.randint(0, 2, (N_ROWS,), generator=torch.Generator().manual_seed(0))
    two = torch.cat([-z, z], -1)
    labels, classes = made(width=1, link="sigmoid"), made(width=2)
    ours, theirs = labels(as_tokens(z, present)), classes(as_tokens(two, present))
    torch.testing.assert_close(ours.vector[:, 0], theirs.vector[:, 1] - theirs.vector[:, 0])
    torch.testing.assert_close(ours.weights["decision"], theirs.weights["decision"])
    one = labels.losses(z, present, target[:, None].double(), unused)
    other = classes.losses(two, present, target, unused)
    for name, loss in one.items():
        torch.testing.assert_close(loss, other[name])


def test_a_labels_probability_is_the_mean_of_a_beta_distribution() -> None:
    z = outputs(n=1)
    fused = expit(made(("a",), link="sigmoid")(as_tokens(z, names=("a",))).vector.numpy())
    np.testing.assert_allclose(fused, stats.beta(evidence(z[:, 0]) + 1, evidence(-z[:, 0]) + 1).mean(), atol=1e-12)


def test_many_sure_experts_do_not_overflow() -> None:
    names = tuple(f"m{i:02}" for i in range(60))
    x = (300 * torch.randn(5, 60, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    operator = Trusted(dict.fromkeys(names, 3), 3)
    fused = operator(as_tokens(x, names=names)).vector
    torch.testing.assert_close(fused.logsumexp(1), torch.zeros(5), atol=1e-4, rtol=0)
    losses = operator.losses(x, torch.ones(5, 60).bool(), torch.tensor([0, 1, 2, 0, 1]), unused)
    (fused.sum() + torch.stack([*losses.values()]).sum()).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(loss.isfinite() for loss in losses.values())


# -- the losses


def unused(f: Tensor, target: Tensor) -> Tensor:
    raise AssertionError("its losses are its own")


def loss_of(alpha: Array, true: int, kl_weight: float, quadrature: bool = False) -> float:
    """Expected log loss under the marginal Beta distribution, and the divergence by the entropy."""
    wrong = alpha.copy()
    wrong[true] = 1
    divergence = -stats.dirichlet(wrong).entropy() - gammaln(len(alpha))
    if quadrature:
        expected = stats.beta(alpha[true], alpha.sum() - alpha[true]).expect(lambda p: -np.log(p))
    else:
        expected = digamma(alpha.sum()) - digamma(alpha[true])
    return float(expected + kl_weight * divergence)


@pytest.mark.parametrize("kl_weight", [0.0, 0.7])
def test_the_loss_is_the_expected_log_loss_and_the_divergence_of_wrong_evidence(kl_weight: float) -> None:
    alpha = 1 + evidence(outputs()[:4, 0])
    true = np.array([0, 3, 1, 2])
    target = functional.one_hot(torch.from_numpy(true), N_CLASSES)
    got = dirichlet_loss(torch.from_numpy(np.log(alpha)), target.double(), kl_weight)
    np.testing.assert_allclose(
        got, [loss_of(a, t, kl_weight, quadrature=True) for a, t in zip(alpha, true, strict=True)], rtol=1e-6
    )


def losses(x: Tensor, present: Tensor, target: Tensor, **options: Any) -> dict[str, Tensor]:
    return dict(made(**options).losses(x, present, target, unused))


TARGET = torch.tensor([0, 1, 2, 3] * 3)


def test_losses_are_means_over_the_rows_that_have_the_expert() -> None:
    x, present = outputs(), presence()
    told = losses(x, present, TARGET)
    means = []
    for i in range(3):
        rows = present[:, i]
        alpha = 1 + evidence(x[rows, i])
        means.append(np.mean([loss_of(a, int(t), 0.1) for a, t in zip(alpha, TARGET[rows], strict=True)]))
    assert told["experts"].item() == pytest.approx(np.mean(means), rel=1e-6)
    gone = present & torch.tensor([True, False, True])  # an expert of no row takes no share
    assert losses(x, gone, TARGET)["experts"].item() == pytest.approx(np.mean([means[0], means[2]]), rel=1e-6)
    some = present.any(1)
    alone = losses(x[some], present[some], TARGET[some])
    twice = losses(torch.cat([x, x]), torch.cat([present, present]), torch.cat([TARGET, TARGET]))
    for name, loss in told.items():
        torch.testing.assert_close(alone[name], loss)
        torch.testing.assert_close(twice[name], loss)


def test_the_fused_loss_is_that_of_the_fused_opinion() -> None:
    x = outputs()
    e = evidence(x)
    alpha = 1 + N_CLASSES * (np.prod(1 + e / N_CLASSES, axis=1) - 1)
    wanted = np.mean([loss_of(a, int(t), 0.1) for a, t in zip(alpha, TARGET, strict=True)])
    told = losses(x, torch.ones(N_ROWS, 3).bool(), TARGET)["fused"]
    assert told.item() == pytest.approx(wanted, rel=1e-5)


def test_the_losses_of_no_row_at_all_are_zero_and_so_are_their_gradients() -> None:
    x = outputs().requires_grad_()
    told = losses(x, torch.zeros(N_ROWS, 3).bool(), TARGET)
    torch.stack([*told.values()]).sum().backward()
    assert [loss.item() for loss in told.values()] == [0, 0]
    assert x.grad is not None
    assert not x.grad.any()


def test_the_divergence_is_let_in_while_training_runs() -> None:
    operator, x, present = made(kl_weight=0.8), outputs(), torch.ones(N_ROWS, 3).bool()

    def at(progress: float) -> float:
        operator.progress = progress
        return operator.losses(x, present, TARGET, unused)["fused"].item()

    assert at(0.0) == losses(x, present, TARGET, kl_weight=0)["fused"].item()
    assert at(0.5) == pytest.approx((at(0.0) + at(1.0)) / 2)
    assert at(1.0) > at(0.0)


@pytest.mark.parametrize(("task", "n_outputs"), [("multiclass", 3), ("multilabel", 2)])
def test_a_model_is_trained_by_the_operators_losses_alone(task: str, n_outputs: int) -> None:
    specs = {"a": Spec(kind="vector", n_channels=4), "b": Spec(kind="vector", n_channels=3)}
    options = ModelOptions(members=1, width=16, fusion="trusted")
    model = build_model(specs, task, n_outputs, options, n_rows=100, seed=0).eval()  # type: ignore[arg-type]
    assert isinstance(model, FusionModel)
    generator = torch.Generator().manual_seed(0)
    batch = {
        n: Raw(torch.randn(8, s.n_channels, generator=generator), torch.arange(8) != i)
        for i, (n, s) in enumerate(specs.items())
    }
    target = torch.arange(8) % 3 if task == "multiclass" else torch.rand(8, 2, generator=generator).round()
    output = model(batch)
    x = torch.stack([output.parts[n] * output.present[n][:, None] for n in ("a", "b")], 1)
    present = torch.stack([output.present[n] for n in ("a", "b")], 1)
    own = model.fusion.losses(x, present, target, model.head.losses)  # type: ignore[operator]
    loss = model.loss(output, target)
    torch.testing.assert_close(loss, own["fused"] + own["experts"])
    loss.backward()
    silent = [
        n for n, p in model.named_parameters() if not n.startswith("head.") and (p.grad is None or not p.grad.any())
    ]
    assert silent == []


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^Trusted: kl_weight must be at least 0; got kl_weight=-1"):
        made(kl_weight=-1)
