"""Rows of one modality, kept to be searched: exact, by the cosine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from profuse.data._wording import tell_rows
from profuse.errors import ConfigError, DataError

if TYPE_CHECKING:
    from profuse.retrieval.retriever import Retriever

__all__ = ["Found", "Index"]

_AT_ONCE = 2**25
"""Cosines that are held at a time: 128 MiB."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found, the most similar first.

    Attributes:
        ids: `[query, k]`: the items' ids, or their row numbers where they have none.
        similarities: `[query, k]`: cosines, -1 to 1.
        rows: `[query, k]`: row numbers of the items in the data that were indexed, from 0.
    """

    ids: np.ndarray
    similarities: np.ndarray
    rows: np.ndarray


class Index:
    """The coordinates of one modality's rows; made by `Retriever.index`.

    Args:
        retriever: Embeds the queries.
        modality: What is found.
        vectors: `[row, dim]`, of length 1; 0 where the modality is absent: such a row is left out.
        ids: `[row]`.

    Attributes:
        n_left_out: Rows that lack the modality.
    """

    def __init__(self, retriever: Retriever, modality: str, vectors: np.ndarray, ids: np.ndarray) -> None:
        self.retriever, self.modality = retriever, modality
        self.rows = np.flatnonzero(np.abs(vectors).sum(1) > 0)
        self.vectors, self.ids = vectors[self.rows], ids[self.rows]
        self.n_left_out = len(vectors) - len(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Index({self.modality!r}, {len(self)} rows, {self.vectors.shape[1]} dimensions)"

    def search(self, data: Any, modality: str, k: int = 10) -> Found:
        """Finds the `k` items that are nearest to each row of `data`.

        Every item is compared with every query, in chunks: k largest cosines, equal ones in the order of rows.

        Args:
            data: Queries: a DataFrame, a dict of arrays, or a `Dataset`; only `modality` is read.
            modality: What is asked by; the index's own is allowed.
            k: Items a query, at most as many as there are.

        Raises:
            ConfigError: `k` is out of range.
            DataError: A query lacks the modality.
        """
        if not 1 <= k <= len(self):
            raise ConfigError(f"Index.search: k must be 1 to {len(self)}, the number of items; got k={k}.")
        queries = self.retriever.embed(data, modality)
        absent = np.flatnonzero(np.abs(queries).sum(1) == 0)
        if len(absent):
            raise DataError(
                f"Index.search: every query must have {modality!r}; it is missing in {tell_rows(absent)}. Drop them."
            )
        items = torch.as_tensor(self.vectors)
        near, places = [np.empty((0, k), np.float32)], [np.empty((0, k), np.int64)]
        for part in torch.split(torch.as_tensor(queries), max(1, _AT_ONCE // len(self))):
            cosines = part @ items.T
            values, at = torch.topk(cosines, k, dim=1)
            tied = (cosines >= values[:, -1:]).sum(1) > k  # which of the last ones it has taken is by chance
            whole = torch.sort(cosines[tied], dim=1, descending=True, stable=True)
            values[tied], at[tied] = whole.values[:, :k], whole.indices[:, :k]
            order = np.lexsort((at.numpy(), -values.numpy()))
            near.append(np.take_along_axis(values.numpy(), order, 1))
            places.append(np.take_along_axis(at.numpy(), order, 1))
        found = np.concatenate(places)
        return Found(self.ids[found], np.concatenate(near), self.rows[found])
