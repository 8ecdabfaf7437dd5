"""Categories that training has not seen: counted by column, and an error where a column holds hardly anything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tables import opened

from profuse import FusionClassifier
from profuse.data.dataset import ModalityData
from profuse.data.preprocess.table import TablePreprocessor
from profuse.data.table.unseen import Unseen, unseen_notes
from profuse.errors import DataError, ProfuseWarning
from profuse.schema import Schema

TRAIN = pd.DataFrame(
    {
        "colour": ["red", "blue", "green", "red"] * 15,
        "shape": ["round", "flat", "long"] * 20,
        "size": np.arange(60) % 11,
        "y": ["p", "q"] * 30,
    }
)


def cells(new: int, old: int) -> pd.DataFrame:
    rows = TRAIN.iloc[: new + old].reset_index(drop=True)
    rows["colour"] = [f"new {i % 3}" for i in range(new)] + ["red"] * old
    return rows


@pytest.mark.parametrize(("new", "old"), [(1, 19), (9, 0), (9, 1), (18, 2), (1, 0)])
def test_new_categories_are_counted_by_column(new: int, old: int, tmp_path: Path) -> None:
    TRAIN.to_csv(tmp_path / "a.csv", index=False)
    cells(new, old).to_csv(tmp_path / "b.csv", index=False)
    dataset, _ = opened(tmp_path / "a.csv", target="y", test=tmp_path / "b.csv")
    (note,) = [n for n in dataset.notes if "has not seen" in n]
    assert f"b.csv: Column 'colour': {new} of {new + old} filled cells hold categories" in note
    assert "'new 0'" in note


@pytest.mark.parametrize(("new", "old"), [(10, 0), (19, 1), (28, 2)])
def test_a_column_of_hardly_anything_known_is_an_error_unless_the_schema_expects_it(
    new: int, old: int, tmp_path: Path
) -> None:
    TRAIN.to_csv(tmp_path / "a.csv", index=False)
    cells(new, old).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "a.csv", target="y", test=tmp_path / "b.csv")
    assert f"test file b.csv: column 'colour': {new} of {new + old} filled cells" in str(caught.value)
    assert "new_categories: [colour]" in str(caught.value)
    expecting = Schema(new_categories=("colour",))
    dataset, _ = opened(tmp_path / "a.csv", target="y", schema=expecting, test=tmp_path / "b.csv")
    assert any("has not seen" in n for n in dataset.notes)


def test_a_spelling_of_training_is_named_as_near() -> None:
    with pytest.raises(DataError, match=r"'RED' is like 'red'.*but for blanks or case"):
        unseen_notes([Unseen.of("c", np.array(["RED"] * 12, dtype=object), ["red", "blue"], 0.0)])


def test_columns_whose_categories_are_always_new_are_no_error_and_empty_cells_are_not_counted() -> None:
    tickets = pd.DataFrame({"ticket": [f"T{i}" for i in range(40)], "class": ["a", "b"] * 20})
    one = TablePreprocessor()
    one.fit(ModalityData("table", tickets, np.ones(40, dtype=bool)))
    new = pd.DataFrame({"ticket": [f"N{i}" for i in range(30)], "class": ["a", None, "b"] * 10})
    found = one.unseen(ModalityData("table", new, np.ones(30, dtype=bool)))
    assert [(u.column, u.n_unseen, u.n_filled) for u in found] == [("ticket", 30, 30), ("class", 0, 20)]
    (note,) = unseen_notes(found)
    assert note.startswith("Column 'ticket': 30 of 30")
    again = TablePreprocessor.from_state(one.state())
    assert again.unseen(ModalityData("table", new, np.ones(30, dtype=bool))) == found


def test_an_estimator_tells_new_categories_and_refuses_a_column_of_them() -> None:
    X, y = TRAIN.drop(columns="y"), TRAIN["y"]
    model = FusionClassifier(fusion="concat", width=8, epochs=1).fit(X, y)
    with pytest.warns(ProfuseWarning, match="Column 'colour': 2 of 20 filled cells"):
        model.predict(cells(2, 18).drop(columns="y"))
    with pytest.raises(DataError, match="column 'colour': 20 of 20"):
        model.predict(cells(20, 0).drop(columns="y"))
    model.set_params(schema={"new_categories": ["colour"]}).fit(X, y)
    with pytest.warns(ProfuseWarning, match="20 of 20"):
        model.predict(cells(20, 0).drop(columns="y"))
