"""Attention pooling: learned queries look at all tokens of all modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import checked_dropout, normalise
from profuse.tokens import Tokens

__all__ = ["AttentionPooling"]


class AttentionPooling(Fusion):
    """h = W_o [sum_t a_qt v_t; ...] + b_o, a_q = softmax over real tokens of q . k_t / sqrt(d), q learned queries.

    Tokens of all modalities are normalised, mapped to one width and given the embedding of their modality; keys k
    and values v are linear maps of the result. Each query attends in its own slice of d = width / n_queries
    channels, as a head does. The weights tell how much attention each modality got, averaged over queries: they
    sum to 1 over the present modalities. Where all is missing, h = b_o.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector; a multiple of `n_queries`.
        n_queries: Learned queries, at least 1.
        dropout: Probability that a pooled channel is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `n_queries` is below 1 or does not divide `width`, or `dropout` is out of range.

    Reference:
        Lee, Lee, Kim, Kosiorek, Choi, Teh, Set Transformer, ICML 2019, section 3.2 (pooling by multihead
        attention). *Differs from the paper*: one attention step, without the feed-forward layer after it.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = AttentionPooling({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, fused.weights["attention"].shape
        (torch.Size([2, 8]), torch.Size([2, 2]))
    """

    formula: ClassVar[str] = "W_o [sum of a_qt v_t; ...], a_q = softmax_t(q . k_t / sqrt(d))"
    cost: ClassVar[str] = "O(T width (d + width))"
    missing: ClassVar[str] = "its tokens get no attention"
    reference: ClassVar[str] = "Lee et al. 2019 (Set Transformer), section 3.2"

    def __init__(self, channels: Mapping[str, int], width: int, *, n_queries: int = 4, dropout: float = 0.1) -> None:
        super().__init__(channels, width)
        if n_queries < 1 or width % n_queries:
            raise ConfigError(
                "AttentionPooling: n_queries must be at least 1 and divide width; "
                f"got n_queries={n_queries}, width={width}. Change one of them."
            )
        self.n_queries, self.dropout = n_queries, checked_dropout("AttentionPooling", dropout)
        self.maps = nn.ModuleList(nn.Sequential(normalise(c), nn.Linear(c, width)) for c in self.channels.values())
        self.modality = nn.Parameter(0.02 * torch.randn(len(self.names), width))
        self.queries = nn.Parameter(torch.randn(n_queries, width // n_queries))
        self.keys = nn.Linear(width, width, bias=False)  # a bias would shift all scores of a query alike
        self.values = nn.Linear(width, width)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(width, width)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        parts = [linear(t.values) + e for linear, e, t in zip(self.maps, self.modality, tokens.values(), strict=True)]
        x = torch.cat(parts, dim=1)
        mask = torch.cat([t.mask for t in tokens.values()], dim=1)[..., None]
        keys, values = (f(x).unflatten(-1, self.queries.shape) for f in (self.keys, self.values))
        scores = torch.einsum("qd,btqd->btq", self.queries, keys) / self.queries.shape[1] ** 0.5
        attention = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(1) * mask
        pooled = torch.einsum("btq,btqd->bqd", attention, values).flatten(1)
        by_modality = attention.mean(2).split([t.mask.shape[1] for t in tokens.values()], dim=1)
        weights = torch.stack([part.sum(1) for part in by_modality], dim=1)
        return Fused(self.out(self.drop(pooled)), weights={"attention": weights})
