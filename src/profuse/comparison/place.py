"""The folder of a comparison: what it holds, and whether one may be written there."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from profuse._folder import names_in
from profuse._saving import claimed, clear_dead, remove
from profuse.comparison.results import Results
from profuse.data.dataset import Dataset
from profuse.errors import DataError

__all__ = ["held_place"]

_FILES = ("rows.npz", "results.csv", "predictions.csv", "config.yaml", "models", "report.html", "report.md")
"""What stands beside `results.json` where a comparison is finished."""
_WORK = re.compile(r"\.?[^/]*-seed\d+-[0-9a-f]{10}(\.save|\.lock)?|\.fit-\w{8}|\.?plan\.json(\.save|\.lock)?")
"""A fit, what was planned, and what a process that was stopped has left of one."""
_TRIED = re.compile(r"\.fit-\w{8}")
"""How it is tried to write there."""
_MODELS = re.compile(r"[^/]*-seed\d+")


@contextmanager
def held_place(out: Path, dataset: Dataset, digest: str) -> Iterator[None]:
    """Holds the folder `out` against other runs, once it is sure that nothing of others stands where its own would.

    What runs that have died left half done is cleared away.

    Raises:
        DataError: `out` holds other things or the comparison of other data, cannot be written, or another run has it.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"compare: out must be a folder; {out} is a file. Name another folder.")
    work = out / "work"
    with ExitStack() as stack:
        try:
            stack.enter_context(claimed(work))
            _check_contents(out, dataset, digest)
            work.mkdir(exist_ok=True)
            os.rmdir(tempfile.mkdtemp(prefix=".fit-", dir=work))  # folders can be made there
            clear_dead(work)
            for name in names_in(work):
                if _TRIED.fullmatch(name):
                    remove(work / name)
        except OSError as error:
            raise DataError(
                f"compare: {out} must be writable; {error.strerror or error}. Name another folder."
            ) from error
        stack.callback(_remove_if_empty, work)
        yield


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        if not os.listdir(folder):
            folder.rmdir()


def _check_contents(out: Path, dataset: Dataset, digest: str) -> None:
    # an interrupted comparison has fits, and perhaps some of these files
    fits = any((out / "work").glob("*-seed*"))
    if (out / "results.json").is_file() and _digest_before(out, fits) not in (digest, ""):
        raise DataError(
            f"compare: {out} holds a comparison of other data than these ({dataset.name!r}). "
            "Name another folder, or delete this one."
        )
    results = [] if fits else [name for name in _FILES if (out / name).exists()]
    if results and not (out / "results.json").is_file():
        raise DataError(
            f"compare: {out} must be new, without files of these names, or hold a comparison; it has {results[0]} and "
            "no results.json. Name another folder."
        )
    for folder, ours in (("work", _WORK), ("models", _MODELS)):
        if others := [name for name in names_in(out / folder) if not ours.fullmatch(name)]:
            raise DataError(
                f"compare: {out / folder} must hold nothing but what a comparison left there; got {others[0]!r}. "
                "Name another folder."
            )


def _digest_before(out: Path, fits: bool) -> str:
    """Returns the digest of the data whose results stand in `out`; "" where they are damaged and fits are there.

    Fits tell by their names which data they are of, so that a damaged file of results can be written anew.
    """
    try:
        return str(Results.read(out).config.get("data_digest"))
    except DataError:
        if fits:
            return ""
        raise
