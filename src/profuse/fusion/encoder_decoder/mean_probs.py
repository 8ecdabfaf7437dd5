"""The mean of probabilities: the linear opinion pool."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from profuse.fusion._base import DecisionFusion

__all__ = ["MeanProbs"]


class MeanProbs(DecisionFusion):
    """p = mean over the present m of p_m, as log p (softmax) or log-odds of p (sigmoid); of values, their mean.

    Computed on log-probabilities, so that it keeps its precision where probabilities vanish.

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`.

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax, sigmoid or identity.

    Reference:
        Stone, The Opinion Pool, Annals of Mathematical Statistics 32(4), 1961: equal weights.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> experts = {"a": Tokens.vector(torch.tensor([[0.9, 0.1]]).log()),
        ...            "b": Tokens.vector(torch.tensor([[0.5, 0.5]]).log())}
        >>> MeanProbs({"a": 2, "b": 2}, 2)(experts).vector.exp()
        tensor([[0.7000, 0.3000]])
    """

    formula: ClassVar[str] = "log of the mean of p_m"
    cost: ClassVar[str] = "O(M outputs)"
    missing: ClassVar[str] = "left out of the mean"
    reference: ClassVar[str] = "Stone 1961: the linear opinion pool"

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        there = present[..., None]
        log_count = there.sum(1).clamp(min=1).to(outputs).log()

        def log_mean(log_prob: Tensor) -> Tensor:
            low = torch.finfo(outputs.dtype).min
            return log_prob.masked_fill(~there, low).logsumexp(1) - log_count

        if self.link == "softmax":
            return log_mean(outputs.log_softmax(-1)), None
        if self.link == "sigmoid":
            log_yes, log_no = (log_mean(torch.nn.functional.logsigmoid(z)) for z in (outputs, -outputs))
            return log_yes - log_no, None
        return outputs.masked_fill(~there, 0.0).sum(1) / there.sum(1).clamp(min=1), None
