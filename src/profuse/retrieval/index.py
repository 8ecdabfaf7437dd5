"""Rows of one modality, kept to be searched: exact, by the cosine. An index is saved, loaded and grown."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from profuse._folder import check_place, write_folder
from profuse.data.wording import tell_rows, tell_values
from profuse.errors import ConfigError, DataError
from profuse.retrieval.saving import INDEX, facts_of

if TYPE_CHECKING:
    from profuse.retrieval.reading import Data
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
        rows: `[query, k]`: row numbers of the items in the data that were indexed, from 0; of data that were added,
            counted on.
    """

    ids: np.ndarray
    similarities: np.ndarray
    rows: np.ndarray


class Index:
    """The places of one modality's rows; made by `Retriever.index`, empty at first.

    Args:
        retriever: Retriever the queries.
        modality: What is found.

    Attributes:
        vectors: `[item, dim]`, of length 1.
        ids: `[item]`.
        rows: `[item]`: the row number of each.
        n_rows: Rows that were given.
        n_left_out: Those that lack the modality.
    """

    def __init__(self, retriever: Retriever, modality: str) -> None:
        retriever.kind(modality)  # is known
        self.retriever, self.modality = retriever, modality
        self.vectors = np.empty((0, 0), dtype=np.float32)
        self.ids: np.ndarray = np.empty(0, dtype=np.int64)
        self.rows = np.empty(0, dtype=np.int64)
        self.n_rows = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Index({self.modality!r}, {len(self)} rows, {self.vectors.shape[1]} dimensions)"

    @property
    def n_left_out(self) -> int:
        """Rows that lack the modality."""
        return self.n_rows - len(self)

    def add(self, data: Data) -> Self:
        """Adds the rows of `data`; those without the modality are left out.

        Their numbers, and ids where they have none, go on from those that are there.

        Returns:
            The index itself.

        Raises:
            DataError: No row has the modality; an id is there already; or only one of new and old rows have ids.
        """
        dataset = self.retriever.read(data, [self.modality])
        vectors = self.retriever.embed(dataset, self.modality)
        present = np.flatnonzero(np.abs(vectors).sum(1) > 0)
        if not len(present):
            raise DataError(
                f"Index: at least one row must have {self.modality!r}; got none of {len(dataset)}. Give rows that have."
            )
        rows = self.n_rows + np.arange(len(dataset))
        if dataset.ids is None:
            ids: np.ndarray = rows
        else:
            ids = np.empty(len(dataset), dtype=object)
            ids[:] = [_plain(i) for i in dataset.ids]
        if len(self):
            self._check_ids(dataset.ids is not None, ids[present])
        self.vectors = np.concatenate([self.vectors, vectors[present]]) if len(self) else vectors[present]
        self.ids = np.concatenate([self.ids, ids[present]]) if len(self) else ids[present]
        self.rows = np.concatenate([self.rows, rows[present]])
        self.n_rows += len(dataset)
        return self

    def _check_ids(self, named: bool, ids: np.ndarray) -> None:
        if named != (self.ids.dtype == object):
            have, want = ("ids", "none") if named else ("none", "ids")
            raise DataError(f"Index.add: rows must have ids as those before them; got {have}, not {want}. {_AS_BEFORE}")
        twice = list(dict.fromkeys(i for i in ids if i in set(self.ids.tolist()))) if named else []
        if twice:
            raise DataError(
                f"Index.add: each row must have an id of its own; in the index already: {tell_values(twice)}. Add new "
                "rows only, or make the index anew."
            )

    def search(self, data: Data, modality: str, k: int = 10) -> Found:
        """Finds the `k` items that are nearest to each row of `data`.

        Every item is compared with every query, in chunks: k largest cosines, equal ones in the order of rows.

        Args:
            data: Queries: a DataFrame, a dict of arrays, or a `Dataset`; only `modality` is read.
            modality: What is asked by; the index's own is allowed.
            k: Items a query, at most as many as there are.

        Raises:
            ConfigError: `k` is no whole number, or out of range.
            DataError: A query lacks the modality.
        """
        k = _whole(k)
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
        result = np.concatenate(places)
        return Found(self.ids[result], np.concatenate(near), self.rows[result])

    def save(self, folder: str | Path) -> None:
        """Writes the index, and the retriever that embeds its queries, into `folder`: safetensors and JSON, no pickle.

        Raises:
            CheckpointError: The folder holds something else, or cannot be written.
        """
        facts, weights = facts_of(self.retriever.fitted)
        named = self.ids.dtype == object
        held = {
            "modality": self.modality, "vectors": self.vectors, "rows": self.rows, "n_rows": self.n_rows,
            "ids": self.ids.tolist() if named else None,
        }  # fmt: skip
        check_place(folder, INDEX)
        write_folder(folder, {**facts, "index": held}, weights, INDEX)


_AS_BEFORE = "Give them a column as that of the first rows, or make the index anew."


def _plain(value: Any) -> Any:
    """Returns an id as JSON keeps it: whole numbers and text; all else by its text."""
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, int | str) and not isinstance(value, bool) else str(value)


def _whole(k: Any) -> int:
    """Returns a number of items.

    Raises:
        ConfigError: It is no whole number.
    """
    try:
        if isinstance(k, bool | np.bool_):
            raise TypeError
        return operator.index(k)
    except TypeError:
        raise ConfigError(f"Index.search: k must be a whole number; got k={k!r}. Give 10, say.") from None
