"""Multimodal VAE: a mixture of the products of all subsets of experts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product as all_of
from typing import ClassVar

import torch
from torch import Tensor

from profuse.fusion.generative._autoencoder import Inference, MultimodalAutoencoder, pick
from profuse.layers.gaussian import Gaussian, product

__all__ = ["MoPoE"]


class MoPoE(MultimodalAutoencoder):
    """h = MLP(E_q[z]), q(z | x) = mean over the subsets S of what is present of prod_{m in S} q_m(z | x_m), normalised.

    Every subset of the modalities, 2^M - 1 of them, is a product of its Gaussian experts, and the posterior is the
    mixture of these products: any part of the modalities is trained to stand for all of them. The vector is an MLP
    of the mean over subsets of one sample each in training, of their means otherwise. The penalty is the negative of
    E_q[sum_n log p(x_n | z)] - beta mean_S KL(q_S || N(0, 1)), a bound of the ELBO, mean over rows, divided by
    the channels of all modalities; in training z is a sample of one subset, drawn for each row. The weights are the
    experts' shares of the precision, mean over subsets.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens; 8 modalities at most.
        width: Width of the joint vector, and of the hidden layers.
        n_latent: Channels of z, at least 1.
        beta: Weight of the KL term, at least 0; let in over the first half of the training. As the decoders' variance
            is 1, beta acts as that variance: small reconstructs more finely.
        weight: Weight of the penalty, at least 0.
        fixed_targets: Whether no gradient reaches the targets of the reconstruction, as in the paper, where data stand
            still; if not, the encoders are also drawn to tokens that are easy to reconstruct.
        prior_expert: Whether the prior N(0, 1) is one more expert in every subset.

    Raises:
        ConfigError: An option is out of range, or there are too many modalities.

    Reference:
        Sutter, Daunhawer, Vogt, Generalized Multimodal ELBO, ICLR 2021. *Differs from the paper*: what is
        reconstructed is each modality's pooled and normalised tokens, as its encoder makes them, not the raw data;
        the head sees the mean of the subsets' samples, not the sample of one. The authors' code gives the prior to the
        full subset alone; here it joins none or all.
        Experts begin with log variance -4, bounded to -6 .. 6; the KL term is let in over the first half of training.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3), torch.tensor([True, False]))}
        >>> operator = MoPoE({"text": 4, "vector": 3}, 8)
        >>> operator(tokens).vector.shape
        torch.Size([2, 8])
        >>> operator.impute(tokens)["vector"].present
        tensor([True, True])
    """

    max_modalities: ClassVar[int | None] = 8
    formula: ClassVar[str] = "MLP(E_q[z]), q = mean over subsets S of prod_S q_m(z | x_m)"
    cost: ClassVar[str] = "O(T d + M (d + n_latent) width + 2^M M n_latent); training adds O(M (d + n_latent) width)"
    missing: ClassVar[str] = "subsets that hold it are left out; can be imputed"
    reference: ClassVar[str] = "Sutter et al. 2021 (arXiv 2105.02470)"

    subsets: Tensor

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_latent: int = 32,
        beta: float = 1.0,
        weight: float = 0.01,
        fixed_targets: bool = False,
        prior_expert: bool = False,
    ) -> None:
        super().__init__(channels, width, n_latent=n_latent, beta=beta, weight=weight, fixed_targets=fixed_targets)
        self.prior_expert = prior_expert
        patterns = list(all_of([False, True], repeat=len(self.names)))[1:]
        self.register_buffer("subsets", torch.tensor(patterns), persistent=False)

    def posterior(self, experts: Gaussian, present: Tensor) -> tuple[Gaussian, Tensor, Tensor]:
        subsets = self.subsets[:, None]  # [subset, 1, modality]
        valid = (present | ~subsets).all(-1, keepdim=True)
        members = subsets & valid
        q = product(Gaussian(experts.mean[None], experts.log_variance[None]), members, prior_expert=self.prior_expert)
        # with nothing present every component is the prior, and so is the mixture
        counted = (valid[..., 0] | ~present.any(1)).to(experts.mean)
        return q, members, counted / counted.sum(0)

    def loss(self, seen: Inference) -> Tensor:
        z, share = seen.z, seen.share
        if self.training:
            which = torch.multinomial(share.T, 1).T
            z, share = pick(z, which), torch.ones_like(share[:1])
        fit = (share * self.reconstruction(z, seen)).sum(0)
        return fit + self.kl_weight * (seen.share * seen.components.kl()).sum(0)
