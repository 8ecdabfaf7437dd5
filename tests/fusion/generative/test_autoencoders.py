"""The multimodal autoencoders row by row against torch.distributions, their limits, and what they impute."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence
from torch.nn import functional

from profuse.errors import ConfigError, ShapeError
from profuse.fusion import fusion
from profuse.fusion.generative._autoencoder import MultimodalAutoencoder
from profuse.fusion.generative.mmvae import MMVAE
from profuse.fusion.generative.mopoe import MoPoE
from profuse.fusion.generative.mvae import MVAE
from profuse.fusion.generative.mvtcae import MVTCAE
from profuse.layers.gaussian import Gaussian
from profuse.tokens import Tokens

CHANNELS = {"a": 4, "b": 1, "c": 3}
NAMES = ["mvae", "mmvae", "mopoe", "mvtcae"]
PATTERNS = torch.tensor(list(itertools.product([False, True], repeat=3)))
every = pytest.mark.parametrize("name", NAMES)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(name: str, channels: dict[str, int] = CHANNELS, **options: Any) -> MultimodalAutoencoder:
    torch.manual_seed(0)
    cls: Any = fusion(name)
    operator = cls(channels, 8, n_latent=2, **options).double().eval()
    with torch.no_grad():
        for p in operator.parameters():
            p.add_(0.3 * normal(*p.shape, seed=p.numel()))
    assert isinstance(operator, MultimodalAutoencoder)
    return operator


def batch(present: Tensor = PATTERNS, channels: dict[str, int] = CHANNELS) -> dict[str, Tokens]:
    """One row for each pattern of presence; the first modality is a sequence with holes."""
    tokens = {
        m: Tokens.vector(normal(len(present), c, seed=i), present[:, i]) for i, (m, c) in enumerate(channels.items())
    }
    mask = torch.tensor([True, False, True])[None] & present[:, :1]
    first = next(iter(channels))
    return {**tokens, first: Tokens(normal(len(present), 3, channels[first], seed=9), mask)}


def no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gaussian, "sample", lambda self: self.mean)


# -- the penalty, row by row, by torch's distributions


class Row:
    """One row of a batch as torch's distributions see it."""

    def __init__(self, operator: MultimodalAutoencoder, tokens: dict[str, Tokens], row: int) -> None:
        self.operator = operator
        self.present = [i for i, t in enumerate(tokens.values()) if t.mask[row].any()]
        means = [t.values[row][t.mask[row]].mean(0) if t.mask[row].any() else None for t in tokens.values()]
        self.x = [v if v is None or len(v) == 1 else functional.layer_norm(v, v.shape) for v in means]
        self.experts = {}
        for i in self.present:
            mean, spread = operator.encoders[i](self.x[i]).chunk(2)
            self.experts[i] = Normal(mean, (6 * torch.tanh(spread / 6) / 2).exp())

    def product(self, subset: Sequence[int], prior: bool) -> Normal:
        parts = [self.experts[i] for i in subset]
        if prior or not parts:
            parts.append(Normal(torch.zeros(2).double(), torch.ones(2).double()))
        precision = sum(1 / p.variance for p in parts)
        return Normal(sum(p.mean / p.variance for p in parts) / precision, precision**-0.5)

    def misfit(self, z: Tensor, subset: Sequence[int]) -> Tensor:
        return -sum((Normal(self.operator.decoders[i](z), 1.0).log_prob(self.x[i]).sum() for i in subset), 0 * z.sum())


def kl(p: Normal, q: Normal | None = None) -> Tensor:
    return kl_divergence(p, q or Normal(torch.zeros_like(p.mean), torch.ones_like(p.mean))).sum()


def subsets(items: Sequence[int]) -> list[tuple[int, ...]]:
    return [s for n in range(1, len(items) + 1) for s in itertools.combinations(items, n)]


