"""BLOCK: a block-term decomposition of the multilinear map: several small Tucker decompositions side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.fusion.constraint._factors import BlockTerm, at_least_one
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["Block"]


class Block(Fusion):
    """h = W_o [N(y_1); ...; N(y_C)], y_c = sum_r prod_m (b_mcr + W_mcr u_mc), u_m = W_m LayerNorm(mean_t x_mt) + b_m.

    u_m (0 where m is missing) is cut into C chunks, and chunks of the same number are multiplied out: between the many
    narrow products of low-rank fusion and the one wide product of MUTAN, which is the case of one chunk without N. N,
    the signed square root and the L2 norm of each chunk, keeps one chunk from drowning the others.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        n_channels: Channels of u_m and of all y_c together; a multiple of `n_chunks`.
        n_chunks: Chunks C, at least 1.
        rank: Products that are added up in a chunk, at least 1.
        normalise: Whether N is applied.
        dropout: Probability that a channel of u_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: `n_channels` is no multiple of `n_chunks`, or an option is out of range.

    Reference:
        Ben-Younes, Cadene, Thome, Cord, BLOCK: Bilinear Superdiagonal Fusion for Visual Question Answering and Visual
        Relationship Detection, AAAI 2019, section 3. *Differs from the paper*: any number of modalities; sized for a
        width of 64 (1,600 channels, 20 chunks, rank 15 in the authors' code); factors begin near 1 or -1; the root
        has a finite slope at 0, and the norm is that of as many ones, not 1.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> Block({"text": 4, "vector": 3}, 8, n_channels=6, n_chunks=3)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "W_o [N(y_c) ...], y_c = sum over r of prod of (b_mcr + W_mcr u_mc)"
    cost: ClassVar[str] = "O(T d + M d n_channels + M rank n_channels^2 / n_chunks)"
    missing: ClassVar[str] = "its u_m is 0: its factors are learned constants"
    reference: ClassVar[str] = "Ben-Younes et al. 2019 (AAAI), section 3"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_channels: int = 64,
        n_chunks: int = 4,
        rank: int = 5,
        normalise: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        at_least_one("Block", n_channels=n_channels, n_chunks=n_chunks, rank=rank)
        if n_channels % n_chunks:
            raise ConfigError(
                f"Block: n_channels must be a multiple of n_chunks; got n_channels={n_channels}, n_chunks={n_chunks}. "
                "Change one of them."
            )
        self.n_channels, self.n_chunks, self.rank, self.normalise = n_channels, n_chunks, rank, normalise
        self.dropout = checked_dropout("Block", dropout)
        self.term = BlockTerm(
            self.channels,
            self.width,
            n_channels=n_channels,
            n_chunks=n_chunks,
            rank=rank,
            power=normalise,
            dropout=dropout,
        )

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        return Fused(self.term(tokens))
