"""Volumes -> tokens: a small residual CNN of three dimensions over an overlapping stem."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.data.volume_shapes import n_volume_numbers, volume_shapes
from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._description import Description
from profuse.encoders._stem import n_groups
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["VolumeDescription", "VolumeEncoder"]

_MAX_SIDE = 8  # places a side that `embed` leaves, about
_SMALL = 1e-4  # of the unit of levels, squared


class VolumeDescription(Description):
    """`profuse.data.volume_shapes` of a volume: what a linear path reads.

    Shape:
        `Raw.values[batch, channel, depth, height, width]` -> `[batch, out_width]`.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.out_width = n_volume_numbers(spec.n_channels, spec.grid)

    def forward(self, raw: Raw) -> Tensor:
        values = raw.values.masked_fill(~raw.mask[:, None, None, None, None], 0.0)
        return volume_shapes(values) * raw.mask[:, None]


class _Residual(nn.Module):
    """`x + conv(relu(norm(conv(relu(norm(x))))))`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(n_groups(dim), dim), nn.GroupNorm(n_groups(dim), dim)
        self.conv1, self.conv2 = nn.Conv3d(dim, dim, 3, padding=1), nn.Conv3d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.conv2(self.norm2(self.conv1(self.norm1(x).relu())).relu())
        return y


class VolumeEncoder(Encoder):
    """embed: two overlapping convolutions, about 8 places a side; mix: residual convolutions, about 4 x 4 x 4 tokens.

    The first convolution sees a volume as it is and in units of its own mean and deviation: what scanner and
    settings do to all levels stands in the first view alone. While training, volumes are turned, stretched and moved at
    random, and their contrast and level changed; they are never mirrored.

    Args:
        spec: Channels and grid of the volumes.
        width: Channels of the returned tokens.
        dims: Channels after the stem, and at the end.
        hidden: Channels between the convolutions of the stem.
        n_blocks: Residual blocks at the end.
        dropout: Probability of leaving out a channel before the last map.
        augment: How far volumes are changed while training: 1 is the usual range, 0 none.
        linear_path: Whether a ridge regression of what describes a volume is added to the model's outputs
            (`Encoder.linear`, `VolumeDescription`).

    Shape:
        Raw `[batch, channel, depth, height, width]` -> `embed` `[batch, place, dims[0]]` -> `[batch, <= 64, width]`.

    Reference:
        He et al. 2016, Identity mappings in deep residual networks; Wu and He 2018, Group normalization.
    """

    kind: ClassVar[str] = "volume"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        dims: tuple[int, int] = (24, 48),
        hidden: int = 12,
        n_blocks: int = 1,
        dropout: float = 0.1,
        augment: float = 1.0,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        if len(dims) != 2 or min(*dims, hidden, n_blocks) < 1 or not 0 <= dropout < 1 or augment < 0:
            raise ConfigError(
                "VolumeEncoder: two dims, hidden and n_blocks must be at least 1, 0 <= dropout < 1 and augment >= 0; "
                f"got dims={dims}, hidden={hidden}, n_blocks={n_blocks}, dropout={dropout}, augment={augment}."
            )
        if spec.n_channels < 1 or min(spec.grid) < 1:
            raise ShapeError(
                "VolumeEncoder: the spec must have a channel and a grid; got "
                f"n_channels={spec.n_channels}, grid={spec.grid}. Take the spec of a fitted VolumePreprocessor."
            )
        self.augment = augment
        first = _strides(spec.grid, 2 * _MAX_SIDE)
        second = _strides(_reduced(spec.grid, first), _MAX_SIDE)
        self.places = _reduced(_reduced(spec.grid, first), second)
        third = _strides(self.places, _MAX_SIDE // 2)
        self.grid = _reduced(self.places, third)
        self.conv1 = nn.Conv3d(2 * spec.n_channels, hidden, 3, stride=first, padding=1)
        self.norm = nn.GroupNorm(n_groups(hidden), hidden)
        self.conv2 = nn.Conv3d(hidden, dims[0], 3, stride=second, padding=1)
        self.position = nn.Parameter(torch.randn(dims[0], *self.places) * 0.02)
        self.down = nn.Conv3d(dims[0], dims[1], 3, stride=third, padding=1)
        self.blocks = nn.ModuleList(_Residual(dims[1]) for _ in range(n_blocks))
        self.last = nn.LayerNorm(dims[1])
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(dims[1], width)
        self.description = VolumeDescription(spec) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.embed_width = dims[0]
        self.stage_widths = (*[dims[1]] * n_blocks, width)

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns one residual block below 5,000 rows, two and more channels from there on."""
        if n_rows < 5_000:
            return cls(spec, width, dropout=dropout)
        return cls(spec, width, dims=(32, 96), hidden=16, n_blocks=2, dropout=dropout)

    def embed(self, raw: Raw) -> Tokens:
        if raw.values.ndim != 5 or tuple(raw.values.shape[1:]) != (self.spec.n_channels, *self.spec.grid):
            raise ShapeError(
                f"VolumeEncoder: volumes must be [batch, {self.spec.n_channels}, "
                f"{', '.join(map(str, self.spec.grid))}]; got {tuple(raw.values.shape)}. Transform them with the "
                "preprocessor that gave the spec."
            )
        # an absent row may hold anything, NaN too, and 0 * NaN would reach the weights' gradients
        x = raw.values.masked_fill(~raw.mask[:, None, None, None, None], 0.0)
        if self.training and self.augment > 0 and len(x):
            x = _changed(x, self.augment)
        off = x - x.mean((2, 3, 4), keepdim=True)
        own = off / (off.square().mean((2, 3, 4), keepdim=True) + _SMALL).sqrt()
        x = self.conv2(self.norm(self.conv1(torch.cat([x, own], dim=1))).relu()) + self.position
        values = x.flatten(2).transpose(1, 2)
        return Tokens(values, raw.mask[:, None].expand(-1, values.shape[1]))

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        x = tokens.values
        if i == len(self.stage_widths) - 1:
            x = self.project(self.dropout(self.last(x)))
        else:
            x = torch.unflatten(x.transpose(1, 2), 2, self.grid if i else self.places)
            x = self.blocks[i](x if i else self.down(x)).flatten(2).transpose(1, 2)
        return Tokens(x, tokens.present[:, None].expand(-1, x.shape[1]))

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.stage_widths)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)


def _strides(grid: tuple[int, int, int], most: int) -> tuple[int, int, int]:
    """Returns 2 along each axis that has more than `most` places by half or more, else 1."""
    depth, height, width = (2 if 2 * side > 3 * most else 1 for side in grid)
    return depth, height, width


def _reduced(grid: tuple[int, int, int], strides: tuple[int, int, int]) -> tuple[int, int, int]:
    depth, height, width = (-(-side // stride) for side, stride in zip(grid, strides, strict=True))
    return depth, height, width


def _changed(x: Tensor, strength: float) -> Tensor:
    """Returns each volume turned, stretched and moved at random, with another contrast and level."""
    n, options = len(x), {"device": x.device, "dtype": x.dtype}
    slant = torch.eye(3, **options) + 0.08 * strength * torch.randn(n, 3, 3, **options)  # type: ignore[call-overload]
    move = 0.08 * strength * torch.randn(n, 3, 1, **options)  # type: ignore[call-overload]
    grid = F.affine_grid(torch.cat([slant, move], dim=2), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    draw = strength * torch.randn(n, 2, 1, 1, 1, **options)  # type: ignore[call-overload]
    return torch.addcmul(0.1 * draw[:, 1:], x, (0.1 * draw[:, :1]).exp())
