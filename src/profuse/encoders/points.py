"""Clouds of points -> tokens, one a group of neighbours."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from profuse.data.cloud_shapes import cloud_shapes, n_shape_numbers
from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._description import Description
from profuse.encoders._mlp import check_attention, check_layers, heads_for
from profuse.encoders._steps import clean_steps
from profuse.errors import ShapeError
from profuse.layers.attention import AttentionBlock
from profuse.layers.sequence import ChannelDropout, runs, stride_for
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["CloudDescription", "PointSetEncoder"]

_SMALL = 1e-4  # of the unit of length, squared


class CloudDescription(Description):
    """`profuse.data.cloud_shapes` of a cloud: what a linear path reads.

    Shape:
        `Raw.values[batch, point, channel]`, `Raw.mask[batch, point]` -> `[batch, out_width]`.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.n_channels = spec.n_channels
        self.out_width = n_shape_numbers(spec.n_channels)

    def forward(self, raw: Raw) -> Tensor:
        return cloud_shapes(clean_steps(raw, self.n_channels, who="PointSetEncoder"), raw.mask)


class PointSetEncoder(Encoder):
    """embed: `A [max_p f(p), mean_p f(p), middle, sizes]` of each group of points p; mix: a Transformer over groups.

    Points stand along a curve, so that a run of them is a group of neighbours. f, a perceptron, sees a point in the
    cloud, in its group, and in units of the cloud's and of the group's own size; so what is embedded does not depend on
    the order within a group. While training, clouds are slanted, stretched and moved at random, and points are left
    out.

    Args:
        spec: Of a fitted `PointPreprocessor`.
        width: Channels of the tokens, a multiple of `n_heads`.
        n_blocks: Transformer blocks.
        n_heads: Attention heads.
        max_tokens: The largest number of groups; a group has `ceil(max_length / max_tokens)` points.
        hidden_width: Channels of f.
        dropout: Probability of dropping a hidden channel of a row.
        augment: How far clouds are changed while training: 1 is the usual range, 0 none.
        linear_path: Whether a ridge regression of what describes a cloud is added to the model's outputs
            (`Encoder.linear`, `CloudDescription`).

    Shape:
        `Raw.values[batch, point, channel]`, `Raw.mask[batch, point]`, to `[batch, <= max_tokens, width]`.

    Reference:
        Qi et al. 2017, PointNet (one perceptron for all points, then the maximum); Yu et al. 2022, Point-BERT (groups
        as tokens); Wu et al. 2024, Point Transformer V3 (groups along a curve).

    Differs from the paper:
        Groups are runs of one curve, without overlap; mean and maximum are pooled.
    """

    kind: ClassVar[str] = "points"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        n_blocks: int = 2,
        n_heads: int = 4,
        max_tokens: int = 32,
        hidden_width: int = 64,
        dropout: float = 0.1,
        augment: float = 1.0,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        who = "PointSetEncoder"
        check_layers(who, max_tokens=max_tokens, hidden_width=hidden_width, dropout=dropout)
        check_attention(who, width, n_blocks=n_blocks, n_heads=n_heads, augment=augment)
        if spec.n_channels < 6:
            raise ShapeError(
                f"{who}: the spec must have x, y, z and the cloud's middle, 6 channels; got "
                f"n_channels={spec.n_channels}. Take the spec of a fitted PointPreprocessor."
            )
        self.augment = augment
        self.stride = stride_for(spec.max_length, max_tokens)
        self.points = nn.Sequential(
            nn.Linear(spec.n_channels + 6, hidden_width), nn.GELU(), nn.Linear(hidden_width, hidden_width), nn.GELU()
        )
        self.group = nn.Linear(2 * hidden_width + 8, width)
        self.blocks = nn.ModuleList(AttentionBlock(width, n_heads=n_heads, dropout=dropout) for _ in range(n_blocks))
        self.description = CloudDescription(spec) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.dropout = ChannelDropout(dropout)
        self.stage_widths = (width,) * n_blocks

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns two blocks below 10,000 rows, three from there on; as many heads, up to 4, as divide the width."""
        n_heads = heads_for(width)
        n_blocks, hidden_width = (2, 64) if n_rows < 10_000 else (3, 128)
        return cls(spec, width, n_blocks=n_blocks, n_heads=n_heads, hidden_width=hidden_width, dropout=dropout)

    def embed(self, raw: Raw) -> Tokens:
        x, mask = clean_steps(raw, self.spec.n_channels, who="PointSetEncoder"), raw.mask
        if self.training and self.augment > 0 and len(x):
            x, mask = self._changed(x, mask)
        cloud = _size(x[..., :3], mask)[:, None, None]
        real = runs(mask, self.stride)[..., None]
        points = runs(x, self.stride)
        n = real.sum(2, keepdim=True).clamp(min=1)
        xyz = points[..., :3]
        middle = (xyz * real).sum(2, keepdim=True) / n
        off = (xyz - middle) * real
        size = (off.square().sum((2, 3), keepdim=True) / n + _SMALL).sqrt()
        seen = self.points(torch.cat([points, off / size, xyz / cloud], dim=3))
        top = seen.masked_fill(~real, -1.0).amax(2)  # below all that GELU returns
        mean = (seen * real).sum(2) / n[:, :, 0]
        own = [middle, middle / cloud, size.log(), cloud.log().expand_as(size)]
        values = self.group(torch.cat([top, mean, torch.cat(own, dim=3)[:, :, 0]], dim=2))
        return Tokens(values, real.any(2)[..., 0])

    def _changed(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Returns clouds under a random linear map near the identity, moved, and with points left out."""
        slant = torch.eye(3, device=x.device, dtype=x.dtype) + 0.1 * self.augment * _normal(x, 3, 3)
        moved = x[..., :3] @ slant + 0.05 * self.augment * _normal(x, 1, 3)
        kept = torch.rand(mask.shape, device=x.device) >= 0.2 * min(1.0, self.augment)
        kept = mask & (kept | ~(mask & kept).any(1, keepdim=True))
        return torch.cat([moved, x[..., 3:]], dim=2) * kept[..., None], kept

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        values = self.blocks[i](tokens.values, tokens.mask)
        return Tokens(self.dropout(values) if i == len(self.blocks) - 1 else values, tokens.mask)

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.blocks)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)


def _normal(x: Tensor, *shape: int) -> Tensor:
    return torch.randn(len(x), *shape, device=x.device, dtype=x.dtype)


def _size(xyz: Tensor, mask: Tensor) -> Tensor:
    """Returns `[row, 1]`: the root mean square distance of real points from 0, where the middle is."""
    square = (xyz.square().sum(2) * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    return (square + _SMALL).sqrt()
