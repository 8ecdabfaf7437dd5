"""Linear canonical correlation analysis of two or more views, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Canonical", "canonical", "centred", "double", "whitened"]


def double(x: Tensor) -> Tensor:
    """Returns numbers in double precision, on the CPU where the device has none; a mask as it is, on that device."""
    x = x.cpu() if x.device.type == "mps" else x
    return x.double() if x.is_floating_point() else x


def centred(x: Tensor, rows: Tensor) -> Tensor:
    """Returns `x[batch, channel]` less the mean of the rows that count, bool `[batch]`; the others are 0."""
    x = x.masked_fill(~rows[:, None], 0.0)
    return (x - x.sum(0) / rows.sum().clamp(min=1)).masked_fill(~rows[:, None], 0.0)


@dataclass(frozen=True, eq=False)
class Canonical:
    """`(x_m - means[m]) @ maps[m]` are the canonical variates: `[row, n_dims]`, of variance about 1.

    `correlations[n_dims]` falls; of more than two views it is the mean correlation of a variate over all pairs.
    """

    means: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]
    correlations: Tensor


def whitened(covariance: Tensor, ridge: float) -> Tensor:
    """Returns the Cholesky factor L of `S + ridge (1 + tr S / k) I`: L^-1 x has covariance about I.

    The ridge grows with the scale, so that a factor exists in float32 however large the vectors have become; its
    constant part is there for vectors that do not vary.
    """
    k = covariance.shape[0]
    shift = ridge * (1 + covariance.diagonal().sum() / k)
    identity = torch.eye(k, dtype=covariance.dtype, device=covariance.device)
    factor: Tensor = torch.linalg.cholesky_ex(covariance + shift * identity).L
    return factor


def canonical(views: Sequence[Tensor], present: Tensor, n_dims: int, *, ridge: float) -> Canonical:
    """Returns the best `n_dims` linear maps of each view: the eigenvectors of the whitened cross-covariances.

    With two views this is CCA (the eigenvalues are the canonical correlations), with more it is MCCA: the largest sum
    of covariances of variates whose variances sum to the number of views.

    Args:
        views: `[row, channel]` each, of any widths.
        present: Bool `[row, view]`; each covariance is taken over the rows that have both of its views.
        n_dims: Variates; at most the smallest width.
        ridge: See `whitened`.

    Reference:
        Hotelling 1936; Kettenring 1971 (maximum variance).
    """
    means = [
        v[rows].mean(0) if bool(rows.any()) else v.new_zeros(v.shape[1])
        for v, rows in zip(views, present.T, strict=True)
    ]
    factors, blocks = [], {}
    for i, x in enumerate(views):
        for j, y in enumerate(views[: i + 1]):
            rows = present[:, i] & present[:, j]
            n_rows = (rows.sum() - 1).clamp(min=1)
            blocks[i, j] = centred(x, rows).T @ centred(y, rows) / n_rows
        factors.append(whitened(blocks.pop((i, i)), ridge))
    edges = [0, *torch.tensor([v.shape[1] for v in views]).cumsum(0).tolist()]
    whole = views[0].new_zeros(edges[-1], edges[-1])
    for (i, j), block in blocks.items():
        block = torch.linalg.solve_triangular(factors[i], block, upper=False)
        block = torch.linalg.solve_triangular(factors[j], block.T, upper=False).T
        whole[edges[i] : edges[i + 1], edges[j] : edges[j + 1]] = block
    values, vectors = torch.linalg.eigh(whole + whole.T)
    vectors = vectors.flip(1)[:, :n_dims] * len(views) ** 0.5
    maps = [
        torch.linalg.solve_triangular(factor.T, vectors[low:high], upper=True)
        for factor, low, high in zip(factors, edges[:-1], edges[1:], strict=True)
    ]
    correlations = values.flip(0)[:n_dims].clamp(min=0) / max(1, len(views) - 1)
    return Canonical(tuple(means), tuple(maps), correlations)
