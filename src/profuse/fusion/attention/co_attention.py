"""Parallel co-attention: how well two modalities' tokens fit says which of them to read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.attention._streams import Merge, Streams, check_sizes
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["CoAttention"]


class CoAttention(Fusion):
    """h = MLP([p_1; ...; p_M]), p_m = sum_t a_mt x_mt, a_m = softmax_t(w_m . tanh(W_m x_mt + mean_j C_mj W_j x_j)).

    C_mj = tanh(x_m B_mj x_j^T / sqrt(width)) is the affinity of every token of m with every one of j, and C_jm its
    transpose: one matrix guides the attention in both. What m is told of its partner j is the mean of the maps
    W_j x_jt over j's tokens, weighted by affinity; with several partners, the mean over those that are present. So any
    number of modalities takes part, over all pairs, and for two it is the paper's. Each head has a w_m of its own and
    pools its slice of channels.

    The softmax has one more place, with a learned score, that holds nothing. So a modality that is a single token
    (a vector) is let through in part, by how it fits the others, where it would always have had all attention. The
    weights are these gates: what share of the attention of m goes to its tokens (mean over heads), between 0 and 1.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and of the streams; a multiple of `n_heads`.
        n_heads: Attentions (glimpses) a modality, at least 1.
        n_tokens: Tokens that a modality may have, at least 1; longer ones become the means of segments.
        positions: Whether tokens are told their places.
        dropout: Probability that a hidden channel is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `width` is no multiple of `n_heads`, or a number is out of range.

    Reference:
        Lu, Yang, Batra, Parikh, Hierarchical Question-Image Co-Attention for Visual Question Answering, NeurIPS 2016,
        equations 3 to 5 (parallel co-attention). *Differs from the paper*: any number of modalities; means over
        tokens where the paper has sums, which grow with their number; the affinity divided by sqrt(width); the empty
        place; several heads; no hierarchy of words, phrases and sentences.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = CoAttention({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, fused.weights["gate"].shape
        (torch.Size([2, 8]), torch.Size([2, 2]))
    """

    formula: ClassVar[str] = "MLP([sum of a_mt x_mt ...]), a_m = softmax_t(w_m . tanh(W_m x_mt + mean_j C_mj W_j x_j))"
    cost: ClassVar[str] = "O(T d + M^2 n_tokens width (width + n_tokens))"
    missing: ClassVar[str] = "it guides nobody; a learned vector stands in its place"
    reference: ClassVar[str] = "Lu et al. 2016 (NeurIPS), equations 3 to 5"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_heads: int = 4,
        n_tokens: int = 16,
        positions: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        check_sizes("CoAttention", width, n_heads, n_tokens=n_tokens)
        self.n_heads, self.n_tokens, self.positions = n_heads, n_tokens, positions
        self.dropout = checked_dropout("CoAttention", dropout)
        n = len(self.names)
        self.pairs = list(combinations(range(n), 2))
        self.streams = Streams(self.channels, width, n_tokens=n_tokens, positions=positions)
        self.affinities = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.pairs)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in self.names)
        self.scores = nn.ModuleList(nn.Linear(width, n_heads, bias=False) for _ in self.names)
        self.empty = nn.Parameter(torch.full((n, n_heads), -1.0))
        self.merge = Merge(n, width, width, dropout=dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        streams = [s.zeroed() for s in self.streams(tokens)]
        hidden = [linear(s.values) for linear, s in zip(self.hidden, streams, strict=True)]
        heard = self._heard(streams, hidden)
        vectors, gates = [], []
        for stream, own, guide, score, empty in zip(streams, hidden, heard, self.scores, self.empty, strict=True):
            scores = score((own + guide).tanh())
            scores = scores.masked_fill(~stream.mask[..., None], torch.finfo(scores.dtype).min)
            scores = torch.cat([scores, empty.to(scores.dtype).expand(scores.shape[0], 1, -1)], dim=1)
            attention = scores.softmax(1)[:, :-1]
            slices = stream.values.unflatten(-1, (self.n_heads, -1))
            vectors.append((attention[..., None] * slices).sum(1).flatten(1))
            gates.append(attention.detach().sum(1).mean(1))
        vector = self.merge(torch.stack(vectors, dim=1), self.present(tokens))
        return Fused(vector, weights={"gate": torch.stack(gates, dim=1)})

    def _heard(self, streams: list[Tokens], hidden: list[Tensor]) -> list[Tensor]:
        """Returns what each modality's tokens are told by the others': a mean over the partners that are present."""
        means = [
            h.masked_fill(~s.mask[..., None], 0.0) / s.mask.sum(1).clamp(min=1)[:, None, None]
            for s, h in zip(streams, hidden, strict=True)
        ]
        heard = [torch.zeros_like(h) for h in hidden]
        n_partners = [torch.zeros_like(h[:, :1, :1]) for h in hidden]
        for affinity, (i, j) in zip(self.affinities, self.pairs, strict=True):
            fit = (affinity(streams[i].values) @ streams[j].values.transpose(1, 2) / self.width**0.5).tanh()
            for m, other, c in ((i, j, fit), (j, i, fit.transpose(1, 2))):
                heard[m] = heard[m] + c @ means[other]
                n_partners[m] = n_partners[m] + streams[other].present[:, None, None]
        return [h / n.clamp(min=1) for h, n in zip(heard, n_partners, strict=True)]