def negative_elbo(operator: MultimodalAutoencoder, row: Row) -> Tensor:
    """The bound at the means, as the paper of each operator has it."""
    beta, all_of, n = operator.beta, row.present, len(row.present)
    if isinstance(operator, MVAE):
        alone = [(i,) for i in all_of] if len(operator.names) > 1 else []
        posteriors = [(row.product(s, prior=True), s) for s in [all_of, *alone]]
        return torch.stack([row.misfit(q.mean, s) + beta * kl(q) for q, s in posteriors]).sum()
    if isinstance(operator, MMVAE):
        parts = [row.experts[i] for i in all_of]
        spread = Normal(torch.stack([p.mean for p in parts]), torch.stack([p.stddev for p in parts]))
        mixture = MixtureSameFamily(Categorical(torch.ones(n).double()), Independent(spread, 1))
        prior = Independent(Normal(torch.zeros(2).double(), torch.ones(2).double()), 1)
        ratios = [mixture.log_prob(p.mean) - prior.log_prob(p.mean) for p in parts]
        return torch.stack([row.misfit(p.mean, all_of) + beta * r for p, r in zip(parts, ratios, strict=True)]).mean()
    if isinstance(operator, MoPoE):
        parts = [row.product(s, operator.prior_expert) for s in subsets(all_of)]
        return torch.stack([row.misfit(q.mean, all_of) + beta * kl(q) for q in parts]).mean()
    assert isinstance(operator, MVTCAE)
    alpha, q = operator.alpha, row.product(all_of, prior=False)
    near = sum(kl(q, row.experts[i]) for i in all_of)
    return (n - alpha) / n * row.misfit(q.mean, all_of) + beta * (alpha / n * near + (1 - alpha) * kl(q))


