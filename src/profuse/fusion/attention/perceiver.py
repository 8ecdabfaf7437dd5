"""Perceiver IO: a few latent tokens read all tokens, think, and are read by a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.attention._streams import Streams, check_sizes, joined, share
from profuse.layers.attention import CrossLayer, TransformerLayer
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["Perceiver"]


class Perceiver(Fusion):
    """h = LN(Cross(q, z)), z = Transformer(Cross(z_0, [x_1; ...; x_M])): z_0 learned latents, q a learned query.

    The latents look once at all tokens of all modalities, each named by an embedding; what follows has `n_latents`
    tokens, however many there were. So cost is linear in the number of tokens, and many of them can be kept. The
    weights tell how the latents' attention to the tokens is shared out among the modalities; they sum to 1.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`; the latents are the joint tokens.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector and of the latents; a multiple of `n_heads`.
        n_latents: Latent tokens, at least 1.
        n_layers: Transformer layers among the latents, at least 1.
        n_heads: Attention heads.
        n_tokens: Tokens that a modality may have, at least 1; longer ones become the means of segments.
        positions: Whether tokens are told their places.
        dropout: Probability that a channel of what is added is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `width` is no multiple of `n_heads`, or a number is out of range.

    Reference:
        Jaegle et al., Perceiver IO: A General Architecture for Structured Inputs & Outputs, ICLR 2022, section 3.
        *Differs from the paper*: 16 latents and 2 layers (there hundreds, and 6 or more); one output query; a null
        key beside the tokens, for rows in which all is missing.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 50, 4), torch.ones(2, 50).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fused = Perceiver({"text": 4, "vector": 3}, 8, n_latents=6)(tokens)
        >>> fused.vector.shape, fused.tokens.values.shape
        (torch.Size([2, 8]), torch.Size([2, 6, 8]))
    """

    formula: ClassVar[str] = "Cross(q, Transformer(Cross(z_0, [x_1; ...; x_M]))), z_0 and q learned"
    cost: ClassVar[str] = "O(T d + M n_tokens width (width + N) + n_layers N width (width + N)), N = n_latents"
    missing: ClassVar[str] = "the latents do not see it"
    reference: ClassVar[str] = "Jaegle et al. 2022 (ICLR): Perceiver IO"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_latents: int = 16,
        n_layers: int = 2,
        n_heads: int = 4,
        n_tokens: int = 64,
        positions: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        check_sizes("Perceiver", width, n_heads, n_latents=n_latents, n_layers=n_layers, n_tokens=n_tokens)
        self.n_latents, self.n_layers, self.n_heads = n_latents, n_layers, n_heads
        self.n_tokens, self.positions = n_tokens, positions
        self.dropout = checked_dropout("Perceiver", dropout)
        self.streams = Streams(self.channels, width, n_tokens=n_tokens, positions=positions)
        self.latents = nn.Parameter(0.02 * torch.randn(n_latents, width))
        self.query = nn.Parameter(0.02 * torch.randn(1, width))
        self.encode = CrossLayer(width, n_heads, dropout=dropout)
        self.layers = nn.ModuleList(TransformerLayer(width, n_heads, dropout=dropout) for _ in range(n_layers))
        self.decode = CrossLayer(width, n_heads, dropout=dropout)
        self.norm = nn.LayerNorm(width)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        streams = self.streams(tokens)
        everything = joined(streams)
        n_rows = everything.mask.shape[0]
        latents = self.latents.expand(n_rows, -1, -1)
        latents, attention = self.encode.explained(latents, everything.values, everything.mask)
        real = everything.mask.new_ones(n_rows, self.n_latents)
        for layer in self.layers:
            latents = layer(latents, real)
        answer = self.decode(self.query.expand(n_rows, -1, -1), latents, real)
        weights = {"attention": share(attention.mean(1), streams)}
        return Fused(self.norm(answer)[:, 0], tokens=Tokens(latents, real), weights=weights)
