"""An operator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion import Fused, Fusion
from profuse.tokens import Tokens

__all__ = ["SharedMap"]


class SharedMap(Fusion):
    """h = scale * sum over the present m of W_m mean_t x_mt.

    Shape:
        `{modality: [batch, token, channel]}` -> `[batch, width]`.

    Args:
        channels: Width of each modality's tokens.
        width: Width of the joint vector.
        scale: Factor of the result, not 0.

    Raises:
        ConfigError: A factor of 0 or that is not finite.

    Reference:
        None: it is an example.

    Example:
        >>> SharedMap({"a": 2}, 8)
        SharedMap({'a': 2}, 8, scale=1.0)
    """

    formula = "scale x sum of W_m mean(x_m)"
    cost = "O(T d)"
    missing = "adds nothing"
    reference = "none"

    def __init__(self, channels: Mapping[str, int], width: int, *, scale: float = 1.0) -> None:
        super().__init__(channels, width)
        if not 0 < abs(scale) < float("inf"):
            raise ConfigError(f"SharedMap: scale must be a finite number other than 0; got scale={scale}.")
        self.scale = scale
        self.maps = nn.ModuleList(nn.Linear(c, width, bias=False) for c in self.channels.values())

    def fuse(self, tokens: dict[str, Tokens]) -> Fused:
        parts: list[Tensor] = [m(t.mean()) for m, t in zip(self.maps, tokens.values(), strict=True)]
        return Fused(self.scale * torch.stack(parts).sum(0))
