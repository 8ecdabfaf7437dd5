"""Predictive dynamic fusion: each expert's chance to be right, predicted, and weighed against the others'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from profuse.errors import ConfigError
from profuse.fusion._base import DecisionFusion, Link
from profuse.fusion.encoder_decoder._opinions import log_pool, log_probs, mean_of_rows, share, truth, wide

__all__ = ["PredictiveDynamic"]

EPSILON = 1e-3


class PredictiveDynamic(DecisionFusion):
    """log p = log_softmax(sum_m w_m log p_m), w = softmax_m(k_m (q_m + o_m)), q_m = sigmoid(MLP_m(p_m)).

    The softmax is over the present m. q_m is the predicted probability of the true class under expert m (its
    confidence alone), learned by a loss |q_m - p_m(true)|. With l_m = -log q_m + 0.001, o_m = (sum of l_j, j != m) /
    ((n - 1) sum of l_j), over the n present modalities: confidence for what the others lack. o_m grows with q_m, and
    sums to 1; for n = 2 it is l_2 / (l_1 + l_2). k_m, in evaluation mode only, is 1 or, if smaller, how far p_m is
    from uniform (the mean of |p_mk - 1/K|) against the mean of the others. Of several yes/no outputs (sigmoid) each
    has weights of its own, as K = 2 classes.

    As q + o lies between 0 and 2, no expert has e^2 times the weight of another: this is a gentle weighting.
    `Fused.weights` are w, averaged over outputs; they sum to 1.

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`.

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax or sigmoid; values have no probability of the true one.
        hidden_dim: Channels between the two layers of each MLP, at least 1.
        confidence_weight: Weight of the loss by which confidences are learned, at least 0.
        calibrate: Whether k_m is used.
        detach: Whether the fused loss takes the weights for constants, and the confidence loss the experts, as in the
            paper.

    Raises:
        ConfigError: An option is out of range, or the link is identity.

    Reference:
        Cao, Xia, Ding, Zhang, Hu, Predictive Dynamic Fusion, ICML 2024 (PDF). *Differs from the paper*:
        confidence is predicted from the expert's probabilities, not its features, by two layers with a non-linearity
        between them; any number of modalities (the others' mean in o and k); logarithms are kept off 0; all carries a
        gradient unless `detach`.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> experts = {m: Tokens.vector(torch.randn(3, 4)) for m in ("a", "b")}
        >>> fused = PredictiveDynamic({"a": 4, "b": 4}, 4)(experts)
        >>> fused.vector.shape, fused.weights["decision"].sum(1).round(decimals=4)
        (torch.Size([3, 4]), tensor([1., 1., 1.], grad_fn=<RoundBackward1>))
    """

    links: ClassVar[tuple[Link, ...]] = ("softmax", "sigmoid")
    formula: ClassVar[str] = (
        "log_softmax(sum of w_m log p_m), w = softmax_m(k_m (q_m + o_m)), q_m = sigmoid(MLP_m(p_m))"
    )
    cost: ClassVar[str] = "O(M outputs hidden_dim)"
    missing: ClassVar[str] = "its weight is 0"
    reference: ClassVar[str] = "Cao et al. 2024 (ICML, PDF)"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        link: Link = "softmax",
        hidden_dim: int = 16,
        confidence_weight: float = 1.0,
        calibrate: bool = True,
        detach: bool = False,
    ) -> None:
        super().__init__(channels, width, link=link)
        if hidden_dim < 1 or not 0 <= confidence_weight < float("inf"):
            raise ConfigError(
                "PredictiveDynamic: hidden_dim must be at least 1 and confidence_weight at least 0; got "
                f"hidden_dim={hidden_dim}, confidence_weight={confidence_weight}."
            )
        self.hidden_dim, self.confidence_weight = hidden_dim, confidence_weight
        self.calibrate, self.detach = calibrate, detach
        n_labels = 1 if link == "softmax" else width
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, n_labels)) for _ in self.names
        )

    def confidence_logits(self, outputs: Tensor) -> Tensor:
        """Returns the log-odds of q, `[batch, modality, label]`; of classes (softmax) there is one label."""
        probs = outputs.softmax(-1) if self.link == "softmax" else outputs.sigmoid()
        return torch.stack([mlp(p) for mlp, p in zip(self.mlps, probs.unbind(1), strict=True)], dim=1)

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        logits = self.confidence_logits(outputs)
        score = logits.sigmoid() + others(softplus(-logits) + EPSILON, present)
        if self.calibrate and not self.training:
            probs = log_probs(outputs, self.link).exp()
            sharp = (probs - 1 / probs.shape[-1]).abs().mean(-1) + EPSILON
            score = score * relative(sharp, present)
        weights = share(score, present)
        fused = log_pool(outputs, weights.detach() if self.detach else weights, self.link)
        return fused, weights.mean(-1)

    def losses(
        self, outputs: Tensor, present: Tensor, target: Tensor, head_losses: Callable[[Tensor, Tensor], Tensor]
    ) -> Mapping[str, Tensor]:
        predicted = wide(self.confidence_logits(outputs.detach() if self.detach else outputs)).sigmoid()
        with torch.no_grad():  # what is to be predicted
            true = truth(target, self.link, self.width)[:, None]
            right = (log_probs(wide(outputs), self.link).exp() * true).sum(-1)
        return {"confidence": self.confidence_weight * mean_of_rows((predicted - right).abs().mean(-1), present)}


def others(x: Tensor, present: Tensor) -> Tensor:
    """Returns (sum of x_j, j != m) / ((n - 1) sum of x_j) over the n present modalities, 0 for a lone or missing one.

    Args:
        x: `[batch, modality, label]`, above 0.
        present: Bool `[batch, modality]`.
    """
    missing = ~present[..., None]
    x = x.masked_fill(missing, 0.0)
    total = x.sum(1, keepdim=True)
    n_others = (present.sum(1) - 1).clamp(min=1)[:, None, None]
    return (total - x).masked_fill(missing, 0.0) / (n_others * total.clamp(min=torch.finfo(x.dtype).tiny))


def relative(x: Tensor, present: Tensor) -> Tensor:
    """Returns min(1, x_m / mean of x_j, j != m) over the present modalities, 1 for a lone one.

    Args:
        x: `[batch, modality, label]`, above 0.
        present: Bool `[batch, modality]`.
    """
    there = present[..., None]
    x = x.masked_fill(~there, 0.0)
    n_others = present.sum(1)[:, None, None] - there.to(x)
    mean = (x.sum(1, keepdim=True) - x) / n_others.clamp(min=1)
    return (x / mean.clamp(min=EPSILON)).clamp(max=1.0).masked_fill(n_others < 1, 1.0)
