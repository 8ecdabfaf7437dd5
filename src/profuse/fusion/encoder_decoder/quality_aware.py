"""Quality-aware fusion: experts weighted by their energy, taught to be sure where they are right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion._base import DecisionFusion, Link
from profuse.fusion.encoder_decoder._opinions import log_pool, log_probs, share, wide

__all__ = ["QualityAware", "ranking_loss"]


def ranking_loss(confidence: Tensor, correctness: Tensor, present: Tensor) -> Tensor:
    """Returns the mean over pairs of rows of max(0, (r_i - r_j) - (k_i - k_j)), where r_i > r_j, of each modality.

    Args:
        confidence: k, `[batch, modality]`.
        correctness: r, of the same shape and scale.
        present: Bool `[batch, modality]`: pairs of rows that both have the modality count; 0 is returned of none.
    """
    gap = correctness[:, None] - correctness
    wrong = (gap - (confidence[:, None] - confidence)).clamp(min=0)
    counted = (gap > 0) & present[:, None] & present
    n_rows = present.sum(0)
    return wrong.masked_fill(~counted, 0.0).sum() / (n_rows * (n_rows - 1)).sum().div(2).clamp(min=1)


class QualityAware(DecisionFusion):
    """log p = log_softmax(sum_m w_m log p_m), w = softmax_m(c_m / temperature), c_m = KL(1/K || p_m).

    The softmax is over the present m. c_m = logsumexp_k(f_mk) - mean_k f_mk - log K is the expert's free energy above
    that of equal logits: 0 where it knows nothing, never negative, and blind to a constant added to all its logits, as
    its own loss is. Of several yes/no outputs (sigmoid) each has weights of its own, as K = 2 classes. `Fused.weights`
    are w, averaged over outputs.

    In training a ranking loss is added, times `rank_weight`: of two rows of the batch an expert should be surer of the
    one where it is more nearly right. It is the mean over pairs of max(0, (r_i - r_j) - (k_i - k_j)), where r_i > r_j;
    the confidence k = 1 - exp(-c) lies between 0 and 1, as the correctness r = exp(-loss) does, which for classes is
    the probability of the true one and here a constant.

    Shape:
        `{modality: [batch, 1, output]}` -> `[batch, output]`.

    Args:
        channels: Number of outputs of each modality's head; all the same.
        width: The same number.
        link: How outputs become predictions: softmax or sigmoid; values have no energy.
        temperature: Of the weights, above 0: large makes them equal, small takes the surest expert alone.
        rank_weight: Weight of the ranking loss, at least 0.
        detach: Whether the fused loss sees the weights as constants.

    Raises:
        ConfigError: An option is out of range, or the link is identity.

    Reference:
        Zhang, Wu, Zhang, Hu, Fu, Zhou, Peng, Provable Dynamic Fusion for Low-Quality Multimodal Data, ICML 2023 (QMF).
        *Differs from the paper*: weights from energy differences through a softmax, where the paper multiplies by
        logsumexp(f) / 10, which may be negative; rows are ranked by their losses in the batch, not by a record of past
        epochs; all pairs of the batch count.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> sure, silent = torch.tensor([[4.0, 0.0]]), torch.tensor([[7.0, 7.0]])
        >>> fused = QualityAware({"a": 2, "b": 2}, 2)({"a": Tokens.vector(sure), "b": Tokens.vector(silent)})
        >>> fused.weights["decision"]
        tensor([[0.7900, 0.2100]])
    """

    links: ClassVar[tuple[Link, ...]] = ("softmax", "sigmoid")
    formula: ClassVar[str] = "log_softmax(sum of w_m log p_m), w = softmax_m(KL(1/K, p_m) / temperature)"
    cost: ClassVar[str] = "O(M outputs); training adds O(M batch)"
    missing: ClassVar[str] = "its weight is 0; its rows are left out of the ranking"
    reference: ClassVar[str] = "Zhang et al. 2023 (ICML, QMF)"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        link: Link = "softmax",
        temperature: float = 1.0,
        rank_weight: float = 0.1,
        detach: bool = False,
    ) -> None:
        super().__init__(channels, width, link=link)
        if not (0 < temperature < float("inf") and 0 <= rank_weight < float("inf")):
            raise ConfigError(
                "QualityAware: temperature must be above 0 and rank_weight at least 0; got "
                f"temperature={temperature}, rank_weight={rank_weight}."
            )
        self.temperature, self.rank_weight, self.detach = temperature, rank_weight, detach

    def energy(self, outputs: Tensor) -> Tensor:
        """Returns c, `[batch, modality, label]`; of classes (softmax) there is one label."""
        logs = log_probs(outputs, self.link)
        return -logs.mean(-1) - math.log(logs.shape[-1])

    def combine(self, outputs: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        weights = share(self.energy(outputs) / self.temperature, present)
        fused = log_pool(outputs, weights.detach() if self.detach else weights, self.link)
        return fused, weights.mean(-1)

    def losses(
        self, outputs: Tensor, present: Tensor, target: Tensor, head_losses: Callable[[Tensor, Tensor], Tensor]
    ) -> Mapping[str, Tensor]:
        confidence = -(-self.energy(wide(outputs))).expm1().mean(-1)
        with torch.no_grad():  # what is aimed at, as the paper's record of past epochs is
            correctness = torch.stack([(-head_losses(f, target)).exp() for f in outputs.unbind(1)], dim=1)
        return {"ranking": self.rank_weight * ranking_loss(confidence, correctness.to(confidence), present)}
