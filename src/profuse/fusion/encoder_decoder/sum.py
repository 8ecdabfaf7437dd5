"""The sum of projected modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["Sum"]


class Sum(Fusion):
    """h = sum over the present m of u_m, u_m = W_m LayerNorm(mean_t x_mt) + b_m.

    Equals one linear map of the concatenated vectors; its scale grows with the number of modalities present, which
    `mean` avoids.

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
        encoder-decoder fusion: merge by addition.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> Sum({"text": 4, "vector": 3}, 8)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "sum of u_m, u_m = W_m mean(x_m) + b_m"
    cost: ClassVar[str] = "O(T d + M d width)"
    missing: ClassVar[str] = "adds nothing"
    reference: ClassVar[str] = "Zhao et al. 2024 (ACM CSUR 56:216), addition"

    def __init__(self, channels: Mapping[str, int], width: int, *, dropout: float = 0.1) -> None:
        super().__init__(channels, width)
        self.dropout = checked_dropout("Sum", dropout)
        self.project = Projection(self.channels, width, dropout=dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        present = self.present(tokens)[..., None]
        return Fused(self.project(tokens).masked_fill(~present, 0.0).sum(1))
