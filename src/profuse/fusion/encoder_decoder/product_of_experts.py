"""The product of experts: Bayes' rule where the modalities are independent given the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion._base import DecisionFusion, Link, TargetFacts

__all__ = ["ProductOfExperts"]


class ProductOfExperts(DecisionFusion):
    """log p = log_softmax(sum over the n present m of log p_m - (n - 1) log prior).

    The exact posterior where the experts are exact posteriors and the modalities are independent given the class.
    Of log-odds z (sigmoid): sum z_m - (n - 1) z_prior. Of values (identity), in units where the target has mean 0
    and variance 1, experts are normal with learned variances v_m below 1: mean = sum (y_m / v_m) / (sum 1 / v_m
    - (n - 1)), which is exact for jointly normal data. Agreement makes the product surer than any expert:
    modalities that repeat each other are counted twice.

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`.

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax, sigmoid or identity.

    Reference:
        Hinton, Training Products of Experts by Minimizing Contrastive Divergence, Neural Computation 14(8), 2002;
        the division by the prior as in naive Bayes.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> experts = {m: Tokens.vector(torch.tensor([[0.8, 0.2]]).log()) for m in ("a", "b")}
        >>> fusion = ProductOfExperts({"a": 2, "b": 2}, 2)
        >>> fusion.set_prior(torch.tensor([0.8, 0.2]))
        >>> fusion(experts).vector.exp()
        tensor([[0.8000, 0.2000]])
    """

    formula: ClassVar[str] = "log_softmax(sum of log p_m - (n - 1) log prior)"
    cost: ClassVar[str] = "O(M outputs)"
    missing: ClassVar[str] = "left out of the product"
    reference: ClassVar[str] = "Hinton 2002; naive Bayes"

    prior: Tensor

    def __init__(self, channels: Mapping[str, int], width: int, *, link: Link = "softmax") -> None:
        super().__init__(channels, width, link=link)
        self.register_buffer("prior", torch.zeros(width))  # logits of the prior: uniform, one half, mean 0
        if link == "identity":
            self.variance_logit = nn.Parameter(torch.zeros(len(self.names), width))

    def prepare(self, target: TargetFacts) -> None:
        """Sets the prior to the shares of the training rows; of values it is N(0, 1)."""
        if target.shares is not None:
            self.set_prior(target.shares)

    def set_prior(self, probabilities: Tensor) -> None:
        """Sets the prior to the share of each class (softmax) or of each label (sigmoid), `[output]`, in (0, 1).

        Raises:
            ConfigError: Wrong shape, a share that is not inside (0, 1), classes that do not sum to 1, or values.
        """
        shares = probabilities.detach().to(torch.float64)
        inside = shares.shape == (self.width,) and bool(((shares > 0) & (shares < 1)).all())
        if self.link == "identity" or not inside or (self.link == "softmax" and abs(float(shares.sum()) - 1) > 1e-4):
            raise ConfigError(
                f"ProductOfExperts: the prior must be {self.width} shares inside (0, 1) of classes, which sum to 1, or "
                f"of labels; got link={self.link!r}, probabilities={probabilities.tolist()}. "
                "Count the training rows, one added to each class; values (identity) have the prior N(0, 1)."
            )
        self.prior.copy_(shares.log() if self.link == "softmax" else shares.logit())

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        there = present[..., None]
        n_more = (present.sum(1, keepdim=True) - 1).clamp(min=0)
        if self.link == "identity":
            precision = (1 / self.variance_logit.sigmoid()).expand_as(outputs).masked_fill(~there, 0.0)
            total = precision.sum(1) - n_more
            return (precision * outputs).sum(1) / total.clamp(min=1.0), None
        if self.link == "softmax":
            outputs = outputs.log_softmax(-1)
        product = outputs.masked_fill(~there, 0.0).sum(1) - n_more * self.prior
        return product.log_softmax(-1) if self.link == "softmax" else product, None
