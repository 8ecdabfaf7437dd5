"""Pictures as gradient histograms, a thumbnail and colours, of tensors: what a linear path reads of them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profuse.encoders._description import UNIT, Description
from profuse.schema import Spec
from profuse.tokens import Raw

__all__ = ["NARROW", "GradientHistograms", "PictureDescription"]

_GREY_WEIGHTS = (0.299, 0.587, 0.114)  # luma of red, green, blue: ITU-R BT.601
_MAX_SIDE, _THUMBNAIL = 48, 16  # pixels a side
_N_ORIENTATIONS, _BLOCK = 9, 36
_LEVELS = (-0.67, 0.0, 0.67)  # quartiles of standardised pixels
_SHARES = (1.0, 0.5, 0.25)  # of the description's square: gradients, thumbnail, colours
NARROW = (1.2,)
"""Of Gaussian kernels of descriptions: further frequencies, of which pictures have use."""
_SMALL = 1e-4  # as in Dalal and Triggs, so that a block without gradients is 0


class GradientHistograms(nn.Module):
    """Histograms of oriented gradients: in each cell, the gradient's length summed by its direction.

    The formula of `profuse.data.features._pictures.gradient_histograms`: central differences of the luma (one-sided at
    the border), nine directions over half a turn, a pixel's length shared between the nearest two, up to 8 x 8 cells,
    blocks of 2 x 2 cells, each divided by its length, clipped at 0.2 and divided again. All sums along an axis are
    products with matrices, which export.

    Args:
        n_channels: 1 or 3, red, green, blue.
        height: Pixels.
        width: Pixels.

    Attributes:
        n_blocks: Blocks; each gives 36 numbers of length 1, or 0.

    Shape:
        `[row, channel, height, width]` -> `[row, 36 n_blocks]`.

    Reference:
        Dalal, Triggs: Histograms of oriented gradients for human detection, CVPR 2005.
    """

    def __init__(self, n_channels: int, height: int, width: int) -> None:
        super().__init__()
        n_cells = [min(8, max(2, side // 4)) for side in (height, width)]
        self.n_blocks = (n_cells[0] - 1) * (n_cells[1] - 1)
        luma = torch.tensor(_GREY_WEIGHTS if n_channels == 3 else [1 / n_channels] * n_channels, device="cpu")
        self._keep("luma", luma)
        for axis, side, n in (("down", height, n_cells[0]), ("across", width, n_cells[1])):
            self._keep(f"slope_{axis}", _differences(side))
            self._keep(f"cells_{axis}", _cells(side, n))
        self._keep("directions", torch.arange(_N_ORIENTATIONS + 1, device="cpu")[:, None, None].float())

    def _keep(self, name: str, values: Tensor) -> None:
        self.register_buffer(name, values, persistent=False)

    luma: Tensor
    slope_down: Tensor
    slope_across: Tensor
    cells_down: Tensor
    cells_across: Tensor
    directions: Tensor

    def forward(self, pictures: Tensor) -> Tensor:
        luma = (pictures * self.luma[:, None, None]).sum(1)
        down, across = self.slope_down @ luma, luma @ self.slope_across.T
        flat = (down == 0) & (across == 0)  # there length and direction have no slope
        across = across.masked_fill(flat, 1.0)
        length = (down.square() + across.square()).sqrt().masked_fill(flat, 0.0)
        position = torch.atan2(down, across) * (_N_ORIENTATIONS / math.pi) - 0.5
        off = position.remainder(_N_ORIENTATIONS)[:, None] - self.directions
        shares = length[:, None] * (1 - off.abs()).clamp(min=0)
        cells = (self.cells_down @ shares @ self.cells_across.T).permute(0, 2, 3, 1)
        cells = torch.cat([cells[..., :1] + cells[..., -1:], cells[..., 1:-1]], dim=-1)  # half a turn
        rows, columns = (slice(None, -1), slice(1, None)), (slice(None, -1), slice(1, None))
        blocks = torch.cat([cells[:, i, j] for i in rows for j in columns], dim=-1)
        blocks = (blocks / (blocks.square().sum(-1, keepdim=True) + _SMALL).sqrt()).clamp(max=0.2)
        blocks = blocks / (blocks.square().sum(-1, keepdim=True) + _SMALL).sqrt()
        return blocks.flatten(1)


class PictureDescription(Description):
    """[gradients, thumbnail, colours]: of a picture, in which nothing is learned.

    Gradient histograms of at most 48 pixels a side, at most 16 x 16 pixels, and of colours the square root of the share
    of the pixels in each of 4 x 4 x 4 ranges, with mean squares of about 1, 1/2 and 1/4 in a row. Roots, as shares
    themselves differ in the ranges of the background alone.

    Reference:
        Arandjelovic, Zisserman: Three things everyone should know to improve object retrieval, CVPR 2012 (roots).

    *Differs from* the features `hog`: pixels are standardised by channel, so that colours are cut at the quartiles of a
    normal distribution; parts are scaled by their number, not by their variance in training.

    Args:
        spec: Channels and size of the pictures.
        unit: What all numbers are multiplied by.

    Attributes:
        out_width: Numbers of a row.

    Shape:
        `Raw.values[batch, channel, height, width]` -> `[batch, out_width]`; 0 but for the colours of a picture without
        any gradient where a row is absent.
    """

    weighed = True

    def __init__(self, spec: Spec, *, unit: float = UNIT) -> None:
        super().__init__()
        self.unit = unit
        shrink = min(1.0, _MAX_SIDE / max(spec.image_size))
        sides = [max(1, math.floor(side * shrink + 0.5)) for side in spec.image_size]
        for axis, old, new in zip(("down", "across"), spec.image_size, sides, strict=True):
            smaller = min(new, _THUMBNAIL)
            self.register_buffer(f"to_{axis}", _resizing(old, new), persistent=False)
            self.register_buffer(f"small_{axis}", _resizing(new, smaller), persistent=False)
        self.register_buffer("levels", torch.tensor(_LEVELS, device="cpu"), persistent=False)
        codes = torch.arange(4**3 if spec.n_channels == 3 else 0, device="cpu")
        self.register_buffer("codes", codes, persistent=False)
        self.gradients = GradientHistograms(spec.n_channels, sides[0], sides[1])
        self.n_pixels = spec.n_channels * len(self.small_down) * len(self.small_across)
        self.out_width = _BLOCK * self.gradients.n_blocks + self.n_pixels + len(codes)

    to_down: Tensor
    to_across: Tensor
    small_down: Tensor
    small_across: Tensor
    levels: Tensor
    codes: Tensor

    def forward(self, raw: Raw) -> Tensor:
        pictures = raw.values.masked_fill(~raw.mask[:, None, None, None], 0.0)
        pictures = self.to_down @ pictures @ self.to_across.T
        small = self.small_down @ pictures @ self.small_across.T
        parts = [self.gradients(pictures) / self.gradients.n_blocks**0.5, small.flatten(1) / self.n_pixels**0.5]
        if len(self.codes):
            level = sum((pictures > level).to(pictures.dtype) for level in self.levels).flatten(2)
            pair = 4 * level[:, 0] + level[:, 1]
            of_pair, of_third = pair[:, None] == self.codes[:16, None], level[:, 2, None] == self.codes[:4, None]
            counts = of_pair.to(pictures.dtype) @ of_third.to(pictures.dtype).transpose(1, 2)
            parts.append((counts.flatten(1) / level.shape[2]).sqrt())
        return torch.cat([self.unit * part * share**0.5 for part, share in zip(parts, _SHARES, strict=False)], dim=1)


def _differences(side: int) -> Tensor:
    """Returns `[side, side]`: times values it is their central differences, one-sided at both ends."""
    if side == 1:
        return torch.zeros(1, 1, device="cpu")
    eye = torch.eye(side, device="cpu")
    ahead, behind = torch.cat([eye[1:], eye[-1:]]), torch.cat([eye[:1], eye[:-1]])
    steps = torch.full((side, 1), 2.0, device="cpu")
    steps[0] = steps[-1] = 1.0
    return (ahead - behind) / steps


def _cells(side: int, n: int) -> Tensor:
    """Returns `[n, side]`: 1 where a pixel lies in a cell."""
    cell = torch.arange(side, device="cpu") * n // side
    return (torch.arange(n, device="cpu")[:, None] == cell).float()


def _resizing(old: int, new: int) -> Tensor:
    """Returns `[new, old]`: times values it is what bilinear resizing with antialiasing makes of them."""
    eye = torch.eye(old, device="cpu")[None, None]
    return F.interpolate(eye, size=(new, old), mode="bilinear", antialias=True, align_corners=False)[0, 0]
