"""Multimodal VAE: a product of experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion.generative._autoencoder import Inference, MultimodalAutoencoder
from profuse.layers.gaussian import Gaussian, product

__all__ = ["MVAE"]


class MVAE(MultimodalAutoencoder):
    """h = MLP(E_q[z]), q(z | x) = N(0, 1) * prod of q_m(z | x_m), normalised: a product of Gaussian experts.

    Each present modality says where z is, and how sure it is (q_m, a Gaussian); precisions add up, the prior's 1 among
    them, so that a sure modality counts more and each one sharpens the posterior. The vector is an MLP of a sample of
    the posterior in training, of its mean otherwise. Decoders reconstruct the present modalities from z; the penalty
    is the sum of the negative ELBOs of all present modalities together, of each alone, and of `n_subsets` random
    subsets, mean over rows, divided by the channels of all modalities. Each alone is what trains the experts to
    work when others are missing. The weights are the experts' shares of the precision.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector, and of the hidden layers.
        n_latent: Channels of z, at least 1.
        beta: Weight of the KL term, at least 0; let in over the first half of the training. As the decoders' variance
            is 1, beta acts as that variance: small reconstructs more finely.
        weight: Weight of the penalty, at least 0.
        fixed_targets: Whether no gradient reaches the targets of the reconstruction, as in the paper, where data stand
            still; if not, the encoders are also drawn to tokens that are easy to reconstruct.
        n_subsets: Random subsets a row and step, at least 0; of three modalities or more.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Wu, Goodman, Multimodal Generative Models for Scalable Weakly-Supervised Learning, NeurIPS 2018: the
        product with the prior expert, and the sub-sampled training.
        *Differs from the paper*: what is reconstructed is each modality's pooled and normalised tokens, as its
        encoder makes them, not the raw data; subsets are drawn for each row, and only in training.
        Experts begin with log variance -4, bounded to -6 .. 6; the KL term is let in over the first half of training.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3), torch.tensor([True, False]))}
        >>> operator = MVAE({"text": 4, "vector": 3}, 8)
        >>> operator(tokens).vector.shape
        torch.Size([2, 8])
        >>> operator.impute(tokens)["vector"].present
        tensor([True, True])
    """

    formula: ClassVar[str] = "MLP(E_q[z]), q = N(0, 1) prod of q_m(z | x_m)"
    cost: ClassVar[str] = "O(T d + M (d + n_latent) width); training adds O(M (2 + n_subsets) (d + n_latent) width)"
    missing: ClassVar[str] = "no expert in the product; can be imputed"
    reference: ClassVar[str] = "Wu, Goodman 2018 (arXiv 1802.05335)"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_latent: int = 32,
        beta: float = 1.0,
        weight: float = 0.01,
        fixed_targets: bool = False,
        n_subsets: int = 1,
    ) -> None:
        super().__init__(channels, width, n_latent=n_latent, beta=beta, weight=weight, fixed_targets=fixed_targets)
        if n_subsets < 0:
            raise ConfigError(f"MVAE: n_subsets must be at least 0; got n_subsets={n_subsets}.")
        self.n_subsets = n_subsets

    def posterior(self, experts: Gaussian, present: Tensor) -> tuple[Gaussian, Tensor, Tensor]:
        q = product(experts, present, prior_expert=True)
        components = Gaussian(q.mean[None], q.log_variance[None])
        return components, present[None], q.mean.new_ones(1, present.shape[0])

    def loss(self, seen: Inference) -> Tensor:
        n = len(self.names)
        parts = []
        if n > 1:  # of one modality, it alone is all of them
            parts.append(torch.eye(n, dtype=torch.bool, device=seen.present.device)[:, None] & seen.present)
        if n > 2 and self.training and self.n_subsets:
            draw = torch.rand(self.n_subsets, *seen.present.shape, device=seen.present.device) < 0.5
            parts.append(draw & seen.present)
        members, z, kl = seen.members, seen.z, seen.components.kl()
        if parts:
            others = torch.cat(parts)
            experts = Gaussian(seen.experts.mean[None], seen.experts.log_variance[None])
            q = product(experts, others, prior_expert=True)
            members = torch.cat([members, others])
            z = torch.cat([z, q.sample() if self.training else q.mean])
            kl = torch.cat([kl, q.kl()])
        total = self.kl_weight * kl.sum(0)
        for i, target in enumerate(seen.targets):
            # all together, it alone, the random subsets: the other single modalities do not hold it
            at = [0, *([1 + i] if n > 1 else []), *range(1 + n, len(z))]
            total = total + self.misfit(i, z[at], target).masked_fill(~members[at, :, i], 0.0).sum(0)
        return total
