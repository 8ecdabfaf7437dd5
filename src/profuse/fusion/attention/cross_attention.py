"""Cross-attention: every modality looks at all the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.attention._streams import Merge, Pool, Streams, check_sizes, joined, share
from profuse.layers.attention import CrossLayer
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["CrossAttention"]


class CrossAttention(Fusion):
    """h = MLP([p_1; ...; p_M]), p_m = pool(x_m + softmax(Q_m K_m^T / sqrt(d)) V_m + ...), K_m and V_m of all others.

    Q_m = W_qm x_m; keys and values are maps of the tokens of all other modalities together and of a learned null
    token. A channel mix follows, as in a Transformer. All modalities are updated at once, then pooled by learned
    queries, and two layers merge the p_m; a learned vector stands for a missing one. The weights tell how the
    attention of the last layer is shared out among the modalities that are looked at (a mean over those that look, what
    goes to the null token left out); they sum to 1 where at least two are present, and are 0 for a lone one.

    To a modality that is a single token (a vector), plain cross-attention would be blind copying: one key gets all
    attention whatever the query. The null token makes it a gate; it is also what a row without others looks at.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`; joint tokens `[batch, M * n_tokens at most, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and tokens; a multiple of `n_heads`.
        n_layers: Rounds of looking, at least 1.
        n_heads: Attention heads, and slices of the pooling.
        n_tokens: Tokens that a modality may have, at least 1; longer ones become the means of segments.
        positions: Whether tokens are told their places.
        dropout: Probability that a channel of what is added is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `width` is no multiple of `n_heads`, or a number is out of range.

    Reference:
        The survey's inter-modality cross-attention: Zhao, Zhang, Geng, Deep Multimodal Data Fusion, ACM Computing
        Surveys 56(9), 2024; attention of Vaswani et al., NeurIPS 2017, equation 1. *Differs from the paper*: any number
        of modalities, the others joined in one sequence; the null token; normalisation before each step.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = CrossAttention({"text": 4, "vector": 3}, 8)(tokens)
        >>> fused.vector.shape, fused.tokens.values.shape
        (torch.Size([2, 8]), torch.Size([2, 6, 8]))
    """

    formula: ClassVar[str] = "MLP([p_1; ...; p_M]), p_m = pool(x_m + softmax(Q_m K^T / sqrt(d)) V), K, V of the others"
    cost: ClassVar[str] = "O(T d + n_layers M^2 n_tokens width (width + n_tokens))"
    missing: ClassVar[str] = "nobody looks at it; a learned vector stands in its place"
    reference: ClassVar[str] = "Zhao et al. 2024 (ACM CSUR 56:216), inter-modality attention; Vaswani et al. 2017"

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
        check_sizes("CrossAttention", width, n_heads, n_layers=n_layers, n_tokens=n_tokens)
        self.n_layers, self.n_heads, self.n_tokens, self.positions = n_layers, n_heads, n_tokens, positions
        self.dropout = checked_dropout("CrossAttention", dropout)
        self.streams = Streams(self.channels, width, n_tokens=n_tokens, positions=positions)
        self.layers = nn.ModuleList(  # those of the first modality, then those of the next
            CrossLayer(width, n_heads, dropout=dropout) for _ in self.names for _ in range(n_layers)
        )
        self.pool = Pool(width, n_heads)
        self.merge = Merge(len(self.names), width, width, dropout=dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        streams: list[Tokens] = self.streams(tokens)
        looks: list[Tensor] = []
        for i in range(self.n_layers):
            everything = joined(streams)
            looks, updated = [], []
            for m, (cross, stream) in enumerate(zip(self.layers[i :: self.n_layers], streams, strict=True)):
                others = torch.cat([s.mask & (j != m) for j, s in enumerate(streams)], dim=1)
                x, attention = cross.explained(stream.values, everything.values, others)  # type: ignore[operator]
                updated.append(Tokens(x, stream.mask))
                real = stream.mask[..., None].to(attention.dtype)
                looks.append((attention * real).sum(1) / real.sum(1).clamp(min=1))
            streams = updated
        vectors = torch.stack([self.pool(s.values, s.mask) for s in streams], dim=1)
        weights = {"attention": share(torch.stack(looks).sum(0), streams)}
        return Fused(self.merge(vectors, self.present(tokens)), tokens=joined(streams).zeroed(), weights=weights)
