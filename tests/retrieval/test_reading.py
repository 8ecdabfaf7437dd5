"""A retriever is asked with rows in any form, whatever it was learned from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from profuse.data.dataset import Dataset, ModalityData
from profuse.data.table.read import read_table
from profuse.errors import DataError, ProfuseWarning
from profuse.retrieval import Retriever

N = 60


def rows(n: int = N, seed: int = 0) -> dict[str, Any]:
    """A vector, a text, a table, a picture and a series of each row, all about one number."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    words = np.array(["low", "mid", "high"])[np.digitize(z, [-0.5, 0.5])]
    return {
        "emb": np.stack([z, z**2, -z], axis=1) + 0.01 * rng.normal(size=(n, 3)),
        "say": [f"{w} level {i}" for i, w in enumerate(words)],
        "facts": pd.DataFrame({"size": z * 2, "colour": np.where(z > 0, "red", "blue")}),
        "pic": [(128 + 30 * v + 4 * np.arange(64.0).reshape(8, 8, 1) % 40).clip(0, 255).astype(np.uint8) for v in z],
        "wave": [np.stack([np.sin(np.arange(12) * v), np.full(12, v)], axis=1) for v in z],
    }


def as_table(data: dict[str, Any], folder: Path) -> pd.DataFrame:
    """The same rows as a table on disk would be: numbered columns, words, files, lists."""
    frame = pd.DataFrame({"say": data["say"], **data["facts"]})
    for i in range(3):
        frame[f"emb_{i}"] = data["emb"][:, i]
    for i, picture in enumerate(data["pic"]):
        Image.fromarray(picture[..., 0]).save(folder / f"{i}.png")
        pd.DataFrame(data["wave"][i], columns=["a", "b"]).to_csv(folder / f"{i}.csv", index=False)
    frame["pic"] = [f"{i}.png" for i in range(len(frame))]
    frame["wave"] = [f"{i}.csv" for i in range(len(frame))]
    return frame


@pytest.fixture(scope="module")
def finder() -> Retriever:
    """Learned from a dict of arrays: it has seen no table."""
    return Retriever(method="cca", baseline=False).fit(rows())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(scope="module")
def frame(folder: Path) -> pd.DataFrame:
    return as_table(rows(20, 1), folder)


@pytest.mark.parametrize("modality", ["emb", "say", "facts", "pic", "wave"])
class TestLearnedFromArrays:
    def test_a_table_has_the_places_of_the_same_arrays(
        self, finder: Retriever, frame: pd.DataFrame, folder: Path, modality: str
    ) -> None:
        finder.base_dir = folder
        places = finder.embed(frame, modality)
        np.testing.assert_allclose(places, finder.embed(rows(20, 1), modality), atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1, atol=1e-5)

    def test_a_csv_file_has_them_too(self, finder: Retriever, frame: pd.DataFrame, folder: Path, modality: str) -> None:
        finder.base_dir = folder
        frame.to_csv(folder / "all.csv", index=False)
        places = finder.embed(read_table(folder / "all.csv", words=["say"]), modality)
        np.testing.assert_allclose(places, finder.embed(rows(20, 1), modality), atol=1e-4)

    def test_other_columns_and_their_order_are_no_matter(
        self, finder: Retriever, frame: pd.DataFrame, folder: Path, modality: str
    ) -> None:
        finder.base_dir = folder
        other = frame[frame.columns[::-1]].assign(price=1.0, emb_x="?", pic2="none")
        other["emb 9"] = 0.0
        np.testing.assert_array_equal(finder.embed(other, modality), finder.embed(frame, modality))

    def test_lacking_columns_are_told_and_what_is_near(
        self, finder: Retriever, frame: pd.DataFrame, modality: str
    ) -> None:
        other = frame.rename(columns=lambda c: f"my_{c}")
        with pytest.raises(DataError, match=f"a table must have columns for '{modality}'; lacking .*It has 'my_"):
            finder.embed(other, modality)

    def test_a_missing_cell_is_a_missing_modality(
        self, finder: Retriever, frame: pd.DataFrame, folder: Path, modality: str
    ) -> None:
        finder.base_dir = folder
        columns = {"facts": ["size", "colour"], "emb": ["emb_0", "emb_1", "emb_2"]}.get(modality, [modality])
        other = frame.astype(object)
        other.loc[3, columns] = None
        places = finder.embed(other, modality)
        assert np.flatnonzero(np.abs(places).sum(1) == 0).tolist() == [3]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["emb_0", "emb_1", "emb_2"], True), (["emb0", "emb1", "emb2"], True), (["emb.1", "emb.2", "emb.3"], True),
        (["emb[0]", "emb[1]", "emb[2]"], True), (["emb_00", "emb_01", "emb_02"], True),
        (["emb-2", "emb-1", "emb-0"], True),
        (["emb_0", "emb_1", "emb_3"], False), (["emb_0", "emb_1"], False), (["emb_2", "emb_3", "emb_4"], False),
        (["emb_0", "emb_1", "emb_2", "emb_3"], False), (["embed_0", "embed_1", "embed_2"], False),
    ],
)  # fmt: skip
def test_numbered_columns_are_a_vector_where_they_are_as_many(finder: Retriever, names: list[str], found: bool) -> None:
    emb = rows(20, 1)["emb"]
    order = [int("".join(c for c in n if c.isdigit())) for n in names]
    order = [i - min(order) for i in order]
    frame = pd.DataFrame({n: emb[:, min(i, 2)] for n, i in zip(names, order, strict=True)})
    if not found:
        with pytest.raises(DataError, match="lacking 3 columns emb_0 ... emb_2, or one of lists"):
            finder.embed(frame, "emb")
        return
    np.testing.assert_allclose(finder.embed(frame, "emb"), finder.embed({"emb": emb}, "emb"), atol=1e-6)


