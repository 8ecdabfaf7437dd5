"""A folder of facts, arrays and weights: `model.json`, `arrays.safetensors`, `weights.safetensors`. No pickle, no code.

It is written beside its place, which it then takes in one step (see `profuse._saving`); digests stand in the JSON, so
that damage is found before anything is used.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from profuse._files import read_source
from profuse._json import parse_json
from profuse._saving import claimed, new_folder, restore
from profuse.errors import (
    CheckpointError,
    DataError,
    MissingDependencyError,
    NotHereError,
    ProfuseError,
    UnknownNameError,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CARD",
    "Format",
    "applied",
    "check_folder",
    "check_place",
    "digest_of",
    "held_folder",
    "names_in",
    "put_arrays",
    "read_folder",
    "take_arrays",
    "write_folder",
]

_ARRAY, _SHAPE = "@array", "shape"
_FACTS, _FILES = "model.json", ("weights.safetensors", "arrays.safetensors")
CARD = "card.md"
_KNOWN = {_FACTS, *_FILES, CARD, "recall.csv"}
"""What may stand in a folder that is replaced: the last is told of a retriever by the command line."""
_LEFT = re.compile(rf"\.({'|'.join(map(re.escape, sorted(_KNOWN)))})\.(save|lock)")
"""What a process that was stopped has left of those."""
T = TypeVar("T")


@dataclass(frozen=True)
class Format:
    """What a folder holds.

    Attributes:
        what: "model", "retriever".
        version: The newest that is known.
        reader: Who reads it; messages begin with it.
        writers: Who writes it, for messages.
    """

    what: str
    version: int
    reader: str
    writers: str


def take_arrays(value: Any, arrays: dict[str, np.ndarray], path: str) -> Any:
    """Returns JSON in which every array is replaced by its name among `arrays`."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise CheckpointError(f"save: {path} must be an array of numbers; got {value.dtype}. Use a list.")
        arrays[path] = np.ascontiguousarray(value)
        return {_ARRAY: path, _SHAPE: list(value.shape)}
    if isinstance(value, dict):
        return {str(k): take_arrays(v, arrays, f"{path}/{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [take_arrays(v, arrays, f"{path}/{i}") for i, v in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    return value


def put_arrays(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Returns the value whose `take_arrays` this is."""
    if isinstance(value, dict):
        if value.keys() == {_ARRAY, _SHAPE}:
            return arrays[value[_ARRAY]].reshape(value[_SHAPE])
        return {k: put_arrays(v, arrays) for k, v in value.items()}
    if isinstance(value, list):
        return [put_arrays(v, arrays) for v in value]
    return value


def _array_names(value: Any) -> Iterator[str]:
    """Yields the name of each array that `put_arrays` puts in."""
    if isinstance(value, dict) and value.keys() == {_ARRAY, _SHAPE}:
        yield value[_ARRAY]
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _array_names(part)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of(facts: Mapping[str, Any]) -> str:
    """Returns the digest of JSON values but `digests`, whatever their order and layout."""
    kept = {name: value for name, value in facts.items() if name != "digests"}
    return _digest(json.dumps(kept, sort_keys=True, allow_nan=False).encode())


def names_in(folder: Path) -> list[str]:
    """Returns what stands in `folder`, sorted, but for what systems leave in any; nothing if there is none."""
    if not folder.is_dir():
        return []
    names = (p.name for p in folder.iterdir())
    left = (".DS_Store", "Thumbs.db", "desktop.ini"), ("._", ".nfs")
    return sorted(n for n in names if not (n in left[0] or n.startswith(left[1])))


def _is_saved(folder: Path) -> bool:
    """Whether all that stands in `folder` is what `write_folder` writes, damaged or not."""
    names = {name for name in names_in(folder) if not _LEFT.fullmatch(name)}
    if {_FACTS, *_FILES} <= names:
        return names <= _KNOWN
    try:
        facts = parse_json((folder / _FACTS).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and "digests" in facts and names <= _KNOWN


@contextmanager
def held_folder(folder: str | Path) -> Iterator[Path]:
    """Holds the place of a saved model against other processes, before hours of training rather than after.

    Yields:
        The folder, links followed.

    Raises:
        CheckpointError: It holds something else than a saved model, cannot be replaced or written, or another process
            writes there.
    """
    place = Path(os.path.realpath(folder))
    with ExitStack() as stack:
        try:
            stack.enter_context(claimed(place))
            _check_place(folder, place)
        except DataError as error:
            raise CheckpointError(f"save: {error}") from error
        except OSError as error:
            raise _unwritable(folder, error) from error
        yield place


def check_folder(folder: str | Path) -> Path:
    """Checks that a model may be saved in `folder` now, and returns it, links followed.

    Raises:
        CheckpointError: See `held_folder`.
    """
    with held_folder(folder) as place:
        return place


def _check_place(folder: str | Path, place: Path) -> None:
    if not place.exists():
        return
    if not place.is_dir() or (names_in(place) and not _is_saved(place)):
        raise CheckpointError(
            f"save: {folder} must be new, empty or a saved model; it holds something else. Name another folder."
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    fixed = "the working folder" if place == Path.cwd() else "a mount point" if os.path.ismount(place) else ""
    if fixed:
        raise CheckpointError(
            f"save: {folder} must be a folder that can be replaced; it is {fixed}. Name a folder in it."
        )


def _unwritable(folder: str | Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"save: {folder} must be writable; {error.strerror or error}. Name another folder, or make room in it."
    )


def check_place(folder: str | Path, form: Format) -> None:
    """Checks that what is saved at `folder`, if anything, is of the same form: else it would be replaced.

    Raises:
        CheckpointError: It is of another.
    """
    try:
        facts = parse_json((Path(folder) / _FACTS).read_bytes())
        held = facts.get("what", "model") if isinstance(facts, dict) else form.what
    except (OSError, ValueError):
        return  # nothing readable: whether it may be replaced is checked when it is written
    if held != form.what:
        raise CheckpointError(
            f"{form.reader.partition('.')[0]}.save: {folder} must be new, empty or a saved {form.what}; it holds a "
            f"saved {held}. Name another folder."
        )


def write_folder(
    folder: str | Path,
    facts: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    form: Format,
    *,
    beside: Mapping[str, str] | None = None,
) -> None:
    """Writes facts (JSON values, and arrays among them) and weights, in place of what was saved there before.

    Args:
        folder: Where to.
        facts: Of it.
        weights: Of it.
        form: What it is.
        beside: Files for people, by name: nothing reads them, and they may be changed.

    Raises:
        CheckpointError: `folder` is none that `held_folder` lets pass, or the disk is full.
    """
    from safetensors import numpy as of_numpy
    from safetensors import torch as of_torch

    arrays: dict[str, np.ndarray] = {}
    written: dict[str, Any] = {"what": form.what, "format": form.version}
    written |= {name: take_arrays(value, arrays, name) for name, value in facts.items()}
    contents = {
        "weights.safetensors": of_torch.save({k: v.detach().cpu().contiguous() for k, v in weights.items()}),
        "arrays.safetensors": of_numpy.save(arrays),
    }
    written["digests"] = {_FACTS: digest_of(written)} | {name: _digest(c) for name, c in contents.items()}
    contents[_FACTS] = json.dumps(written, indent=1, allow_nan=False).encode()
    contents |= {name: text.encode(errors="backslashreplace") for name, text in (beside or {}).items()}
    with held_folder(folder) as place:
        try:
            with new_folder(place) as new:
                for name, content in contents.items():
                    (new / name).write_bytes(content)
        except OSError as error:
            raise _unwritable(folder, error) from error


def read_folder(folder: str | Path, rebuild: Callable[[dict[str, Any], dict[str, Tensor]], T], form: Format) -> T:
    """Reads what `write_folder` wrote and returns `rebuild(facts, weights)`.

    Raises:
        CheckpointError: The folder holds no such thing, is damaged, or is of a newer version.
    """
    from safetensors import numpy as of_numpy
    from safetensors import torch as of_torch

    folder = Path(folder)
    where = f"{form.reader}: {folder}"
    contents = _contents(folder, where, form)
    try:
        facts = parse_json(contents[_FACTS])
        what, number, digests = facts["what"], facts["format"], dict(facts["digests"])
        if type(number) is not int:
            raise TypeError(f"format={number!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{where}: model.json must be readable; got {_brief(error)}. Save it again.") from error
    if what != form.what:
        raise _other(where, f"it holds a saved {what}", form)
    if not 1 <= number <= form.version:
        raise CheckpointError(
            f"{where} must be of format {form.version}; got format={number}. A newer one was saved by a newer "
            "profuse: upgrade this one."
        )
    there = {name: _digest(contents[name]) for name in _FILES} | {_FACTS: digest_of(facts)}
    for name, digest in there.items():
        if digest != digests.get(name):
            raise CheckpointError(
                f"{where}: {name} must have the digest that model.json names; it is damaged. "
                f"Copy the folder again, or fit the {what} again."
            )
    try:
        arrays = of_numpy.load(contents["arrays.safetensors"])
        if unused := arrays.keys() - set(_array_names(facts)):
            raise ValueError(f"arrays that model.json does not name: {sorted(unused)[:3]}")
        return rebuild(put_arrays(facts, arrays), of_torch.load(contents["weights.safetensors"]))
    except (CheckpointError, MissingDependencyError):
        raise
    except NotHereError as error:
        raise CheckpointError(
            f"{where}: the pretrained model that it reads must be where it was when it was fitted; got: {error} A path "
            "that is not whole begins in the working directory: begin where it was fitted, or fit with a whole path."
        ) from error
    except UnknownNameError as error:
        raise CheckpointError(
            f"{where}: its parts must fit each other, and be known here; got: {error} If it is a part of your own, "
            "import the module that registers it, or install its package; else save it again."
        ) from error
    except Exception as error:  # whatever a damaged state makes of the parts: it is told as one thing
        raise CheckpointError(f"{where}: its parts must fit each other; got {_brief(error)}. Save it again.") from error


@contextmanager
def applied(source: str) -> Iterator[None]:
    """Tells errors that are not ours in the use of what was read from the folder `source` as one of its parts.

    A folder changed on purpose may be read and still not fit the data. Nothing is done where `source` is empty.
    """
    try:
        yield
    except (ProfuseError, MemoryError):
        raise
    except Exception as error:
        if not source:
            raise
        raise CheckpointError(
            f"{source}: what is saved there must fit these data; got {_brief(error)}. Its files were changed, or "
            "this is a fault of profuse."
        ) from error


def _contents(folder: Path, where: str, form: Format) -> dict[str, bytes]:
    try:
        restore(folder)
        for name in (_FACTS, *_FILES):
            if not (folder / name).is_file():
                swapped = "it is a file, perhaps swapped with another argument"
                lacking = f"{name} is not there" + _inside(folder)
                raise _other(where, swapped if folder.is_file() else lacking, form)
        return {name: read_source(folder / name) for name in (_FACTS, *_FILES)}
    except (DataError, OSError, ValueError) as error:  # a zero byte in the path is a ValueError
        raise CheckpointError(f"{where} must be readable; got {_brief(error)}. Name another folder.") from error


def _other(where: str, holds: str, form: Format) -> CheckpointError:
    return CheckpointError(
        f"{where} must be the folder of a saved {form.what}; {holds}. Name a folder that {form.writers} wrote."
    )


def _inside(folder: Path) -> str:
    """Returns which saved things the folder of a comparison holds; "" of another folder."""
    kept = sorted(str(inside.parent) for inside in folder.glob(f"models/*/{_FACTS}"))
    if not kept:
        return ""
    return f", as it holds a comparison, whose models are {', '.join(kept[:3])}{', ...' if len(kept) > 3 else ''}"


def _brief(error: Exception) -> str:
    """Returns an error in one line, cut where it is long."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else f"{text[:300]}..."
