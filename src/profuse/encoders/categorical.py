"""Categories -> vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from profuse.errors import ConfigError

__all__ = ["CategoryEmbedding"]


class CategoryEmbedding(nn.Module):
    """e_c(k) = bias_c + E_c[k], with E_c[0] = 0: a category that train has not seen is the bias of its column.

    A code outside of 0..cardinality-1 counts as 0.

    Args:
        cardinalities: For each column, its number of codes, 0 included.
        width: Channels of an embedding.

    Shape:
        long `[batch, column]` to `[batch, column, width]`.
    """

    offsets: Tensor
    cardinalities: Tensor

    def __init__(self, cardinalities: Sequence[int], width: int) -> None:
        super().__init__()
        if any(n < 1 for n in cardinalities):
            raise ConfigError(
                f"CategoryEmbedding: cardinalities must be at least 1; got cardinalities={list(cardinalities)}."
            )
        sizes = torch.tensor(cardinalities, dtype=torch.long)
        # one table for all columns: row 0 is theirs together, then the codes 1.. of each column
        self.register_buffer("offsets", (sizes - 1).cumsum(0) - (sizes - 1), persistent=False)
        self.register_buffer("cardinalities", sizes, persistent=False)
        self.bias = nn.Parameter(torch.empty(len(sizes), width).uniform_(-(width**-0.5), width**-0.5))
        self.table = nn.Embedding(1 + sum(n - 1 for n in cardinalities), width, padding_idx=0)
        with torch.no_grad():
            self.table.weight[1:].uniform_(-(width**-0.5), width**-0.5)

    def forward(self, codes: Tensor) -> Tensor:
        seen = (codes > 0) & (codes < self.cardinalities)
        rows = (codes + self.offsets).masked_fill(~seen, 0)
        out: Tensor = self.bias + self.table(rows)
        return out
