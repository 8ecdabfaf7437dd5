"""MulT: a crossmodal Transformer for each ordered pair, then one over what each modality has heard."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.attention._streams import Merge, Pool, Streams, check_sizes
from profuse.layers.attention import CrossTransformer, Transformer
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["MulT"]


class MulT(Fusion):
    """h = MLP([p_1; ...; p_M]), p_m = pool(Transformer_m([z_mj for all j other than m])), z_mj = Cross_mj(x_m, x_j).

    Cross_mj is a stack of layers in which the tokens of m look at those of j, again and again at j's first ones: m is
    told over by j, token by token, with no need that the two be aligned. The z_mj stand side by side as channels, a
    linear map brings them back to `token_width` (where there are two modalities there is only one z, and no map), a
    Transformer mixes them along the tokens, learned queries pool, and two layers merge. There are M (M - 1) stacks, so
    that size grows with M^2.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        n_layers: Layers of each crossmodal Transformer, at least 1.
        n_self_layers: Layers of each modality's Transformer after them, at least 1.
        n_heads: Attention heads, and slices of the pooling.
        token_width: Channels of a token in all Transformers, a multiple of `n_heads`.
        n_tokens: Tokens that a modality may have, at least 1; longer ones become the means of segments.
        positions: Whether tokens are told their places.
        dropout: Probability that a channel of what is added is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `token_width` is no multiple of `n_heads`, or a number is out of range.

    Reference:
        Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov, Multimodal Transformer for Unaligned Multimodal Language
        Sequences, ACL 2019, section 3. *Differs from the paper*: fewer layers (there 4 or 5, and 3 after them), and
        the map back to `token_width`, which for three modalities is twice as wide there; gelu, not relu; a null key,
        for rows that lack j; positions are added through a learned gate, small at first, and embeddings are not scaled
        by the root of the width; pooling by attention over real tokens, where the last step is read there, which may be
        padding. From the authors' code differ: every token sees every other (theirs masks by time, between sequences
        that are not aligned); keys and values have a layer norm of their own (theirs share the queries'); a stack ends
        without a last layer norm, since pooling begins with one.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> MulT({"text": 4, "vector": 3}, 8)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "MLP([p_1; ...; p_M]), p_m = pool(Transformer_m([Cross_mj(x_m, x_j) ...])), j other than m"
    cost: ClassVar[str] = "O(T d + n_layers M^2 n_tokens k (k + n_tokens)), k = token_width"
    missing: ClassVar[str] = "nobody looks at it; a learned vector stands in its place"
    reference: ClassVar[str] = "Tsai et al. 2019 (ACL): MulT, section 3"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_layers: int = 2,
        n_self_layers: int = 1,
        n_heads: int = 4,
        token_width: int = 32,
        n_tokens: int = 16,
        positions: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        check_sizes(
            "MulT",
            token_width,
            n_heads,
            width_name="token_width",
            n_layers=n_layers,
            n_self_layers=n_self_layers,
            token_width=token_width,
            n_tokens=n_tokens,
        )
        self.n_layers, self.n_self_layers, self.n_heads = n_layers, n_self_layers, n_heads
        self.token_width, self.n_tokens, self.positions = token_width, n_tokens, positions
        self.dropout = checked_dropout("MulT", dropout)
        n = len(self.names)
        self.pairs = list(permutations(range(n), 2))
        self.streams = Streams(self.channels, token_width, n_tokens=n_tokens, positions=positions)
        self.crossmodal = nn.ModuleList(
            CrossTransformer(token_width, n_layers, n_heads, dropout=dropout) for _ in self.pairs
        )
        self.maps = nn.ModuleList(
            nn.Linear((n - 1) * token_width, token_width) if n > 2 else nn.Identity() for _ in self.names
        )
        self.towers = nn.ModuleList(
            Transformer(token_width, n_self_layers, n_heads, dropout=dropout) for _ in self.names
        )
        self.pool = Pool(token_width, n_heads)
        self.merge = Merge(n, token_width, width, dropout=dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        streams: list[Tokens] = self.streams(tokens)
        told: list[list[Tensor]] = [[] for _ in streams]
        for (m, j), cross in zip(self.pairs, self.crossmodal, strict=True):
            told[m].append(cross(streams[m].values, streams[j].values, streams[j].mask))
        vectors = []
        for z, linear, tower, stream in zip(told, self.maps, self.towers, streams, strict=True):
            x = linear(torch.cat(z or [stream.values], dim=-1))  # a lone modality is told nothing
            vectors.append(self.pool(tower(x, stream.mask), stream.mask))
        return Fused(self.merge(torch.stack(vectors, dim=1), self.present(tokens)))
