"""Random numbers of each row by its own content: the same alone, in any table, in any order."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from profuse.data.dataset import Dataset, ModalityData

__all__ = ["Streams", "streams_of"]


class Streams:
    """One random stream for each row, from the seed and a digest of what the row holds.

    Rows that hold the same, to the last bit, share a digest. The first of them gets the stream that it would get alone,
    the second one of its own, and so on, so that copies within one table do not share their draws.

    Args:
        digests: `[row]`: 16 bytes each.
        copies: `[row]`: how many rows with the same digest stand before it.
    """

    def __init__(self, digests: Sequence[bytes], copies: np.ndarray) -> None:
        self._digests, self._copies = digests, copies

    def __len__(self) -> int:
        return len(self._digests)

    def rows(self, index: np.ndarray) -> Streams:
        """Returns those of the rows `index`."""
        return Streams([self._digests[i] for i in index], self._copies[index])

    def alone(self) -> Streams:
        """Returns those that the rows would have alone, copies too."""
        return Streams(self._digests, np.zeros_like(self._copies))

    def uniform(self, n: int, *, purpose: int = 0) -> np.ndarray:
        """Returns numbers in 0..1, `[n, row]`; the first of them are the same for any `n`."""
        drawn = [generator.random(n) for generator in self._generators(purpose)]
        return np.stack(drawn, axis=1) if drawn else np.empty((n, 0))

    def normal(self, n: int, width: int, *, purpose: int = 0) -> np.ndarray:
        """Returns standard normal numbers, `[n, row, width]`."""
        drawn = [generator.standard_normal((n, width)) for generator in self._generators(purpose)]
        return np.stack(drawn, axis=1) if drawn else np.empty((n, 0, width))

    def _generators(self, purpose: int) -> Iterator[np.random.Generator]:
        for digest, copy in zip(self._digests, self._copies, strict=True):
            key = np.frombuffer(digest, dtype="<u8")
            counter = np.array([0, 0, purpose, copy], dtype=np.uint64)
            yield np.random.Generator(np.random.Philox(counter=counter, key=key))


def streams_of(dataset: Dataset, *, seed: int, whose: str) -> Streams:
    """Returns the streams of the rows of `dataset`, by all that they hold and by their ids.

    Args:
        dataset: The rows.
        seed: Of all of them.
        whose: What is drawn: other names, other draws.
    """
    hashes = [hashlib.blake2b(f"{seed}\0{whose}".encode(), digest_size=16) for _ in range(len(dataset))]
    for name in sorted(dataset.modalities):
        for digest, cell in zip(hashes, _cells(dataset.modalities[name]), strict=True):
            _feed(digest, cell)
    if dataset.ids is not None:
        for digest, row in zip(hashes, dataset.ids, strict=True):
            _feed(digest, str(row).encode("utf-8", "surrogatepass"))
    digests = [digest.digest() for digest in hashes]
    before: Counter[bytes] = Counter()
    copies = np.zeros(len(digests), dtype=np.int64)
    for i, key in enumerate(digests):
        copies[i] = before[key]
        before[key] += 1
    return Streams(digests, copies)


def _feed(digest: Any, cell: bytes) -> None:
    digest.update(len(cell).to_bytes(8, "little"))  # so that ("ab", "c") is not ("a", "bc")
    digest.update(cell)


def _cells(data: ModalityData) -> list[bytes]:
    """Returns what each row holds; nothing where it is absent."""
    if data.frame is not None:
        columns = [_words(data.frame[name]) for name in data.frame]
        rows = [repr(cells).encode() for cells in zip(*columns, strict=True)]
        return [row if there else b"" for row, there in zip(rows, data.present, strict=True)]
    return [_content(value) if there else b"" for value, there in zip(data.values, data.present, strict=True)]


def _words(cells: pd.Series) -> list[str]:
    return ["" if lost else _word(cell) for cell, lost in zip(cells.tolist(), cells.isna(), strict=True)]


def _word(cell: Any) -> str:
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        return repr(float(cell) + 0.0)  # 1 and 1.0 are one number, 0.0 and -0.0 too
    return str(cell)


def _content(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    array = np.asarray(value)
    plain = array if array.dtype.kind in "biu" else np.where(np.isnan(array), np.nan, array) + 0.0
    return f"{plain.shape}".encode() + np.ascontiguousarray(plain).tobytes()
