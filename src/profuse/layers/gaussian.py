"""Diagonal Gaussians: what the experts of a multimodal autoencoder say, their product and their mixture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LOG_2PI", "Gaussian", "log_mixture", "precision_share", "product"]

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """N(mean, diag exp(log_variance)) over the last axis; the other axes hold many of them."""

    mean: Tensor
    log_variance: Tensor

    def sample(self) -> Tensor:
        """Returns mean + standard deviation * noise, through which gradients flow."""
        return self.mean + (self.log_variance / 2).exp() * torch.randn_like(self.mean)

    def log_prob(self, z: Tensor) -> Tensor:
        """Returns the log density at `z`, `[...]` without the last axis."""
        scaled = (z - self.mean).square() * (-self.log_variance).exp()
        return -0.5 * (scaled + self.log_variance + LOG_2PI).sum(-1)

    def kl(self, other: Gaussian | None = None) -> Tensor:
        """Returns KL(self || other), in nats, in closed form; `other` is N(0, 1) if None."""
        if other is None:
            return 0.5 * (self.log_variance.exp() + self.mean.square() - 1 - self.log_variance).sum(-1)
        ratio = self.log_variance - other.log_variance
        distance = (self.mean - other.mean).square() * (-other.log_variance).exp()
        return 0.5 * (ratio.exp() + distance - 1 - ratio).sum(-1)


def product(experts: Gaussian, members: Tensor, *, prior_expert: bool) -> Gaussian:
    """Returns the normalised product of the experts that are members; of none, N(0, 1).

    Args:
        experts: `[..., modality, channel]`.
        members: Which experts count: bool `[..., modality]`.
        prior_expert: Whether N(0, 1) is one more member of every product.
    """
    precision = (-experts.log_variance).exp() * members[..., None]
    alone = torch.ones_like(members[..., :1]) if prior_expert else ~members.any(-1, keepdim=True)
    total = precision.sum(-2) + alone
    return Gaussian((precision * experts.mean).sum(-2) / total, -total.log())


def precision_share(experts: Gaussian, members: Tensor) -> Tensor:
    """Returns each member's share of the members' precision, averaged over channels: `[..., modality]`."""
    # a softmax over members; where there is none, all are equal and then set to 0
    logits = (-experts.log_variance).masked_fill(~members[..., None], torch.finfo(experts.mean.dtype).min)
    return logits.softmax(-2).mean(-1) * members


def log_mixture(components: Gaussian, share: Tensor, z: Tensor) -> Tensor:
    """Returns the log density of a mixture at `z`: logsumexp of log share + log density.

    Args:
        components: `[component, batch, channel]`.
        share: Probability of each component, `[component, batch]`.
        z: `[point, batch, channel]`; the result is `[point, batch]`.
    """
    one_by_one = Gaussian(components.mean[None], components.log_variance[None]).log_prob(z[:, None])
    return (one_by_one + share.log()).logsumexp(1)
