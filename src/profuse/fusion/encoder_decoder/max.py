"""The largest of the projected modalities, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["Max"]


class Max(Fusion):
    """h = max over the present m of u_m, channel by channel, u_m = W_m LayerNorm(mean_t x_mt) + b_m.

    The weights tell the share of channels that each modality won; 0 where all are missing.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        dropout: Probability that a projected channel is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `dropout` is out of range.

    Reference:
        Zhao, Zhang, Geng, Deep Multimodal Data Fusion, ACM Computing Surveys 56(9), 2024, section on
        encoder-decoder fusion: merge by maximum.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> Max({"text": 4, "vector": 3}, 8)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "max of u_m, u_m = W_m mean(x_m) + b_m"
    cost: ClassVar[str] = "O(T d + M d width)"
    missing: ClassVar[str] = "left out of the maximum"
    reference: ClassVar[str] = "Zhao et al. 2024 (ACM CSUR 56:216), maximum"

    def __init__(self, channels: Mapping[str, int], width: int, *, dropout: float = 0.1) -> None:
        super().__init__(channels, width)
        self.dropout = checked_dropout("Max", dropout)
        self.project = Projection(self.channels, width, dropout=dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        present = self.present(tokens)[..., None]
        projected = self.project(tokens)
        low = projected.masked_fill(~present, torch.finfo(projected.dtype).min)
        top = low.amax(1).masked_fill(~present.any(1), 0.0)
        won = nn.functional.one_hot(low.argmax(1), len(self.names)).to(projected).mean(1)
        return Fused(top, weights={"won": won * present[..., 0]})
