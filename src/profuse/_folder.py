"""A folder of facts, arrays and weights: `model.json`, `arrays.safetensors`, `weights.safetensors`. No pickle, no code.

It is written beside its place and then renamed, so that nothing half-written stays behind, and what was there before
comes back where that fails; digests stand in the JSON, so that damage is found before anything is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from profuse.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Format",
    "check_folder",
    "digest_of",
    "names_in",
    "put_arrays",
    "read_folder",
    "take_arrays",
    "why_unwritable",
    "write_folder",
]

_ARRAY, _SHAPE = "@array", "shape"
_FACTS, _FILES = "model.json", ("weights.safetensors", "arrays.safetensors")
_KNOWN = {_FACTS, *_FILES, "recall.csv"}
"""What may stand in a folder that is replaced: the last is told of a retriever by the command line."""
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
            raise CheckpointError(f"save_model: {path} must be an array of numbers; got {value.dtype}. Use a list.")
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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of(facts: Mapping[str, Any]) -> str:
    """Returns the digest of JSON values but `digests`, whatever their order and layout."""
    told = {name: value for name, value in facts.items() if name != "digests"}
    return _digest(json.dumps(told, sort_keys=True, allow_nan=False).encode())


def names_in(folder: Path) -> list[str]:
    """Returns what stands in `folder`, sorted, but for what systems leave in any; nothing if there is none."""
    if not folder.is_dir():
        return []
    names = (p.name for p in folder.iterdir())
    return sorted(n for n in names if not (n in (".DS_Store", "Thumbs.db", "desktop.ini") or n.startswith("._")))


def _is_saved(folder: Path) -> bool:
    """Whether all that stands in `folder` is what `write_folder` writes."""
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and "digests" in facts and set(names_in(folder)) <= _KNOWN


def why_unwritable(path: Path) -> str:
    """Returns why nothing can be written at `path`, "" where it can: makes an empty folder beside it, and removes it.

    Of folders that are not there yet, the one that they would be made in is tried.
    """
    try:
        above = next(p for p in path.absolute().parents if p.exists())
        os.rmdir(tempfile.mkdtemp(prefix=f".{path.name}-", dir=above))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def check_folder(folder: str | Path) -> Path:
    """Checks that a model may be saved in `folder`, before hours of training rather than after.

    Returns:
        The folder, links followed.

    Raises:
        CheckpointError: It holds something else than a saved model, cannot be replaced, or cannot be written.
    """
    found = Path(os.path.realpath(folder))
    why = why_unwritable(found)
    if not why and found.exists():
        if not found.is_dir() or (names_in(found) and not _is_saved(found)):
            raise CheckpointError(
                f"save_model: {folder} must be new, empty or a saved model; it holds something else. "
                "Name another folder."
            )
        fixed = "the working folder" if found == Path.cwd() else "a mount point" if os.path.ismount(found) else ""
        if fixed:
            raise CheckpointError(
                f"save_model: {folder} must be a folder that can be replaced; it is {fixed}. Name a folder in it."
            )
        why = why_unwritable(found / _FACTS)
    if why:
        raise CheckpointError(f"save_model: {folder} must be writable; {why}. Name another folder.")
    return found


def write_folder(folder: str | Path, facts: Mapping[str, Any], weights: Mapping[str, Tensor], form: Format) -> None:
    """Writes facts (JSON values, and arrays among them) and weights, in place of what was saved there before.

    Raises:
        CheckpointError: `folder` is none that `check_folder` lets pass.
    """
    from safetensors.numpy import save_file
    from safetensors.torch import save_file as save_tensors

    folder = check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    new, old = aside / "new", aside / "old"
    try:
        new.mkdir()
        arrays: dict[str, np.ndarray] = {}
        told = {"what": form.what, "format": form.version}
        told |= {name: take_arrays(value, arrays, name) for name, value in facts.items()}
        save_file(arrays, new / "arrays.safetensors")
        save_tensors({k: v.detach().cpu().contiguous() for k, v in weights.items()}, new / "weights.safetensors")
        told["digests"] = {_FACTS: digest_of(told)} | {name: _digest((new / name).read_bytes()) for name in _FILES}
        (new / _FACTS).write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")
        for name in _FILES:  # which safetensors lets no one else read
            (new / name).chmod((new / _FACTS).stat().st_mode)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)


def read_folder(folder: str | Path, restore: Callable[[dict[str, Any], dict[str, Tensor]], T], form: Format) -> T:
    """Reads what `write_folder` wrote and returns `restore(facts, weights)`.

    Raises:
        CheckpointError: The folder holds no such thing, is damaged, or is of a newer version.
    """
    from safetensors.numpy import load_file
    from safetensors.torch import load_file as load_tensors

    folder = Path(folder)
    where = f"{form.reader}: {folder}"

    def other(holds: str) -> CheckpointError:
        return CheckpointError(
            f"{where} must be the folder of a saved {form.what}; {holds}. Name a folder that {form.writers} wrote."
        )

    for name in (_FACTS, *_FILES):
        if not (folder / name).is_file():
            raise other(f"{name} is not there")
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        what, number, digests = facts.get("what", "model"), int(facts["format"]), dict(facts["digests"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{where}: model.json must be readable; got {error!r}. Save it again.") from error
    if what != form.what:
        raise other(f"it holds a saved {what}")
    if not 1 <= number <= form.version:
        raise CheckpointError(
            f"{where} must be of format {form.version}; got format={number}. A newer one was saved by a newer "
            "profuse: upgrade this one."
        )
    found = {name: _digest((folder / name).read_bytes()) for name in _FILES}
    if _FACTS in digests:  # which earlier versions did not write
        found[_FACTS] = digest_of(facts)
    for name, digest in found.items():
        if digest != digests.get(name):
            raise CheckpointError(
                f"{where}: {name} must have the digest that model.json names; it is damaged. "
                f"Copy the folder again, or fit the {what} again."
            )
    try:
        facts = put_arrays(facts, load_file(folder / "arrays.safetensors"))
        return restore(facts, load_tensors(folder / "weights.safetensors"))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"{where}: its parts must fit each other; got {error!r}. Save it again.") from error
