"""Transformer layers: within one sequence, or from one to another; and the gated block of encoders."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.layers.sequence import GATE, ChannelDropout

__all__ = ["AttentionBlock", "CrossLayer", "CrossTransformer", "Transformer", "TransformerLayer"]


class TransformerLayer(nn.Module):
    """x <- x + Attention(LN(x)); x <- x + W_2 gelu(W_1 LN(x)): the pre-norm Transformer layer.

    Shape:
        `[batch, token, width]` -> `[batch, token, width]`. The mask is `[batch, token]`, or `[batch, query, key]` where
        tokens see different ones. Every token must see one at least.

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

    def _heads(self, x: Tensor) -> tuple[Tensor, ...]:
        return _split(self.qkv(self.norm_1(x)), 3, self.n_heads)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Returns the tokens after attention and the channel mix."""
        return self._updated(x, mask, *self._heads(x))

    def explained(self, x: Tensor, mask: Tensor, n_first: int = 1) -> tuple[Tensor, Tensor]:
        """Returns what `forward` does, and how the first tokens attend to all: `[batch, token]`, their mean.

        The attention is for looking at: it carries no gradient.
        """
        query, key, value = self._heads(x)
        scores = (query[:, :, :n_first] @ key.transpose(2, 3)).detach() / query.shape[-1] ** 0.5
        attention = scores.masked_fill(~_by_query(mask)[:, :, :n_first], -torch.inf).softmax(-1).mean((1, 2))
        return self._updated(x, mask, query, key, value), attention

    def _updated(self, x: Tensor, mask: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=_by_query(mask))
        x = x + functional.dropout(self.out(seen.transpose(1, 2).flatten(2)), self.dropout, self.training)
        return x + functional.dropout(self.mlp(self.norm_2(x)), self.dropout, self.training)


def _split(packed: Tensor, n_parts: int, n_heads: int) -> tuple[Tensor, ...]:
    """`[batch, token, part * width]` -> that many `[batch, head, token, width / head]`."""
    parts = torch.unflatten(packed, -1, (n_parts, n_heads, -1)).permute(2, 0, 3, 1, 4)
    return tuple(parts.unbind(0))


def _by_query(mask: Tensor) -> Tensor:
    """Returns `[batch, head, query, key]` of a mask of keys, or of queries and keys; 1 where it is the same for all."""
    return mask[:, None] if mask.ndim == 3 else mask[:, None, None]


class Transformer(nn.Module):
    """`n_layers` Transformer layers one after another; a row without any real token stays finite, but means nothing."""

    def __init__(self, width: int, n_layers: int, n_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(width, n_heads, dropout=dropout) for _ in range(n_layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Returns the tokens `[batch, token, width]` after all layers; the mask is `[batch, token]`."""
        mask = mask | ~mask.any(1, keepdim=True)  # such a row sees its padding
        for layer in self.layers:
            x = layer(x, mask)
        return x


class CrossLayer(nn.Module):
    """x <- x + Attention(LN(x), [LN(y); null]); x <- x + W_2 gelu(W_1 LN(x)): x looks at another sequence, y.

    A learned null key, with its value, stands at the end of y. It is there to be looked at where y says nothing: with
    no real token in y the result is finite, and with a single one it is a gate, where plain attention could only
    copy. Both begin at 0.

    Shape:
        x `[batch, query, width]`, y `[batch, key, width]` (no token at all is allowed), mask of y `[batch, key]` ->
        `[batch, query, width]`.

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
        self.norm_y = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.null = nn.Parameter(torch.zeros(2 * width))  # key and value, as kv gives them
        self.out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Returns the tokens x after attention to y and the channel mix."""
        return self._updated(x, mask, *self._heads(x, y))

    def explained(self, x: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what `forward` does, and how x attends to y: `[batch, query, key]`, mean of the heads.

        What the null key gets is left out. The attention is for looking at: it carries no gradient.
        """
        query, key, value = self._heads(x, y)
        scores = (query @ key.transpose(2, 3)).detach() / query.shape[-1] ** 0.5
        attention = scores.masked_fill(~_with_null(mask), -torch.inf).softmax(-1).mean(1)
        return self._updated(x, mask, query, key, value), attention[..., :-1]

    def _heads(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        kv = self.kv(self.norm_y(y))
        kv = torch.cat([kv, self.null.to(kv.dtype).expand(kv.shape[0], 1, -1)], dim=1)
        return *_split(self.query(self.norm_1(x)), 1, self.n_heads), *_split(kv, 2, self.n_heads)

    def _updated(self, x: Tensor, mask: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=_with_null(mask))
        x = x + functional.dropout(self.out(seen.transpose(1, 2).flatten(2)), self.dropout, self.training)
        return x + functional.dropout(self.mlp(self.norm_2(x)), self.dropout, self.training)


class CrossTransformer(nn.Module):
    """`n_layers` cross layers one after another: x looks at the same y each time."""

    def __init__(self, width: int, n_layers: int, n_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossLayer(width, n_heads, dropout=dropout) for _ in range(n_layers))

    def forward(self, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Returns x `[batch, query, width]` after all layers; y and mask as in `CrossLayer`."""
        for layer in self.layers:
            x = layer(x, y, mask)
        return x


def _with_null(mask: Tensor) -> Tensor:
    return _by_query(torch.cat([mask, mask.new_ones(mask.shape[0], 1)], dim=1))


class AttentionBlock(nn.Module):
    """`x <- x + g * attention(norm(x))`, then `x <- x + h * mlp(norm(x))`; masked tokens are not attended to.

    What encoders use: unlike `TransformerLayer` its residuals have gates, its MLP is half as wide, and dropout takes a
    channel of a row at all tokens. The two are trained differently, so that one cannot stand for the other.

    Reference:
        Xiong et al. 2020, On layer normalization in the Transformer architecture (norms first).
    """

    def __init__(self, width: int, *, n_heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), ChannelDropout(dropout), nn.Linear(2 * width, width)
        )
        self.gates = nn.Parameter(torch.full((2, width), GATE))
        self.dropout = ChannelDropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = _split(self.qkv(self.norm1(x)), 3, self.n_heads)
        seen = mask | ~mask.any(1, keepdim=True)  # a row without any token attends to what is masked anyway
        y = functional.scaled_dot_product_attention(query, key, value, attn_mask=_by_query(seen))
        y = self.out(y.transpose(1, 2).flatten(2))
        x = x + self.gates[0] * self.dropout(y)
        x = x + self.gates[1] * self.dropout(self.mlp(self.norm2(x)))
        return x
