"""What the low-rank tensor operators share: one factor a modality, the block-term layer, the power norm."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.layers.projection import Projection, normalise
from profuse.tokens import Tokens

__all__ = ["BlockTerm", "Factors", "at_least_one", "power_norm"]


def at_least_one(who: str, **sizes: int) -> None:
    """Checks options that are sizes.

    Raises:
        ConfigError: One of them is below 1.
    """
    if min(sizes.values()) < 1:
        message = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise ConfigError(f"{who}: {' and '.join(sizes)} must be at least 1; got {message}.")


def power_norm(x: Tensor) -> Tensor:
    """y = x / sqrt(|x| + 0.001), then y sqrt(n) / |y| over the n last channels.

    The signed square root, whose slope at 0 is infinite, with a finite one; then the L2 norm, but with length
    sqrt(n) and not 1, so that the size of a channel does not depend on how many there are.
    """
    root = x / (x.abs() + 1e-3).sqrt()
    return root / (root.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def near_one(weight: Tensor, bias: Tensor, n_modalities: int, n_inputs: int) -> None:
    """Sets factors b + W x to b = 1 or -1, and W so that W x has variance 1 / M where x has variance 1.

    The product of M such factors has a mean square of (1 + 1 / M)^M < e: it neither vanishes nor explodes with M, and
    holds interactions of every order. The signs let the sum over ranks cancel in place of adding up to a constant.
    """
    nn.init.normal_(weight, std=(n_modalities * n_inputs) ** -0.5)
    with torch.no_grad():
        bias.copy_(torch.randint(0, 2, bias.shape) * 2 - 1)


class Factors(nn.Module):
    """f_m = b_m + W_m v_m = [1; v_m]^T F_m, v_m = LayerNorm(mean_t x_mt) and 0 where m is missing.

    Shape:
        `{modality: Tokens}` -> `[batch, modality, width]`.

    Args:
        channels: Width of each modality's tokens, in the order of the result.
        width: Channels of a factor.
        dropout: Probability that a channel of v_m is dropped in training.
    """

    def __init__(self, channels: Mapping[str, int], width: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.norms = nn.ModuleList(normalise(c) for c in channels.values())
        self.maps = nn.ModuleList(nn.Linear(c, width) for c in channels.values())
        self.dropout = nn.Dropout(dropout)
        for linear in self.maps:
            near_one(linear.weight, linear.bias, len(channels), linear.in_features)  # type: ignore[arg-type]

    def forward(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns the factors, modalities in the order of `tokens`."""
        factors = [
            linear(self.dropout(norm(t.mean()).masked_fill(~t.present[:, None], 0.0)))
            for norm, linear, t in zip(self.norms, self.maps, tokens.values(), strict=True)
        ]
        return torch.stack(factors, dim=1)


class BlockTerm(nn.Module):
    """y_c = sum_r prod_m (b_mcr + W_mcr u_mc), u_m = W_m LayerNorm(mean_t x_mt) + b_m in chunks c; h = W_o [y_1; ...].

    One chunk is a Tucker decomposition whose core has at most rank r slices (Mutan); several are a block-term
    decomposition (Block). The u_m of a missing modality is 0.

    Shape:
        `{modality: Tokens}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the result.
        n_channels: Channels of u_m and of [y_1; ...]; a multiple of `n_chunks`.
        n_chunks: Chunks c.
        rank: Products r that are added up.
        power: Whether each y_c goes through `power_norm`.
        dropout: Probability that a channel of u_m is dropped in training.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        width: int,
        *,
        n_channels: int,
        n_chunks: int,
        rank: int,
        power: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        n_modalities, size = len(channels), n_channels // n_chunks
        self.n_chunks, self.power = n_chunks, power
        self.project = Projection(channels, n_channels, dropout=dropout)
        self.weight = nn.Parameter(torch.empty(n_modalities, n_chunks, size, rank, size))
        self.bias = nn.Parameter(torch.empty(n_modalities, n_chunks, rank, size))
        self.out = nn.Linear(n_channels, width)
        near_one(self.weight, self.bias, n_modalities, size)

    def forward(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns the joint vector."""
        present = torch.stack([t.present for t in tokens.values()], dim=1)[..., None]
        u = self.project(tokens).masked_fill(~present, 0.0).unflatten(2, (self.n_chunks, -1))
        products = (torch.einsum("bmci,mcirk->bmcrk", u, self.weight) + self.bias).prod(1)
        y = products.sum(2)
        joint: Tensor = self.out((power_norm(y) if self.power else y).flatten(1))
        return joint
