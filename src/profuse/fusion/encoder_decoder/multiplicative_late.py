"""The multiplicative loss: an expert need not learn the rows that the others have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion._base import DecisionFusion, Link
from profuse.fusion.encoder_decoder._opinions import log_pool, mean_of_rows, wide

__all__ = ["MultiplicativeLate"]

EPSILON = 1e-3


class MultiplicativeLate(DecisionFusion):
    """log p = log_softmax(mean over the present m of log p_m), trained by the losses q_m * loss_m alone.

    q_m = exp(beta * mean over the other present i of log(1 - exp(-loss_i))). As loss_i = -log p_i of the truth, q_m is
    the product of the others' failures 1 - p_i to the power beta / (n - 1): a row that the others already have weighs
    little, so that each expert learns the rows where it is needed. At beta = 0 each is trained by its own loss as it
    is. The loss is the mean over modalities of the means over their rows.

    Of labels (sigmoid) exp(-loss) is the geometric mean of the labels' probabilities; of values (identity) it is
    exp(-squared error).

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`.

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax, sigmoid or identity.
        beta: How much the others' success counts, at least 0.
        detach: Whether q_m is a constant; if not, an expert also learns to relieve the others.

    Raises:
        ConfigError: `beta` is negative.

    Reference:
        Liu, Li, Xu, Natarajan, Learn to Combine Modalities in Multimodal Deep Learning, arXiv 1805.11730, section 3.
        *Differs from the paper*: q_m carries a gradient unless `detach`; log(1 - p) is kept off its pole at p = 1;
        no mixtures of groups of modalities.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> experts = {m: Tokens.vector(torch.tensor([[0.8, 0.2]]).log()) for m in ("a", "b")}
        >>> MultiplicativeLate({"a": 2, "b": 2}, 2)(experts).vector.exp()
        tensor([[0.8000, 0.2000]])
    """

    owns_loss: ClassVar[bool] = True
    formula: ClassVar[str] = (
        "log_softmax(mean of log p_m); loss (prod of (1 - p_i of the truth))^(beta / (n - 1)) loss_m"
    )
    cost: ClassVar[str] = "O(M outputs)"
    missing: ClassVar[str] = "left out of the mean and of the losses"
    reference: ClassVar[str] = "Liu et al. 2018 (arXiv 1805.11730), section 3"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        link: Link = "softmax",
        beta: float = 0.5,
        detach: bool = False,
    ) -> None:
        super().__init__(channels, width, link=link)
        if not 0 <= beta < float("inf"):
            raise ConfigError(f"MultiplicativeLate: beta must be at least 0; got beta={beta}.")
        self.beta, self.detach = beta, detach

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        weights = present[..., None] / present.sum(1)[:, None, None].clamp(min=1).to(outputs)
        return log_pool(outputs, weights, self.link), None

    def losses(
        self, outputs: Tensor, present: Tensor, target: Tensor, head_losses: Callable[[Tensor, Tensor], Tensor]
    ) -> Mapping[str, Tensor]:
        losses = wide(torch.stack([head_losses(f, target) for f in outputs.unbind(1)], dim=1))
        failure = (EPSILON - (-losses).expm1()).log().masked_fill(~present, 0.0)
        n_others = (present.sum(1, keepdim=True) - 1).clamp(min=1)
        q = (self.beta * (failure.sum(1, keepdim=True) - failure) / n_others).exp()
        return {"experts": mean_of_rows((q.detach() if self.detach else q) * losses, present)}
