"""The profile of data: counts, gaps, spreads and rows are those of the data, for every kind of modality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows_of_kinds import N_ROWS, rows_of_kind

from profuse.data.dataset import Dataset
from profuse.data.split import Split, make_split
from profuse.data.table.reader import TableReader
from profuse.data.tensors import from_tensors
from profuse.inspect.profile import Profile, profile
from profuse.kinds import KINDS, kind_named
from profuse.schema import SplitOptions


def table(n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "size": np.where(np.arange(n) < 30, np.nan, rng.normal(size=n)),
        "colour": ["red"] * 100 + ["blue"] * 60 + ["green"] * 20 + [None] * 20,
        "day": pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d"),
        "note": [f"some words of {w} number {i}" for i, w in enumerate(rng.choice(["tea", "oil"], n))],
        "same": 1,
        "y": np.where(np.arange(n) % 4 == 0, "rare", "often"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def read() -> Dataset:
    return TableReader.fit(table(), target="y")[1]


def test_missing_cells_and_frequent_categories_are_counted(read: Dataset) -> None:
    (of,) = [m for m in profile(read).modalities if m.columns]
    columns = {c.name: c for c in of.columns}
    assert {n: (c.kind, c.missing) for n, c in columns.items()} == {
        "size": ("numbers", 30), "colour": ("categories", 20), "day": ("times", 0),
    }  # fmt: skip
    assert [(t.label, t.n) for t in columns["colour"].top] == [("red", 100), ("blue", 60), ("green", 20)]
    assert (of.n_cells, of.missing_cells) == (600, 50)
    assert (columns["day"].spread.low, columns["day"].spread.high) == ("2024-01-01", "2024-07-18")  # type: ignore[union-attr]


def test_bins_count_every_number_that_is_there(read: Dataset) -> None:
    of = next(c for m in profile(read).modalities for c in m.columns if c.name == "size").spread
    assert of is not None
    assert sum(of.counts) + of.below + of.above == 170
    known = table()["size"].dropna()
    assert (of.low, of.median, of.high) == tuple(f"{v:.4g}" for v in (known.min(), known.median(), known.max()))


def test_as_rows_it_holds_each_column_and_size_once_with_what_is_missing_and_its_values(read: Dataset) -> None:
    made = profile(read)
    rows = {(modality, name): rest for modality, name, *rest in made.rows()}
    known = table()["size"].dropna()
    said = f"{known.min():.4g} to {known.max():.4g}, median {known.median():.4g}"
    (cells,) = {modality for modality, name in rows if name == "size"}
    assert rows[cells, "size"] == ["numbers", "30 (15.0 %)", said]
    assert rows[cells, "colour"] == ["categories", "20 (10.0 %)", "red (100), blue (60), green (20)"]
    assert rows["note", "words"][:2] == ["text", "0"]
    assert len(rows) == len(made.rows())
    page = made._repr_html_()
    assert "200 rows" in page
    assert all(said in page for said in ("colour", "30 (15.0 %)", "red (100)"))


@pytest.mark.parametrize("far", [1e6, -1e6])
def test_far_numbers_do_not_squeeze_the_others(far: float) -> None:
    rows = from_tensors({"x": np.append(np.linspace(0, 1, 160), far)[:, None]})
    (column,) = profile(rows).modalities[0].columns
    assert column.spread is not None
    assert column.spread.counts == [10] * 16
    assert (column.spread.below, column.spread.above) == ((0, 1) if far > 0 else (1, 0))


def test_why_a_column_was_read_so_and_which_are_no_input_are_told(read: Dataset) -> None:
    of = profile(read)
    told = {m.name: m.reason for m in of.modalities} | {c.name: c.reason for m in of.modalities for c in m.columns}
    reasons = {column: reason for column, (_, reason) in read.reasons.items()}
    assert told["note"] == reasons["note"] != ""
    assert told["size"] == reasons["size"] != ""
    assert [(c.column, c.kind) for c in of.no_input] == [("same", "unused")]
    assert of.no_input[0].reason == reasons["same"]


@pytest.mark.parametrize("kind", KINDS.builtin)
def test_every_kind_tells_how_large_its_rows_are_and_shows_some(kind: str) -> None:
    rates = {"x": 8_000} if kind_named(kind).has_rate else None
    rows = from_tensors({"x": (kind, rows_of_kind(kind))}, rates=rates)
    of = profile(rows)
    assert Profile.model_validate_json(of.model_dump_json()) == of
    (modality,) = of.modalities
    assert modality.n_present == int(rows.modalities["x"].present.sum())
    assert [len(e.parts) for e in of.examples] == [1] * 4
    sizes = {s.name: s.spread for s in modality.sizes}
    if kind_named(kind).is_numbers:
        assert not sizes
        assert len(modality.columns) == rows_of_kind(kind).shape[1]
    else:
        assert sizes
        assert all(sum(s.counts) == N_ROWS for s in sizes.values())


@pytest.mark.parametrize(
    ("kind", "name", "low", "high"),
    [
        ("text", "words", "5", "5"), ("image", "pixels high", "8", "8"), ("audio", "seconds", "0.5", "0.5014"),
        ("series", "steps", "5", "16"), ("points", "points", "40", "73"), ("volume", "slices", "9", "11"),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_rows(kind: str, name: str, low: str, high: str) -> None:
    rates = {"x": 8_000} if kind_named(kind).has_rate else None
    rows = from_tensors({"x": (kind, rows_of_kind(kind))}, rates=rates)
    of = {s.name: s.spread for s in profile(rows).modalities[0].sizes}[name]
    assert (of.low, of.high) == (low, high)


def test_a_kind_of_ones_own_tells_how_many_values_its_rows_hold() -> None:
    series = from_tensors({"x": ("series", [np.zeros((3, 2)), np.zeros((5, 2))])}).modalities["x"]
    from profuse.kinds import Kind

    assert Kind.sizes(kind_named("series"), series, np.array([1, 0]))["values"].tolist() == [10, 6]


def test_the_target_is_counted_in_each_part(read: Dataset) -> None:
    split = make_split(read, SplitOptions(), seed=0)
    of = profile(read, split)
    (target,) = of.target
    labels = table()["y"].to_numpy()
    assert target.classes == ["often", "rare"]
    for part in ("train", "valid", "test"):
        rows = getattr(split, part)
        assert target.by_part[part] == [int((labels[rows] == c).sum()) for c in target.classes]
        assert of.parts[part] == len(rows)


def test_numbers_of_a_target_are_counted_in_the_same_bins_in_each_part() -> None:
    values = np.arange(100.0)
    rows = replace(from_tensors({"x": values[:, None]}), target=values, task="regression")
    split = Split(np.arange(50), np.arange(50, 75), np.arange(75, 100))
    (target,) = profile(rows, split).target
    assert target.spread is not None
    whole = np.sum([target.by_part[p] for p in ("train", "valid", "test")], axis=0).tolist()
    assert whole == target.spread.counts
    assert target.by_part["train"][-8:] == [0] * 8  # its numbers are the small half
    assert sum(target.by_part["train"]) == 50


def test_labels_are_counted_by_how_often_they_hold() -> None:
    target = np.array([[1, 0], [1, 1], [0, 1], [0, 1]])
    rows = replace(from_tensors({"x": np.eye(4)}), target=target, task="multilabel", target_names=("a", "b"))
    (of,) = profile(rows).target
    assert (of.classes, of.by_part) == (["b", "a"], {"all": [3, 2]})


def test_patterns_of_absence_are_counted_and_left_out_where_nothing_is_missing() -> None:
    texts: list[Any] = ["w"] * 6 + [None] * 3 + ["w"]
    pictures: list[Any] = [np.zeros((3, 4, 4), np.uint8)] * 6 + [None] + [np.zeros((3, 4, 4), np.uint8)] * 2 + [None]
    rows = from_tensors({"text": ("text", texts), "picture": ("image", pictures)})
    found = [(p.present, p.n) for p in profile(rows).patterns]
    assert found == [(["text", "picture"], 6), (["picture"], 2), (["text"], 1), ([], 1)]
    assert profile(from_tensors({"text": texts[:6]})).patterns == []


def test_the_rows_that_are_shown_are_of_training_and_of_all_classes(read: Dataset) -> None:
    split = make_split(read, SplitOptions(), seed=0)
    shown = profile(read, split, n_examples=6).examples
    rows = [int(e.id) for e in shown]
    assert set(rows) <= set(split.train.tolist())
    assert len(set(rows)) == 6
    assert [e.target for e in shown[:2]] == ["often", "rare"]
    labels = table()["y"].to_numpy()
    assert [e.target for e in shown] == labels[rows].tolist()
    assert profile(read, split, n_examples=6) == profile(read, split, n_examples=6)


def test_rows_with_more_in_them_are_shown_first() -> None:
    texts: list[Any] = [None] * 30 + ["here"] * 3
    rows = from_tensors({"text": ("text", texts), "x": np.ones((33, 2))})
    assert not any(p.missing for e in profile(rows, n_examples=3).examples for p in e.parts)


def test_a_profile_of_many_columns_and_large_rows_stays_small() -> None:
    rng = np.random.default_rng(0)
    rows = from_tensors({
        "v": rng.normal(size=(60, 3000)), "s": ("series", [rng.normal(size=(2000, 20)) for _ in range(60)]),
        "i": ("image", rng.integers(0, 255, (60, 3, 200, 200)).astype(np.uint8)),
    })  # fmt: skip
    of = profile(rows)
    assert (len(of.modalities[0].columns), of.modalities[0].more_columns) == (60, 2940)
    assert len(of.model_dump_json()) < 400_000


def test_the_reasons_change_no_digest(read: Dataset, tmp_path: Path) -> None:
    assert read.reasons
    assert replace(read, reasons={}).digest() == read.digest()
