"""Folders of Hugging Face models: where one is, whether it may be used, and which files make it what it is."""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from profuse._optional import need
from profuse.errors import ConfigError, DataError, NotHereError

__all__ = ["digest_of", "folder_of", "json_in", "lacking"]

_WHY = "Pretrained encoders"
_SAYS = {
    "GatedRepoError": "the hub shows it to those alone who have asked for it",
    "RepositoryNotFoundError": "the hub has none of that name that you may read",
    "RevisionNotFoundError": "the hub has no such revision of it",
    "LocalEntryNotFoundError": "the hub could not be reached",
}
"""What an error of the hub's client means, by its class or the first known one that it is derived from."""
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "*.jinja")
_TOP = ("model*.safetensors", "*.json", "*.txt", "*.model", "*/config.json", "*/*.safetensors")


def folder_of(name: str) -> Path:
    """Returns the folder of a model: `name` itself, or where the hub's files of `OWNER/NAME[@REVISION]` lie.

    A name is looked for on this machine first, then on the hub, unless `HF_HUB_OFFLINE` forbids that.

    Raises:
        ConfigError: There is none, or it holds no weights as safetensors.
        MissingDependencyError: `transformers` is not installed (extra `hf`).
    """
    place = _place_of(name)
    if isinstance(place, str):
        raise NotHereError(f"hf: {name!r} {place}")
    if fault := _fault_of(place):
        raise ConfigError(f"hf: {name!r} {fault}")
    return place


def lacking(name: str) -> str:
    """Returns why there is no such model that could be used, as an error ends; "" if there is one."""
    place = _place_of(name)
    return place if isinstance(place, str) else _fault_of(place)


def _place_of(name: str) -> Path | str:
    """Returns the folder of a model, or why there is none."""
    local = Path(name).expanduser()
    if local.is_dir():
        return local.resolve()
    repository, _, revision = name.partition("@")
    if not _REPOSITORY.fullmatch(repository) or local.is_absolute():
        return (
            "must name a folder on this machine, or OWNER/NAME of the Hugging Face hub; there is no such folder. "
            "Correct the path."
        )
    return _of_hub(repository, revision or None)


def _of_hub(repository: str, revision: str | None) -> Path | str:
    hub = need("huggingface_hub", "hf", _WHY)
    wanted: dict[str, Any] = {"repo_id": repository, "revision": revision, "allow_patterns": list(_TOP)}
    try:
        folder = Path(hub.snapshot_download(**wanted, local_files_only=True))
        if any(folder.glob("*.safetensors")):
            return folder
    except Exception as error:  # not here: whatever it is, the hub is asked next, and what that says is told
        reason: Exception = error
    try:
        return Path(hub.snapshot_download(**wanted))
    except Exception as error:  # no network, a proxy, no such model, no right to it: a dozen classes of three packages
        reason = error
    classes = [cls.__name__ for cls in type(reason).__mro__]
    known = next((_SAYS[cls] for cls in classes if cls in _SAYS), None)
    said = known or f"the hub answered {classes[0]}: {' '.join(str(reason).split())[:200].rstrip('.')}"
    if hub.constants.HF_HUB_OFFLINE:
        said = "the hub is not asked, as HF_HUB_OFFLINE is set"
    return (
        "must name a folder, or a model on this machine already, or on a hub that can be reached; there is no such "
        f"folder here, and {said}. Correct the path or the name, or download the model where there is a "
        "network, and give its folder."
    )


def _fault_of(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        return (
            "must name a folder that holds config.json, as save_pretrained writes it; it holds none. Correct the path."
        )
    if any(folder.glob("*.safetensors")):
        return ""
    pickled = sorted(p.name for pattern in ("*.bin", "*.pt", "*.h5") for p in folder.glob(pattern))
    got = f"{pickled[0]}, which can hold code" if pickled else "no weights"
    return (
        f"must name a folder that holds its weights as *.safetensors; got {got}. Save it again where you trust it: "
        "model.save_pretrained(folder)."
    )


def digest_of(folder: Path) -> str:
    """Returns the SHA-256 of all that makes a model what it is: its weights, its configuration, its vocabulary."""
    places = [folder, *(p for p in sorted(folder.iterdir()) if p.is_dir() and (p / "config.json").is_file())]
    files = sorted({f for place in places for pattern in _FILES for f in place.glob(pattern)})
    stats = tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    return _digest(folder, stats)


@lru_cache(maxsize=16)
def _digest(folder: Path, stats: tuple[tuple[str, int, int], ...]) -> str:
    whole = hashlib.sha256()
    for file, _, _ in stats:
        with Path(file).open("rb") as opened:
            part = hashlib.file_digest(opened, "sha256").hexdigest()
        whole.update(f"{Path(file).relative_to(folder).as_posix()} {part}\n".encode())
    return whole.hexdigest()


def json_in(path: Path) -> Any:
    """Returns what a JSON file of a model says; None if there is no such file.

    Raises:
        DataError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: it must be JSON; got {error}. Copy the model's folder again.") from error
