"""From tokens to one vector a modality, all of one width: what the merges of features have in common."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.tokens import Tokens

__all__ = ["Projection", "checked_dropout", "normalise"]


def checked_dropout(who: str, dropout: float) -> float:
    """Returns `dropout`.

    Raises:
        ConfigError: It is not a probability below 1.
    """
    if not 0 <= dropout < 1:
        raise ConfigError(f"{who}: dropout must be at least 0 and below 1; got dropout={dropout}.")
    return dropout


def normalise(n_channels: int) -> nn.Module:
    """Returns a LayerNorm, or nothing for one or two channels, of which it would leave a constant or a sign."""
    return nn.LayerNorm(n_channels) if n_channels > 2 else nn.Identity()


class Projection(nn.Module):
    """u_m = dropout(W_m LayerNorm(mean_t x_mt) + b_m), for each modality m.

    Shape:
        `{modality: Tokens}` -> `[batch, modality, width]`; what stands at a missing modality has no meaning.

    Args:
        channels: Width of each modality's tokens, in the order of the result.
        width: Width of the result.
        dropout: Probability that a channel of the result is dropped in training.
    """

    def __init__(self, channels: Mapping[str, int], width: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        # A list, not a ModuleDict: a modality may be called "type" or hold a dot.
        self.maps = nn.ModuleList(nn.Sequential(normalise(c), nn.Linear(c, width)) for c in channels.values())
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Mapping[str, Tokens]) -> Tensor:
        """Returns the projected vectors, modalities in the order of `tokens`."""
        vectors = [linear(t.mean()) for linear, t in zip(self.maps, tokens.values(), strict=True)]
        projected: Tensor = self.dropout(torch.stack(vectors, dim=1))
        return projected
