"""Trusted fusion: experts tell evidence, Dempster's rule combines it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion._base import DecisionFusion, Link
from profuse.fusion.encoder_decoder._opinions import mean_of_rows, truth, wide
from profuse.tokens import Tokens

__all__ = ["Trusted", "dirichlet_loss"]


def dirichlet_loss(log_alpha: Tensor, true: Tensor, kl_weight: float) -> Tensor:
    """Returns the expected cross-entropy under Dir(alpha) plus `kl_weight` KL(Dir(a) || Dir(1)), summed over classes.

    a is alpha with the true class's set to 1: evidence for wrong classes is drawn to none.

    Args:
        log_alpha: `[..., class]`, at least 0.
        true: The target, 0 or 1, of the same shape.
        kl_weight: Factor of the divergence.
    """
    # float32 holds neither exp(89) nor, beyond 10^4, what is left of log-gammas subtracted from each other
    alpha = log_alpha.clamp(max=80).exp()
    loss = (true * (alpha.sum(-1, keepdim=True).digamma() - alpha.digamma())).sum(-1)
    a = torch.where(true > 0.5, 1.0, log_alpha.clamp(max=math.log(1e4)).exp())
    total = a.sum(-1, keepdim=True)
    gammas = total[..., 0].lgamma() - a.lgamma().sum(-1) - math.lgamma(a.shape[-1])
    return loss + kl_weight * (gammas + ((a - 1) * (a.digamma() - total.digamma())).sum(-1))


class Trusted(DecisionFusion):
    """p = alpha / sum alpha, alpha = 1 + K (prod over the present m of (1 + e_m / K) - 1), e_m = softplus(f_m).

    Expert m tells evidence e_mk for each of K classes: belief e_mk / S_m and uncertainty K / S_m, S_m = K + sum_k e_mk,
    which add to 1. Dempster's rule, applied to all experts one after another, is the product above; alpha are the
    parameters of a Dirichlet distribution, p its mean. An expert without evidence changes nothing. For labels
    (sigmoid) each is a Beta distribution, that is a Dirichlet one of K = 2 with the outputs f and -f for yes and no.

    The weights are the experts' certainties, 1 - K / S_m (their means over labels): they do not sum to 1. `uncertainty`
    tells what is left in the fused opinion. It never exceeds any expert's: two experts who contradict each other make
    it smaller too, a known flaw of the rule.

    The model is trained by this operator's losses alone: the mean cross-entropy under the Dirichlet distribution, of
    the fused opinion and (the mean) of the experts', plus a divergence that draws wrong evidence to none, whose weight
    grows from 0 to `kl_weight` while training runs. Label smoothing has no part in them.

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`: log p (softmax), log-odds (sigmoid).

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax or sigmoid; values have no classes to give evidence for.
        kl_weight: Weight of the divergence at the end of training, at least 0; 1 in the paper.

    Raises:
        ConfigError: `kl_weight` is negative, or the link is identity.

    Reference:
        Han, Zhang, Fu, Zhou, Trusted Multi-View Classification, ICLR 2021, section 3. *Differs from the paper*:
        the rule in closed form; the experts' losses are averaged, not summed; the divergence weighs 0.1 at the end, not
        1, at which probabilities came out too even; labels.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> sure, silent = torch.tensor([[9.0, -999.0]]), torch.tensor([[-999.0, -999.0]])
        >>> fused = Trusted({"a": 2, "b": 2}, 2)({"a": Tokens.vector(sure), "b": Tokens.vector(silent)})
        >>> fused.vector.exp(), fused.weights["decision"]
        (tensor([[0.9091, 0.0909]]), tensor([[0.8182, 0.0000]]))
    """

    owns_loss: ClassVar[bool] = True
    links: ClassVar[tuple[Link, ...]] = ("softmax", "sigmoid")
    formula: ClassVar[str] = "log of alpha / sum alpha, alpha = 1 + K (prod of (1 + softplus(f_m) / K) - 1)"
    cost: ClassVar[str] = "O(M outputs)"
    missing: ClassVar[str] = "has no evidence: changes nothing"
    reference: ClassVar[str] = "Han et al. 2021 (ICLR, TMC), section 3"

    def __init__(
        self, channels: Mapping[str, int], width: int, *, link: Link = "softmax", kl_weight: float = 0.1
    ) -> None:
        super().__init__(channels, width, link=link)
        if not 0 <= kl_weight < float("inf"):
            raise ConfigError(f"Trusted: kl_weight must be at least 0; got kl_weight={kl_weight}.")
        self.kl_weight = kl_weight

    def evidence(self, outputs: Tensor) -> Tensor:
        """Returns evidence `[batch, modality, label, class]`; of classes (softmax) there is one label."""
        if self.link == "softmax":
            return functional.softplus(outputs)[:, :, None]
        return functional.softplus(torch.stack([outputs, -outputs], dim=-1))

    def uncertainty(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns K / sum alpha of the fused opinion, `[batch, label]`: 1 where nothing is known; one label of classes.

        Args:
            tokens: The experts' outputs, as for a call.
        """
        outputs = torch.stack([tokens[name].mean() for name in self.names], dim=1)
        log_alpha = _fused(self.evidence(outputs), self.present(tokens))
        return (math.log(log_alpha.shape[-1]) - log_alpha.logsumexp(-1)).exp()

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        evidence = self.evidence(outputs)
        log_alpha = _fused(evidence, present)
        vector = log_alpha[:, 0].log_softmax(-1) if self.link == "softmax" else log_alpha[..., 0] - log_alpha[..., 1]
        total = evidence.sum(-1)
        return vector, (total / (total + evidence.shape[-1])).mean(-1) * present

    def losses(
        self, outputs: Tensor, present: Tensor, target: Tensor, head_losses: Callable[[Tensor, Tensor], Tensor]
    ) -> Mapping[str, Tensor]:
        evidence, kl_weight = self.evidence(wide(outputs)), self.kl_weight * self.progress
        true = truth(target, self.link, self.width).to(evidence)
        own = dirichlet_loss(evidence.log1p(), true[:, None].expand_as(evidence), kl_weight).mean(-1)
        fused = dirichlet_loss(_fused(evidence, present), true, kl_weight).mean(-1, keepdim=True)
        return {
            "fused": mean_of_rows(fused, present.any(1, keepdim=True)),
            "experts": mean_of_rows(own, present),
        }


def _fused(evidence: Tensor, present: Tensor) -> Tensor:
    """Returns log alpha `[batch, label, class]` of the fused opinion."""
    n_classes = evidence.shape[-1]
    logs = (evidence / n_classes).log1p().masked_fill(~present[..., None, None], 0.0).sum(1)
    # log(1 + K (e^logs - 1)), which the product itself would overflow with many experts
    return logs + (n_classes - (n_classes - 1) * (-logs).exp()).log()
