"""What stands beside shards, in `index.json`: columns and their types, rows, files and their digests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from profuse._files import read_source
from profuse._json import parse_json
from profuse.data.wording import tell_values
from profuse.errors import DataError

__all__ = [
    "FORMAT",
    "INDEX",
    "TEXT",
    "Shard",
    "ShardColumn",
    "ShardIndex",
    "check_unpacked",
    "read_index",
    "tars_in",
    "verify",
]

INDEX = "index.json"
FORMAT = 1
_BLOCK = 1 << 20
_PACKED_TAR = re.compile(r"\.(?:tar\.(?:gz|bz2|xz|zst)|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
_UNPACKED_BY = {"gz": "gunzip", "bz2": "bunzip2", "bz": "bunzip2", "xz": "unxz", "st": "unzstd"}
TEXT = "as written"
"""The type of a column of a text file: its cells are the words that stood there."""


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShardColumn(_Plain):
    """A column of the table.

    Attributes:
        name: Of the column.
        type: "as written", or the type of a column of pandas; "category" has `categories`.
        member: What stands between key and suffix in the names of its files; None of a column without files.
        categories: Of a column of categories, in their order.
        categories_type: Their type.
        ordered: Whether their order means something.
    """

    name: str
    type: str
    member: str | None = Field(None, pattern=r"^[a-z0-9_-]+$")
    categories: list[Any] | None = None
    categories_type: str | None = None
    ordered: bool = False


class Shard(_Plain):
    """A file of rows: its name, rows, bytes, and SHA-256."""

    name: str = Field(pattern=r"^[\w-][\w.-]*\.tar$")
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ShardIndex(_Plain):
    """What `profuse shard` writes beside the shards.

    Attributes:
        what: That it is one.
        format: Its version.
        rows: Of all shards.
        columns: Of the table, in its order.
        asked: The schema that was given, with the target: what is said of the rows where nothing else is.
        shuffle: The seed by which rows were put into another order; None where they stand as in the table.
        shards: The files, in order.
    """

    what: Literal["profuse shards"] = "profuse shards"
    format: int = FORMAT
    rows: int = Field(ge=0)
    columns: list[ShardColumn]
    asked: dict[str, Any] = Field({}, alias="schema")
    shuffle: int | None = None
    shards: list[Shard]

    @property
    def is_text(self) -> bool:
        """Whether cells are as a text file has them."""
        return any(column.type == TEXT for column in self.columns)

    @property
    def text(self) -> str:
        """What stands in the file."""
        facts = self.model_dump(mode="json", by_alias=True)
        facts["columns"] = [column.model_dump(mode="json", exclude_defaults=True) for column in self.columns]
        return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"

    def of(self, shards: Sequence[Shard]) -> ShardIndex:
        """Returns the index of some of its shards."""
        return self.model_copy(update={"shards": list(shards), "rows": sum(shard.rows for shard in shards)})


def read_index(folder: Path) -> ShardIndex | None:
    """Returns what is said of the shards of a folder; None where nothing is, or what others say in a file of that name.

    Raises:
        DataError: It is damaged, or of a newer version; or a shard is not there, is not as long as it says, or is not
            named in it.
    """
    path = folder / INDEX
    if not path.exists():
        return None
    where = f"{folder.name}/{INDEX}"
    try:
        raw = parse_json(read_source(path))
        if not isinstance(raw, dict) or raw.get("what") != "profuse shards":
            return None
        index = ShardIndex.model_validate(raw)
    except (ValueError, ValidationError) as error:
        message = " ".join(str(error).split())[:200]
        raise DataError(
            f"{where}: it must be readable; got {message}. Write the shards anew, or remove it: then columns are found "
            "in the shards."
        ) from error
    if index.format > FORMAT:
        raise DataError(
            f"{where}: it must be of format {FORMAT}; got format={index.format}, of a newer profuse. Upgrade this one."
        )
    for shard in index.shards:
        file = folder / shard.name
        size = file.stat().st_size if file.is_file() else None
        if size != shard.bytes:
            is_there = "it is not there" if size is None else f"got {size:,}"
            raise DataError(
                f"{folder.name}/{shard.name}: the shard must have the {shard.bytes:,} bytes that {INDEX} names; "
                f"{is_there}. Copy the folder again."
            )
    named = {shard.name for shard in index.shards}
    if more := sorted(file.name for file in tars_in(folder) if file.name not in named):
        raise DataError(
            f"{folder.name}/{more[0]}: each shard must be named in {INDEX}; this one is not. Take it out of the folder."
        )
    return index


def verify(folder: Path, progress: Callable[[str, int, int], None]) -> ShardIndex:
    """Reads all bytes of the shards of a folder, and returns their index.

    Raises:
        DataError: One has not the digest that the index names, or there is none; all that differ are told.
    """
    index = read_index(folder) if folder.is_dir() else None
    if index is None:
        raise DataError(
            f"{folder}: what is verified must be a folder with the {INDEX} that 'profuse shard' wrote; it has none. "
            "Name another."
        )
    total, done, wrong = sum(shard.bytes for shard in index.shards), 0, list[str]()
    for shard in index.shards:
        digest = hashlib.sha256()
        with (folder / shard.name).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                done += len(block)
                progress("bytes verified", done, total)
        wrong += [shard.name] if digest.hexdigest() != shard.sha256 else []
    if wrong:
        raise DataError(
            f"{folder.name}: shards must have the digests that {INDEX} names; {tell_values(wrong)} of "
            f"{len(index.shards)} have others: they are damaged. Copy them again, or write them anew."
        )
    return index


def check_unpacked(files: Iterable[Path]) -> None:
    """Checks that none of some files is a packed tar, by its name.

    Raises:
        DataError: One is. Members are read from their places in a tar, which a packed one has not.
    """
    packed = sorted(p for p in files if _PACKED_TAR.search(p.name) and p.is_file())
    if packed:
        name = packed[0].name
        tool = next(tool for end, tool in _UNPACKED_BY.items() if name.lower().endswith(end))
        also = f", and {len(packed) - 1} more" if len(packed) > 1 else ""
        raise DataError(
            f"{name}: shards must be plain tars (.tar), as files are read where they lie in them; got a packed "
            f"one{also}. Unpack it: {tool} {name}"
        )


def tars_in(folder: Path) -> list[Path]:
    """Returns the tars of a folder, by name; numbers in names count as such.

    Raises:
        DataError: A packed tar is there, and not unpacked beside it: it would be passed over.
    """
    seen = [p for p in folder.iterdir() if not p.name.startswith(".")]
    check_unpacked(p for p in seen if not p.with_name(_PACKED_TAR.sub(".tar", p.name)).is_file())
    files = [p for p in seen if p.suffix.lower() == ".tar" and p.is_file()]
    return sorted(files, key=lambda p: [(int(t), "") if t.isdecimal() else (-1, t) for t in re.split(r"(\d+)", p.name)])
