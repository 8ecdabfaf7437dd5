"""The outer product: every product of one channel from each modality."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import ClassVar

from torch import nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["Outer"]

MAX_PRODUCTS = 2**16
"""Entries of the outer product, at most."""
DEFAULT_PRODUCTS = 2**12
"""What the default of `n_channels` keeps within."""


class Outer(Fusion):
    """h = W vec(v_1 x ... x v_M) + b, v_m = u_m sqrt((C + 1) / (|u_m|^2 + 1)), u_m = W_m LayerNorm(mean_t x_mt) + b_m.

    x is the outer product, C the channels of each u_m. The tensor of C^M entries holds products of all M modalities
    and no others: it has no leading 1, unlike tensor fusion (`tensor`). A modality that acts alone is heard through
    the constants b_m, which begin as large as W_m v. The length of a tensor is the product of the lengths of its
    factors, and each v_m has the length of C ones where |u_m|^2 = C, as at the start, and less than sqrt(C + 1)
    always: so the mean square of the entries is near 1 for any M, and stays below (1 + 1 / C)^M.

    The factor of a missing modality is C ones: the tensor is that of the others, repeated C times.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        n_channels: C, at least 1; if None, the largest up to 32 with C^M at most 4,096: 32 for two modalities, 16 for
            three, 8 for four, 4 for six, 2 for eight to twelve, 1 for more.
        dropout: Probability that a channel of u_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: C^M would be more than 65,536, or an option is out of range.

    Reference:
        Zhao, Zhang, Geng, Deep Multimodal Data Fusion, ACM Computing Surveys 56(9), 2024, section on encoder-decoder
        fusion: merge by cross product. *Differs from the plain product*: the factors are narrowed and of bounded
        length, so that the product fits and keeps its scale.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fusion = Outer({"text": 4, "vector": 3}, 8, n_channels=6)
        >>> fusion(tokens).vector.shape, fusion.out.in_features
        (torch.Size([2, 8]), 36)
    """

    formula: ClassVar[str] = "W vec(v_1 x ... x v_M) + b, v_m = u_m sqrt((C + 1) / (norm^2 of u_m + 1))"
    cost: ClassVar[str] = "O(T d + M d C + C^M width), C = n_channels"
    missing: ClassVar[str] = "its factor is all ones"
    reference: ClassVar[str] = "Zhao et al. 2024 (ACM CSUR 56:216), cross product"

    def __init__(
        self, channels: Mapping[str, int], width: int, *, n_channels: int | None = None, dropout: float = 0.1
    ) -> None:
        super().__init__(channels, width)
        self.dropout = checked_dropout("Outer", dropout)
        self.n_channels = n_channels
        n_modalities = len(self.names)
        size = n_channels
        if size is None:
            size = max(c for c in range(1, 33) if c**n_modalities <= DEFAULT_PRODUCTS)
        if size < 1 or size**n_modalities > MAX_PRODUCTS:
            raise ConfigError(
                f"Outer: n_channels must be at least 1, and n_channels^M at most {MAX_PRODUCTS}; got "
                f"n_channels={size}, M={n_modalities} modalities. Leave n_channels out, or use low_rank, which grows "
                "only linearly with M."
            )
        self.project = Projection(self.channels, size, dropout=dropout)
        self.out = nn.Linear(size**n_modalities, width)
        for layers in self.project.maps:
            linear: nn.Linear = layers[1]  # type: ignore[index]
            nn.init.normal_(linear.weight, std=(2 * linear.in_features) ** -0.5)
            nn.init.normal_(linear.bias, std=0.5**0.5)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        u = self.project(tokens)
        v = u * ((u.shape[2] + 1) / (u.square().sum(2, keepdim=True) + 1)).sqrt()
        v = v.masked_fill(~self.present(tokens)[..., None], 1.0)
        return Fused(self.out(reduce(lambda tensor, x: (tensor[:, :, None] * x[:, None]).flatten(1), v.unbind(1))))
