"""A comparison done in shares by machines that do not know of each other, and the merging of what they have left.

Each does the fits of its share into a folder of its own. Merging takes them all and goes on as an interrupted
comparison does: what hangs on all fits (the best fusion without each modality, questions, models that are kept) is
done then.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from profuse._files import read_source
from profuse._json import parse_json
from profuse._saving import new_folder, write_file
from profuse.classical.own import asked_members
from profuse.comparison.compare import Comparison, compare, opened_for
from profuse.comparison.engine import Event, fit_share
from profuse.comparison.options import CompareOptions
from profuse.comparison.results import Machine
from profuse.data.table.database import DatabaseTable
from profuse.data.table.schema_file import as_schema
from profuse.data.wording import tell_values
from profuse.datasets import DATASETS
from profuse.errors import ConfigError, DataError
from profuse.schema import OnBadFile, Schema, Task

__all__ = ["Merged", "compare_shard", "merge_shards", "read_share"]

_FACTS = "shard.json"


class _Shard(BaseModel):
    """What `shard.json` holds, written when all fits of the share are done."""

    model_config = ConfigDict(extra="forbid")

    which: int
    of: int
    digest: str
    options: dict[str, Any]
    versions: dict[str, str]
    call: dict[str, Any]
    fits: list[str]
    failed: list[str]


@dataclass(frozen=True, eq=False)
class Merged:
    """What merging gave.

    Attributes:
        comparison: As `compare` returns it.
        n_taken: Fits that shards had done.
        n_fitted: Fits that were done in merging.
        failed: Fits that failed in a shard, and why; they were tried again.
    """

    comparison: Comparison
    n_taken: int
    n_fitted: int
    failed: tuple[str, ...] = ()


def read_share(text: str) -> tuple[int, int]:
    """Returns "2/4" as (2, 4).

    Raises:
        ConfigError: It is no share.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ConfigError(
            f"compare: shard must be i/n with i from 1 to n; got shard={text!r}. Use 1/4 to 4/4 for four."
        )
    return int(match[1]), int(match[2])


