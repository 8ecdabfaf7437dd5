"""The contract of named data sets: data sets by checks, and for each check a broken one that it must reject."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from not_none import not_none

from profuse.data.dataset import Dataset, ModalityData
from profuse.datasets import DATASETS, DatasetInfo, info
from profuse.testing import DATASET_CHECKS, ContractError, check_dataset

SLOW = {name for name in DATASETS if name == "glyphs" or info(name).folder is not None}
"""Drawn letters, and what is read from files; the others are generated."""


@pytest.mark.parametrize(
    ("name", "check"),
    [pytest.param(n, c, marks=pytest.mark.slow if n in SLOW else []) for n, c in product(DATASETS, DATASET_CHECKS)],
)
def test_the_data_set_keeps_the_contract(name: str, check: str, request: pytest.FixtureRequest) -> None:
    about = info(name)
    if about.folder is not None:
        request.getfixturevalue("real_data")
    check_dataset(about, checks=[check])


N_ROWS = 24


def make(**changes: Any) -> Dataset:
    draw, rows = np.random.default_rng(0), np.arange(N_ROWS)
    data = {name: draw.normal(size=(N_ROWS, 2)).astype(np.float32) for name in "ab"}
    here = {"a": rows != 3, "b": rows != 5}
    given: dict[str, Any] = {
        "name": "honest",
        "modalities": {name: ModalityData("vector", data[name], here[name]) for name in data},
        "target": np.array(["no", "yes"])[rows % 2],
        "task": "binary",
        "groups": rows // 3,
        "split": np.array(["train", "test"])[(rows >= 12).astype(int)],
    }
    return Dataset(**{**given, **changes})


def honest(variant: str, root: Path | None) -> Dataset:
    return make() if variant == "plain" else make(target=np.array(["no", "yes"])[np.arange(N_ROWS) // 2 % 2])


HONEST = DatasetInfo(
    name="honest",
    modalities={"a": "vector", "b": "vector"},
    n_rows=N_ROWS,
    task="binary",
    target="yes or no",
    split="half train, half test",
    licence="none: generated",
    source="generated, seed 0",
    load=honest,
    variants={"plain": "as it is", "pairs": "two rows at a time"},
)


def always(**changes: Any) -> DatasetInfo:
    return replace(HONEST, load=lambda variant, root: make(**changes))


KEPT = make()
DRAWS = count()


def drawn(variant: str, root: Path | None) -> Dataset:
    return make(target=np.roll(not_none(make().target), next(DRAWS)))


def torn() -> DatasetInfo:
    return always(groups=np.arange(N_ROWS) % 4)


BROKEN: dict[str, list[DatasetInfo]] = {
    "described": [
        replace(HONEST, licence=" "),
        replace(HONEST, variants={"plain": ""}),
        replace(HONEST, extra="data"),
        replace(HONEST, n_rows=0),
    ],
    "as_described": [
        replace(HONEST, n_rows=25),
        replace(HONEST, modalities={"a": "vector"}),
        replace(HONEST, modalities={"a": "vector", "b": "table"}),
        replace(HONEST, task="multiclass"),
    ],
    "variants_load": [always(), replace(HONEST, load=lambda variant, root: {"plain": make()}[variant])],
    "same_twice": [replace(HONEST, load=drawn), replace(HONEST, load=lambda variant, root: KEPT)],
    "split_is_clean": [
        torn(),
        always(split=np.full(N_ROWS, "train")),
        always(split=np.array(["train", "dev"])[np.arange(N_ROWS) // 12]),
        always(ids=np.arange(N_ROWS) // 2),
    ],
    "target_fits": [
        always(target=np.arange(N_ROWS) % 3),
        always(target=np.arange(N_ROWS) % 2, task="multiclass"),
        always(target=np.full((N_ROWS, 2), 2), task="multilabel", target_names=("p", "q")),
        always(target=np.full(N_ROWS, np.nan), task="regression"),
        always(target=np.arange(2.0 * N_ROWS).reshape(-1, 2), task="regression", target_names=("p",)),
        always(target=None),
    ],
    "something_is_there": [
        always(modalities={n: replace(m, present=np.zeros(N_ROWS, bool)) for n, m in KEPT.modalities.items()}),
        always(modalities={n: replace(m, present=np.arange(N_ROWS) > 2) for n, m in KEPT.modalities.items()}),
    ],
}


def test_every_check_has_something_broken_that_it_must_reject() -> None:
    assert set(BROKEN) == set(DATASET_CHECKS)


@pytest.mark.parametrize(("check", "i"), [(check, i) for check, broken in BROKEN.items() for i in range(len(broken))])
def test_the_check_rejects_the_broken_data_set_and_passes_the_honest_one(check: str, i: int) -> None:
    with pytest.raises(ContractError, match=f"^Data set 'honest', {check}: "):
        check_dataset(BROKEN[check][i], checks=[check])
    check_dataset(HONEST, checks=[check])
