"""What every picture encoder begins with: overlapping convolutions down to a grid of places."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from profuse.encoders._augment import affine, recolour
from profuse.errors import ShapeError
from profuse.schema import Spec
from profuse.tokens import Raw, Tokens

__all__ = ["Stem", "n_groups", "patch_side"]


def patch_side(image_size: tuple[int, int], n_patches: int) -> int:
    """Returns the power of two that divides the longer side into about `n_patches` parts; at least 1."""
    side = 1
    while max(image_size) / (side * n_patches) >= 2**0.5:
        side *= 2
    return side


def n_groups(dim: int) -> int:
    """Returns into how many groups a GroupNorm cuts `dim` channels: 8, or the largest power of two that divides it."""
    return max(g for g in (8, 4, 2, 1) if dim % g == 0)


class Stem(nn.Module):
    """`tokens[place] = conv3(relu(norm(conv5(picture)))) + position`: the `embed` of picture encoders.

    The two convolutions share the stride, so that a place is about `side` pixels; neighbouring places overlap, for an
    edge that touches the border of two would be seen whole by neither. Tokens are in raster order. While training,
    pictures are changed at random.

    Args:
        spec: Channels and size of the pictures.
        dim: Channels of a token.
        side: Pixels from one place to the next: a power of two.
        augment: How far pictures are changed while training: 1 is the usual range, 0 none.
        hidden: Channels between the convolutions.

    Reference:
        Xiao et al.: Early convolutions help transformers see better, NeurIPS 2021; Wu, He: Group normalization, ECCV
        2018.
    """

    def __init__(self, spec: Spec, dim: int, *, side: int, augment: float, hidden: int = 16) -> None:
        super().__init__()
        height, width = spec.image_size
        self.shape = (spec.n_channels, height, width)
        first = min(side, 2 if side <= 4 else side // 2)
        self.grid = (-(-height // side), -(-width // side))
        self.augment = augment
        self.conv1 = nn.Conv2d(spec.n_channels, hidden, 5, stride=first, padding=2)
        self.norm = nn.GroupNorm(n_groups(hidden), hidden)
        self.conv2 = nn.Conv2d(hidden, dim, 3, stride=side // first, padding=1)
        self.position = nn.Parameter(torch.randn(dim, *self.grid) * 0.02)

    def forward(self, raw: Raw) -> Tokens:
        """Returns `Tokens[batch, place, dim]`."""
        if tuple(raw.values.shape[1:]) != self.shape:
            raise ShapeError(
                f"Stem: pictures must be [batch, {', '.join(map(str, self.shape))}]; got "
                f"{tuple(raw.values.shape)}. Transform them with the preprocessor that gave the spec."
            )
        # an absent row may hold anything, NaN too, and 0 * NaN would reach the weights' gradients
        pictures = raw.values.masked_fill(~raw.mask[:, None, None, None], 0.0)
        if self.training and self.augment > 0 and len(pictures):
            pictures = self._changed(pictures)
        x = self.conv1(pictures).contiguous(memory_format=torch.channels_last)  # the order in which tokens lie, too
        x = self.conv2(self.norm(x).relu()) + self.position
        values = x.flatten(2).transpose(1, 2)
        return Tokens(values, raw.mask[:, None].expand(-1, values.shape[1]))

    def _changed(self, pictures: Tensor) -> Tensor:
        pictures = affine(pictures, self.augment)
        return recolour(pictures, self.augment) if self.shape[0] == 3 else pictures
