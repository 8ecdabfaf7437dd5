"""The product of projected modalities: every interaction, tame in scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["Product"]


class Product(Fusion):
    """h = prod over the present m of (1 + tanh(u_m) / sqrt(M)) - 1, u_m = W_m LayerNorm(mean_t x_mt) + b_m.

    Multiplied out it is the sum of every product of one, two, ... modalities, as in tensor fusion of [1; x_m] but
    channel by channel. The factor of a missing modality is the neutral 1, so the products of the others stay.
    M counts all modalities: the result lies within (1 + 1 / sqrt(M))^M - 1 < e^sqrt(M), however many there are.

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
        encoder-decoder fusion: merge by multiplication. *Differs from the plain
        Hadamard product*: factors near 1 in place of factors near 0, whose product would vanish with M.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> Product({"text": 4, "vector": 3}, 8)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "prod of (1 + tanh(u_m) / sqrt(M)) - 1"
    cost: ClassVar[str] = "O(T d + M d width)"
    missing: ClassVar[str] = "its factor is 1"
    reference: ClassVar[str] = "Zhao et al. 2024 (ACM CSUR 56:216), multiplication"

    def __init__(self, channels: Mapping[str, int], width: int, *, dropout: float = 0.1) -> None:
        super().__init__(channels, width)
        self.dropout = checked_dropout("Product", dropout)
        self.project = Projection(self.channels, width, dropout=dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        present = self.present(tokens)[..., None]
        factors = 1 + self.project(tokens).tanh() / len(self.names) ** 0.5
        return Fused(factors.masked_fill(~present, 1.0).prod(1) - 1)
