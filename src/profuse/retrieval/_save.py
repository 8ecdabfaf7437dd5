"""A saved retriever: `weights.safetensors`, `arrays.safetensors` and `model.json`, as saved models are."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from profuse.checkpoint import check_folder, file_digest, put_arrays, take_arrays
from profuse.errors import CheckpointError

__all__ = ["FORMAT", "load_parts", "save_parts"]

FORMAT = 1
_FILES = ("weights.safetensors", "arrays.safetensors")
T = TypeVar("T")


def save_parts(
    folder: str | Path, facts: dict[str, Any], states: dict[str, Any], weights: Mapping[str, Tensor]
) -> None:
    """Writes facts (JSON), states (JSON and arrays) and weights; nothing half-written stays behind."""
    from safetensors.numpy import save_file
    from safetensors.torch import save_file as save_tensors

    folder = Path(folder)
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        arrays: dict[str, np.ndarray] = {}
        states = take_arrays(states, arrays, "states")
        save_file(arrays, partial / "arrays.safetensors")
        save_tensors({k: v.detach().cpu().contiguous() for k, v in weights.items()}, partial / "weights.safetensors")
        digests = {name: file_digest(partial / name) for name in _FILES}
        told = {"what": "retriever", "format": FORMAT, **facts, "states": states, "digests": digests}
        (partial / "model.json").write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_parts(folder: str | Path, restore: Callable[[dict[str, Any], dict[str, Any], dict[str, Tensor]], T]) -> T:
    """Reads what `save_parts` wrote and returns `restore(facts, states, weights)`.

    Raises:
        CheckpointError: The folder is no saved retriever, is damaged, or is of a newer version.
    """
    from safetensors.numpy import load_file
    from safetensors.torch import load_file as load_tensors

    folder = Path(folder)
    where = f"Retriever.load: {folder}"
    lacking = [name for name in ("model.json", *_FILES) if not (folder / name).is_file()]
    if lacking:
        raise CheckpointError(
            f"{where} must be the folder of a saved retriever; {lacking[0]} is not there. "
            "Name a folder that 'profuse retrieve --out' or Retriever.save wrote."
        )
    try:
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        what, number, digests = facts.get("what", "model"), int(facts["format"]), dict(facts["digests"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{where}: model.json must be readable; got {error!r}. Save it again.") from error
    if what != "retriever":
        raise CheckpointError(f"{where} must be a saved retriever; it is a saved {what}. Use profuse.load_model.")
    if not 1 <= number <= FORMAT:
        raise CheckpointError(f"{where} must be of format {FORMAT}; got format={number}. Upgrade profuse.")
    for name in _FILES:
        if file_digest(folder / name) != digests.get(name):
            raise CheckpointError(
                f"{where}: {name} must have the digest that model.json names; it is damaged. Copy the folder again."
            )
    try:
        states = put_arrays(facts["states"], load_file(folder / "arrays.safetensors"))
        return restore(facts, states, load_tensors(folder / "weights.safetensors"))
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"{where}: its parts must fit each other; got {error!r}. Save it again.") from error
