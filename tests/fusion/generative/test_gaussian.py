"""Gaussians against NumPy, torch.distributions, Monte Carlo, and the exact posterior of a linear model."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from profuse.layers.gaussian import Gaussian, log_mixture, precision_share, product


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(*shape: int, seed: int = 0) -> Gaussian:
    return Gaussian(normal(*shape, seed=seed), normal(*shape, seed=seed + 1))


def theirs(g: Gaussian) -> Independent[Normal]:
    return Independent(Normal(g.mean, (g.log_variance / 2).exp()), 1)


SUBSETS = [torch.tensor(s) for s in itertools.product([False, True], repeat=3)]


@pytest.mark.parametrize("prior_expert", [False, True])
@pytest.mark.parametrize("members", SUBSETS, ids=str)
def test_the_product_is_the_closed_form(members: Tensor, prior_expert: bool) -> None:
    experts = gaussian(5, 3, 4)
    got = product(experts, members.expand(5, 3), prior_expert=prior_expert)
    precisions = [np.exp(-experts.log_variance[:, m].numpy()) for m in range(3) if members[m]]
    means = [experts.mean[:, m].numpy() for m in range(3) if members[m]]
    if prior_expert or not precisions:
        precisions, means = [*precisions, np.ones((5, 4))], [*means, np.zeros((5, 4))]
    total = np.sum(precisions, axis=0)
    np.testing.assert_allclose(got.mean, np.sum(np.multiply(precisions, means), axis=0) / total, rtol=1e-12)
    np.testing.assert_allclose(got.log_variance, -np.log(total), atol=1e-12)


def test_the_product_with_the_prior_is_the_posterior_of_a_linear_gaussian_model() -> None:
    # x_m = a_m z + s_m e, z ~ N(0, 1): the joint covariance of (z, x_1, x_2, x_3) conditioned on x, all in NumPy
    rng = np.random.default_rng(0)
    n, scale, noise = 4, rng.normal(size=(3, 4)), rng.uniform(0.3, 2, size=(3, 4))
    loadings = np.concatenate([np.diag(a) for a in scale])
    covariance = loadings @ loadings.T + np.diag((noise**2).ravel())
    x = rng.normal(size=(3, n))
    gain = loadings.T @ np.linalg.inv(covariance)
    posterior = np.eye(n) - gain @ loadings
    assert np.abs(posterior - np.diag(np.diag(posterior))).max() < 1e-12
    experts = Gaussian(torch.tensor(x / scale)[None], torch.tensor(np.log(noise**2 / scale**2))[None])
    got = product(experts, torch.ones(1, 3, dtype=torch.bool), prior_expert=True)
    np.testing.assert_allclose(got.mean[0], gain @ x.ravel(), rtol=1e-9)
    np.testing.assert_allclose(got.log_variance[0].exp(), np.diag(posterior), rtol=1e-9)


def test_an_expert_of_infinite_variance_is_as_good_as_removed() -> None:
    experts = gaussian(5, 3, 4)
    unsure = Gaussian(experts.mean, experts.log_variance.clone())
    unsure.log_variance[:, 1] = torch.inf
    everybody, without = torch.ones(5, 3).bool(), torch.tensor([True, False, True]).expand(5, 3)
    got, want = product(unsure, everybody, prior_expert=True), product(experts, without, prior_expert=True)
    torch.testing.assert_close(got.mean, want.mean)
    torch.testing.assert_close(got.log_variance, want.log_variance)


def test_the_product_is_surer_than_every_expert_and_than_the_prior() -> None:
    experts = gaussian(50, 3, 4)
    got = product(experts, torch.ones(50, 3).bool(), prior_expert=True)
    assert (got.log_variance[:, None] < experts.log_variance).all()
    assert (got.log_variance < 0).all()


def test_the_product_of_products_is_the_product_of_all() -> None:
    experts, everybody = gaussian(5, 3, 4), torch.ones(5, 3).bool()
    two = product(experts, torch.tensor([True, True, False]).expand(5, 3), prior_expert=False)
    joined = Gaussian(
        torch.stack([two.mean, experts.mean[:, 2]], 1), torch.stack([two.log_variance, experts.log_variance[:, 2]], 1)
    )
    got = product(joined, torch.ones(5, 2).bool(), prior_expert=True)  # the prior counts once
    torch.testing.assert_close(got.mean, product(experts, everybody, prior_expert=True).mean)


def test_densities_and_divergences_are_torchs() -> None:
    p, q, z = gaussian(6, 4), gaussian(6, 4, seed=2), normal(6, 4, seed=4)
    torch.testing.assert_close(p.log_prob(z), theirs(p).log_prob(z))
    torch.testing.assert_close(p.kl(q), kl_divergence(theirs(p), theirs(q)))
    standard = Gaussian(torch.zeros_like(z), torch.zeros_like(z))
    torch.testing.assert_close(p.kl(), kl_divergence(theirs(p), theirs(standard)))
    assert not standard.kl().any()


def test_the_divergence_is_the_mean_of_the_log_ratio() -> None:
    p, q = gaussian(1, 3), gaussian(1, 3, seed=2)
    torch.manual_seed(0)
    z = Gaussian(p.mean.expand(100_000, 3), p.log_variance.expand(100_000, 3)).sample()
    ratios = p.log_prob(z) - q.log_prob(z)
    assert abs(float(ratios.mean() - p.kl(q))) < 4 * float(ratios.std()) / 100_000**0.5


def test_samples_have_the_mean_and_the_variance() -> None:
    p = gaussian(1, 3)
    torch.manual_seed(0)
    z = Gaussian(p.mean.expand(100_000, 3), p.log_variance.expand(100_000, 3)).sample()
    std = (p.log_variance[0] / 2).exp()
    assert ((z.mean(0) - p.mean[0]).abs() < 4 * std / 100_000**0.5).all()
    torch.testing.assert_close(z.std(0), std, rtol=0.02, atol=0)


def test_the_density_of_a_mixture_is_torchs() -> None:
    parts, z = gaussian(3, 6, 4), normal(5, 6, 4, seed=4)
    share = torch.rand(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share[1, 2] = 0.0  # a component that a row does not have
    share /= share.sum(0)
    components = Independent(Normal(parts.mean.transpose(0, 1), (parts.log_variance.transpose(0, 1) / 2).exp()), 1)
    mixture = MixtureSameFamily(Categorical(share.T), components)
    torch.testing.assert_close(log_mixture(parts, share, z), mixture.log_prob(z), rtol=1e-6, atol=1e-6)


def test_the_density_of_a_mixture_far_away_is_that_of_the_nearest_component() -> None:
    parts = Gaussian(torch.tensor([[[0.0]], [[10.0]]]).double(), torch.zeros(2, 1, 1).double())
    z = torch.tensor([[[1e3]]]).double()  # exp(log density) is 0 here
    got = log_mixture(parts, torch.full((2, 1), 0.5).double(), z)
    want = Normal(10.0, 1.0).log_prob(torch.tensor(1e3).double()) + np.log(0.5)
    torch.testing.assert_close(got[0, 0], want)


def test_shares_are_precisions_among_members() -> None:
    experts = gaussian(4, 3, 5)
    members = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False, False, False]])
    precision = np.exp(-experts.log_variance.numpy()) * members.numpy()[..., None]
    want = (precision / np.maximum(precision.sum(1, keepdims=True), 1e-300)).mean(2)
    np.testing.assert_allclose(precision_share(experts, members), want, rtol=1e-12)
