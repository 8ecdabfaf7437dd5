"""A compact residual CNN over the feature map of an overlapping stem."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.encoders._base import Encoder, Rows, Stage, Suited, chain
from profuse.encoders._hog import NARROW, PictureDescription
from profuse.encoders._stem import Stem, n_groups, patch_side
from profuse.encoders._strength import strength_suited
from profuse.errors import ConfigError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["ConvEncoder"]


class _Residual(nn.Module):
    """`x + drop(conv(relu(norm(conv(relu(norm(x)))))))`, without coupling of rows.

    GroupNorm sees one row only. `drop` leaves out the whole branch of a row (stochastic depth), at random.
    """

    def __init__(self, dim: int, *, drop_prob: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(n_groups(dim), dim), nn.GroupNorm(n_groups(dim), dim)
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
    """`mix = residual 3 x 3 convolutions over the stem's feature map`, down to about 4 x 4 tokens.

    `embed` is a stem of overlapping convolutions, about 16 places a side, with a learned position (`Stem`). `mix`
    alternates residual blocks with convolutions of stride 2.

    Args:
        spec: Channels and size of the pictures.
        width: Channels of the returned tokens.
        dims: Channels of each stage; the grid is halved from one to the next.
        depths: Residual blocks of each stage.
        side: Pixels from one place of the stem to the next, a power of two; chosen by size if None.
        dropout: Probability of leaving out a channel before the last map.
        drop_prob: Probability of leaving out the last residual branch; earlier ones less, linearly.
        augment: How far pictures are turned, scaled, sheared, moved and recoloured while training: 1 is the usual
            range, 0 none. Where position or direction tells (letters on their line) it does harm; unless it is given,
            validation rows choose (`strength_suited`).
        linear_path: Whether a ridge regression of gradient histograms, a thumbnail and colours is added to the model's
            outputs (`Encoder.linear`, `PictureDescription`).

    Shape:
        Raw `[batch, channel, height, width]` -> `embed` `[batch, place, dims[0]]` -> `[batch, 9 to 36, width]` for
        square pictures.

    Reference:
        He et al.: Identity mappings in deep residual networks, ECCV 2016; Huang et al.: Deep networks with
        stochastic depth, ECCV 2016; Simard et al.: Best practices for convolutional neural networks applied to visual
        document analysis, ICDAR 2003 (the random changes).
    """

    kind: ClassVar[str] = "image"
    linear_frequencies = NARROW

    def __init__(
        self,
        spec: Spec,
        width: int,
        *,
        dims: tuple[int, ...] = (32, 64, 96),
        depths: tuple[int, ...] = (1, 1, 1),
        side: int | None = None,
        dropout: float = 0.1,
        drop_prob: float = 0.1,
        augment: float = 1.0,
        linear_path: bool = True,
    ) -> None:
        super().__init__(spec, width)
        if len(dims) != len(depths) or not dims or min(dims) < 1 or min(depths) < 0:
            raise ConfigError(
                "ConvEncoder: dims and depths must have one entry a stage, dims at least 1 and depths at least 0; "
                f"got dims={dims}, depths={depths}."
            )
        if not (0 <= dropout < 1 and 0 <= drop_prob < 1 and augment >= 0):
            raise ConfigError(
                "ConvEncoder: 0 <= dropout < 1 and 0 <= drop_prob < 1 and augment >= 0 must hold; "
                f"got dropout={dropout}, drop_prob={drop_prob}, augment={augment}."
            )
        self.description = PictureDescription(spec) if linear_path else None
        self.n_linear = 0 if self.description is None else self.description.out_width
        self.embed_width = dims[0]
        self.stem = Stem(spec, dims[0], side=side or patch_side(spec.image_size, 16), augment=augment)
        layers: list[nn.Module] = []
        n_blocks, done, grid = sum(depths), 0, self.stem.grid
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
        small = max(spec.image_size) < 45  # each place of the stem is two pixels or fewer
        dims, depths = ((16, 32, 64), (0, 1, 1)) if small else ((32, 64, 96), (1, 1, 1))
        if n_rows >= 20_000:
            dims, depths = (32, 64, 128), (1, 1, 1)
        return cls(spec, width, dims=dims, depths=depths, dropout=dropout)

    @classmethod
    def suited(cls, spec: Spec, train: Rows, valid: Rows) -> Suited | None:
        return strength_suited(train, valid)

    def embed(self, raw: Raw) -> Tokens:
        return self.stem(raw)  # type: ignore[no-any-return]

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
