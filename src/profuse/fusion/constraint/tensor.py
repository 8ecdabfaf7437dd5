"""Tensor fusion: every product of channels, one from each modality or none, with a weight of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion._base import Fused, Fusion
from profuse.fusion.constraint._factors import at_least_one
from profuse.layers.projection import Projection, checked_dropout
from profuse.tokens import Tokens

__all__ = ["TensorFusion"]

MAX_WEIGHTS = 2**22
"""Weights of the linear map of the tensor, at most: 16 MiB in single precision."""
DEFAULT_WEIGHTS = 2**20
"""What the default of `n_channels` keeps within, for as long as a single channel fits into it."""


class TensorFusion(Fusion):
    """h = W vec([1; u_1] x ... x [1; u_M]) + b, u_m = W_m LayerNorm(mean_t x_mt) + b_m and 0 where m is missing.

    The tensor (x is the outer product) holds the products of all subsets of modalities: through the ones also each
    modality alone. Without a modality it is the tensor of the others, with zeros around it. It has
    (n_channels + 1)^M entries, and W one column for each.

    The result is exact, and neither the tensor nor its product with W is made: the modalities are parted into a left
    and a right half, the tensor of the left half is multiplied with W, and the result with the tensor of the right.
    A row needs D^k + D^(M - k) (width + 1) numbers, D = n_channels + 1, for the k that makes this least: 2,250 in place
    of 15,625 for six modalities of four channels and a width of 64.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        n_channels: Channels of each u_m, at least 1; if None, as many (32 at most) as keep W within 2^20 weights: at a
            width of 64 these are 32 for two modalities, 24 for three, 4 for six, 1 for nine or more.
        dropout: Probability that a channel of u_m is dropped in training, 0 to below 1.

    Raises:
        ConfigError: W would have more than 2^22 weights, or an option is out of range.

    Reference:
        Zadeh, Chen, Poria, Cambria, Morency, Tensor Fusion Network for Multimodal Sentiment Analysis, EMNLP 2017,
        section 4.2. *Differs from the paper*: the u_m are linear, as deep subnetworks are the encoders' part; they are
        narrower the more modalities there are; the map of the tensor is linear.

    Example:
        >>> import torch
        >>> from profuse.tokens import Tokens
        >>> tokens = {"text": Tokens(torch.randn(2, 5, 4), torch.ones(2, 5).bool()),
        ...           "vector": Tokens.vector(torch.randn(2, 3))}
        >>> fusion = TensorFusion({"text": 4, "vector": 3}, 8, n_channels=6)
        >>> fusion(tokens).vector.shape, fusion.weight.shape
        (torch.Size([2, 8]), torch.Size([49, 8]))
    """

    formula: ClassVar[str] = "W vec([1; u_1] x ... x [1; u_M]) + b"
    cost: ClassVar[str] = "O(T d + M d n_channels + (n_channels + 1)^M width)"
    missing: ClassVar[str] = "its u_m is 0: only products without it remain"
    reference: ClassVar[str] = "Zadeh et al. 2017 (EMNLP), section 4.2"

    def __init__(
        self, channels: Mapping[str, int], width: int, *, n_channels: int | None = None, dropout: float = 0.1
    ) -> None:
        super().__init__(channels, width)
        self.dropout = checked_dropout("TensorFusion", dropout)
        at_least_one("TensorFusion", n_channels=1 if n_channels is None else n_channels)
        n_modalities = len(self.names)
        self.n_channels = n_channels
        if n_channels is None:
            fits = [c for c in range(1, 33) if (c + 1) ** n_modalities * width <= DEFAULT_WEIGHTS]
            n_channels = max(fits, default=1)
        size = n_channels + 1
        if size**n_modalities * width > MAX_WEIGHTS:
            raise ConfigError(
                f"TensorFusion: (n_channels + 1)^M * width must be at most {MAX_WEIGHTS} weights; got "
                f"n_channels={n_channels}, M={n_modalities} modalities, width={width}. Use low_rank, which grows only "
                "linearly with M" + (", or fewer n_channels." if n_channels > 1 else ".")
            )
        self.n_left = min(
            range(1, n_modalities + 1), key=lambda k: size**k + size ** (n_modalities - k) * (self.width + 1)
        )
        self.project = Projection(self.channels, n_channels, dropout=dropout)
        self.weight = nn.Parameter(torch.empty(size**n_modalities, self.width))
        self.bias = nn.Parameter(torch.zeros(self.width))
        # |u_m|^2 is about 1 / M, so that low orders count for more than the many products of high order; and then
        # |tensor|^2 is about (1 + 1 / M)^M, below e for any M
        for layers in self.project.maps:
            linear: nn.Linear = layers[1]  # type: ignore[index]
            nn.init.normal_(linear.weight, std=(linear.in_features * n_channels * n_modalities) ** -0.5)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.weight)

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        u = self.project(tokens).masked_fill(~self.present(tokens)[..., None], 0.0)
        z = nn.functional.pad(u, (1, 0), value=1.0)
        left, right = _outer(z[:, : self.n_left]), _outer(z[:, self.n_left :])
        half = (left @ self.weight.view(left.shape[1], -1)).view(-1, right.shape[1], self.width)
        return Fused(torch.einsum("bpw,bp->bw", half, right) + self.bias)


def _outer(z: Tensor) -> Tensor:
    """Returns the outer product of the vectors `z[batch, modality, channel]`, flat; 1 of none."""
    tensor = z.new_ones(z.shape[0], 1)
    for v in z.unbind(1):
        tensor = (tensor[:, :, None] * v[:, None]).flatten(1)
    return tensor