def compare_shard(
    data: str | Path | DatabaseTable,
    target: str | Sequence[str] | None = None,
    *,
    shard: str,
    out: str | Path,
    options: CompareOptions | None = None,
    task: Task | None = None,
    weight: str | None = None,
    subgroup: str | None = None,
    schema: Schema | Mapping[str, Any] | str | Path | None = None,
    test: str | Path | None = None,
    variant: str | None = None,
    on_bad_file: OnBadFile = "raise",
    n_jobs: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Path:
    """Does one share of the fits of a comparison; `merge_shards` makes the comparison of all shares.

    No time limit is followed: all shares plan the same, whatever the speed of their machine. Done again, it goes on
    where it stopped.

    Args:
        data: A named data set, a file or a table of a database.
        target: See `compare`.
        shard: `i/n`: which share, from 1, and of how many.
        out: Folder; the share is left in `shard-i-of-n` in it, so that all may be given the same.
        options: See `compare`.
        task: See `compare`.
        weight: See `compare`.
        subgroup: See `compare`.
        schema: See `compare`.
        test: See `compare`.
        variant: See `compare`.
        on_bad_file: See `compare`.
        n_jobs: See `compare`.
        on_event: See `compare`.

    Returns:
        The folder of the share.

    Raises:
        ConfigError: No such share, or a time limit is set.
        ProfuseError: See `compare`.
    """
    which, of = read_share(shard)
    asked = _without_limit(options or CompareOptions())
    given = None if schema is None else as_schema(schema).model_dump(mode="json", exclude_unset=True)
    how: dict[str, Any] = {
        "task": task, "weight": weight, "subgroup": subgroup, "schema": given, "variant": variant,
    }  # fmt: skip
    how |= {"on_bad_file": on_bad_file, "test": None if test is None else str(Path(test).absolute())}
    place = Path(out) / f"shard-{which}-of-{of}"
    with asked_members(asked.members, {}, who="compare"):
        opened, resolved = opened_for(data, target, asked, **how)
        digest, fits, failed = fit_share(
            opened.dataset, resolved, place, (which, of), schema=opened.schema, n_jobs=n_jobs, on_event=on_event
        )
    facts = _Shard(
        which=which, of=of, digest=digest, options=asked.model_dump(mode="json", exclude_unset=True),
        versions=Machine.here().versions, call={"data": _kept(data), "target": target, **how}, fits=fits, failed=failed,
    )  # fmt: skip
    write_file(place / _FACTS, facts.model_dump_json(indent=1) + "\n")
    return place


def merge_shards(
    folders: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    data: str | Path | DatabaseTable | None = None,
    n_jobs: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Merged:
    """Makes the comparison of all its shares: the results are those of one run without a time limit, but for times.

    Args:
        folders: What `compare_shard` was given as `out`, or folders of shares themselves.
        out: Where results go; the first of `folders` if None.
        data: Where the data are now, if they are not where the shares had them, or a password is needed.
        n_jobs: See `compare`.
        on_event: See `compare`.

    Raises:
        DataError: No share, one is missing, or they are of different comparisons; or the data are others now.
        ConfigError: The data must be named.
        ProfuseError: See `compare`.
    """
    found = _shards(folders)
    first = next(iter(found.values()))
    target = Path(out if out is not None else folders[0])
    call = dict(first.call)
    kept = call.pop("data")
    source = _again(kept) if data is None else data
    options = CompareOptions.model_validate(first.options)
    _check_data(source, call, options, first.digest)
    work, n_taken = target / "work", 0
    for place, shard in found.items():
        for name in shard.fits:
            n_taken += 1
            if not (work / name).is_dir():
                work.mkdir(parents=True, exist_ok=True)
                with new_folder(work / name) as fresh:
                    shutil.copytree(place / "work" / name, fresh, dirs_exist_ok=True)
    before = {p.name for p in work.glob("*-seed*")}
    comparison = compare(source, options=options, out=target, n_jobs=n_jobs, on_event=on_event, **call)
    n_fitted = len({p.name for p in work.glob("*-seed*")} - before)
    return Merged(comparison, n_taken, n_fitted, tuple(dict.fromkeys(f for s in found.values() for f in s.failed)))


def _without_limit(options: CompareOptions) -> CompareOptions:
    if isinstance(options.time_limit, float):
        raise ConfigError(
            f"compare: time_limit must be none with shard, as all shares plan the same; got {options.time_limit:g} "
            "seconds. Leave it out."
        )
    return CompareOptions.model_validate({**options.model_dump(mode="json", exclude_unset=True), "time_limit": "none"})


def _kept(data: str | Path | DatabaseTable) -> Any:
    if isinstance(data, DatabaseTable):
        return {"url": str(data), "query": data.query, "table": data.table}
    return str(data) if str(data) in DATASETS else str(Path(data).absolute())


def _again(kept: Any) -> str | DatabaseTable:
    if isinstance(kept, str):
        return kept
    if "***" in kept["url"]:
        raise ConfigError(f"merge: the data must be named, as passwords are not kept; got {kept['url']!r}. Give data.")
    return DatabaseTable(**kept)


def _shards(folders: Sequence[str | Path]) -> dict[Path, _Shard]:
    """Returns the shares in `folders` by their places, one of each, in order.

    Raises:
        DataError: None is there, one is missing, or they are not of one comparison.
    """
    places = [
        p
        for f in folders
        for p in ([Path(f)] if (Path(f) / _FACTS).is_file() else sorted(Path(f).glob("shard-*-of-*")))
    ]
    names = ", ".join(map(str, folders))
    found: dict[Path, _Shard] = {}
    for place in places:
        try:
            found[place] = _Shard.model_validate(parse_json(read_source(place / _FACTS)))
        except (DataError, ValidationError, ValueError) as error:
            if (place / _FACTS).exists():
                told = " ".join(str(error).split())[:200]
                raise DataError(
                    f"{place / _FACTS}: it must be what a shard left; got {told}. Do the shard again."
                ) from error
    if not found:
        raise DataError(
            f"merge: the folders must hold shards that are done; got {names}. Run compare --shard 1/2 first."
        )
    (start, first), *others = found.items()
    for place, shard in others:
        for what, one, other in (
            ("numbers of shards", first.of, shard.of),
            ("data", first.digest, shard.digest),
            ("options", _plain(first), _plain(shard)),
            ("versions of packages", first.versions, shard.versions),
        ):
            if one != other:
                raise DataError(
                    f"merge: shards must be of one comparison; {place} and {start} have other {what}: "
                    f"{_differ(one, other)}. Do them again alike."
                )
    if (here := Machine.here().versions) != first.versions:
        raise DataError(
            "merge: versions of packages must be those of the shards; here are others: "
            f"{_differ(first.versions, here)}. Merge where the shards ran."
        )
    known = {shard.which for shard in found.values()}
    if missing := [f"{i}/{first.of}" for i in range(1, first.of + 1) if i not in known]:
        raise DataError(
            f"merge: all shards must be done; got {names} without {tell_values(missing, n=20)}. Do them first."
        )
    by_number = {shard.which: place for place, shard in reversed(found.items())}
    return {by_number[i]: found[by_number[i]] for i in sorted(by_number)}


def _plain(shard: _Shard) -> dict[str, Any]:
    call = {k: v for k, v in shard.call.items() if k not in ("data", "test")}  # the digest tells of these
    return {**shard.options, **call}


def _differ(one: Any, other: Any) -> str:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return f"{str(other)[:20]} and {str(one)[:20]}"
    names = [k for k in {**one, **other} if one.get(k) != other.get(k)]
    return "; ".join(f"{k}: {json.dumps(other.get(k))} and {json.dumps(one.get(k))}" for k in names[:3])[:300]


def _check_data(source: Any, call: dict[str, Any], options: CompareOptions, digest: str) -> None:
    how = {k: v for k, v in call.items() if k != "target"}
    with asked_members(options.members, {}, who="compare"):
        opened, _ = opened_for(source, call["target"], options, **how)
    if opened.dataset.digest() != digest:
        raise DataError(f"merge: the data must be those of the shards; {source} holds others now. Name them with data.")
