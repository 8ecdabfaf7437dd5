"""Self-attention within each modality, pooling by attention, then a merge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.attention._streams import Merge, Pool, Streams, check_sizes
from profuse.layers.attention import Transformer
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["SelfAttention"]


class SelfAttention(Fusion):
    """h = MLP([p_1; ...; p_M]), p_m = pool(Transformer_m(x_m)): each modality attends to itself alone.

    Every modality has a Transformer of its own over its tokens (at most `n_tokens`, longer ones as the means of
    segments); learned queries, shared by all modalities, pool what comes out, and two layers merge the p_m.
    A learned vector stands for a missing p_m. To a single token self-attention is a linear map: modalities that are
    vectors gain nothing over `concat`.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and of the streams; a multiple of `n_heads`.
        n_layers: Transformer layers of each modality, at least 1.
        n_heads: Attention heads, and slices of the pooling.
        n_tokens: Tokens that a modality may have, at least 1.
        positions: Whether tokens are told their places.
        dropout: Probability that a channel of what is added is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `width` is no multiple of `n_heads`, or a number is out of range.

    Reference:
        The survey's intra-modality self-attention: Zhao, Zhang, Geng, Deep Multimodal Data Fusion, ACM Computing
        Surveys 56(9), 2024; the layers of Vaswani et al., Attention Is All You Need, NeurIPS 2017. *Differs from
        the paper*: normalisation comes before each step, not after it.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> SelfAttention({"text": 4, "vector": 3}, 8)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "MLP([p_1; ...; p_M]), p_m = pool(Transformer_m(x_m))"
    cost: ClassVar[str] = "O(T d + n_layers M n_tokens width (width + n_tokens))"
    missing: ClassVar[str] = "a learned vector stands in its place"
    reference: ClassVar[str] = "Zhao et al. 2024 (ACM CSUR 56:216), intra-modality attention; Vaswani et al. 2017"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_layers: int = 1,
        n_heads: int = 4,
        n_tokens: int = 16,
        positions: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        check_sizes("SelfAttention", width, n_heads, n_layers=n_layers, n_tokens=n_tokens)
        self.n_layers, self.n_heads, self.n_tokens, self.positions = n_layers, n_heads, n_tokens, positions
        self.dropout = checked_dropout("SelfAttention", dropout)
        self.streams = Streams(self.channels, width, n_tokens=n_tokens, positions=positions)
        self.towers = nn.ModuleList(Transformer(width, n_layers, n_heads, dropout=dropout) for _ in self.names)
        self.pool = Pool(width, n_heads)
        self.merge = Merge(len(self.names), width, width, dropout=dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        vectors = [
            self.pool(tower(stream.values, stream.mask), stream.mask)
            for tower, stream in zip(self.towers, self.streams(tokens), strict=True)
        ]
        return Fused(self.merge(torch.stack(vectors, dim=1), self.present(tokens)))
