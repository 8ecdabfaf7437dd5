"""Numbers -> vectors: piecewise-linear and periodic embeddings, one map for each column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError

__all__ = [
    "BinFeatures",
    "PeriodicEmbedding",
    "PiecewiseLinearCode",
    "PiecewiseLinearEmbedding",
    "fewer_edges",
    "n_linear_bins",
]

_MOST_LINEAR = 1024


def fewer_edges(edges: Sequence[float], n_bins: int) -> tuple[float, ...]:
    """Returns at most `n_bins + 1` of the edges, spread evenly, the first and the last among them."""
    n = min(len(edges), n_bins + 1)
    return tuple(edges[round(i * (len(edges) - 1) / max(1, n - 1))] for i in range(n))


def n_linear_bins(n_columns: int) -> int:
    """Returns in how many bins a linear path should read each of so many numbers: 6, and fewer of more than 128.

    With the number itself and its gaps they are 1,024 features at most, or none.
    """
    return next((n for n in (6, 4, 3, 2) if n_columns * (n + 2) <= _MOST_LINEAR), 0)


class PiecewiseLinearCode(nn.Module):
    """q_ct(x) = clamp((x - edge_t) / (edge_(t+1) - edge_t), 0, 1): how far x has come through bin t of column c.

    Args:
        edges: For each column, strictly ascending bin edges.

    Attributes:
        n_features: Bins of all columns; not read off a buffer, which is empty while a saved model is built anew.

    Shape:
        `[..., column]` to `[..., column, bin]`; bins that a column does not have are 0.

    Raises:
        ConfigError: Edges do not ascend.

    Reference:
        Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning" (2022),
        equation 1.

    Differs from the paper:
        The outer bins are clamped too.
    """

    starts: Tensor
    slopes: Tensor

    def __init__(self, edges: Sequence[Sequence[float]]) -> None:
        super().__init__()
        if any(high <= low for column in edges for low, high in pairwise(column)):
            raise ConfigError(
                "PiecewiseLinearCode: edges must be strictly ascending; got edges that are not. "
                "Sort them and drop the equal ones."
            )
        n_columns, self.n_bins = len(edges), max([0, *(len(column) - 1 for column in edges)])
        self.n_features = sum(max(0, len(column) - 1) for column in edges)
        # a bin that a column does not have has slope 0, so it is 0 for every x
        starts, slopes = torch.zeros(n_columns, self.n_bins), torch.zeros(n_columns, self.n_bins)
        for c, column in enumerate(edges):
            knots = torch.tensor(column, dtype=torch.float64)
            count = max(0, len(column) - 1)
            starts[c, :count] = knots[:count]
            slopes[c, :count] = 1.0 / knots.diff()
        self.register_buffer("starts", starts, persistent=False)
        self.register_buffer("slopes", slopes, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return ((x[..., None] - self.starts) * self.slopes).clamp(0.0, 1.0)


class BinFeatures(nn.Module):
    """`PiecewiseLinearCode` of at most `n_bins` bins a column, side by side, without bins that a column does not have.

    A column of a single bin has none here: the number itself tells as much.

    Args:
        edges: For each column, strictly ascending bin edges, of which some are left out where there are too many.
        n_bins: The most bins of a column; 0: none.

    Shape:
        `[batch, column]`, known `[batch, column]` to `[batch, n_features]`; 0 where a number is not known.
    """

    def __init__(self, edges: Sequence[Sequence[float]], n_bins: int) -> None:
        super().__init__()
        fewer = [fewer_edges(column, n_bins) if n_bins > 0 else () for column in edges]
        self.code = PiecewiseLinearCode([column if len(column) > 2 else () for column in fewer])
        self.n_features = self.code.n_features

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        code: Tensor = self.code(x) * known[..., None]
        return code[:, self.code.slopes > 0]


class PiecewiseLinearEmbedding(nn.Module):
    """e_c(x) = a_c x + b_c + sum_t W_ct q_ct(x), q of `PiecewiseLinearCode`.

    Any piecewise-linear function of a column, with knots at its edges, is linear in this embedding. W starts at 0, so
    that the embedding starts as a linear map and bends as the data ask. A column of fewer than two edges stays linear.

    Args:
        edges: For each column, strictly ascending bin edges.
        width: Channels of an embedding.

    Shape:
        `[batch, column]` to `[batch, column, width]`.

    Reference:
        Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning" (2022),
        equation 1; the linear part and the start at 0 after Gorishniy, Kotelnikov, Babenko, "TabM" (2024).

    Differs from the paper:
        The outer bins are clamped too: beyond the edges only the linear part goes on.
    """

    def __init__(self, edges: Sequence[Sequence[float]], width: int) -> None:
        super().__init__()
        self.code = PiecewiseLinearCode(edges)
        n_columns, n_bins = len(edges), self.code.n_bins
        bound = width**-0.5
        self.linear = nn.Parameter(torch.empty(n_columns, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_columns, width).uniform_(-bound, bound))
        self.bins = nn.Parameter(torch.zeros(n_columns, n_bins, width), requires_grad=n_bins > 0)

    def forward(self, x: Tensor) -> Tensor:
        return x[..., None] * self.linear + self.bias + torch.einsum("bcn,cnd->bcd", self.code(x), self.bins)


class PeriodicEmbedding(nn.Module):
    """e_c(x) = relu(W_c [x, sin(2 pi f_c x), cos(2 pi f_c x)] + b_c), the frequencies f learned.

    Args:
        n_columns: Number of columns.
        width: Channels of an embedding.
        n_frequencies: Frequencies of a column.
        scale: Standard deviation of the frequencies at the start: a larger one bends sooner.

    Shape:
        `[batch, column]` to `[batch, column, width]`.

    Reference:
        Gorishniy, Rubachev, Babenko (2022), section 3.3, "PLR".

    Differs from the paper:
        x itself stands beside its waves, so that the embedding is no periodic function of x.
    """

    def __init__(self, n_columns: int, width: int, *, n_frequencies: int = 16, scale: float = 0.1) -> None:
        super().__init__()
        n_inputs = 1 + 2 * n_frequencies
        self.frequencies = nn.Parameter(
            torch.nn.init.trunc_normal_(torch.empty(n_columns, n_frequencies), std=scale, a=-3 * scale, b=3 * scale)
        )
        bound = n_inputs**-0.5
        self.weight = nn.Parameter(torch.empty(n_columns, n_inputs, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_columns, width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        angle = 2.0 * math.pi * self.frequencies * x[..., None]
        waves = torch.cat([x[..., None], angle.sin(), angle.cos()], dim=-1)
        return torch.einsum("bcn,cnd->bcd", waves, self.weight).add(self.bias).relu()
