"""Words that differ by blanks or case alone: told, and merged where the schema asks for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from not_none import not_none
from tables import opened

from profuse import FusionClassifier, from_tensors
from profuse.data.table.infer import infer
from profuse.data.table.reader import TableReader
from profuse.data.table.spellings import plain_spelling
from profuse.errors import ProfuseWarning
from profuse.schema import Schema, Target

SPELLINGS = ["Yes", "yes", "yes ", " yes", "yes\u00a0", "YES", "y\u200bes", "ｙｅｓ", "yes\t"]


def frame_of(spelling: str, column: str) -> pd.DataFrame:
    frame = pd.DataFrame({"size": np.arange(40) % 9, "answer": ["p", "q"] * 20, "y": ["a", "b", "c", "d"] * 10})
    frame[column] = ["yes", "no", spelling, "no"] * 10
    return frame


@pytest.mark.parametrize("spelling", [s for s in SPELLINGS if s != "yes"])
@pytest.mark.parametrize("column", ["y", "answer"])
def test_a_second_spelling_is_told_with_its_count_and_the_way_to_merge_it(spelling: str, column: str) -> None:
    frame = frame_of(spelling, column)
    (note,) = infer(frame, Schema(target=Target(columns=("y",)))).notes
    what = "classes" if column == "y" else "categories"
    assert f"2 {what} differ from another one by blanks or case alone: 'yes' (10), {spelling!r} (10)" in note
    assert f"merge_spellings: [{column}]" in note


@pytest.mark.parametrize("column", ["y", "answer"])
def test_merged_spellings_are_one_word_in_training_and_later(column: str, tmp_path: Path) -> None:
    frame_of("Yes ", column).to_csv(tmp_path / "form.csv", index=False)
    asked = Schema(target=Target(columns=("y",)), merge_spellings=(column,))
    dataset, schema = opened(tmp_path / "form.csv", schema=asked)
    assert dataset.notes == ()
    frame_of("  YES", column).to_csv(tmp_path / "new.csv", index=False)
    new = TableReader(schema).read(tmp_path / "new.csv", need_target=True)
    for rows in (dataset, new):
        cells = rows.target if column == "y" else rows.modalities["table"].values["answer"]
        assert set(not_none(cells)) == {"yes", "no"}


def test_words_that_differ_otherwise_and_one_spelling_alone_are_not_told() -> None:
    frame = pd.DataFrame({"a": ["red", "rod", "Blue", "blue2"] * 9, "y": ["x", "y"] * 18})
    assert infer(frame, Schema(target=Target(columns=("y",)))).notes == ()
    assert plain_spelling(" New \u00a0York ") == "new york"


def test_labels_of_lists_and_targets_beside_a_table_are_told_too() -> None:
    X = pd.DataFrame({"a": np.arange(40) % 9, "b": np.arange(40) % 7})
    y = pd.Series([["red", "old"], ["Red"]] * 20)
    dataset = from_tensors({"table": X}, y)
    assert "'Red' (20), 'red' (20)" in dataset.notes[0] or "'red' (20)" in dataset.notes[0]
    assert "merge_spellings" not in dataset.notes[0]
    model = FusionClassifier(fusion="concat", width=8, epochs=1)
    with pytest.warns(ProfuseWarning, match="4 classes differ from another one"):
        model.fit(X, ["a", "b", "A", "B"] * 10)
    model.set_params(schema={"merge_spellings": ["target"]}).fit(X, ["a", "b", "A", "B"] * 10)
    assert model.classes_.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["red|old", "red", "old", "red|old|new"], "parted by '|'"),
        (["a;b", "b", "a", "a;b;c"], "parted by ';'"),
        (["0.1;0.2;0.3", "0.4;0.5;0.6", "0.7;0.8;0.9", "0.1;0.5;0.9"], "parted by ';'"),
        (["alpha beta", "beta gamma", "alpha gamma", "gamma"], None),
    ],
)
def test_lists_without_brackets_are_told(words: list[str], told: str | None) -> None:
    frame = pd.DataFrame({"tags": words * 10, "b": np.arange(40) % 9})
    notes = infer(frame).notes
    assert notes == () if told is None else told in notes[0]
    as_target = infer(frame, Schema(target=Target(columns=("tags",)))).notes
    assert as_target == () if told is None else "Target 'tags': cells look like lists without brackets" in as_target[0]
