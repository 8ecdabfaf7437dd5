"""The token Transformer: few tokens a modality, one Transformer over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.attention import TransformerLayer
from profuse.layers.projection import checked_dropout, normalise
from profuse.layers.sequence import few_tokens
from profuse.tokens import Tokens

__all__ = ["TokenTransformer", "TransformerLayer", "few_tokens"]


class TokenTransformer(Fusion):
    """h = LN(Transformer([cls; W_1 x_1 + e_1; ...; W_M x_M + e_M])_cls), masked tokens hidden from attention.

    Each modality gives at most `n_tokens` tokens (longer ones as the means of segments), normalised and mapped
    to one width with an embedding that names the modality. The weights tell how the last layer's attention
    from the cls token is shared out among the modalities (what it keeps for itself is left out).

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`; joint tokens `[batch, M * n_tokens at most, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and tokens; a multiple of `n_heads`.
        n_layers: Transformer layers, at least 1.
        n_heads: Attention heads.
        n_tokens: Tokens that a modality may have in the Transformer, at least 1. One is the paper's way, and on
            `glyphs` and `emoji` it had the better validation score than four.
        dropout: Probability that a channel of what is added is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `width` is no multiple of `n_heads`, or a number is out of range.

    Reference:
        SimBaMM in Rheude, Eils, Wild, Fusion or Confusion? Multimodal Complexity Is Not All You Need,
        arXiv 2512.22991. *Differs from the paper*: segments of tokens are averaged rather than
        reduced to one cls token by each encoder.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 50, 4), torch.ones(2, 50).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = TokenTransformer({"text": 4, "vector": 3}, 8, n_tokens=4)(tokens)
        >>> fused.vector.shape, fused.tokens.values.shape
        (torch.Size([2, 8]), torch.Size([2, 5, 8]))
    """

    formula: ClassVar[str] = "Transformer([cls; W_m x_m + e_m ...]) at cls"
    cost: ClassVar[str] = "O(n_layers (M n_tokens width^2 + (M n_tokens)^2 width))"
    missing: ClassVar[str] = "its tokens are hidden from attention"
    reference: ClassVar[str] = "Rheude et al. 2025 (arXiv 2512.22991): SimBaMM"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_layers: int = 2,
        n_heads: int = 4,
        n_tokens: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        if min(n_layers, n_heads, n_tokens) < 1:
            raise ConfigError(
                "TokenTransformer: n_layers, n_heads and n_tokens must be at least 1; "
                f"got n_layers={n_layers}, n_heads={n_heads}, n_tokens={n_tokens}."
            )
        if width % n_heads:
            raise ConfigError(
                f"TokenTransformer: width must be a multiple of n_heads; got width={width}, n_heads={n_heads}. "
                "Change one of them."
            )
        self.n_layers, self.n_heads, self.n_tokens = n_layers, n_heads, n_tokens
        self.dropout = checked_dropout("TokenTransformer", dropout)
        self.norms = nn.ModuleList(normalise(c) for c in self.channels.values())
        self.maps = nn.ModuleList(nn.Linear(c, width) for c in self.channels.values())
        self.modality = nn.Parameter(0.02 * torch.randn(len(self.names), width))
        self.cls = nn.Parameter(0.02 * torch.randn(width))
        self.layers = nn.ModuleList(TransformerLayer(width, n_heads, dropout=dropout) for _ in range(n_layers - 1))
        self.last = TransformerLayer(width, n_heads, dropout=dropout)
        self.norm = nn.LayerNorm(width)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        n_rows = next(iter(tokens.values())).values.shape[0]
        few, parts = [], []
        for norm, linear, name, t in zip(self.norms, self.maps, self.modality, tokens.values(), strict=True):
            few.append(few_tokens(Tokens(norm(t.values), t.mask), self.n_tokens))
            parts.append(linear(few[-1].values) + name)
        x = torch.cat([self.cls.expand(n_rows, 1, -1), *parts], dim=1)
        mask = torch.cat([few[0].mask.new_ones(n_rows, 1), *(t.mask for t in few)], dim=1)
        for layer in self.layers:
            x = layer(x, mask)
        x, attention = self.last.explained(x, mask)
        x = self.norm(x)
        by_modality = torch.stack(
            [part.sum(1) for part in torch.split(attention[:, 1:], [t.mask.shape[1] for t in few], dim=1)], dim=1
        )
        share = by_modality / by_modality.sum(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
        return Fused(x[:, 0], tokens=Tokens(x[:, 1:], mask[:, 1:]).zeroed(), weights={"attention": share})
