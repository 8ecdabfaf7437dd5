"""The token Transformer, the default: few tokens a modality, one Transformer over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.fusion._projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["TokenTransformer", "TransformerLayer", "few_tokens"]


def few_tokens(tokens: Tokens, n_tokens: int) -> Tokens:
    """Returns at most `n_tokens` tokens a row: the means of equal segments of its real tokens, in their order.

    A row of n > `n_tokens` real tokens gives token r (counted among the real ones) to segment
    floor(r n_tokens / n); a shorter row keeps its tokens, moved to the front. Padding plays no part.
    """
    if tokens.values.shape[1] <= n_tokens:
        return tokens
    n_real = tokens.mask.sum(1, keepdim=True)
    segment = (tokens.mask.cumsum(1) - 1) * n_tokens // n_real.clamp(min=n_tokens)
    slots = torch.arange(n_tokens, device=segment.device)
    member = (segment[..., None] == slots) & tokens.mask[..., None]
    count = member.sum(1)
    total = member.to(tokens.values).transpose(1, 2) @ tokens.zeroed().values
    return Tokens(total / count.clamp(min=1)[..., None], count > 0)


class TransformerLayer(nn.Module):
    """x <- x + Attention(LN(x)); x <- x + W_2 gelu(W_1 LN(x)): the pre-norm Transformer layer.

    Shape:
        `[batch, token, width]`, mask `[batch, token]` -> `[batch, token, width]`. Every row must hold a real token.

    Args:
        width: Channels; a multiple of `n_heads`.
        n_heads: Attention heads.
        dropout: Probability that a channel of what is added is dropped in training, 0 to below 1.
    """

    def __init__(self, width: int, n_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n_rows, n_tokens, width = x.shape
        qkv = self.qkv(self.norm_1(x)).view(n_rows, n_tokens, 3, self.n_heads, width // self.n_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        return query, key, value

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Returns the tokens after attention and the channel mix."""
        return self._updated(x, mask, *self._heads(x))

    def explained(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what `forward` does, and how the first token attends to all: `[batch, token]`, mean of the heads.

        The attention is for looking at: it carries no gradient.
        """
        query, key, value = self._heads(x)
        scores = (query[:, :, :1] @ key.transpose(2, 3)).detach()[:, :, 0] / query.shape[-1] ** 0.5
        attention = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1).mean(1)
        return self._updated(x, mask, query, key, value), attention

    def _updated(self, x: Tensor, mask: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        x = x + functional.dropout(self.out(seen.transpose(1, 2).flatten(2)), self.dropout, self.training)
        return x + functional.dropout(self.mlp(self.norm_2(x)), self.dropout, self.training)


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