OPTIONS = [
    ("mvae", {}),
    ("mmvae", {}),
    ("mopoe", {}),
    ("mopoe", {"prior_expert": True}),
    ("mvtcae", {}),
    ("mvtcae", {"alpha": 0.0}),
    ("mvtcae", {"alpha": 1.0}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_the_penalty_is_the_bound_row_by_row(name: str, options: dict[str, Any]) -> None:
    operator, tokens = made(name, beta=0.7, weight=0.5, **options), batch()
    rows = [negative_elbo(operator, Row(operator, tokens, i)) for i in range(1, 8)]  # row 0 has nothing
    want = 0.5 * torch.stack(rows).mean() / sum(CHANNELS.values())
    torch.testing.assert_close(operator(tokens).penalties["negative_elbo"], want, rtol=1e-9, atol=0)


@every
@pytest.mark.parametrize("training", [False, True])
def test_of_one_modality_it_is_a_plain_autoencoders_bound(name: str, training: bool) -> None:
    operator = made(name, {"a": 4}, weight=1.0, **({"alpha": 0.0} if name == "mvtcae" else {})).train(training)
    tokens = batch(torch.ones(6, 1).bool(), {"a": 4})
    rows = [Row(operator, tokens, i) for i in range(6)]
    torch.manual_seed(3)
    got = operator(tokens).penalties["negative_elbo"]
    torch.manual_seed(3)
    noise = torch.randn(1, 6, 2, dtype=torch.float64)[0] if training else torch.zeros(6, 2).double()
    want = torch.zeros(()).double()
    for row, e in zip(rows, noise, strict=True):
        q = row.product([0], prior=name == "mvae")
        z = q.mean + q.stddev * e
        # the mixture's divergence is at the sample, the others' in closed form
        ratio = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum() if name == "mmvae" else kl(q)
        want = want + (row.misfit(z, [0]) + ratio) / 6 / 4
    torch.testing.assert_close(got, want, rtol=1e-9, atol=0)


def test_without_alpha_total_correlation_is_the_bound_of_the_product() -> None:
    operator, tokens = made("mvtcae", alpha=0.0, weight=1.0), batch(torch.ones(4, 3).bool())
    rows = [Row(operator, tokens, i) for i in range(4)]
    parts = [(row, row.product([0, 1, 2], prior=False)) for row in rows]
    want = torch.stack([row.misfit(q.mean, [0, 1, 2]) + kl(q) for row, q in parts]).mean() / 8
    torch.testing.assert_close(operator(tokens).penalties["negative_elbo"], want, rtol=1e-9, atol=0)


def test_the_mixtures_sampled_bound_tends_to_the_one_in_closed_form() -> None:
    operator = made("mmvae", {"a": 4}, weight=1.0).train()
    one = batch(torch.ones(1, 1).bool(), {"a": 4})["a"]
    q = Row(operator, {"a": one}, 0).product([0], prior=False)
    with torch.no_grad():
        for p in operator.decoders.parameters():
            p.zero_()  # so that only the divergence is sampled
    n = 20_000
    many = {"a": Tokens(one.values.expand(n, -1, -1), one.mask.expand(n, -1))}
    want = (Row(operator, {"a": one}, 0).misfit(q.mean, [0]) + kl(q)) / 4
    torch.testing.assert_close(operator(many).penalties["negative_elbo"], want, rtol=0.02, atol=0)


@pytest.mark.parametrize("present", [[0, 1, 2], [0, 2]])
def test_random_subsets_are_drawn_from_all_subsets_of_what_is_present(
    present: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_noise(monkeypatch)
    one = batch(torch.tensor([[i in present for i in range(3)]]))
    row = Row(made("mvae"), one, 0)
    n, values = 4000, []
    many = {m: Tokens(t.values.expand(n, -1, -1), t.mask.expand(n, -1)) for m, t in one.items()}
    for k in (0, 2):
        operator = made("mvae", weight=1.0, n_subsets=k).train()
        torch.manual_seed(0)
        values.append(operator(many).penalties["negative_elbo"].detach())
    posteriors = [(row.product(s, prior=True), s) for s in subsets(present)]
    elbos = torch.stack([row.misfit(q.mean, s) + kl(q) for q, s in posteriors]).detach()
    expected = 2 * elbos.sum() / 2 ** len(present) / 8  # the empty subset counts too, and its bound is 0
    assert abs(float(values[1] - values[0] - expected)) < 4 * float(elbos.max() / 8) * (2 / n) ** 0.5


def test_a_subset_drawn_for_each_row_gives_the_mean_over_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    no_noise(monkeypatch)
    operator, one, n = made("mopoe", weight=1.0), batch(torch.ones(1, 3).bool()), 4000
    many = {m: Tokens(t.values.expand(n, -1, -1), t.mask.expand(n, -1)) for m, t in one.items()}
    row, want = Row(operator, one, 0), operator(one).penalties["negative_elbo"]
    misfits = torch.stack([row.misfit(row.product(s, prior=False).mean, [0, 1, 2]) for s in subsets([0, 1, 2])])
    torch.manual_seed(0)
    got = operator.train()(many).penalties["negative_elbo"]
    assert abs(float((got - want).detach())) > 1e-6  # one subset a row, not all of them
    assert abs(float((got - want).detach())) < 4 * float(misfits.detach().std()) / 8 / n**0.5
    assert float(misfits.detach().std()) > 0.01


# -- the posterior and the vector


@every
def test_the_vector_is_of_the_posteriors_mean(name: str) -> None:
    operator, tokens = made(name), batch()
    vectors = operator(tokens).vector
    for i in range(8):
        row = Row(operator, tokens, i)
        if name in ("mvae", "mvtcae"):
            z = row.product(row.present, prior=name == "mvae").mean
        elif name == "mmvae":
            z = sum((e.mean for e in row.experts.values()), torch.zeros(2).double()) / max(1, len(row.present))
        else:
            parts = [row.product(s, prior=False).mean for s in subsets(row.present)]
            z = sum(parts, torch.zeros(2).double()) / max(1, len(parts))
        torch.testing.assert_close(vectors[i], operator.out(z), rtol=1e-9, atol=1e-12)


@every
def test_samples_have_the_posteriors_mean(name: str) -> None:
    operator, n = made(name), 20_000
    one = batch(torch.tensor([[True, False, True]]))
    with torch.no_grad():
        want = operator(one).vector
        many = {m: Tokens(t.values.expand(n, -1, -1), t.mask.expand(n, -1)) for m, t in one.items()}
        seen = operator.train().infer({m: t.zeroed() for m, t in many.items()})
    z = (seen.share[..., None] * seen.z).sum(0)
    assert float(z.std(0).min()) > 0.01
    torch.testing.assert_close(operator.out(z.mean(0)), want[0], rtol=0.05, atol=0.02)


@every
def test_with_nothing_present_the_posterior_is_the_prior(name: str) -> None:
    operator, tokens = made(name), batch(torch.zeros(2, 3).bool())
    seen = operator.infer({m: t.zeroed() for m, t in tokens.items()})
    counted = seen.share > 0
    assert not seen.components.mean[counted].any()
    assert not seen.components.log_variance[counted].any()
    torch.testing.assert_close(operator(tokens).vector[1], operator.out(torch.zeros(2).double()))


def test_the_products_of_single_modalities_are_the_mixtures_experts() -> None:
    mixture, subset = made("mmvae"), made("mopoe")
    subset.load_state_dict(mixture.state_dict())
    tokens = {m: t.zeroed() for m, t in batch().items()}
    ours, theirs = subset.infer(tokens), mixture.infer(tokens)
    for i, alone in enumerate(torch.eye(3).bool()):
        at = (subset.subsets == alone).all(1).nonzero()[0, 0]
        torch.testing.assert_close(ours.components.mean[at], theirs.components.mean[i])
        torch.testing.assert_close(ours.components.log_variance[at], theirs.components.log_variance[i])


def test_the_prior_expert_joins_every_subset_or_none() -> None:
    tokens = {m: t.zeroed() for m, t in batch(torch.ones(3, 3).bool()).items()}
    with_prior = made("mopoe", prior_expert=True).infer(tokens).components
    without = made("mopoe").infer(tokens).components
    torch.testing.assert_close((-with_prior.log_variance).exp(), (-without.log_variance).exp() + 1)


@every
def test_weights_are_shares_of_the_present(name: str) -> None:
    operator, tokens = made(name), batch()
    weights, present = operator(tokens).weights["precision"], operator.present(tokens)
    torch.testing.assert_close(weights.sum(1), present.any(1).double())
    assert not weights[~present].any()


def test_the_surer_expert_has_more_of_the_precision() -> None:
    operator, tokens = made("mvae"), batch(torch.ones(4, 3).bool())
    for row, got in enumerate(operator(tokens).weights["precision"]):
        precision = torch.stack([1 / e.variance for e in Row(operator, tokens, row).experts.values()])
        torch.testing.assert_close(got, (precision / precision.sum(0)).mean(1))


# -- the penalty's manners


@every
@pytest.mark.parametrize("training", [False, True])
def test_the_penalty_is_zero_with_nothing_present(name: str, training: bool) -> None:
    assert made(name).train(training)(batch(torch.zeros(3, 3).bool())).penalties["negative_elbo"] == 0


@every
def test_the_penalty_does_not_depend_on_how_many_rows_there_are(name: str) -> None:
    operator, tokens = made(name), batch()
    empty = torch.zeros(5, 3).bool()
    more = {
        m: Tokens(torch.cat([t.values, t.values, e.values]), torch.cat([t.mask, t.mask, e.mask]))
        for (m, t), e in zip(tokens.items(), batch(empty).values(), strict=True)
    }
    torch.testing.assert_close(operator(more).penalties["negative_elbo"], operator(tokens).penalties["negative_elbo"])


@every
def test_without_gradients_there_is_no_penalty_and_the_same_vector(name: str) -> None:
    operator, tokens = made(name), batch()
    with torch.no_grad():
        fused = operator(tokens)
    assert not fused.penalties
    torch.testing.assert_close(fused.vector, operator(tokens).vector)


@every
def test_the_divergence_is_let_in_over_the_first_half_of_the_training(name: str) -> None:
    operator, tokens, got = made(name, beta=2.0), batch(), {}
    for progress in (0.0, 0.25, 0.5, 1.0):
        operator.progress = progress
        got[progress] = operator(tokens).penalties["negative_elbo"]
    torch.testing.assert_close(got[0.25], (got[0.0] + got[0.5]) / 2)
    torch.testing.assert_close(got[0.5], got[1.0])
    operator.progress, operator.beta = 1.0, 0.0
    torch.testing.assert_close(operator(tokens).penalties["negative_elbo"], got[0.0])
    assert float((got[0.0] - got[0.5]).detach().abs()) > 1e-4


@every
def test_targets_that_are_fixed_have_no_gradient(name: str) -> None:
    present = torch.ones(4, 3).bool()
    moved = {}
    for fixed in (False, True):
        operator = made(name, fixed_targets=fixed)
        with torch.no_grad():
            for p in operator.encoders.parameters():
                p.zero_()  # then the targets are the only way from the tokens to the penalty
        tokens = batch(present)
        leaf = tokens["c"].values.requires_grad_()
        operator(tokens).penalties["negative_elbo"].backward()
        moved[fixed] = leaf.grad is not None and bool(leaf.grad.any())
    assert moved == {False: True, True: False}


# -- imputing


@every
@pytest.mark.parametrize("n_samples", [0, 3])
def test_what_is_present_comes_back_bit_for_bit(name: str, n_samples: int) -> None:
    operator, tokens = made(name), batch()
    filled = operator.impute(tokens, n_samples=n_samples)
    assert list(filled) == list(tokens)
    for m, t in tokens.items():
        there = t.present
        assert torch.equal(filled[m].values[there], t.values[there])
        assert torch.equal(filled[m].mask[there], t.mask[there])
        assert filled[m].mask[~there].sum(1).tolist() == [1] * 4
        assert filled[m].zeroed().values.isfinite().all()


@every
def test_what_is_absent_is_decoded_from_the_posteriors_mean(name: str) -> None:
    operator, tokens = made(name), batch()
    seen = operator.infer({m: t.zeroed() for m, t in tokens.items()})
    z = (seen.share[..., None] * seen.components.mean).sum(0)
    for i, (m, t) in enumerate(operator.impute(tokens).items()):
        absent = ~tokens[m].present
        torch.testing.assert_close(t.mean()[absent], operator.decoders[i](z[absent]))


@every
def test_imputed_samples_follow_the_posterior(name: str) -> None:
    operator, tokens = made(name), batch(torch.tensor([[True, False, True]]))
    seen = operator.infer({m: t.zeroed() for m, t in tokens.items()})
    torch.manual_seed(0)
    parts = [g.sample((40_000,)) for g in map(_torchs, seen.components.mean, seen.components.log_variance)]
    expected = sum(s * operator.decoders[1](z).mean(0) for s, z in zip(seen.share[:, 0], parts, strict=True))
    got = operator.impute(tokens, n_samples=40_000)["b"].mean()[0]
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)
    draws = [operator.impute(tokens, n_samples=1)["b"].mean() for _ in range(2)]
    assert not torch.allclose(draws[0], draws[1])


def _torchs(mean: Tensor, log_variance: Tensor) -> Normal:
    return Normal(mean[0], (log_variance[0] / 2).exp())


def test_imputing_checks_what_it_is_given() -> None:
    operator, tokens = made("mvae"), batch()
    with pytest.raises(ShapeError, match=r"^MVAE: the modalities must be \['a', 'b', 'c'\]; got .*lacking=\['b'\]"):
        operator.impute({m: t for m, t in tokens.items() if m != "b"})
    with pytest.raises(ConfigError, match="^MVAE: n_samples must be at least 0; got n_samples=-1"):
        operator.impute(tokens, n_samples=-1)


@pytest.mark.slow
@every
def test_a_trained_one_imputes_about_as_well_as_regression(name: str) -> None:
    # x_m = z + noise of variance 0.2: E[x_b | x_a] = x_a / 1.2, with a mean squared error of 1.2 - 1 / 1.2
    torch.manual_seed(0)
    cls: Any = fusion(name)
    operator = cls({"a": 1, "b": 1}, 16, n_latent=2, beta=0.2, weight=1.0)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        z = torch.randn(n, 1)
        return z + 0.2**0.5 * torch.randn(n, 1), z + 0.2**0.5 * torch.randn(n, 1)

    optimizer = torch.optim.Adam(operator.parameters(), lr=1e-2)
    for step in range(400):
        operator.progress = step / 400
        a, b = draw(256)
        present = torch.rand(256) < 0.7  # rows without b, too
        optimizer.zero_grad()
        operator({"a": Tokens.vector(a), "b": Tokens.vector(b, present)}).penalties["negative_elbo"].backward()
        optimizer.step()
    a, b = draw(4000)
    tokens = {"a": Tokens.vector(a), "b": Tokens.vector(torch.zeros_like(b), torch.zeros(4000).bool())}
    with torch.no_grad():
        error = float((operator.eval().impute(tokens)["b"].mean() - b).square().mean())
    assert error < 1.15 * (1.2 - 1 / 1.2)


# -- options


@every
@pytest.mark.parametrize("wrong", [{"n_latent": 0}, {"beta": -0.1}, {"weight": -1.0}])
def test_options_out_of_range_are_told(name: str, wrong: dict[str, Any]) -> None:
    option, value = next(iter(wrong.items()))
    with pytest.raises(ConfigError, match=rf"^{fusion(name).__name__}: n_latent .*got .*{option}={value}"):
        fusion(name)(CHANNELS, 8, **wrong)


def test_particular_options_out_of_range_are_told() -> None:
    with pytest.raises(ConfigError, match="^MVAE: n_subsets must be at least 0; got n_subsets=-1"):
        MVAE(CHANNELS, 8, n_subsets=-1)
    with pytest.raises(ConfigError, match=r"^MVTCAE: alpha must be in \[0, 1\]; got alpha=1.5"):
        MVTCAE(CHANNELS, 8, alpha=1.5)


def test_subsets_are_counted_up_to_eight_modalities() -> None:
    assert MoPoE(dict.fromkeys("abcdefgh", 2), 8).subsets.shape == (255, 8)
    with pytest.raises(ConfigError, match="^MoPoE: at most 8 modalities must be given; got 9"):
        MoPoE(dict.fromkeys("abcdefghi", 2), 8)


@pytest.mark.parametrize("name", ["mvae", "regression_imputer"])
def test_two_channels_are_not_turned_into_a_sign(name: str) -> None:
    torch.manual_seed(0)
    operator = fusion(name)({"a": 2, "b": 2}, 2).eval()
    pairs = {n: Tokens.vector(torch.tensor([[1.0, 2.0], [0.0, 50.0], [-7.0, -6.9]])) for n in ("a", "b")}
    assert (operator(pairs).vector.std(0) > 1e-3).any()