@pytest.mark.parametrize("make", [list, str, np.asarray], ids=["lists", "text", "arrays"])
def test_a_column_of_lists_is_a_vector(finder: Retriever, make: Any) -> None:
    emb = rows(20, 1)["emb"]
    frame = pd.DataFrame({"emb": pd.Series([make(v.tolist()) for v in emb], dtype=object)})
    np.testing.assert_allclose(finder.embed(frame, "emb"), finder.embed({"emb": emb}, "emb"), atol=1e-6)


def test_a_column_id_names_the_rows(finder: Retriever) -> None:
    frame = pd.DataFrame({"ID": [f"n{i}" for i in range(5)], "say": rows(5, 2)["say"]})
    assert finder.index(frame, "say").ids.tolist() == frame["ID"].tolist()
    with pytest.warns(ProfuseWarning, match="'ID': as an id it is again in 1 row"):
        again = finder.index(frame.assign(ID=["a", "a", "b", "c", "d"]), "say")
    assert again.ids.tolist() == [0, 1, 2, 3, 4]


def test_cells_that_are_not_of_the_kind_are_told(finder: Retriever, folder: Path) -> None:
    finder.base_dir = folder
    for name, cells in {"pic": ["nofile.png"], "pic ": [1.5], "wave": ["nofile.csv"], "emb": ["[1, 2]"]}.items():
        with pytest.raises(DataError):
            finder.embed(pd.DataFrame({name.strip(): cells}), name.strip())


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [("say", "vector", np.ones((3, 2))), ("emb", "text", np.array(["a"] * 3, dtype=object)),
     ("pic", "series", np.ones((3, 8, 8))), ("facts", "vector", np.ones((3, 2)))],
)  # fmt: skip
def test_a_data_set_whose_modality_is_of_another_kind_is_told(
    finder: Retriever, name: str, kind: Any, values: Any
) -> None:
    other = Dataset("d", {name: ModalityData(kind, values, np.ones(3, dtype=bool))}, None, "regression")
    with pytest.raises(DataError, match=f"modality '{name}' must be of kind '.*', as in training; got kind='{kind}'"):
        finder.embed(other, name)


@pytest.fixture(scope="module")
def learned(folder: Path) -> Retriever:
    table = as_table(rows(), folder)
    vector = {"kind": "vector", "columns": ["emb_0", "emb_1", "emb_2"]}
    schema = {"modalities": {"facts": {"columns": ["size", "colour"]}, "emb": vector}}
    return Retriever(method="cca", baseline=False, schema=schema, base_dir=folder).fit(table)


class TestLearnedFromATable:
    @pytest.mark.parametrize("modality", ["emb", "say", "facts", "pic", "wave"])
    def test_arrays_have_the_places_of_the_same_table(self, learned: Retriever, folder: Path, modality: str) -> None:
        data = rows(20, 1)
        table = as_table(data, folder)
        np.testing.assert_allclose(learned.embed(data, modality), learned.embed(table, modality), atol=1e-4)
        found = learned.index(data, modality).search(table, modality, 1)
        np.testing.assert_allclose(found.similarities, 1, atol=1e-4)

    def test_cells_of_a_table_in_a_dict_mean_what_they_meant(self, learned: Retriever) -> None:
        facts = rows(20, 1)["facts"]
        words = facts.astype({"size": str})
        np.testing.assert_allclose(learned.embed({"facts": words}, "facts"), learned.embed({"facts": facts}, "facts"))

    @pytest.mark.parametrize("form", ["table", "dict"])
    def test_categories_that_training_has_not_seen_are_told(self, learned: Retriever, form: str) -> None:
        facts = rows(20, 1)["facts"]

        def asked(colour: list[str]) -> Any:
            frame = facts.assign(colour=colour)
            return learned.embed(frame if form == "table" else {"facts": frame}, "facts")

        with pytest.warns(ProfuseWarning, match="'colour': 1 of 20 filled cells hold categories"):
            asked(["green", *facts["colour"][1:]])
        with pytest.raises(DataError, match="'colour': 20 of 20 filled cells hold categories"):
            asked(["RED!"] * 20)

    def test_arrays_of_other_channels_are_told(self, learned: Retriever) -> None:
        with pytest.raises(DataError):
            learned.embed({"emb": np.ones((4, 5))}, "emb")

    def test_a_modality_under_another_name_is_told(self, learned: Retriever) -> None:
        with pytest.raises(DataError, match=r"lacking \['say'\] \('sayy' is near 'say'\)"):
            learned.embed({"sayy": ["low level"]}, "say")
