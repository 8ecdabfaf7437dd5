"""Linear paths that have been solved for the same rows: methods and seeds of a comparison share them."""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from profuse._saving import claimed, write_file
from profuse.errors import DataError
from profuse.tokens import Raw

__all__ = ["Solution", "Solved", "key_of"]

_MOST_BYTES = 256_000_000
_LONGEST_WAIT = 3600.0  # seconds, for another process that solves the same


@dataclass(frozen=True, eq=False)
class Solution:
    """What solving a path has made.

    Attributes:
        state: Of the path (`LinearPath.solution`).
        contributions: To all rows, by modality, `[row, output]`.
    """

    state: Mapping[str, Tensor]
    contributions: Mapping[str, Tensor]

    @property
    def n_bytes(self) -> int:
        """How much memory it takes."""
        return sum(t.numel() * t.element_size() for t in (*self.state.values(), *self.contributions.values()))


class Solved:
    """The solutions used last, 256 MB at most, by all that they depend on; and as much of what they read of rows.

    Args:
        folder: Where processes leave solutions for each other: of those that need the same at once one solves, and the
            others wait. None: another process begins with none.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._solutions: OrderedDict[str, Solution] = OrderedDict()
        self._read: OrderedDict[str, tuple[Raw, Tensor]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._solutions)

    def read(self, encoder: nn.Module, raw: Raw, read: Callable[[], Tensor]) -> Tensor:
        """Returns what `read` has made of these very rows with such an encoder, by its repr and its buffers.

        What was used last is kept, 256 MB at most.
        """
        key = key_of((repr(encoder), id(raw.values), id(raw.mask)), encoder.buffers())
        # the rows are kept too, so that no others take their number
        self._read[key] = made = self._read.pop(key, None) or (raw, read())
        while sum(x.numel() * x.element_size() for _, x in self._read.values()) > _MOST_BYTES:
            self._read.popitem(last=False)
        return made[1]

    def __reduce__(self) -> tuple[type[Solved], tuple[Path | None]]:
        return Solved, (self.folder,)

    def solution(self, key: str, solve: Callable[[], Solution]) -> Solution:
        """Returns the solution that is kept under the key, or else what `solve` returns, which is kept then.

        Raises:
            DataError: There is no room in the folder.
        """
        result = self._solutions.get(key)
        if result is None:
            result = solve() if self.folder is None else self._shared(self.folder / key, solve)
        self._solutions[key] = result
        self._solutions.move_to_end(key)
        while sum(s.n_bytes for s in self._solutions.values()) > _MOST_BYTES:
            self._solutions.popitem(last=False)
        return result

    def _shared(self, path: Path, solve: Callable[[], Solution]) -> Solution:
        with claimed(path, wait=_LONGEST_WAIT):
            if path.exists():
                # a temporary file of this very run: never a user's
                result: Solution = pickle.loads(path.read_bytes())
                return result
            made = solve()
            if made.n_bytes <= _MOST_BYTES:
                try:
                    write_file(path, pickle.dumps(made, protocol=5))
                except OSError as error:
                    raise DataError(
                        f"Solved: temporary files must find room in {path.parent}; {error.strerror or error}. Set "
                        "TMPDIR to a folder that has some."
                    ) from error
            return made


def key_of(words: object, tensors: Iterable[Tensor | None]) -> str:
    """Returns a key of words, and of what the tensors hold."""
    digest = hashlib.blake2b(repr(words).encode(), digest_size=16)
    for tensor in tensors:
        about = None if tensor is None else (tuple(tensor.shape), tensor.dtype)
        digest.update(repr(about).encode())
        if tensor is not None:
            digest.update(tensor.detach().contiguous().cpu().numpy().data)
    return digest.hexdigest()
