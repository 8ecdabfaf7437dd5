"""Multimodal VAE: a mixture of experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from profuse.fusion.generative._autoencoder import Inference, MultimodalAutoencoder
from profuse.layers.gaussian import LOG_2PI, Gaussian, log_mixture, product

__all__ = ["MMVAE"]


class MMVAE(MultimodalAutoencoder):
    """h = MLP(E_q[z]), q(z | x) = mean over the present m of q_m(z | x_m): a mixture of Gaussian experts.

    Each present modality alone must tell enough of z to reconstruct all present ones, itself among them, so that z
    holds what modalities share; what only one of them knows is lost to the others' reconstructions. The vector is
    an MLP of the mean over the experts of one sample each in training, of their means otherwise. The penalty is the
    stratified ELBO: -mean_m E_{q_m}[sum_n log p(x_n | z) - beta (log q(z | x) - log p(z))], mean over rows, divided
    by the channels of all modalities; log q is that of the whole mixture, and each expert gives one sample.

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

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Shi, Siddharth, Paige, Torr, Variational Mixture-of-Experts Autoencoders for Multi-Modal Deep Generative Models,
        NeurIPS 2019, section 3. *Differs from the paper*: the stratified ELBO with one sample an expert, not the
        importance-weighted bound with many; Gaussians with a fixed prior, not Laplace with a learned one; what is
        reconstructed is each modality's pooled and normalised tokens, as its encoder makes them, not the raw data;
        the head sees the mean of the experts' samples, not the sample of one.
        Experts begin with log variance -4, bounded to -6 .. 6; the KL term is let in over the first half of training.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3), torch.tensor([True, False]))}
        >>> operator = MMVAE({"text": 4, "vector": 3}, 8)
        >>> operator(tokens).vector.shape
        torch.Size([2, 8])
        >>> operator.impute(tokens)["vector"].present
        tensor([True, True])
    """

    formula: ClassVar[str] = "MLP(E_q[z]), q = mean of q_m(z | x_m)"
    cost: ClassVar[str] = "O(T d + M (d + n_latent) width); training adds O(M^2 (d + n_latent) width)"
    missing: ClassVar[str] = "no expert in the mixture; can be imputed"
    reference: ClassVar[str] = "Shi et al. 2019 (arXiv 1911.03393)"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_latent: int = 32,
        beta: float = 1.0,
        weight: float = 0.01,
        fixed_targets: bool = False,
    ) -> None:
        super().__init__(channels, width, n_latent=n_latent, beta=beta, weight=weight, fixed_targets=fixed_targets)

    def posterior(self, experts: Gaussian, present: Tensor) -> tuple[Gaussian, Tensor, Tensor]:
        members = torch.eye(len(self.names), dtype=torch.bool, device=present.device)[:, None] & present
        q = product(Gaussian(experts.mean[None], experts.log_variance[None]), members, prior_expert=False)
        # with nothing present every component is the prior, and so is the mixture
        valid = (present | ~present.any(1, keepdim=True)).T.to(experts.mean)
        return q, members, valid / valid.sum(0)

    def loss(self, seen: Inference) -> Tensor:
        log_prior = -0.5 * (seen.z.square() + LOG_2PI).sum(-1)
        kl = log_mixture(seen.components, seen.share, seen.z) - log_prior
        return (seen.share * (self.reconstruction(seen.z, seen) + self.kl_weight * kl)).sum(0)
