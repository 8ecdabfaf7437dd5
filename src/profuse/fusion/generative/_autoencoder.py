"""What the multimodal variational autoencoders share: experts, decoders, the joint vector, imputing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.gaussian import LOG_2PI, Gaussian, precision_share
from profuse.tokens import Tokens

__all__ = ["Inference", "MultimodalAutoencoder"]

_WARM_UP = 0.5  # part of the training in which the KL term is let in
_START = -4.0  # log variance at first: the noise of wide experts would hide from the head what modalities tell together
_BOUND = 6.0  # of a log variance: a product of many experts stays far from 0 / 0


@dataclass(frozen=True, eq=False)
class Inference:
    """What is inferred of a batch.

    Attributes:
        targets: The vectors that experts see and decoders aim at, `[batch, channel]` each.
        present: Bool `[batch, modality]`.
        experts: q_m(z | x_m), `[batch, modality, latent]`; what stands at a missing modality has no meaning.
        components: The joint posterior is a mixture of them: `[component, batch, latent]`; a product has one.
        members: Which experts make each component, bool `[component, batch, modality]`.
        share: Probability of each component, `[component, batch]`.
        z: A point of each component, `[component, batch, latent]`: a sample in training, else the mean.
    """

    targets: list[Tensor]
    present: Tensor
    experts: Gaussian
    components: Gaussian
    members: Tensor
    share: Tensor
    z: Tensor


class MultimodalAutoencoder(Fusion):
    """h = MLP(E_q[z]), q(z | x) made of a Gaussian expert q_m(z | x_m) a modality; penalty weight * -ELBO / channels.

    A subclass says how the experts join (`posterior`) and what the bound is (`loss`). Differs from the papers of all
    subclasses: experts begin narrow (log variance -4, standard deviation .14), since the noise of wide ones would hide
    from the head what modalities tell together; log variances are bounded to -6 .. 6 by a tanh; the KL term is let in
    over the first half of the training.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector, and of the hidden layers.
        n_latent: Channels of z.
        beta: Weight of the KL term.
        weight: Weight of the penalty.
        fixed_targets: Whether no gradient reaches the targets of the reconstruction.
    """

    def __init__(
        self, channels: Mapping[str, int], width: int, *, n_latent: int, beta: float, weight: float, fixed_targets: bool
    ) -> None:
        super().__init__(channels, width)
        if n_latent < 1 or not 0 <= beta < float("inf") or not 0 <= weight < float("inf"):
            raise ConfigError(
                f"{type(self).__name__}: n_latent must be at least 1, beta and weight at least 0; "
                f"got n_latent={n_latent}, beta={beta}, weight={weight}."
            )
        self.n_latent, self.beta, self.weight, self.fixed_targets = n_latent, beta, weight, fixed_targets
        self.encoders = nn.ModuleList(_mlp(c, width, 2 * n_latent) for c in self.channels.values())
        self.decoders = nn.ModuleList(_mlp(n_latent, width, c) for c in self.channels.values())
        self.out = _mlp(n_latent, width, width)
        for name, bias in self.encoders.named_parameters():
            if name.endswith("2.bias"):
                nn.init.constant_(bias[n_latent:], _START)

    @abstractmethod
    def posterior(self, experts: Gaussian, present: Tensor) -> tuple[Gaussian, Tensor, Tensor]:
        """Returns `components`, `members` and `share` of `Inference`; N(0, 1) where nothing is present."""

    @abstractmethod
    def loss(self, seen: Inference) -> Tensor:
        """Returns -ELBO of each row, `[batch]`; rows without any modality are left out later."""

    @property
    def kl_weight(self) -> float:
        """Weight of the KL term now: it grows to `beta` over the first half of the training."""
        return self.beta * min(1.0, self.progress / _WARM_UP)

    def infer(self, tokens: Mapping[str, Tokens]) -> Inference:
        """Returns experts and joint posterior; missing tokens must be 0."""
        # without gain and bias: they could shrink the target instead of explaining it; of two a sign would be left
        targets = [
            functional.layer_norm(t.mean(), (c,)) if (c := t.n_channels) > 2 else t.mean() for t in tokens.values()
        ]
        told = torch.stack([encoder(v) for encoder, v in zip(self.encoders, targets, strict=True)], dim=1)
        mean, log_variance = told.chunk(2, dim=-1)
        experts = Gaussian(mean, _BOUND * torch.tanh(log_variance / _BOUND))
        present = self.present(tokens)
        components, members, share = self.posterior(experts, present)
        z = components.sample() if self.training else components.mean
        return Inference(targets, present, experts, components, members, share, z)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        seen = self.infer(tokens)
        vector = self.out((seen.share[..., None] * seen.z).sum(0))
        explained = precision_share(Gaussian(seen.experts.mean[None], seen.experts.log_variance[None]), seen.members)
        weights = {"precision": (seen.share[..., None] * explained).sum(0)}
        if not torch.is_grad_enabled():
            return Fused(vector, weights=weights)
        anything = seen.present.any(1)
        mean = self.loss(seen).masked_fill(~anything, 0.0).sum() / anything.sum().clamp(min=1)
        return Fused(
            vector, penalties={"negative_elbo": self.weight * mean / sum(self.channels.values())}, weights=weights
        )

    def misfit(self, i: int, z: Tensor, target: Tensor) -> Tensor:
        """Returns -log p(x_i | z) = -log N(x_i; decoder_i(z), 1), `[...]` without the last axis."""
        target = target.detach() if self.fixed_targets else target
        loss: Tensor = 0.5 * ((target - self.decoders[i](z)).square() + LOG_2PI).sum(-1)
        return loss

    def reconstruction(self, z: Tensor, seen: Inference) -> Tensor:
        """Returns -log p of the present modalities given `z[point, batch, latent]`: `[point, batch]`."""
        parts = [self.misfit(i, z, v).masked_fill(~seen.present[:, i], 0.0) for i, v in enumerate(seen.targets)]
        return torch.stack(parts).sum(0)

    def impute(self, tokens: Mapping[str, Tokens], *, n_samples: int = 0) -> dict[str, Tokens]:
        """Fills absent modalities with what the decoders say given those that are present.

        An imputed modality is one token, in the normalised units of the reconstruction (mean 0 and variance 1 over
        channels). What is present comes back bit for bit.

        Args:
            tokens: As for a call; absent modalities are all masked.
            n_samples: 0 decodes the mean of the posterior; else the decoders' mean over so many samples of it (one
                sample is one draw: call again for multiple imputations).

        Raises:
            ConfigError: `n_samples` is below 0.
            ShapeError: As a call does.
        """
        if n_samples < 0:
            raise ConfigError(f"{type(self).__name__}: n_samples must be at least 0; got n_samples={n_samples}.")
        with torch.no_grad():
            self(tokens)  # for its checks
        seen = self.infer({name: tokens[name].zeroed() for name in self.names})
        z = (seen.share[..., None] * seen.components.mean).sum(0, keepdim=True)
        if n_samples:
            which = torch.multinomial(seen.share.T, n_samples, replacement=True).T
            z = Gaussian(*(pick(x, which) for x in (seen.components.mean, seen.components.log_variance))).sample()
        filled = {}
        for i, name in enumerate(self.names):
            t, absent = tokens[name], ~seen.present[:, i, None]
            first = torch.where(absent, self.decoders[i](z).mean(0), t.values[:, 0])
            mask = torch.cat([t.mask[:, :1] | absent, t.mask[:, 1:]], dim=1)
            filled[name] = Tokens(torch.cat([first[:, None], t.values[:, 1:]], dim=1), mask)
        return filled


def pick(x: Tensor, which: Tensor) -> Tensor:
    """Returns the components `which[point, batch]` of `x[component, batch, channel]`: `[point, batch, channel]`."""
    return x.gather(0, which[..., None].expand(-1, -1, x.shape[-1]))


def _mlp(n_in: int, width: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, width), nn.GELU(), nn.Linear(width, n_out))
