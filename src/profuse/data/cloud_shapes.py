"""What clouds look like, in numbers: moments, distances, and where points lie. Nothing in it is learned."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cloud_shapes", "n_shape_numbers"]

_N_SEEN, _N_PAIRED = 256, 64  # points that are looked at; that are paired
_RADII = torch.linspace(0.25, 2.0, 8, device="cpu")
_DISTANCES = torch.linspace(0.2, 3.0, 15, device="cpu")
_KNOTS = torch.linspace(-2.0, 2.0, 5, device="cpu")  # of a grid about the middle, in radii
_SMALL = 1e-6


def n_shape_numbers(n_channels: int) -> int:
    """Returns how many numbers `cloud_shapes` gives of `n_channels`: those of a `PointPreprocessor`."""
    return 1 + 3 + 1 + 6 + 3 + 6 + 2 + len(_RADII) + len(_DISTANCES) + len(_KNOTS) ** 3 + 2 * (n_channels - 6)


def cloud_shapes(values: Tensor, mask: Tensor) -> Tensor:
    """Returns `[row, number]`: what describes a cloud, whatever the order in which its points were given.

    In order: log of 1 + points; the middle; log of the radius r (root mean square). In units of r: covariance and
    skewness, the box, and two invariants of the covariance under rotation; the shares of points within 8 radii of the
    middle, and of pairs of points within 15 distances (the shape distribution D2); the shares of points at the
    5 x 5 x 5 places of a grid of 4 r a side, each shared linearly between its neighbours. Means and deviations of
    further channels. Of more than 256 points 256 are looked at, evenly along their curve; 64 are paired.

    Args:
        values: `[row, point, channel]` of a `PointPreprocessor`.
        mask: `[row, point]` bool, real points first.

    Reference:
        Osada et al. 2002, Shape distributions.
    """
    n = mask.sum(1, keepdim=True)
    seen, real = _evenly(values, n, _N_SEEN), _real(n, _N_SEEN)
    share = (real / real.sum(1, keepdim=True).clamp(min=1)).to(values.dtype)[..., None]
    xyz = seen[..., :3]
    xyz = xyz - (xyz * share).sum(1, keepdim=True)
    square = (xyz.square().sum(2, keepdim=True) * share).sum(1, keepdim=True)
    radius = (square + _SMALL).sqrt()
    unit = xyz / radius
    held = unit.masked_fill(share == 0, 0.0)
    x, y, z = unit.unbind(2)
    products = torch.stack([x * x, y * y, z * z, x * y, x * z, y * z], 2)
    covariance = (products * share).sum(1)
    a, b, c, d, e, f = covariance.unbind(1)
    minors = a * b + a * c + b * c - d * d - e * e - f * f
    volume = a * b * c + 2 * d * e * f - a * f * f - b * e * e - c * d * d
    distance = unit.square().sum(2, keepdim=True).sqrt()
    radial = ((distance <= _RADII.to(values)) * share).sum(1)
    place = (1 - (unit.clamp(-2, 2)[..., None] - _KNOTS.to(values)).abs()).clamp(min=0) * share[..., None] ** (1 / 3)
    grid = torch.einsum("bni,bnj,bnk->bijk", place[:, :, 0], place[:, :, 1], place[:, :, 2])
    others = seen[..., 3:-3]
    mean = (others * share).sum(1)
    deviation = ((others - mean[:, None]).square() * share).sum(1).sqrt()
    numbers = [
        n.to(values.dtype).log1p(),
        (seen[..., -3:] * share).sum(1),
        radius[:, :, 0].log(),
        covariance,
        ((unit**3) * share).sum(1),
        held.amin(1),
        held.amax(1),
        torch.stack([minors, volume], 1),
        radial,
        _pairs(_evenly(seen, real.sum(1, keepdim=True), _N_PAIRED)[..., :3] / radius),
        grid.flatten(1),
        mean,
        deviation,
    ]
    return torch.cat(numbers, 1) * (n > 0)


def _evenly(values: Tensor, n: Tensor, most: int) -> Tensor:
    """Returns `[row, most, channel]`: `most` of the n points of each row, evenly; points again where n is less."""
    at = ((torch.arange(most, device=values.device) + 0.5) * n / most).long()
    at = torch.where(n > most, at, torch.minimum(torch.arange(most, device=values.device), n - 1)).clamp(min=0)
    return values.gather(1, at[..., None].expand(-1, -1, values.shape[2]))


def _real(n: Tensor, most: int) -> Tensor:
    return torch.arange(most, device=n.device) < n


def _pairs(points: Tensor) -> Tensor:
    """Returns the shares of pairs that are no farther apart than each of the distances."""
    square = points.square().sum(2)
    apart = (square[:, :, None] + square[:, None] - 2 * points @ points.transpose(1, 2)).clamp(min=0)
    counts = [(apart <= limit * limit).to(points.dtype).mean((1, 2)) for limit in _DISTANCES.tolist()]
    return torch.stack(counts, 1)
