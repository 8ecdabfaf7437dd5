"""The mean of logits: the logarithmic opinion pool."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from profuse.fusion._base import DecisionFusion

__all__ = ["MeanLogits"]


class MeanLogits(DecisionFusion):
    """log p = log_softmax(mean over the present m of log p_m); of log-odds or values, their mean.

    The geometric mean of the experts' distributions, normalised. Each expert is normalised first: adding a
    constant to all logits of one changes nothing, as it changes nothing in its own loss.

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`.

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax, sigmoid or identity.

    Reference:
        Genest, Zidek, Combining Probability Distributions, Statistical Science 1(1), 1986: the logarithmic
        opinion pool with equal weights.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> experts = {"a": Tokens.vector(torch.tensor([[2.0, 0.0]])), "b": Tokens.vector(torch.tensor([[4.0, 6.0]]))}
        >>> MeanLogits({"a": 2, "b": 2}, 2)(experts).vector.softmax(1)
        tensor([[0.5000, 0.5000]])
    """

    formula: ClassVar[str] = "log_softmax(mean of log p_m)"
    cost: ClassVar[str] = "O(M outputs)"
    missing: ClassVar[str] = "left out of the mean"
    reference: ClassVar[str] = "Genest and Zidek 1986: the logarithmic opinion pool"

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.link == "softmax":
            outputs = outputs.log_softmax(-1)
        mean = outputs.masked_fill(~present[..., None], 0.0).sum(1) / present.sum(1, keepdim=True).clamp(min=1)
        return mean.log_softmax(-1) if self.link == "softmax" else mean, None
