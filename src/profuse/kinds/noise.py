"""What noise in preprocessed rows is made of; each kind puts these together in its `corrupt`.

With the same draws, what is hit at a low level is hit at all higher ones too.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from profuse.tokens import Raw

__all__ = ["added", "hits", "inside", "interval", "real_first", "run", "swapped", "where_real"]


def hits(shape: torch.Size, p: float, draw: Generator) -> Tensor:
    """Returns bool `shape`: True with probability p, independently."""
    return torch.rand(shape, generator=draw) < p


def added(x: Tensor, deviation: float, draw: Generator) -> Tensor:
    """Returns `x` with N(0, deviation^2) added."""
    return x + deviation * torch.randn(x.shape, generator=draw, dtype=x.dtype)


def where_real(raw: Raw, x: Tensor) -> Raw:
    """Returns `x` where the mask is True; what is not real stays as it is."""
    mask = raw.mask.reshape(raw.mask.shape + (1,) * (x.ndim - raw.mask.ndim))
    return Raw(torch.where(mask, x, raw.values), raw.mask)


def real_first(real: Tensor) -> Tensor:
    """Returns `[row, rank]`: positions of the real entries in their order, then those of the others."""
    return (~real).to(torch.uint8).argsort(dim=1, stable=True)


def swapped(real: Tensor, hit: Tensor, draw: Generator) -> Tensor:
    """Returns `[row, position]`: from where each entry comes when neighbours among the real entries are swapped.

    A pair is swapped where its first entry, by rank among the real ones, is hit.
    """
    rank = torch.arange(real.shape[1]).expand(real.shape)
    is_first = (rank + torch.randint(2, (len(real), 1), generator=draw)) % 2 == 0
    partner = torch.where(is_first, rank + 1, rank - 1)
    swap = hit.gather(1, torch.minimum(rank, partner).clamp(min=0))
    swap &= (torch.minimum(rank, partner) >= 0) & (torch.maximum(rank, partner) < real.sum(1, keepdim=True))
    order = real_first(real)
    return torch.empty_like(order).scatter_(1, order, order.gather(1, torch.where(swap, partner, rank)))


def interval(n: Tensor, share: Tensor | float, draw: Generator) -> tuple[Tensor, Tensor]:
    """Returns start and stop of a run of `share` of `n` places, `[row, 1]`, whose mean length is share * n.

    With the same draws, the run of a smaller share lies within that of a larger one.
    """
    rounding, place = torch.rand(2, *n.shape, generator=draw, dtype=torch.float64)
    length = torch.minimum((share * n + rounding).floor(), n)
    start = (place * (n - length + 1)).floor()
    return start, start + length


def inside(n: int, start: Tensor, stop: Tensor) -> Tensor:
    """Returns `[row, place]`: the places from start on, before stop."""
    return (torch.arange(n) >= start) & (torch.arange(n) < stop)


def run(mask: Tensor, p: float, draw: Generator) -> Tensor:
    """Returns `[row, step]`: one run of p of the real steps."""
    start, stop = interval(mask.sum(1, keepdim=True).double(), p, draw)
    rank = mask.cumsum(1) - 1
    return mask & (rank >= start) & (rank < stop)
