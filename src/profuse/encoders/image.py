"""A compact residual CNN over a grid of patches."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.encoders._augment import jitter
from profuse.encoders._base import Encoder, Stage, chain
from profuse.errors import ConfigError, ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["ConvEncoder", "Patches", "patch_side"]


def patch_side(image_size: tuple[int, int], n_patches: int) -> int:
    """Returns the power of two that divides the longer side into about `n_patches` parts; at least 1."""
    side = 1
    while max(image_size) / (side * n_patches) >= 2**0.5:
        side *= 2
    return side


class Patches(nn.Module):
    """`tokens[i] = W patch_i + b + position_i`: what treats each patch alone, for every picture encoder.

    The picture is padded evenly with 0 (the training mean) to whole patches; tokens are in raster order.
    While training, each picture may be shifted a little at random (`jitter`).

    Args:
        spec: Channels and size of the pictures.
        dim: Channels of a token.
        side: Height and width of a patch, pixels.
        max_shift: Largest random shift while training, pixels; 0 for none.
    """

    def __init__(self, spec: Spec, dim: int, *, side: int, max_shift: int) -> None:
        super().__init__()
        height, width = spec.image_size
        self.shape = (spec.n_channels, height, width)
        self.grid = (-(-height // side), -(-width // side))
        self.side, self.max_shift = side, max_shift
        self.project = nn.Linear(spec.n_channels * side * side, dim)
        self.position = nn.Parameter(torch.randn(self.grid[0] * self.grid[1], dim) * 0.02)

    def forward(self, raw: Raw) -> Tokens:
        """Returns `Tokens[batch, patch, dim]`."""
        if tuple(raw.values.shape[1:]) != self.shape:
            raise ShapeError(
                f"Patches: pictures must be [batch, {', '.join(map(str, self.shape))}]; got "
                f"{tuple(raw.values.shape)}. Transform them with the preprocessor that gave the spec."
            )
        # an absent row may hold anything, NaN too, and 0 * NaN would reach the weights' gradients
        pictures = raw.values.masked_fill(~raw.mask[:, None, None, None], 0.0)
        if self.training and self.max_shift > 0:
            pictures = jitter(pictures, self.max_shift)
        down, across = (n * self.side - size for n, size in zip(self.grid, self.shape[1:], strict=True))
        if down or across:
            pictures = F.pad(pictures, (across // 2, across - across // 2, down // 2, down - down // 2))
        patches = F.unfold(pictures, self.side, stride=self.side).transpose(1, 2)
        values = self.project(patches) + self.position
        return Tokens(values, raw.mask[:, None].expand(-1, values.shape[1]))


class _Residual(nn.Module):
    """`x + drop(conv(relu(norm(conv(relu(norm(x)))))))`, without coupling of rows.

    GroupNorm sees one row only. `drop` leaves out the whole branch of a row (stochastic depth), at random.
    """

    def __init__(self, dim: int, *, drop_prob: float) -> None:
        super().__init__()
        n_groups = max(g for g in (8, 4, 2, 1) if dim % g == 0)
        self.norm1, self.norm2 = nn.GroupNorm(n_groups, dim), nn.GroupNorm(n_groups, dim)
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        if not self.training or self.drop_prob == 0:
            return x + y
        keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop_prob
        return torch.addcmul(x, y, keep / (1 - self.drop_prob))


class ConvEncoder(Encoder):
    """`mix = residual 3 x 3 convolutions over the grid of patch tokens`, down to about 4 x 4 tokens.

    `embed` is a linear map of patches that do not overlap (about 16 a side) and a learned position. `mix`
    puts the tokens back on their grid and alternates residual blocks with convolutions of stride 2; by default
    there is no block on the whole grid, where most of the time would go.

    Args:
        spec: Channels and size of the pictures.
        width: Channels of the returned tokens.
        dims: Channels of each stage; the grid is halved from one to the next.
        depths: Residual blocks of each stage.
        side: Height and width of a patch, pixels; chosen by size if None.
        dropout: Probability of leaving out a channel before the last map.
        drop_prob: Probability of leaving out the last residual branch; earlier ones less, linearly.
        max_shift: Largest random shift while training, pixels. 0 by default: where things stand often tells what
            they are (letters on their line), and small data then learn slower from shifted pictures.

    Shape:
        Raw `[batch, channel, height, width]` -> `embed` `[batch, patch, dims[0]]` -> `[batch, 9 to 36, width]` for
        square pictures.

    Reference:
        He et al.: Identity mappings in deep residual networks, ECCV 2016; Huang et al.: Deep networks with
        stochastic depth, ECCV 2016; Wu, He: Group normalization, ECCV 2018.
    """

    kind: ClassVar[str] = "image"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        dims: tuple[int, ...] = (16, 32, 64),
        depths: tuple[int, ...] = (0, 1, 1),
        side: int | None = None,
        dropout: float = 0.1,
        drop_prob: float = 0.1,
        max_shift: int = 0,
    ) -> None:
        super().__init__(spec, width)
        if len(dims) != len(depths) or not dims or min(dims) < 1 or min(depths) < 0:
            raise ConfigError(
                "ConvEncoder: dims and depths must have one entry a stage, dims at least 1 and depths at least 0; "
                f"got dims={dims}, depths={depths}."
            )
        if not (0 <= dropout < 1 and 0 <= drop_prob < 1 and max_shift >= 0):
            raise ConfigError(
                "ConvEncoder: 0 <= dropout < 1 and 0 <= drop_prob < 1 and max_shift >= 0 must hold; "
                f"got dropout={dropout}, drop_prob={drop_prob}, "
                f"max_shift={max_shift}."
            )
        self.embed_width = dims[0]
        self.patches = Patches(spec, dims[0], side=side or patch_side(spec.image_size, 16), max_shift=max_shift)
        layers: list[nn.Module] = []
        n_blocks, done, grid = sum(depths), 0, self.patches.grid
        self.grids, self.ends, widths = [grid], [0], []  # of each stage: its grid on entry, where its layers end
        for i, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            if i:
                # a side of 5 or less is kept: the result is about 4 x 4 tokens whatever the picture's size
                stride = (2 if grid[0] > 5 else 1, 2 if grid[1] > 5 else 1)
                layers.append(nn.Conv2d(dims[i - 1], dim, 3, stride=stride, padding=1))
                grid = (-(-grid[0] // stride[0]), -(-grid[1] // stride[1]))
            for _ in range(depth):
                done += 1
                layers.append(_Residual(dim, drop_prob=drop_prob * done / n_blocks))
            if len(layers) > self.ends[-1]:
                self.grids.append(grid)
                self.ends.append(len(layers))
                widths.append(dim)
        if not layers:
            self.ends.append(0)
        self.trunk = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(dims[-1])
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(dims[-1], width)
        self.stage_widths = (*widths[:-1], width)

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> ConvEncoder:
        # on 2,000 pictures of 32 pixels twice the channels were no better, and a third slower
        dims = (16, 24, 48) if n_rows < 5_000 else (16, 32, 64) if n_rows < 20_000 else (32, 64, 128)
        return cls(spec, width, dims=dims, dropout=dropout)

    def embed(self, raw: Raw) -> Tokens:
        return self.patches(raw)  # type: ignore[no-any-return]

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        x = torch.unflatten(tokens.values.transpose(1, 2), 2, self.grids[i])
        for layer in list(self.trunk)[self.ends[i] : self.ends[i + 1]]:
            x = layer(x)
        values = x.flatten(2).transpose(1, 2)
        if i == len(self.stage_widths) - 1:
            values = self.project(self.dropout(self.norm(values)))
        return Tokens(values, tokens.present[:, None].expand(-1, values.shape[1]))

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.stage_widths)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)
