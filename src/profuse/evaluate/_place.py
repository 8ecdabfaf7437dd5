"""The folder of a comparison: what it holds, and whether one may be written there."""

from __future__ import annotations

import re
from pathlib import Path

from profuse._folder import names_in, why_unwritable
from profuse.data.dataset import Dataset
from profuse.errors import DataError
from profuse.evaluate.results import Results

__all__ = ["check_place"]

_FILES = ("rows.npz", "results.csv", "config.yaml", "models", "report.html", "report.md")
"""What stands beside `results.json` where a comparison is finished."""
_WORK = re.compile(r"\.?[^/]*-seed\d+-[0-9a-f]{10}(\.\d+)?")
"""A fit, and what a process that was stopped has left of one."""
_MODELS = re.compile(r"[^/]*-seed\d+")


def check_place(out: Path, dataset: Dataset, digest: str) -> None:
    """Checks that a comparison may be written in `out`: nothing of others stands where its own would.

    Raises:
        DataError: It does, or `out` holds the comparison of other data, or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"compare: out must be a folder; {out} is a file. Name another folder.")
    if why := why_unwritable(out / "work") or why_unwritable(out / "work" / "fit"):
        raise DataError(f"compare: {out} must be writable; {why}. Name another folder.")
    if (out / "results.json").is_file():
        before = Results.read(out).config.get("data_digest")
        if before != digest:
            raise DataError(
                f"compare: {out} holds a comparison of other data than these ({dataset.name!r}), or one of an earlier "
                "version. Name another folder, or delete this one."
            )
    # an interrupted comparison has fits, and perhaps some of these files
    found = [] if any((out / "work").glob("*-seed*")) else [name for name in _FILES if (out / name).exists()]
    if found and not (out / "results.json").is_file():
        raise DataError(
            f"compare: {out} must be new, without files of these names, or hold a comparison; it has {found[0]} and no "
            "results.json. Name another folder."
        )
    for folder, ours in (("work", _WORK), ("models", _MODELS)):
        if foreign := [name for name in names_in(out / folder) if not ours.fullmatch(name)]:
            raise DataError(
                f"compare: {out / folder} must hold nothing but what a comparison left there; got {foreign[0]!r}. "
                "Name another folder."
            )
