"""The majority vote."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from profuse.fusion._base import DecisionFusion

__all__ = ["Vote"]


class Vote(DecisionFusion):
    """p_k = (number of the n present experts that choose k + mean over them of p_mk) / (n + 1).

    Each expert has one vote for its most probable class; the mean of the probabilities is one vote more, which is
    split, so that it decides ties and nothing else. A label (sigmoid) is voted on by itself, an expert at exactly
    one half giving half a vote. Of values (identity) the vote is the median. Votes have no useful gradient: the
    experts are trained by their own losses.

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`.

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax, sigmoid or identity.

    Reference:
        Kittler, Hatef, Duin, Matas, On Combining Classifiers, IEEE TPAMI 20(3), 1998: majority vote and median rule.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> probs = {"a": [0.6, 0.4, 0.0], "b": [0.6, 0.4, 0.0], "c": [0.0, 0.1, 0.9]}
        >>> experts = {m: Tokens.vector((torch.tensor([p]) + 1e-9).log()) for m, p in probs.items()}
        >>> Vote({"a": 3, "b": 3, "c": 3}, 3)(experts).vector.exp()
        tensor([[0.6000, 0.0750, 0.3250]])
    """

    trains_jointly: ClassVar[bool] = False
    formula: ClassVar[str] = "(votes for k + mean of p_mk) / (n + 1); the median of values"
    cost: ClassVar[str] = "O(M outputs), of values O(M log M outputs)"
    missing: ClassVar[str] = "has no vote"
    reference: ClassVar[str] = "Kittler et al. 1998: majority vote"

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        there = present[..., None]
        n_experts = there.sum(1)
        if self.link == "identity":
            high = torch.finfo(outputs.dtype).max / 4
            ordered = outputs.masked_fill(~there, high).sort(dim=1).values
            middle = torch.stack([(n_experts - 1).clamp(min=0) // 2, n_experts // 2], dim=1)
            return ordered.gather(1, middle.expand(-1, -1, self.width)).mean(1), None

        def log_score(log_probs: Tensor, votes: Tensor) -> Tensor:
            low = torch.finfo(outputs.dtype).min / 4
            log_sum = log_probs.masked_fill(~there, low).logsumexp(1)
            log_mean = log_sum - n_experts.clamp(min=1).to(outputs).log()
            counted = votes.masked_fill(~there, 0.0).sum(1).log()  # -inf where nobody votes for it
            return torch.logaddexp(counted, log_mean) - (n_experts + 1).to(outputs).log()

        if self.link == "softmax":
            log_probs = outputs.log_softmax(-1)
            return log_score(log_probs, one_hot(outputs.argmax(-1), self.width).to(outputs)), None
        half = torch.full_like(outputs, 0.5)
        yes = torch.heaviside(outputs.detach(), half)
        no = torch.heaviside(-outputs.detach(), half)
        return log_score(logsigmoid(outputs), yes) - log_score(logsigmoid(-outputs), no), None
