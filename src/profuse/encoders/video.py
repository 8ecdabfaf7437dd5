"""Videos -> tokens, one a frame: the picture and what has changed in it, then a Transformer over time."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from profuse.data.motion import motion_numbers, n_motion_numbers
from profuse.encoders._augment import affine
from profuse.encoders._base import Encoder, Stage, chain
from profuse.encoders._description import Description
from profuse.encoders._hog import PictureDescription
from profuse.encoders._mlp import check_attention, check_layers, heads_for
from profuse.encoders._stem import Stem, n_groups, patch_side
from profuse.errors import ShapeError
from profuse.layers.attention import AttentionBlock
from profuse.layers.sequence import ChannelDropout, Positions
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["VideoDescription", "VideoEncoder"]


class VideoDescription(Description):
    """[description of the mean frame, `profuse.data.motion`]: what a linear path reads.

    Shape:
        `Raw.values[batch, frame, channel, height, width]`, `Raw.mask[batch, frame]` -> `[batch, out_width]`.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.pictures = PictureDescription(
            Spec(kind="image", n_channels=spec.n_channels, image_size=spec.image_size), unit=1.0
        )
        self.out_width = self.pictures.out_width + n_motion_numbers(spec.image_size)

    def forward(self, raw: Raw) -> Tensor:
        values = _clean(raw)
        n = raw.mask.sum(1).clamp(min=1)[:, None, None, None]
        mean = Raw(values.sum(1) / n, raw.present)
        return torch.cat([self.pictures(mean), motion_numbers(values, raw.mask)], dim=1)


class VideoEncoder(Encoder):
    """embed: convolutions over each frame and its difference to the frame before, one token; mix: a Transformer.

    While training, all frames of a video are turned, scaled, sheared and moved alike at random.

    Args:
        spec: Of a fitted `VideoPreprocessor`.
        width: Channels of the tokens, a multiple of `n_heads`.
        dim: Channels of a place in a frame.
        n_blocks: Transformer blocks over time.
        n_heads: Attention heads.
        dropout: Probability of dropping a hidden channel of a row.
        augment: How far videos are changed while training: 1 is the usual range of pictures, 0 none.
        linear_path: Whether a ridge regression of what describes a video is added to the model's outputs
            (`Encoder.linear`, `VideoDescription`).

    Shape:
        `Raw.values[batch, frame, channel, height, width]`, `Raw.mask[batch, frame]`, to `[batch, frame, width]`.

    Reference:
        Arnab et al. 2021, ViViT, model 2 (space first, then time).

    Differs from the paper:
        Overlapping convolutions see space; a frame's change is an input of its own.
    """

    kind: ClassVar[str] = "video"

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        dim: int = 24,
        n_blocks: int = 2,
        n_heads: int = 4,
        dropout: float = 0.1,
        augment: float = 0.5,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        who = "VideoEncoder"
        check_layers(who, dim=dim, dropout=dropout)
        check_attention(who, width, n_blocks=n_blocks, n_heads=n_heads, augment=augment)
        if spec.n_channels < 1 or min(spec.image_size) < 1:
            raise ShapeError(
                f"{who}: the spec must have a channel and a size of frames; got n_channels={spec.n_channels}, "
                f"image_size={spec.image_size}. Take the spec of a fitted VideoPreprocessor."
            )
        self.augment = augment
        of_frame = Spec(kind="image", n_channels=2 * spec.n_channels, image_size=spec.image_size)
        self.stem = Stem(of_frame, dim, side=patch_side(spec.image_size, 8), augment=0.0)
        self.norm = nn.GroupNorm(n_groups(dim), dim)
        self.down = nn.Conv2d(dim, dim, 3, stride=2, padding=1)
        height, across = (-(-side // 2) for side in self.stem.grid)
        self.frame = nn.Linear(dim * height * across, width)
        self.positions = Positions(width)
        self.blocks = nn.ModuleList(AttentionBlock(width, n_heads=n_heads, dropout=dropout) for _ in range(n_blocks))
        self.description = VideoDescription(spec) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.dropout = ChannelDropout(dropout)
        self.stage_widths = (width,) * n_blocks

    @classmethod
    def make(cls, spec: Spec, width: int, *, n_rows: int, dropout: float = 0.1) -> Self:
        """Returns two blocks below 5,000 rows, three from there on; as many heads, up to 4, as divide the width."""
        n_heads = heads_for(width)
        n_blocks, dim = (2, 24) if n_rows < 5_000 else (3, 32)
        return cls(spec, width, dim=dim, n_blocks=n_blocks, n_heads=n_heads, dropout=dropout)

    def embed(self, raw: Raw) -> Tokens:
        if raw.values.ndim != 5 or tuple(raw.values.shape[2:]) != (self.spec.n_channels, *self.spec.image_size):
            raise ShapeError(
                f"VideoEncoder: videos must be [batch, frame, {self.spec.n_channels}, "
                f"{self.spec.image_size[0]}, {self.spec.image_size[1]}]; got {tuple(raw.values.shape)}. Transform them "
                "with the preprocessor that gave the spec."
            )
        x = _clean(raw)
        n_rows, n_frames = x.shape[:2]
        if self.training and self.augment > 0 and n_rows:
            x = torch.unflatten(affine(x.flatten(1, 2), self.augment), 1, (n_frames, -1))
        before = torch.cat([x[:, :1], x[:, :-1]], dim=1)
        both = torch.cat([x, x - before], dim=2)
        tokens = self.stem(Raw(both.flatten(0, 1), raw.mask.flatten()))
        places = torch.unflatten(tokens.values.transpose(1, 2), 2, self.stem.grid)
        seen = self.down(self.norm(places).relu()).relu().flatten(1)
        return Tokens(torch.unflatten(self.frame(seen), 0, (n_rows, n_frames)), raw.mask)

    def _stage(self, i: int, tokens: Tokens) -> Tokens:
        values = self.positions(tokens.values) if i == 0 else tokens.values
        values = self.blocks[i](values, tokens.mask)
        return Tokens(self.dropout(values) if i == len(self.blocks) - 1 else values, tokens.mask)

    def mix_stages(self) -> tuple[Stage, ...]:
        return tuple(partial(self._stage, i) for i in range(len(self.blocks)))

    def mix(self, tokens: Tokens) -> Tokens:
        return chain(self.mix_stages(), tokens)


def _clean(raw: Raw) -> Tensor:
    """Returns the frames, 0 where masked, whatever stood there."""
    return raw.values.masked_fill(~raw.mask[:, :, None, None, None], 0.0)
