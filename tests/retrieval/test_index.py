"""An index: exact, saved, loaded, grown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pairs_of_rows import QUICK, arrays
from sklearn.metrics.pairwise import cosine_similarity

from profuse.data.dataset import Dataset, ModalityData
from profuse.errors import CheckpointError, DataError
from profuse.retrieval import Retriever, load_index


@pytest.fixture(scope="module", params=["learned", "cca"])
def finder(request: pytest.FixtureRequest) -> Retriever:
    return Retriever(**{**QUICK, "epochs": 2}, method=request.param, baseline=False).fit(arrays(120))


def named(n: int, seed: int, first: int = 0) -> Dataset:
    data = arrays(n, seed)
    there = np.ones(n, dtype=bool)
    parts = {k: ModalityData("vector", v, there) for k, v in data.items()}
    return Dataset("d", parts, None, "regression", ids=np.array([f"item {first + i}" for i in range(n)], dtype=object))


def same(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.rows, b.rows)
    np.testing.assert_allclose(a.similarities, b.similarities, atol=1e-6)  # a batch of others rounds otherwise


@pytest.mark.parametrize("ids", [True, False])
def test_a_loaded_index_finds_the_same(finder: Retriever, tmp_path: Path, ids: bool) -> None:
    items: Any = named(50, 1) if ids else arrays(50, 1)
    index, asked = finder.index(items, "right"), arrays(7, 2)
    index.save(tmp_path / "i")
    again = load_index(tmp_path / "i")
    assert (len(again), again.modality, again.n_rows, repr(again)) == (50, "right", 50, repr(index))
    same(again.search(asked, "left", 9), index.search(asked, "left", 9))
    assert type(again.ids[0]) is type(index.ids[0])
    files = {p.suffix for p in (tmp_path / "i").iterdir()}
    assert files == {".json", ".safetensors"}
    again.save(tmp_path / "i")
    assert [p.name for p in tmp_path.iterdir()] == ["i"]


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("saved", [True, False])
def test_an_index_that_grew_finds_what_one_made_at_once_finds(
    finder: Retriever, tmp_path: Path, ids: bool, saved: bool
) -> None:
    whole = arrays(60, 1)
    whole["right"][[3, 41]] = np.nan
    there = ~np.isnan(whole["right"]).all(1)
    parts = {"right": ModalityData("vector", whole["right"], there)}
    rows = Dataset("d", parts, None, "regression", ids=np.array([f"n{i}" for i in range(60)]) if ids else None)
    index = finder.index(rows.rows(np.arange(25)), "right")
    for part in (np.arange(25, 26), np.arange(26, 60)):
        if saved:
            index.save(tmp_path / "i")
            index = load_index(tmp_path / "i")
        assert index.add(rows.rows(part)) is index
    at_once = finder.index(rows, "right")
    assert (len(index), index.n_rows, index.n_left_out) == (58, 60, 2)
    same(index.search(arrays(9, 4), "left", 20), at_once.search(arrays(9, 4), "left", 20))
    assert {3, 41}.isdisjoint(index.rows)


def test_rows_that_follow_rows_without_the_modality_keep_their_numbers(finder: Retriever) -> None:
    first, second = arrays(5, 1), arrays(4, 2)
    first["right"][2:] = np.nan
    assert finder.index(first, "right").add(second).rows.tolist() == [0, 1, 5, 6, 7, 8]


def test_the_ids_found_are_those_of_the_rows_found(finder: Retriever) -> None:
    items = named(40, 1)
    lacking = np.isin(np.arange(40), [0, 3, 17])
    right = replace(items.modalities["right"], present=~lacking)
    index = finder.index(replace(items, modalities={**items.modalities, "right": right}), "right")
    found = index.add(named(9, 2, first=40)).search(arrays(6, 3), "left", k=46)
    assert found.ids.tolist() == [[f"item {row}" for row in rows] for rows in found.rows]
    assert set(found.rows[0]) == set(range(49)) - {0, 3, 17}


def test_an_id_that_is_there_already_is_refused(finder: Retriever) -> None:
    index = finder.index(named(10, 1), "right")
    with pytest.raises(DataError, match="must have an id of its own; in the index already: 'item 8', 'item 9'"):
        index.add(named(6, 2, first=8))
    assert len(index) == index.n_rows == 10
    index.add(named(6, 2, first=10))
    assert len(index) == 16


@pytest.mark.parametrize("first_named", [True, False])
def test_rows_with_ids_and_rows_without_are_not_mixed(finder: Retriever, first_named: bool) -> None:
    parts: list[Any] = [named(10, 1), arrays(10, 1)]
    one, other = parts if first_named else parts[::-1]
    index = finder.index(one, "right")
    with pytest.raises(DataError, match="rows must have ids as those before them"):
        index.add(other)
    assert len(index) == 10


@pytest.mark.parametrize(
    "values", [[3, 1, 2], ["a", "b", "c"], [1.5, 2.5, 3.5], pd.date_range("2024-01-01", periods=3)]
)
def test_ids_of_any_kind_come_back(finder: Retriever, tmp_path: Path, values: Any) -> None:
    rows = named(3, 1)
    ids = np.empty(3, dtype=object)
    ids[:] = list(values)
    index = finder.index(Dataset("d", rows.modalities, None, "regression", ids=ids), "right")
    index.save(tmp_path / "i")
    again = load_index(tmp_path / "i")
    assert again.ids.tolist() == index.ids.tolist()
    assert [str(i) for i in again.ids] == [str(v) for v in values]


def test_an_index_of_many_rows_is_searched_in_chunks(finder: Retriever, monkeypatch: pytest.MonkeyPatch) -> None:
    index, asked = finder.index(arrays(300, 1), "right"), arrays(40, 2)
    whole = index.search(asked, "left", 6)
    monkeypatch.setattr("profuse.retrieval.index._AT_ONCE", 1000)
    same(index.search(asked, "left", 6), whole)
    similar = cosine_similarity(finder.embed(asked, "left"), index.vectors)
    np.testing.assert_array_equal(whole.rows, np.argsort(-similar, axis=1, kind="stable")[:, :6])


class TestFolders:
    def test_that_hold_something_else_are_not_replaced(self, finder: Retriever, tmp_path: Path) -> None:
        index = finder.index(arrays(20, 1), "right")
        finder.save(tmp_path / "r")
        with pytest.raises(CheckpointError, match="must be new, empty or a saved index; it holds a saved retriever"):
            index.save(tmp_path / "r")
        Retriever.load(tmp_path / "r")
        index.save(tmp_path / "i")
        with pytest.raises(CheckpointError, match="must be new, empty or a saved retriever; it holds a saved index"):
            finder.save(tmp_path / "i")
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "mine.txt").write_text("mine")
        with pytest.raises(CheckpointError, match="it holds something else"):
            index.save(tmp_path / "x")

    def test_that_hold_no_index_are_told(self, finder: Retriever, tmp_path: Path) -> None:
        finder.save(tmp_path / "r")
        with pytest.raises(CheckpointError, match="load_index: .* it holds a saved retriever"):
            load_index(tmp_path / "r")
        with pytest.raises(CheckpointError, match="load_index: .*model.json is not there"):
            load_index(tmp_path / "nothing")

    @pytest.mark.parametrize("name", ["arrays.safetensors", "model.json"])
    def test_that_are_damaged_are_told(self, finder: Retriever, tmp_path: Path, name: str) -> None:
        finder.index(arrays(20, 1), "right").save(tmp_path / "i")
        content = bytearray((tmp_path / "i" / name).read_bytes())
        content[-9] ^= 1
        (tmp_path / "i" / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="load_index: "):
            load_index(tmp_path / "i")

    @pytest.mark.parametrize("fault", ["fewer ids", "other modality", "no places", "long places", "fewer rows"])
    def test_whose_parts_do_not_fit_are_told(self, finder: Retriever, tmp_path: Path, fault: str) -> None:
        from profuse._folder import read_folder, write_folder
        from profuse.retrieval.saving import INDEX

        finder.index(named(20, 1), "right").save(tmp_path / "i")
        facts, weights = read_folder(tmp_path / "i", lambda facts, weights: (facts, weights), INDEX)
        held = facts["index"]
        held |= {
            "fewer ids": {"ids": held["ids"][:-1]}, "other modality": {"modality": "middle"},
            "no places": {"vectors": None}, "long places": {"vectors": held["vectors"] * 2},
            "fewer rows": {"n_rows": 3},
        }[fault]  # fmt: skip
        write_folder(
            tmp_path / "j", {k: v for k, v in facts.items() if k not in ("what", "format", "digests")}, weights, INDEX
        )
        with pytest.raises(CheckpointError, match="load_index: .* its parts must fit each other"):
            load_index(tmp_path / "j")

    def test_hold_json_that_needs_no_pickle(self, finder: Retriever, tmp_path: Path) -> None:
        finder.index(named(5, 1), "right").save(tmp_path / "i")
        facts = json.loads((tmp_path / "i" / "model.json").read_text())
        assert facts["index"]["ids"] == [f"item {i}" for i in range(5)]
