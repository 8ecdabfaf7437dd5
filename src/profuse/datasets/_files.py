"""Where the files of a data set are: a given root, `PROFUSE_DATA`, or a cache they are fetched into, digests checked.

`digests.txt` has a line a file, or a line for a folder of many small ones: digest, number of files, path, addresses.
The digest is SHA-256 of what the source publishes; a `.gz` whose address has no `.gz` is compressed here, after the
check. The digest of a folder is that of the lines "digest, two spaces, name" of its files in the order of their names,
and its address is an archive and, behind `#`, the folder inside it.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from profuse._cache import CACHE_VARIABLE, cache_folder
from profuse._optional import need
from profuse.errors import DataError

__all__ = [
    "CACHE_VARIABLE",
    "ROOT_VARIABLE",
    "Entry",
    "cache_folder",
    "entries",
    "fetch",
    "find",
    "folder_digest",
    "is_here",
]

ROOT_VARIABLE = "PROFUSE_DATA"


@dataclass(frozen=True)
class Entry:
    """A line of `digests.txt`; `path` is relative to the root and ends in "/" for a folder of `n_files`."""

    digest: str
    n_files: int
    path: str
    urls: tuple[str, ...]

    @property
    def is_folder(self) -> bool:
        """Whether it stands for many files."""
        return self.path.endswith("/")

    def complete(self, root: Path) -> bool:
        """Whether the file is, or all files of the folder are, under `root`."""
        path = root / self.path
        if not self.is_folder:
            return path.is_file()
        return path.is_dir() and sum(1 for _ in os.scandir(path)) >= self.n_files


@cache
def entries(folder: str) -> tuple[Entry, ...]:
    """Returns the lines of `digests.txt` whose path is in `folder`."""
    lines = files("profuse.datasets").joinpath("digests.txt").read_text(encoding="utf-8").splitlines()
    cells = [line.split() for line in lines if line and not line.startswith("#")]
    return tuple(Entry(d, int(n), p, tuple(urls)) for d, n, p, *urls in cells if p.split("/")[0] == folder)


def _candidates(folder: str, root: Path | None) -> tuple[Path, bool]:
    """Returns the root to read `folder` from, and whether missing files may be fetched into it."""
    if root is not None:
        return root, False
    named = os.environ.get(ROOT_VARIABLE)
    if named and (Path(named).expanduser() / folder).is_dir():
        return Path(named).expanduser(), False
    return cache_folder(), True


def is_here(folder: str, root: Path | None = None) -> bool:
    """Whether all files of `folder` are on this machine, where `find` would look for them."""
    base, _ = _candidates(folder, root)
    return all(entry.complete(base) for entry in entries(folder))


def find(
    folder: str,
    root: Path | None = None,
    *,
    only: Callable[[Entry], bool] = lambda _: True,
    members: Callable[[Path], Iterable[str]] | None = None,
) -> Path:
    """Returns the folder with the files of data set `folder`, after fetching those that are missing from the cache.

    Args:
        folder: The data set's folder under the root.
        root: Read from `root/folder` and fetch nothing; None: see `profuse.datasets.load`.
        only: Which entries are needed (a station, a stock); all by default.
        members: Which files of a folder entry to take from its archive, told once the other files are there (the
            argument is the data set's folder); None: all.

    Raises:
        DataError: A file is missing from a folder that was named, or cannot be fetched.
        MissingDependencyError: A file must be fetched and pooch is not installed.
    """
    base, may_fetch = _candidates(folder, root)
    missing = [entry for entry in entries(folder) if only(entry) and not entry.complete(base)]
    if missing and not may_fetch:
        named = "root" if root is not None else ROOT_VARIABLE
        raise DataError(
            f"Data set {folder!r}: its files must all be in {base / folder}; got no (or an incomplete) "
            f"{missing[0].path}, and {len(missing) - 1} more are missing. Complete the folder, or leave {named} away "
            "and the files are fetched from their public source."
        )
    for entry in sorted(missing, key=lambda entry: entry.is_folder):
        wanted = set(members(base / folder)) if entry.is_folder and members is not None else None
        fetch(entry, base, members=wanted)
    return base / folder


def fetch(entry: Entry, base: Path, *, members: set[str] | None = None) -> Path:
    """Fetches `entry` to `base / entry.path`; on any failure nothing is left there.

    Raises:
        DataError: No address answers, or none with the published digest.
        MissingDependencyError: pooch is not installed.
    """
    pooch = need("pooch", "data", f"Fetching {entry.path}")
    base.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in entry.urls:
        address, _, inside = url.partition("#")
        with TemporaryDirectory(dir=base, prefix=".fetch-") as scratch:
            known = None if entry.is_folder else f"sha256:{entry.digest}"
            try:
                got = Path(pooch.retrieve(address, known_hash=known, fname="file", path=scratch))
                ready = _unpack(got, inside, members, entry) if entry.is_folder else _compress(got, entry, address)
            except (ValueError, OSError, tarfile.TarError) as error:
                reasons.append(f"{address}: {error}")
                continue
            target = base / entry.path.rstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():  # an incomplete one; its files come again
                shutil.rmtree(target)
            os.replace(ready, target)
            return target
    raise DataError(
        f"Fetching {entry.path}: the file must come with its published digest {entry.digest}; got "
        f"{'; '.join(reasons) or 'no address'}. Try again later, or get the file elsewhere, put it at "
        f"<folder>/{entry.path} and set {ROOT_VARIABLE}=<folder>."
    )


def folder_digest(folder: Path) -> str:
    """Returns the digest of a folder: SHA-256 of "digest  name" lines in the order of the names."""
    digests = ((name, hashlib.sha256((folder / name).read_bytes())) for name in sorted(os.listdir(folder)))
    lines = "".join(f"{digest.hexdigest()}  {name}\n" for name, digest in digests)
    return hashlib.sha256(lines.encode()).hexdigest()


def _compress(got: Path, entry: Entry, address: str) -> Path:
    if not entry.path.endswith(".gz") or address.endswith(".gz"):
        return got
    packed = got.with_name("packed")
    packed.write_bytes(gzip.compress(got.read_bytes(), mtime=0))
    return packed


def _unpack(archive: Path, inside: str, members: set[str] | None, entry: Entry) -> Path:
    """Unpacks the files of the folder `inside` and checks them together."""
    folder = archive.with_name("unpacked")
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            # the first part of a name is the repository and commit; only base names are written: no path escapes
            where, _, name = member.name.partition("/")[2].rpartition("/")
            if member.isfile() and where == inside.strip("/") and (members is None or name in members):
                source = tar.extractfile(member)
                if source is not None:
                    (folder / name).write_bytes(source.read())
    if (digest := folder_digest(folder)) != entry.digest:
        n_files = len(os.listdir(folder))
        raise ValueError(f"{n_files} of {entry.n_files} files of {inside!r} with the combined digest {digest}")
    return folder
