"""Graphs over rows: what is remembered of the training rows, and graph convolutions that new rows read from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from profuse.errors import ConfigError, ShapeError
from profuse.tokens import Tokens

__all__ = ["GraphConvolutions", "Memory", "checked_neighbours"]


def checked_neighbours(who: str, n_remembered: int, n_neighbours: int, n_layers: int) -> None:
    """Checks the sizes of a graph over rows.

    Raises:
        ConfigError: No layer, no neighbour, or no more rows than neighbours.
    """
    if n_layers < 1 or not 1 <= n_neighbours < n_remembered:
        raise ConfigError(
            f"{who}: n_layers must be at least 1, and n_neighbours at least 1 and below n_remembered; "
            f"got n_layers={n_layers}, n_neighbours={n_neighbours}, n_remembered={n_remembered}."
        )


class Memory(nn.Module):
    """The mean of the tokens of each remembered row and modality, in buffers of a fixed size.

    Args:
        channels: Width of each modality's tokens, in the operator's order.
        n_rows: Rows that it holds, at most.

    Attributes:
        values: `[row, channels of all modalities]`; 0 where there is nothing.
        present: Bool `[row, modality]`; all False where no row is stored.
        count: How many rows are stored.
    """

    values: Tensor
    present: Tensor
    count: Tensor

    def __init__(self, channels: Mapping[str, int], n_rows: int) -> None:
        super().__init__()
        self.widths = list(channels.values())
        self.register_buffer("values", torch.zeros(n_rows, sum(self.widths)))
        self.register_buffer("present", torch.zeros(n_rows, len(self.widths), dtype=torch.bool))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def store(self, who: str, tokens: Mapping[str, Tokens]) -> None:
        """Holds these rows in place of those before; modalities in the order of `channels`.

        Raises:
            ShapeError: More rows than it holds.
        """
        means = torch.cat([t.mean() for t in tokens.values()], dim=1)
        n = len(means)
        if n > len(self.values):
            raise ShapeError(
                f"{who}: at most n_remembered={len(self.values)} rows must be given to remember; got {n}. "
                "Choose some of them, or raise n_remembered."
            )
        self.values.zero_()[:n] = means.detach().to(self.values)
        self.present.fill_(False)[:n] = torch.stack([t.present for t in tokens.values()], dim=1)
        self.count.fill_(n)

    def features(self) -> tuple[Tensor, ...]:
        """Returns what is stored of each modality: `[row, channel]`."""
        return torch.split(self.values, self.widths, dim=1)


class GraphConvolutions(nn.Module):
    """x <- dropout(LeakyReLU(W A x + b)), layer by layer, for remembered rows and for new ones.

    Remembered rows hear each other, a new row hears remembered rows and itself, and nobody hears a new row: so that
    the rows of a batch have nothing to do with each other.

    Args:
        widths: Channels before the first layer and after each.
        dropout: Probability that a channel between two layers is dropped in training.
    """

    def __init__(self, widths: list[int], dropout: float) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, own: Tensor, attached: Tensor, remembered: Tensor, adjacency: Tensor) -> Tensor:
        """Returns the new rows, `[batch, channel]`.

        Args:
            x: New rows, `[batch, channel]`.
            own: Weight of a new row's edge to itself, `[batch, 1]`.
            attached: Weights of its edges to remembered rows, `[batch, row]`.
            remembered: Remembered rows, `[row, channel]`.
            adjacency: Weights of the edges among them, `[row, row]`.
        """
        for i, linear in enumerate(self.maps):
            if i > 0:
                x, remembered = self.dropout(x), self.dropout(remembered)
            x = functional.leaky_relu(linear(own * x + attached @ remembered), 0.25)
            if i + 1 < len(self.maps):
                remembered = functional.leaky_relu(linear(adjacency @ remembered), 0.25)
        return x
