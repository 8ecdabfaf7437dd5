"""Multimodal VAE by total correlation: a product of experts that each expert must be able to foretell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion.generative._autoencoder import Inference, MultimodalAutoencoder
from profuse.layers.gaussian import Gaussian, product

__all__ = ["MVTCAE"]


class MVTCAE(MultimodalAutoencoder):
    """h = MLP(E_q[z]), q(z | x) = prod of q_m(z | x_m), normalised; q is kept near every q_m, not only near the prior.

    Precisions of the present experts add up. The penalty, of n present modalities, is (n - alpha) / n * -E_q[sum_m log
    p(x_m | z)] + beta (alpha / n * sum_m KL(q || q_m) + (1 - alpha) KL(q || N(0, 1))), mean over rows, divided by the
    channels of all modalities. It bounds the total correlation of the modalities given z: KL(q || q_m) trains each
    expert to foretell from its modality alone what all of them say, which is what imputing needs; alpha = 0 leaves the
    ELBO. The vector is an MLP of a sample of q in training, of its mean otherwise. The weights are the
    experts' shares of the precision.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector, and of the hidden layers.
        n_latent: Channels of z, at least 1.
        alpha: How much q is kept near the experts rather than near the prior, 0 to 1.
        beta: Weight of the KL terms, at least 0; let in over the first half of the training. As the decoders' variance
            is 1, beta acts as that variance: small reconstructs more finely.
        weight: Weight of the penalty, at least 0.
        fixed_targets: Whether no gradient reaches the targets of the reconstruction, as in the paper, where data stand
            still; if not, the encoders are also drawn to tokens that are easy to reconstruct.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Hwang, Kim, Hong, Kim, Multi-View Representation Learning via Total Correlation Objective, NeurIPS 2021.
        *Differs from the paper*: n counts the modalities that a row has; what is reconstructed is each modality's
        pooled and normalised tokens, as its encoder makes them, not the raw data; the KL terms are let in slowly.
        Experts begin with log variance -4, bounded to -6 .. 6; the KL term is let in over the first half of training.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3), torch.tensor([True, False]))}
        >>> operator = MVTCAE({"text": 4, "vector": 3}, 8)
        >>> operator(tokens).vector.shape
        torch.Size([2, 8])
        >>> operator.impute(tokens)["vector"].present
        tensor([True, True])
    """

    formula: ClassVar[str] = "MLP(E_q[z]), q = prod of q_m(z | x_m), q near every q_m"
    cost: ClassVar[str] = "O(T d + M (d + n_latent) width); training adds O(M (d + n_latent) width)"
    missing: ClassVar[str] = "no expert in the product; can be imputed"
    reference: ClassVar[str] = "Hwang et al. 2021 (NeurIPS 34)"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_latent: int = 32,
        alpha: float = 0.8,
        beta: float = 1.0,
        weight: float = 0.01,
        fixed_targets: bool = False,
    ) -> None:
        super().__init__(channels, width, n_latent=n_latent, beta=beta, weight=weight, fixed_targets=fixed_targets)
        if not 0 <= alpha <= 1:
            raise ConfigError(f"MVTCAE: alpha must be in [0, 1]; got alpha={alpha}. Use 0 for the plain ELBO.")
        self.alpha = alpha

    def posterior(self, experts: Gaussian, present: Tensor) -> tuple[Gaussian, Tensor, Tensor]:
        q = product(experts, present, prior_expert=False)
        components = Gaussian(q.mean[None], q.log_variance[None])
        return components, present[None], q.mean.new_ones(1, present.shape[0])

    def loss(self, seen: Inference) -> Tensor:
        share = self.alpha / seen.present.sum(1).clamp(min=1).to(seen.z)
        q = Gaussian(seen.components.mean[0, :, None], seen.components.log_variance[0, :, None])
        near = q.kl(seen.experts).masked_fill(~seen.present, 0.0).sum(1)
        kl = share * near + (1 - self.alpha) * seen.components.kl()[0]
        return (1 - share) * self.reconstruction(seen.z, seen)[0] + self.kl_weight * kl
