"""What must hold for every named data set. Each check's docstring says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np

from profuse.data.dataset import Dataset
from profuse.data.target import TargetCodec
from profuse.datasets import DatasetInfo
from profuse.schema import Task
from profuse.testing._contract import run_checks
from profuse.testing._subject import need

__all__ = ["DATASET_CHECKS", "check_dataset"]

PARTS = ("train", "valid", "test")


@dataclass
class DatasetSubject:
    """A data set, and where its files are."""

    info: DatasetInfo
    root: Path | None

    def load(self, variant: str) -> Dataset:
        return self.info.load(variant, self.root)

    @cached_property
    def default(self) -> Dataset:
        """The default variant."""
        return self.load(self.info.default_variant)


def described(s: DatasetSubject) -> None:
    """INFO is complete: name, modalities, task, target, split, licence, source, and a description of each variant."""
    said = {name: getattr(s.info, name) for name in ("name", "target", "split", "licence", "source")}
    lacking = [name for name, text in said.items() if not str(text).strip()]
    need(not lacking, f"INFO must say all; got nothing for {', '.join(lacking)}.")
    need(bool(s.info.variants) and all(s.info.variants.values()), f"variants must be described; got {s.info.variants}.")
    need(s.info.task in get_args(Task), f"task must be one of {get_args(Task)}; got {s.info.task!r}.")
    need(s.info.n_rows > 0, f"n_rows must be above 0; got {s.info.n_rows}.")
    files = (s.info.extra is None) == (s.info.folder is None)
    need(files, f"extra and folder go together; got extra={s.info.extra!r}, folder={s.info.folder!r}.")


def as_described(s: DatasetSubject) -> None:
    """The default variant has the name, the modalities, the rows and the task that INFO says."""
    kinds = {name: data.kind for name, data in s.default.modalities.items()}
    want = s.info.name, dict(s.info.modalities), s.info.n_rows, s.info.task
    got = s.default.name, kinds, len(s.default), s.default.task
    need(got == want, f"name, modalities, rows and task must be {want}; got {got}.")


def variants_load(s: DatasetSubject) -> None:
    """Every variant loads, and no two are the same rows."""
    digests = {variant: s.load(variant).digest() for variant in s.info.variants}
    need(len(set(digests.values())) == len(digests), f"variants must differ; got the same among {list(digests)}.")


def same_twice(s: DatasetSubject) -> None:
    """Loaded again it is the same, whatever was drawn in between, and what is done to one leaves the other alone."""
    first = s.load(s.info.default_variant)
    np.random.default_rng().random(3)
    np.random.seed(np.random.randint(2**31))  # noqa: NPY002  # what a careless `load` would draw from
    second = s.load(s.info.default_variant)
    need(first.digest() == second.digest(), "the same variant must be the same rows; got others.")
    for name, data in first.modalities.items():
        other = second.modalities[name].values
        shared = isinstance(other, np.ndarray) and isinstance(data.values, np.ndarray) and other is data.values
        need(not shared, f"each call must return arrays of its own; got the same one twice for {name!r}.")


def split_is_clean(s: DatasetSubject) -> None:
    """Where rows are divided already: parts of known names, rows in train and test, no id and no group in two."""
    d = s.default
    if d.ids is not None:
        need(len(np.unique(d.ids.astype(str))) == len(d), "ids must be unique; got some twice.")
    if d.split is None:
        return
    split = np.asarray(d.split).astype(str)
    need(set(split) <= set(PARTS), f"parts must be {', '.join(PARTS)}; got {sorted(set(split))}.")
    need({"train", "test"} <= set(split), f"train and test must have rows; got {sorted(set(split))}.")
    if d.groups is not None:
        parts = {str(g): set(split[d.groups == g]) for g in np.unique(d.groups)}
        torn = [g for g, there in parts.items() if len(there) > 1]
        need(not torn, f"rows of a group must be in one part; got {len(torn)} groups in several, {torn[:3]} first.")


def target_fits(s: DatasetSubject) -> None:
    """The target fits the task: it is known in all rows, has two classes, more, 0/1, or finite numbers that vary."""
    d = s.default
    assert d.target is not None, "the target must be there; got None."
    codec = TargetCodec.fit(d.target, d.task, names=d.target_names)
    if d.task in ("binary", "multiclass"):
        n = len(codec.classes)
        fits = n == 2 if d.task == "binary" else n > 2
        need(fits, f"a {d.task} target must have {'two' if d.task == 'binary' else 'more than two'} classes; got {n}.")
        need(d.target.ndim == 1, f"classes must be one per row; got shape={d.target.shape}.")
    elif d.task == "multilabel":
        need(set(np.unique(d.target)) <= {0, 1}, f"labels must be 0 or 1; got {np.unique(d.target)[:5]}.")
    columns = 1 if d.target.ndim == 1 else d.target.shape[1]
    need(len(d.target_names) == columns, f"target_names must be one per column, {columns}; got {d.target_names}.")


def something_is_there(s: DatasetSubject) -> None:
    """Every modality is there in some row, and every row has some modality."""
    present = np.stack([data.present for data in s.default.modalities.values()], axis=1)
    absent = [name for i, name in enumerate(s.default.modalities) if not present[:, i].any()]
    need(not absent, f"modalities must be there in some row; got none of {absent}.")
    empty = int((~present.any(1)).sum())
    need(empty == 0, f"every row must have some modality; got {empty} rows without any.")


DATASET_CHECKS: dict[str, Callable[[DatasetSubject], None]] = {
    check.__name__: check
    for check in (
        described,
        as_described,
        variants_load,
        same_twice,
        split_is_clean,
        target_fits,
        something_is_there,
    )
}


def check_dataset(
    info: DatasetInfo, *, root: Path | None = None, checks: Iterable[str] = tuple(DATASET_CHECKS)
) -> None:
    """Checks a named data set against the contract.

    Args:
        info: The data set.
        root: Folder that holds the data sets' folders; see `profuse.datasets.load`.
        checks: Names of `DATASET_CHECKS`; all of them if not given.

    Raises:
        ContractError: A check failed; all failures are told.
        UnknownNameError: There is no such check.
    """
    run_checks(f"Data set {info.name!r}", DatasetSubject(info, root), DATASET_CHECKS, checks)
