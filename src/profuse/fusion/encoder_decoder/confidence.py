"""Experts weighted by how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from profuse.fusion._base import DecisionFusion, Link

__all__ = ["Confidence"]


class Confidence(DecisionFusion):
    """p = sum_m w_m p_m, w = softmax over the present m of -H(p_m), H the entropy in nats.

    An expert that knows nothing among K classes has 1 / K of the weight of one that is certain. Of several yes/no
    outputs (sigmoid) each has weights of its own. Values (identity) carry no entropy: there w = softmax over the
    present m of a learned log-precision for each modality and output, which the loss drives towards the inverse
    variances of the experts' errors. `Fused.weights` are w, averaged over outputs; they sum to 1.

    An expert can be sure and wrong: calibrate the experts, or compare with `mean_probs`.

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`.

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax, sigmoid or identity.

    Reference:
        Zhang, Yoon, Bansal, Yao, Multimodal Representation Learning by Alternating Unimodal Adaptation, CVPR 2024,
        weights at test time. *Differs from the paper*: probabilities are averaged, not logits.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> sure, unsure = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.5]])
        >>> fused = Confidence({"a": 2, "b": 2}, 2)({"a": Tokens.vector((sure + 1e-9).log()),
        ...                                          "b": Tokens.vector(unsure.log())})
        >>> fused.weights["decision"]
        tensor([[0.6667, 0.3333]])
    """

    formula: ClassVar[str] = "log of sum of w_m p_m, w = softmax_m(-entropy of p_m)"
    cost: ClassVar[str] = "O(M outputs)"
    missing: ClassVar[str] = "its weight is 0"
    reference: ClassVar[str] = "Zhang et al. 2024 (CVPR, MLA): weights by entropy"

    def __init__(self, channels: Mapping[str, int], width: int, *, link: Link = "softmax") -> None:
        super().__init__(channels, width, link=link)
        if link == "identity":
            self.log_precision = nn.Parameter(torch.zeros(len(self.names), width))

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.link == "softmax":
            log_probs = outputs.log_softmax(-1)
            log_weights = self._log_share((log_probs.exp() * log_probs).sum(-1, keepdim=True), present)
            return (log_weights + log_probs).logsumexp(1), log_weights.exp()[..., 0] * present
        if self.link == "sigmoid":
            log_yes, log_no = logsigmoid(outputs), logsigmoid(-outputs)
            log_weights = self._log_share(log_yes.exp() * log_yes + log_no.exp() * log_no, present)
            fused = (log_weights + log_yes).logsumexp(1) - (log_weights + log_no).logsumexp(1)
            return fused, log_weights.exp().mean(-1) * present
        weights = self._log_share(self.log_precision.expand_as(outputs), present).exp() * present[..., None]
        return (weights * outputs).sum(1), weights.mean(-1)

    @staticmethod
    def _log_share(score: Tensor, present: Tensor) -> Tensor:
        """Returns log softmax over the present modalities; very low, yet finite, where missing."""
        low = torch.finfo(score.dtype).min / 4
        return score.masked_fill(~present[..., None], low).log_softmax(1)
