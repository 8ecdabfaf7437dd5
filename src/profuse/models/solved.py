"""Linear paths that have been solved for the same rows: methods and seeds of a comparison share them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Solution", "Solved", "key_of"]

_MOST_BYTES = 256_000_000


@dataclass(frozen=True, eq=False)
class Solution:
    """What solving has made.

    Attributes:
        state: Of the paths.
        contributions: `Raw.contributions` of all rows, by modality.
        names: Paths that were solved.
    """

    state: Mapping[str, Tensor]
    contributions: Mapping[str, Tensor]
    names: tuple[str, ...]

    @property
    def n_bytes(self) -> int:
        """How much memory it takes."""
        return sum(t.numel() * t.element_size() for t in (*self.state.values(), *self.contributions.values()))


class Solved:
    """The solutions used last, 256 MB at most, by all that they depend on; another process begins with none."""

    def __init__(self) -> None:
        self._solutions: OrderedDict[str, Solution] = OrderedDict()

    def __len__(self) -> int:
        return len(self._solutions)

    def __reduce__(self) -> tuple[type[Solved], tuple[()]]:
        return Solved, ()

    def get(self, key: str) -> Solution | None:
        """Returns the solution kept under the key."""
        if key in self._solutions:
            self._solutions.move_to_end(key)
        return self._solutions.get(key)

    def keep(self, key: str, solution: Solution) -> None:
        """Keeps a solution, and drops those used longest ago where there are too many."""
        self._solutions[key] = solution
        while sum(s.n_bytes for s in self._solutions.values()) > _MOST_BYTES:
            self._solutions.popitem(last=False)


def key_of(words: object, tensors: Iterable[Tensor | None]) -> str:
    """Returns a key of words, and of what the tensors hold."""
    digest = hashlib.blake2b(repr(words).encode(), digest_size=16)
    for tensor in tensors:
        about = None if tensor is None else (tuple(tensor.shape), tensor.dtype)
        digest.update(repr(about).encode())
        if tensor is not None:
            digest.update(tensor.detach().contiguous().cpu().numpy().data)
    return digest.hexdigest()
