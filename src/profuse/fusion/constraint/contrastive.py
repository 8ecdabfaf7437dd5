"""Contrastive coordination: each row's modalities recognise each other among the batch's rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion._coordinated import CoordinatedFusion, over_pairs, unit

__all__ = ["Contrastive", "info_nce"]

_LARGEST = math.log(100.0)
"""Of the logarithm of the scale, 1 / temperature."""


def info_nce(x: Tensor, y: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
    """Returns the symmetric cross-entropy of finding a row's y by its x, and its x by its y, among the rows that count.

    Args:
        x: `[batch, channel]`, of length 1.
        y: `[batch, channel]`, of length 1.
        rows: Bool `[batch]`: the rows that count, as positives and as negatives; 0 is returned where there is none.
        scale: Factor of the cosines: 1 / temperature.
    """
    outside = ~rows
    logits = (scale * x @ y.T).masked_fill(outside[:, None] | outside, torch.finfo(x.dtype).min)
    own = logits.diagonal()
    apart = (logits.logsumexp(1) - own + logits.logsumexp(0) - own) / 2
    return apart.masked_fill(outside, 0.0).sum() / rows.sum().clamp(min=1)


class Contrastive(CoordinatedFusion):
    """h = MLP([z_1 or a_1; ...; z_M or a_M]); penalty = -log softmax_j(cos(z_ai, z_bj) / t) at j = i, symmetric.

    z_m is a linear map of the normalised mean of the tokens of m, a_m a learned vector where m is absent. The penalty
    (InfoNCE, CLIP's loss) is the mean over rows that have both modalities, both directions and all pairs of
    modalities; other rows are no negatives. Where nothing is told apart it is the logarithm of the number of rows.
    The temperature t is learned and stays at least 0.01.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        space_dim: Dimensions of the coordinated space, which bound what the joint vector is told of a modality.
        weight: Factor of the penalty, at least 0.
        temperature: t at the start, 0.01 to 1.
        dropout: Probability of dropping a channel between the two layers of the MLP, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, section 2.3
        (CLIP); van den Oord, Li, Vinyals, arXiv 1807.03748, equation 4 (InfoNCE). *Differs from the paper*: beside a
        supervised loss; the mean over pairs where there are more than two modalities.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(9, 5, 4), torch.ones(9, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(9, 3))}
        >>> fused = Contrastive({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, list(fused.penalties)
        (torch.Size([9, 8]), ['contrast'])
    """

    formula: ClassVar[str] = "MLP([z_1; ...; z_M]), penalty -log softmax_j(cos(z_ai, z_bj) / t) at j = i"
    cost: ClassVar[str] = "O(T d + M k (d + width)); training adds O(M^2 batch k), k = space_dim"
    missing: ClassVar[str] = "a learned vector stands for it; its rows are left out of the penalty"
    reference: ClassVar[str] = "Radford et al. 2021 (CLIP), section 2.3"
    penalty_name: ClassVar[str] = "contrast"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        space_dim: int = 64,
        weight: float = 0.1,
        temperature: float = 0.07,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width, space_dim=space_dim, weight=weight, dropout=dropout)
        if not 0.01 <= temperature <= 1:
            raise ConfigError(f"Contrastive: temperature must be 0.01 to 1; got temperature={temperature}. Use 0.07.")
        self.temperature = temperature
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def disagreement(self, z: Tensor, present: Tensor) -> Tensor:
        logs = self.log_scale.to(z.dtype)
        # the bound in the value alone: with its slope, a temperature beyond it would never come back
        scale = (logs - (logs - _LARGEST).clamp(min=0).detach()).exp()
        return over_pairs(lambda x, y, rows: info_nce(x, y, rows, scale), unit(z), present)
