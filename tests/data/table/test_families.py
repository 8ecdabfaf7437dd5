"""Numbered columns: what is one vector, what is told, and names that would collide."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from profuse.data.table.families import families
from profuse.data.table.infer import infer
from profuse.errors import ConfigError
from profuse.schema import Modality, Schema

RNG = np.random.default_rng(0)


def frame_of(names: list[str], **more: object) -> pd.DataFrame:
    return pd.DataFrame({**{n: RNG.normal(size=30) for n in names}, **more})


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        ([f"emb_{i:03d}" for i in range(128)], "emb"),
        ([f"V{i:02d}" for i in range(1, 29)], "V"),
        ([f"v{i:02d}" for i in range(120)], "v"),
        ([f"f[{i}]" for i in range(9)], "f"),
        ([f"f({i})" for i in range(9)], "f"),
        ([f"f #{i}" for i in range(9)], "f"),
        ([f"layer1.unit{i}" for i in range(8)], "layer1.unit"),
        ([f"Größe/{i}" for i in range(8)], "Größe"),
        ([f"a\n{i}" for i in range(8)], "a"),
        ([str(i) for i in range(64)], ""),
        ([f"pixel{i}x{j}" for i in range(4) for j in range(4)], "pixel"),
        ([f"{i}x{j}" for i in range(1, 5) for j in range(1, 5)], ""),
        ([f"f[{i}][{j}]" for i in range(3) for j in range(3)], "f"),
    ],
)
def test_numbered_columns_are_one_vector_in_the_order_of_their_numbers(names: list[str], prefix: str) -> None:
    (family,) = families(sorted(names, key=lambda n: hash(n) % 97))
    assert (family.prefix, list(family.columns), family.why_not) == (prefix, names, "")


def test_several_families_stand_side_by_side() -> None:
    names = (
        [f"a_{i}" for i in range(8)]
        + [f"a.{i}" for i in range(8)]
        + [f"emb_{i}_{j}" for i in range(2) for j in range(9)]
    )
    found = infer(frame_of(names, age=RNG.normal(size=30))).schema.modalities
    assert {k: len(m.columns) for k, m in found.items()} == {"table": 1, "a": 8, "a_2": 8, "emb_0": 9, "emb_1": 9}
    both = families([f"a{i}" for i in range(8)] + [f"a0{i}" for i in range(8)])
    assert [f.columns[0] for f in both] == ["a0", "a00"]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([f"emb_{i}" for i in range(12) if i != 5], "number 5 is missing"),
        ([f"emb_{i}" for i in range(20) if i not in (5, 9)], "number 5 is missing (and 1 more)"),
        ([f"q{i}" for i in range(3, 20)], "they begin with 3"),
    ],
)
def test_a_gap_is_told_and_the_columns_stay_in_the_table(names: list[str], why: str) -> None:
    found = infer(frame_of(names))
    assert list(found.schema.modalities) == ["table"]
    (note,) = found.notes
    assert f"{names[0]!r} ... {names[-1]!r} ({len(names)}) are numbered, but {why}" in note


@pytest.mark.parametrize(
    "names",
    [
        [f"x{i}" for i in range(7)],
        [f"gdp_{y}" for y in range(1990, 2020)],
        [f"n{i}" for i in range(0, 100, 9)],
        ["a", "b"],
    ],
)
def test_few_columns_years_and_scattered_numbers_are_no_family_and_not_told(names: list[str]) -> None:
    found = infer(frame_of(names))
    assert list(found.schema.modalities) == ["table"]
    assert found.notes == ()


def test_columns_of_one_number_belong_to_their_family_and_close_its_gaps() -> None:
    frame = frame_of([f"pixel{i}" for i in range(12)]).assign(pixel0=0, pixel5=0)
    found = infer(frame)
    assert found.schema.modalities == {"pixel": Modality(kind="vector", columns=tuple(frame.columns))}
    assert found.notes == ()
    assert list(infer(frame_of(["a"]).assign(b=1)).schema.modalities["table"].columns) == ["a"]


@pytest.mark.parametrize("taken", ["table", "emb", "vector", "rest"])
def test_a_column_may_bear_the_name_of_a_modality_that_is_made(taken: str) -> None:
    texts = [f"{a} words in row {i} of many" for i, a in enumerate(["some", "few", "more"] * 10)]
    frame = frame_of([*(f"emb_{i}" for i in range(8)), *map(str, range(8)), "age"], **{taken: texts})
    found = infer(frame).schema.modalities
    assert found[taken] == Modality(kind="text", columns=(taken,))
    assert sorted(m.kind or "" for m in found.values()) == ["table", "text", "vector", "vector"]
    with pytest.raises(ConfigError, match="names of modalities must differ"):
        infer(frame, Schema(modalities={taken: Modality(columns=("age",))}))


def test_numbers_without_end_and_many_columns_take_no_time() -> None:
    start = time.process_time()
    assert families([f"x{'1' * 50}", *(f"x{i * 10**7}" for i in range(20)), "1x" * 5000, "[" * 5000]) == []
    assert len(families([f"x{i}" for i in range(20_000)])) == 1
    assert time.process_time() - start < 3
