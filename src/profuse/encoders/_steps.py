"""Steps of a series: what their encoders check, read and embed alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from profuse.encoders._mlp import check_layers
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["StepFeatures", "check_series", "clean_steps"]


def check_series(who: str, spec: Spec, *, dropout: float, n_frequencies: int | None, **sizes: int) -> int:
    """Checks an encoder's settings; returns the number of frequencies: if None, 4 for up to 16 channels, else 0.

    Raises:
        ConfigError: A size below 1, frequencies below 0, or a dropout out of range.
        ShapeError: A spec without channels.
    """
    faults = [f"{name} must be at least 1; got {name}={size}" for name, size in sizes.items() if size < 1]
    if faults:
        raise ConfigError(f"{who}: {'; '.join(faults)}.")
    if spec.n_channels < 1:
        raise ShapeError(f"{who}: the spec must have at least one channel; got n_channels={spec.n_channels}.")
    n_frequencies = (4 if spec.n_channels <= 16 else 0) if n_frequencies is None else n_frequencies
    check_layers(who, dropout=dropout, n_frequencies=n_frequencies)
    return n_frequencies


def clean_steps(raw: Raw, n_channels: int, *, who: str) -> Tensor:
    """Returns the steps, 0 where masked, whatever stood there.

    Raises:
        ShapeError: Other axes or channels than the spec's.
    """
    if raw.values.ndim != 3 or raw.mask.ndim != 2 or raw.values.shape[2] != n_channels:
        raise ShapeError(
            f"{who}: values must be [batch, time, {n_channels}] and mask [batch, time]; got "
            f"values={tuple(raw.values.shape)}, mask={tuple(raw.mask.shape)}."
        )
    return raw.values.masked_fill(~raw.mask[..., None], 0.0)


class StepFeatures(nn.Module):
    """`[x, sin(2 pi c x), cos(2 pi c x)]` of each number, `c` learned, from N(0, sigma^2).

    Args:
        n_channels: Numbers of a step.
        n_frequencies: Frequencies of each number; 0 leaves x alone.
        sigma: Spread of the first frequencies, in cycles a unit of x.

    Shape:
        `[..., channel]` -> `[..., out_width]`.

    Reference:
        Gorishniy et al. 2022, On embeddings for numerical features in tabular deep learning, section 3.3.
    """

    def __init__(self, n_channels: int, n_frequencies: int, *, sigma: float = 0.3) -> None:
        super().__init__()
        self.out_width = n_channels * (1 + 2 * n_frequencies)
        self.frequencies = nn.Parameter(sigma * torch.randn(n_channels, n_frequencies)) if n_frequencies else None

    def forward(self, x: Tensor) -> Tensor:
        if self.frequencies is None:
            return x
        angle = 2 * math.pi * x[..., None] * self.frequencies
        return torch.cat([x, angle.sin().flatten(-2), angle.cos().flatten(-2)], dim=-1)
