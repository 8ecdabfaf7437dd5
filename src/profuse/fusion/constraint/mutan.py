"""MUTAN: a Tucker decomposition of the multilinear map, whose core has slices of low rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.constraint._factors import BlockTerm, at_least_one
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["Mutan"]


class Mutan(Fusion):
    """h = W_o y, y = sum_r prod_m (b_mr + W_mr u_m), u_m = W_m LayerNorm(mean_t x_mt) + b_m and 0 where m is missing.

    The modalities are made narrow first (u_m), and the narrow ones are multiplied out: a Tucker decomposition whose
    core gives each channel of y a slice of rank at most `rank`. For two modalities and rank = n_channels it is any
    core, so the full Tucker decomposition.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        n_channels: Channels of u_m and of y, at least 1.
        rank: Products that are added up, at least 1.
        dropout: Probability that a channel of u_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Ben-Younes, Cadene, Cord, Thome, MUTAN: Multimodal Tucker Fusion for Visual Question Answering, ICCV 2017,
        equations 6 to 9. *Differs from the paper*: any number of modalities; no tanh of u_m, so that it is the
        decomposition; sized for a width of 64 (360 channels, rank 10 there); factors begin near 1 or -1.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> Mutan({"text": 4, "vector": 3}, 8, n_channels=6, rank=2)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "W_o (sum over r of prod of (b_mr + W_mr u_m))"
    cost: ClassVar[str] = "O(T d + M d n_channels + M rank n_channels^2)"
    missing: ClassVar[str] = "its u_m is 0: its factor is a learned constant"
    reference: ClassVar[str] = "Ben-Younes et al. 2017 (ICCV), equations 6 to 9"

    def __init__(
        self, channels: Mapping[str, int], width: int, *, n_channels: int = 32, rank: int = 5, dropout: float = 0.1
    ) -> None:
        super().__init__(channels, width)
        at_least_one("Mutan", n_channels=n_channels, rank=rank)
        self.n_channels, self.rank = n_channels, rank
        self.dropout = checked_dropout("Mutan", dropout)
        self.term = BlockTerm(
            self.channels, self.width, n_channels=n_channels, n_chunks=1, rank=rank, power=False, dropout=dropout
        )

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        return Fused(self.term(tokens))
