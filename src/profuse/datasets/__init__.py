"""Named data sets: embedded, generated, or fetched with a digest check; a file each.

"Add yours": copy a neighbour to `datasets/yours.py`, write its `load(variant, root)` and its `INFO`, add one line here
and, if it reads files, a line a file to `digests.txt`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from profuse._lookup import resolve
from profuse.datasets._files import is_here
from profuse.datasets._info import DatasetInfo
from profuse.errors import ConfigError
from profuse.registry import table

if TYPE_CHECKING:
    from profuse.data.dataset import Dataset

__all__ = ["DATASETS", "DatasetInfo", "describe", "info", "load"]

DATASETS = table(
    "dataset",
    {
        "glyphs": "profuse.datasets.glyphs:INFO",
        "synthetic": "profuse.datasets.synthetic:INFO",
        "avmnist": "profuse.datasets.avmnist:INFO",
        "mosi": "profuse.datasets.mosi:INFO",
        "stocks": "profuse.datasets.stocks:INFO",
        "emoji": "profuse.datasets.emoji:INFO",
        "beijing-air": "profuse.datasets.beijing_air:INFO",
        "mfeat": "profuse.datasets.mfeat:INFO",
    },
)


def load(name: str, *, variant: str | None = None, root: Path | None = None) -> Dataset:
    """Reads the data set called `name`.

    Args:
        name: A name of `DATASETS`; `describe()` tells what each is.
        variant: One of the data set's variants; its first one if None.
        root: Folder that holds the data sets' folders. If None: the folder named by the environment variable
            `PROFUSE_DATA` where it has the data set, else a cache (`PROFUSE_CACHE`, or the user's cache folder), into
            which missing files are fetched and where their digests are checked.

    Raises:
        UnknownNameError: No data set or no variant is called so; the nearest names are told.
        DataError: A file is missing from `root`, damaged, or cannot be fetched.
        MissingDependencyError: Files must be fetched or read and the extra for that is not installed.

    Example:
        >>> from profuse import datasets
        >>> len(datasets.load("synthetic", variant="synergy"))
        4096
    """
    about = info(name)
    if variant is None:
        variant = about.default_variant
    resolve(variant, about.variants, where=f"Data set {name!r}", what="variant")
    dataset = about.load(variant, None if root is None else Path(root))
    return replace(dataset, variant=variant) if len(about.variants) > 1 else dataset


def info(name: str, *, root: Path | None = None) -> DatasetInfo:
    """Returns what is known of the data set called `name`, without reading it, and whether its files are here."""
    about = cast(DatasetInfo, DATASETS.part(name))
    if about.name != name:
        raise ConfigError(
            f"Data set {name!r}: its name must be the one it is registered by; got name={about.name!r}. Give both one."
        )
    return replace(about, here=about.folder is None or is_here(about.folder, root))


def describe(*, root: Path | None = None) -> list[DatasetInfo]:
    """Returns what is known of every data set, in the registry's order, without reading any."""
    return [info(name, root=root) for name in DATASETS]
