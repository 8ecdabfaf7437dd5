"""Decision operators: pools of opinions, Bayes' rule, votes; against SciPy, NumPy and closed forms."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logit, logsumexp, softmax
from scipy.stats import entropy
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion import DecisionFusion, fusion
from profuse.fusion.encoder_decoder.confidence import Confidence
from profuse.fusion.encoder_decoder.mean_logits import MeanLogits
from profuse.fusion.encoder_decoder.mean_probs import MeanProbs
from profuse.fusion.encoder_decoder.product_of_experts import ProductOfExperts
from profuse.fusion.encoder_decoder.stacking import Stacking
from profuse.fusion.encoder_decoder.vote import Vote
from profuse.tokens import Tokens

LINKS = ("softmax", "sigmoid", "identity")
N_ROWS, N_OUTPUTS = 20, 4
NAMES = ("a", "b", "c")


Decision = TypeVar("Decision", bound=DecisionFusion)


def outputs(seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(N_ROWS, 3, N_OUTPUTS, generator=generator, dtype=torch.float64)


def presence(seed: int = 0) -> Tensor:
    present = torch.rand(N_ROWS, 3, generator=torch.Generator().manual_seed(seed)) > 0.4
    present[0], present[1] = True, False
    return present


def as_tokens(values: Tensor, present: Tensor | None = None, names: tuple[str, ...] = NAMES) -> dict[str, Tokens]:
    present = torch.ones(values.shape[:2], dtype=torch.bool) if present is None else present
    return {name: Tokens.vector(values[:, i], present[:, i]) for i, name in enumerate(names)}


def made(cls: type[Decision], link: str, names: tuple[str, ...] = NAMES, width: int = N_OUTPUTS) -> Decision:
    return cls(dict.fromkeys(names, width), width, link=link).double().eval()  # type: ignore[arg-type]


def predicted(fused: Tensor, link: str) -> NDArray[np.float64]:
    x = fused.detach().numpy()
    return np.asarray({"softmax": lambda: softmax(x, 1), "sigmoid": lambda: expit(x), "identity": lambda: x}[link]())


DECISIONS = [MeanProbs, MeanLogits, Confidence, ProductOfExperts, Vote, Stacking]
BY_LINK = pytest.mark.parametrize("link", LINKS)


@BY_LINK
@pytest.mark.parametrize("cls", DECISIONS)
def test_a_lone_expert_is_believed(cls: type[DecisionFusion], link: str) -> None:
    x = outputs()
    only = torch.tensor([False, True, False]).expand(N_ROWS, 3)
    got: NDArray[Any] = predicted(made(cls, link)(as_tokens(x, only)).vector, link)
    wanted: NDArray[Any] = predicted(x[:, 1], link)
    if cls is Vote and link != "identity":  # a vote tells the choice, and its probability only roughly
        got, wanted = (got > 0.5, wanted > 0.5) if link == "sigmoid" else (got.argmax(1), wanted.argmax(1))
    np.testing.assert_allclose(got, wanted, atol=1e-12)


@BY_LINK
@pytest.mark.parametrize("cls", [MeanProbs, MeanLogits, Confidence, Stacking])
def test_experts_that_agree_are_left_as_they_are(cls: type[DecisionFusion], link: str) -> None:
    x = outputs()[:, :1].expand(-1, 3, -1)
    got = predicted(made(cls, link)(as_tokens(x)).vector, link)
    np.testing.assert_allclose(got, predicted(x[:, 0], link), atol=1e-12)


@BY_LINK
@pytest.mark.parametrize("cls", DECISIONS)
def test_dropping_an_expert_by_its_mask_is_fusing_the_others(cls: type[DecisionFusion], link: str) -> None:
    x, present = outputs(), torch.tensor([True, False, True]).expand(N_ROWS, 3)
    masked = made(cls, link)(as_tokens(x, present)).vector
    subset = made(cls, link, ("a", "c"))(as_tokens(x[:, [0, 2]], names=("a", "c"))).vector
    torch.testing.assert_close(masked, subset)


@BY_LINK
@pytest.mark.parametrize("cls", DECISIONS)
def test_the_order_of_the_experts_is_irrelevant(cls: type[DecisionFusion], link: str) -> None:
    x, present = outputs(), presence()
    operator = made(cls, link)
    turned = operator(as_tokens(x[:, [2, 0, 1]], present[:, [2, 0, 1]])).vector
    torch.testing.assert_close(turned, operator(as_tokens(x, present)).vector)


@BY_LINK
@pytest.mark.parametrize("cls", DECISIONS)
def test_without_any_expert_the_output_is_zero(cls: type[DecisionFusion], link: str) -> None:
    fused = made(cls, link)(as_tokens(outputs(), torch.zeros(N_ROWS, 3, dtype=torch.bool)))
    assert torch.equal(fused.vector, torch.zeros(N_ROWS, N_OUTPUTS, dtype=torch.float64))


@pytest.mark.parametrize("cls", DECISIONS)
def test_fused_log_probabilities_sum_to_one_and_survive_extreme_logits(cls: type[DecisionFusion]) -> None:
    x = outputs(scale=300.0).float().requires_grad_()
    fused = made(cls, "softmax").float()(as_tokens(x)).vector
    torch.testing.assert_close(fused.logsumexp(1), torch.zeros(N_ROWS), atol=1e-4, rtol=0)
    fused.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("cls", DECISIONS)
def test_one_yes_or_no_is_the_same_as_two_classes(cls: type[DecisionFusion]) -> None:
    z = outputs()[:, :, :1]
    two = torch.cat([torch.zeros_like(z), z], -1)
    binary = made(cls, "sigmoid", width=1)(as_tokens(z, presence())).vector
    classes = made(cls, "softmax", width=2)(as_tokens(two, presence())).vector
    torch.testing.assert_close(binary[:, 0], classes[:, 1] - classes[:, 0])


def test_mean_probs_is_the_mean_of_probabilities() -> None:
    x, present = outputs(), presence()
    present[1] = True
    fused = made(MeanProbs, "softmax")(as_tokens(x, present)).vector
    for row in range(N_ROWS):
        if present[row].any():
            wanted = softmax(x[row].numpy(), 1)[present[row].numpy()].mean(0)
            np.testing.assert_allclose(predicted(fused, "softmax")[row], wanted, atol=1e-12)


def test_mean_probs_of_labels_is_the_mean_of_probabilities() -> None:
    x = outputs()
    got = predicted(made(MeanProbs, "sigmoid")(as_tokens(x)).vector, "sigmoid")
    np.testing.assert_allclose(got, expit(x.numpy()).mean(1), atol=1e-12)


def test_mean_logits_is_the_softmax_of_the_mean_of_logits() -> None:
    x = outputs()
    got = predicted(made(MeanLogits, "softmax")(as_tokens(x)).vector, "softmax")
    np.testing.assert_allclose(got, softmax(x.numpy().mean(1), 1), atol=1e-12)


def test_mean_logits_does_not_see_a_constant_added_to_the_logits_of_one_expert() -> None:
    x, present = outputs(), presence()
    moved = x.clone()
    moved[:, 1] += 100 * torch.randn(N_ROWS, 1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    operator = made(MeanLogits, "softmax")
    torch.testing.assert_close(operator(as_tokens(moved, present)).vector, operator(as_tokens(x, present)).vector)


def test_confidence_weighs_by_the_exponential_of_negative_entropy() -> None:
    x, present = outputs(), presence()
    fused = made(Confidence, "softmax")(as_tokens(x, present))
    probs = softmax(x.numpy(), 2)
    for row in range(N_ROWS):
        here = present[row].numpy()
        if not here.any():
            assert not fused.weights["decision"][row].any()
            continue
        wanted = np.where(here, np.exp(-entropy(probs[row], axis=1)), 0)
        wanted /= wanted.sum()
        np.testing.assert_allclose(fused.weights["decision"][row].numpy(), wanted, atol=1e-12)
        np.testing.assert_allclose(np.exp(fused.vector[row].numpy()), wanted @ probs[row], atol=1e-12)


@BY_LINK
def test_weights_by_confidence_sum_to_one_over_the_present_experts(link: str) -> None:
    present = presence()
    weights = made(Confidence, link)(as_tokens(outputs(), present)).weights["decision"]
    torch.testing.assert_close(weights.sum(1), present.any(1).double())
    assert not weights[~present].any()


def test_learned_confidence_finds_the_inverse_variances_of_the_errors() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    spread = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None]
    x = target[:, None] + spread * torch.randn(4000, 3, 1, generator=generator, dtype=torch.float64)
    operator = made(Confidence, "identity", width=1)
    search = torch.optim.LBFGS(operator.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        loss: Tensor = (operator(as_tokens(x)).vector - target).square().mean()
        loss.backward()
        return loss

    search.step(closure)
    weights = operator(as_tokens(x)).weights["decision"][0].detach().numpy()
    wanted = 1 / spread[:, 0].numpy() ** 2
    np.testing.assert_allclose(weights, wanted / wanted.sum(), atol=0.02)


def test_the_product_of_experts_is_the_exact_posterior_of_naive_bayes() -> None:
    generator = np.random.default_rng(0)
    prior = generator.dirichlet(np.ones(3))
    tables = [generator.dirichlet(np.ones(5), size=3) for _ in range(3)]  # p(x_m | class)
    x = generator.integers(0, 5, size=(30, 3))
    joint = np.log(prior) + sum(np.log(tables[m][:, x[:, m]]).T for m in range(3))
    posterior = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    experts = [np.log(prior) + np.log(tables[m][:, x[:, m]]).T for m in range(3)]
    operator = made(ProductOfExperts, "softmax", width=3)
    operator.set_prior(torch.from_numpy(prior))
    fused = operator(as_tokens(torch.from_numpy(np.stack(experts, 1)))).vector
    np.testing.assert_allclose(np.exp(fused.numpy()), posterior, atol=1e-12)


def test_the_product_of_experts_on_labels_is_the_exact_posterior_too() -> None:
    generator = np.random.default_rng(1)
    prior, yes, no = 0.2, generator.dirichlet(np.ones(4), size=2), generator.dirichlet(np.ones(4), size=2)
    x = generator.integers(0, 4, size=(30, 2))
    odds = [yes[m][x[:, m]] / no[m][x[:, m]] for m in range(2)]
    operator = made(ProductOfExperts, "sigmoid", ("a", "b"), width=1)
    operator.set_prior(torch.tensor([prior]))
    experts = np.stack([logit(prior) + np.log(o) for o in odds], 1)[..., None]
    fused = operator(as_tokens(torch.from_numpy(experts), names=("a", "b"))).vector
    np.testing.assert_allclose(fused.numpy()[:, 0], logit(prior) + np.log(odds[0] * odds[1]), atol=1e-6)


def test_the_product_of_experts_on_values_is_the_exact_posterior_of_normal_data() -> None:
    noise = np.array([0.5, 2.0])  # y ~ N(0, 1), x_m = y + noise: the posterior by x_m is N(x / (1 + s2), s2 / (1 + s2))
    x = np.random.default_rng(0).normal(size=(30, 2)) * 2
    operator = made(ProductOfExperts, "identity", ("a", "b"), width=1)
    operator.variance_logit.data = torch.from_numpy(logit(noise**2 / (1 + noise**2)))[:, None]
    experts = torch.from_numpy(x / (1 + noise**2))[..., None]
    fused = operator(as_tokens(experts, names=("a", "b"))).vector[:, 0].detach().numpy()
    np.testing.assert_allclose(fused, (x / noise**2).sum(1) / (1 + (1 / noise**2).sum()), atol=1e-12)


@pytest.mark.parametrize(
    ("link", "prior"),
    [
        ("softmax", [0.5, 0.4, 0.2, 0.1]),
        ("softmax", [0.0, 0.5, 0.3, 0.2]),
        ("sigmoid", [0.5, 1.0, 0.2, 0.3]),
        ("softmax", [0.5, 0.5]),
        ("softmax", [float("nan"), 0.5, 0.3, 0.2]),
        ("identity", [0.25] * 4),
    ],
)
def test_a_prior_that_is_none_is_refused(link: str, prior: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"^ProductOfExperts: the prior must be 4 shares inside \(0, 1\)"):
        made(ProductOfExperts, link).set_prior(torch.tensor(prior))


def test_the_majority_wins_whatever_the_others_probabilities() -> None:
    probs = torch.tensor([[[0.51, 0.49, 0.0], [0.51, 0.49, 0.0], [0.0, 0.0, 1.0]]], dtype=torch.float64)
    fused = made(Vote, "softmax", width=3)(as_tokens((probs + 1e-12).log())).vector
    assert fused.argmax(1).tolist() == [0]


@pytest.mark.parametrize("seed", range(5))
def test_votes_are_counted_and_ties_go_to_the_larger_mean_probability(seed: int) -> None:
    x, present = outputs(seed), presence(seed)
    fused = made(Vote, "softmax")(as_tokens(x, present)).vector.numpy()
    for row in range(N_ROWS):
        probs = softmax(x[row].numpy(), 1)[present[row].numpy()]
        if not len(probs):
            continue
        votes = np.bincount(probs.argmax(1), minlength=N_OUTPUTS)
        best = max(range(N_OUTPUTS), key=lambda k: (votes[k], probs.mean(0)[k]))
        assert fused[row].argmax() == best
        np.testing.assert_allclose(np.exp(fused[row]), (votes + probs.mean(0)) / (len(probs) + 1), atol=1e-12)


def test_the_vote_on_labels_goes_by_label_and_an_undecided_expert_has_half_a_vote() -> None:
    z = torch.tensor([[[2.0, -1.0], [0.5, 0.0], [-9.0, 0.0]]], dtype=torch.float64)
    got = predicted(made(Vote, "sigmoid", width=2)(as_tokens(z)).vector, "sigmoid")[0]
    mean = expit(z[0].numpy()).mean(0)
    np.testing.assert_allclose(got, [(2 + mean[0]) / 4, (1 + mean[1]) / 4], atol=1e-12)
    assert got[0] > 0.5 > got[1]


def test_the_vote_on_values_is_the_median_of_the_present_experts() -> None:
    x, present = outputs(), presence()
    fused = made(Vote, "identity")(as_tokens(x, present)).vector.numpy()
    for row in range(N_ROWS):
        here = x[row].numpy()[present[row].numpy()]
        np.testing.assert_allclose(fused[row], np.median(here, 0) if len(here) else np.zeros(N_OUTPUTS), atol=1e-12)


def test_only_votes_and_stacking_do_not_train_jointly() -> None:
    names = ("mean_probs", "mean_logits", "confidence", "product_of_experts", "vote", "stacking")
    jointly = {name for name in names if fusion(name).trains_jointly}  # type: ignore[attr-defined]
    assert jointly == {"mean_probs", "mean_logits", "confidence", "product_of_experts"}


def test_log_probabilities_are_what_scipy_calls_them() -> None:
    x = outputs()[:, :1]
    fused = made(MeanLogits, "softmax", ("a",))(as_tokens(x, names=("a",))).vector
    np.testing.assert_allclose(fused.numpy(), log_softmax(x[:, 0].numpy(), 1), atol=1e-12)
