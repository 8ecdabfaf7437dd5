"""Factorized bilinear pooling (MFB): products of projections, pooled by sums, and tamed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from profuse.fusion._base import Fused, Fusion
from profuse.fusion.constraint._factors import Factors, at_least_one, power_norm
from profuse.layers.projection import checked_dropout
from profuse.tokens import Tokens

__all__ = ["FactorizedBilinear"]


class FactorizedBilinear(Fusion):
    """h = N(sum over k of prod_m (b_mk + W_mk v_m)), v_m = LayerNorm(mean_t x_mt) and 0 where m is missing.

    Each joint channel is a bilinear form (multilinear, for M modalities) of rank `n_factors`. N is the signed square
    root, then the L2 norm: it tames products, and keeps of their size only how channels compare. With one factor this
    is low-rank bilinear pooling (MLB).

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        n_factors: Products k that are added up in a joint channel, at least 1.
        dropout: Probability that a channel of v_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An option is out of range.

    Reference:
        Yu, Yu, Fan, Tao, Multi-modal Factorized Bilinear Pooling with Co-Attention Learning for Visual Question
        Answering, ICCV 2017, equations 4 to 6; Kim et al., Hadamard Product for Low-rank Bilinear Pooling, ICLR
        2017 (MLB). *Differs from the papers*: any number of modalities; factors begin near 1 or -1; the root has a
        finite slope at 0, and the norm is sqrt(width), not 1; no tanh in MLB.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> FactorizedBilinear({"text": 4, "vector": 3}, 8)(tokens).vector.square().sum(1).round(decimals=2)
        tensor([8., 8.], grad_fn=<RoundBackward1>)
    """

    formula: ClassVar[str] = "N(sum over k of prod of (b_mk + W_mk v_m)), N = signed root, L2"
    cost: ClassVar[str] = "O(T d + M d n_factors width)"
    missing: ClassVar[str] = "its v_m is 0: its factor is a learned constant"
    reference: ClassVar[str] = "Yu et al. 2017 (ICCV), equations 4 to 6; Kim et al. 2017 (ICLR)"

    def __init__(self, channels: Mapping[str, int], width: int, *, n_factors: int = 5, dropout: float = 0.1) -> None:
        super().__init__(channels, width)
        at_least_one("FactorizedBilinear", n_factors=n_factors)
        self.n_factors = n_factors
        self.dropout = checked_dropout("FactorizedBilinear", dropout)
        self.factors = Factors(self.channels, n_factors * self.width, dropout=dropout)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        products = self.factors(tokens).prod(1).unflatten(1, (self.n_factors, self.width))
        return Fused(power_norm(products.sum(1)))
