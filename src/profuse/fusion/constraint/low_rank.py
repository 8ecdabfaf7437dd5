"""Low-rank tensor fusion: the tensor's linear map as a sum of products, never the tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.constraint._factors import Factors, at_least_one
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["LowRank"]


class LowRank(Fusion):
    """h = sum_r w_r * prod_m ([1; v_m]^T F_mr) + b, v_m = LayerNorm(mean_t x_mt) and 0 where m is missing.

    This is tensor fusion whose weight is a sum of `rank` outer products (a CP decomposition): it grows with M alone.
    Exact for any weight once the rank reaches the number of the tensor's entries over its longest side. A single
    modality has a linear map. Factors begin near 1 or -1, so that their product neither vanishes nor explodes with M.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        rank: Products that are added up, at least 1.
        dropout: Probability that a channel of v_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency, Efficient Low-rank Multimodal Fusion with
        Modality-Specific Factors, ACL 2018, equation 6. *Differs from the paper*: factors begin at 1 or -1 plus a part
        of variance 1 / M, where Xavier's initial values make the product vanish with M.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> LowRank({"text": 4, "vector": 3}, 8, rank=2)(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "sum over r of w_r * prod of ([1; v_m]^T F_mr) + b"
    cost: ClassVar[str] = "O(T d + M d rank width)"
    missing: ClassVar[str] = "its v_m is 0: its factor is a learned constant"
    reference: ClassVar[str] = "Liu et al. 2018 (ACL), equation 6"

    def __init__(self, channels: Mapping[str, int], width: int, *, rank: int = 8, dropout: float = 0.1) -> None:
        super().__init__(channels, width)
        at_least_one("LowRank", rank=rank)
        self.rank = rank
        self.dropout = checked_dropout("LowRank", dropout)
        self.factors = Factors(self.channels, rank * self.width, dropout=dropout)
        self.weight = nn.Parameter(torch.full((rank,), rank**-0.5))
        self.bias = nn.Parameter(torch.zeros(self.width))

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        products = self.factors(tokens).prod(1).unflatten(1, (self.rank, self.width))
        return Fused(torch.einsum("brw,r->bw", products, self.weight) + self.bias)
