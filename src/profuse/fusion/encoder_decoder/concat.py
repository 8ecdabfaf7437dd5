"""Concatenation: the plain way, and the one to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["Concat"]


class Concat(Fusion):
    """h = W_2 dropout(gelu(W_1 [v_1; ...; v_M] + b_1)) + b_2, v_m = LayerNorm(mean_t x_mt), or e_m where m is missing.

    The learned vectors e_m keep "missing" apart from every value that a modality can take.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        dropout: Probability that a hidden channel is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `dropout` is out of range.

    Reference:
        The survey's merge by concatenation: Zhao, Zhang, Geng, Deep Multimodal Data Fusion, ACM Computing
        Surveys 56(9), 2024, section on encoder-decoder fusion.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> Concat({"text": 4, "vector": 3}, 8)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "MLP([v_1; ...; v_M]), v_m = mean of the tokens of m"
    cost: ClassVar[str] = "O(T d + M d width)"
    missing: ClassVar[str] = "a learned vector stands in its place"
    reference: ClassVar[str] = "Zhao et al. 2024 (ACM CSUR 56:216), encoder-decoder fusion"

    def __init__(self, channels: Mapping[str, int], width: int, *, dropout: float = 0.1) -> None:
        super().__init__(channels, width)
        self.dropout = checked_dropout("Concat", dropout)
        self.norms = nn.ModuleList(normalise(c) for c in self.channels.values())
        self.absent = nn.ParameterList(nn.Parameter(0.02 * torch.randn(c)) for c in self.channels.values())
        self.mlp = nn.Sequential(
            nn.Linear(sum(self.channels.values()), width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        parts = [
            torch.where(t.present[:, None], norm(t.mean()), absent)
            for t, norm, absent in zip(tokens.values(), self.norms, self.absent, strict=True)
        ]
        return Fused(self.mlp(torch.cat(parts, dim=1)))
