"""Multiplicative interaction: a modality chooses the linear map of another one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, permutations
from typing import ClassVar, Literal, get_args

import torch
from torch import nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["MultiplicativeInteraction"]

Form = Literal["matrix", "vector", "scalar"]


class MultiplicativeInteraction(Fusion):
    """h = sum_m u_m + sum over pairs of W_ij(z_i, z_j) + b, u_m = U_m LayerNorm(mean_t x_mt) + a_m, 0 if missing.

    The products of two modalities, summed over pairs; there are none of three. `form` says how much of the bilinear
    map is free:

    - matrix: z_i^T W_ij z_j for each joint channel, over pairs i < j; z_m is a linear map of the normalised mean, as
      u_m but of `n_channels` channels, which is 0 if missing. W_ij has n_channels^2 width weights.
    - vector: (W_ij u_i) * u_j over ordered pairs i != j: i scales the channels of j. W_ij has width^2 weights. For two
      modalities, with W_21 = 0, this is FiLM of modality 2 by modality 1.
    - scalar: (w_ij . u_i) u_j over ordered pairs i != j: i scales all of j. w_ij has width weights.

    At W = 0 it is one linear map of the joined modalities. Without a modality it is the same for the others.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        form: matrix, vector or scalar.
        n_channels: Channels of z_m in the matrix form, at least 1; the other forms have none.
        dropout: Probability that a channel of u_m and of z_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: An unknown form, or an option out of range.

    Reference:
        Jayakumar et al., Multiplicative Interactions and Where to Find Them, ICLR 2020, equation 1 and section 3.
        *Differs from the paper*: a sum over pairs for any number of modalities; the matrix form is of narrowed inputs.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> MultiplicativeInteraction({"text": 4, "vector": 3}, 8, form="vector")(tokens).vector.shape
        torch.Size([2, 8])
    """

    formula: ClassVar[str] = "sum of u_m + sum over pairs of z_i^T W_ij z_j + b"
    cost: ClassVar[str] = "O(T d + M d width + M^2 n_channels^2 width)"
    missing: ClassVar[str] = "its terms are 0"
    reference: ClassVar[str] = "Jayakumar et al. 2020 (ICLR), equation 1"

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        form: Form = "matrix",
        n_channels: int = 16,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(channels, width)
        if form not in get_args(Form) or n_channels < 1:
            raise ConfigError(
                "MultiplicativeInteraction: form must be matrix, vector or scalar, and n_channels at least 1; "
                f"got form={form!r}, n_channels={n_channels}."
            )
        self.form: Form = form
        self.n_channels = n_channels
        self.dropout = checked_dropout("MultiplicativeInteraction", dropout)
        self.linear = Projection(self.channels, width, dropout=dropout)
        self.bias = nn.Parameter(torch.zeros(width))
        self.pairs = [*(combinations if form == "matrix" else permutations)(range(len(self.names)), 2)]
        if self.pairs:  # a single modality has no products
            shape = {"matrix": (n_channels, n_channels, width), "vector": (width, width), "scalar": (width, 1)}[form]
            if form == "matrix":
                self.narrow = Projection(self.channels, n_channels, dropout=dropout)
            # u and z begin with variance 1 / 3, and so does the sum of all products
            n_terms = n_channels**2 if form == "matrix" else width
            self.weight = nn.Parameter((3 / (len(self.pairs) * n_terms)) ** 0.5 * torch.randn(len(self.pairs), *shape))

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        missing = ~self.present(tokens)[..., None]
        u = self.linear(tokens).masked_fill(missing, 0.0)
        joint = u.sum(1) + self.bias
        if not self.pairs:
            return Fused(joint)
        z = self.narrow(tokens).masked_fill(missing, 0.0) if self.form == "matrix" else u
        left, right = (z[:, [pair[side] for pair in self.pairs]] for side in (0, 1))
        if self.form == "matrix":
            return Fused(joint + torch.einsum("bpi,pijo,bpj->bo", left, self.weight, right))
        return Fused(joint + (torch.einsum("bpi,pio->bpo", left, self.weight) * right).sum(1))
