"""Vectors of cells on disk: by the content of the cell and by what made them, so that nothing is made twice.

A folder for each embedding holds files of vectors. A file is written whole or not at all, and never changed; where
there are many, they become one. Several processes may read and write at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from profuse._cache import cache_folder
from profuse._saving import claimed, remove, write_file
from profuse.data.embeddings._base import Sound
from profuse.errors import DataError, ProfuseError

__all__ = ["Kept", "VectorCache", "clear_vectors", "digest_of_cell", "kept_vectors", "vectors_folder"]

_ABOUT = "about.json"
_MOST_FILES = 24
_TRIES = 5


def vectors_folder() -> Path:
    """Returns the folder of all embeddings: `embeddings` in `profuse._cache.cache_folder`."""
    return cache_folder() / "embeddings"


def digest_of_cell(cell: Any) -> bytes:
    """Returns 16 bytes that stand for the content of a cell."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(cell, str):
        digest.update(b"text\0" + cell.encode("utf-8", "surrogatepass"))
        return digest.digest()
    if isinstance(cell, Sound):
        digest.update(f"{cell.rate} Hz\0".encode())
        cell = cell.samples
    values = np.ascontiguousarray(cell)
    digest.update(f"{values.dtype} {values.shape}\0".encode())
    digest.update(values.tobytes())
    return digest.digest()


class VectorCache:
    """The vectors that one embedding has made.

    Args:
        name: Of the embedding, for people.
        identity: Of what made the vectors: another one has a folder of its own.
    """

    def __init__(self, name: str, identity: str) -> None:
        self.name = name
        self.folder = vectors_folder() / hashlib.sha256(identity.encode()).hexdigest()[:32]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the folder against other processes that make vectors of the same embedding, and waits for them."""
        with claimed(self.folder, wait=24 * 3600.0):
            yield

    def get(self, digests: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Returns what is kept of cells, float32 `[channel]` or `[token, channel]`, by their digests.

        Raises:
            DataError: A file is damaged.
        """
        for attempt in range(_TRIES):
            try:
                return self._read(set(digests))
            except FileNotFoundError:  # files have become one meanwhile
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"))

    def _read(self, wanted: set[bytes]) -> dict[bytes, np.ndarray]:
        result: dict[bytes, np.ndarray] = {}
        for file in self._files():
            if len(result) == len(wanted):
                break
            result |= _vectors_in(file, wanted - result.keys())
        return result

    def put(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Keeps vectors of cells by their digests. Only who holds the folder (`writing`) calls it."""
        from safetensors.numpy import save

        if not vectors:
            return
        if not (self.folder / _ABOUT).exists():
            write_file(self.folder / _ABOUT, json.dumps({"name": self.name}))
        files = self._files()
        if len(files) >= _MOST_FILES:
            vectors = {k: v for file in files for k, v in _vectors_in(file, None).items()} | dict(vectors)
        keys = sorted(vectors)
        rows = [np.atleast_2d(np.asarray(vectors[key], dtype=np.float32)) for key in keys]
        packed: dict[str, np.ndarray] = {
            "digests": np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1),
            "ends": np.cumsum([len(r) for r in rows], dtype=np.int64),
            "is_vector": np.array([vectors[key].ndim == 1 for key in keys]),
            "values": np.concatenate(rows),
        }
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:32]
        target = self.folder / f"{name}.safetensors"
        write_file(target, save(packed))
        for file in files if len(files) >= _MOST_FILES else ():
            if file != target:
                file.unlink(missing_ok=True)


def _vectors_in(file: Path, wanted: set[bytes] | None) -> dict[bytes, np.ndarray]:
    """Returns the vectors of a file, those of `wanted` alone unless it is None."""
    from safetensors import SafetensorError, safe_open

    if not file.exists():
        raise FileNotFoundError(file)
    try:
        with safe_open(file, "numpy") as held:
            keys = [row.tobytes() for row in held.get_tensor("digests")]
            ends, is_vector = held.get_tensor("ends").tolist(), held.get_tensor("is_vector").tolist()
            values = held.get_slice("values")
            result = {}
            for key, begin, end, one in zip(keys, [0, *ends[:-1]], ends, is_vector, strict=True):
                if wanted is None or key in wanted:
                    rows = values[begin:end]
                    result[key] = rows[0] if one else rows
            return result
    except (SafetensorError, ValueError, IndexError, TypeError) as error:
        raise DataError(
            f"{file}: it must be what profuse has written; got {error}. Delete it: its vectors are made again."
        ) from error


@dataclass(frozen=True)
class Kept:
    """What is kept of an embedding.

    Attributes:
        name: Of the embedding.
        folder: Where.
        n_bytes: On disk.
    """

    name: str
    folder: Path
    n_bytes: int


def kept_vectors() -> list[Kept]:
    """Returns what is kept, the largest first."""
    result = []
    for folder in sorted(vectors_folder().glob("*/")):
        try:
            name = str(json.loads((folder / _ABOUT).read_text(encoding="utf-8"))["name"])
        except (OSError, ValueError, KeyError, TypeError):  # a process writes the first of it, or it is damaged
            name = "?"
        result.append(Kept(name, folder, sum(f.stat().st_size for f in folder.glob("*.safetensors"))))
    return sorted(result, key=lambda kept: -kept.n_bytes)


def clear_vectors(name: str | None = None) -> list[Kept]:
    """Removes what is kept, of the embedding `name` or of all, and returns what that was.

    Raises:
        DataError: A process is writing there.
        ProfuseError: Nothing is kept under the name.
    """
    gone = [kept for kept in kept_vectors() if name in (None, kept.name)]
    if name is not None and not gone:
        known = ", ".join(sorted({kept.name for kept in kept_vectors()})) or "nothing"
        raise ProfuseError(f"cache: name must be one under which vectors are kept; got {name!r}. There is: {known}.")
    for kept in gone:
        with claimed(kept.folder):
            remove(kept.folder)
    return gone
