"""A function of cells that has a name is an encoder of any kind of modality; models of it are saved and loaded."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import profuse
from profuse import FusionClassifier, register
from profuse.data.dataset import ModalityData, object_array
from profuse.data.embeddings import Embedding, Sound
from profuse.data.preprocess import preprocessor
from profuse.encoders import ENCODERS, encoder, preprocessor_for
from profuse.encoders.embedded_tokens import EmbeddedTokensEncoder
from profuse.encoders.vector import VectorEncoder
from profuse.errors import CheckpointError, ConfigError, DataError, UnknownNameError
from profuse.inputs import with_encoders
from profuse.registry import table


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFUSE_CACHE", str(tmp_path / "cache"))


def letters(texts: list[str]) -> np.ndarray:
    """How often each of five letters stands in a text."""
    return np.array([[text.count(letter) for letter in "aeiou"] for text in texts])


def texts(*values: str | None) -> ModalityData:
    return ModalityData(
        "text", object_array([v or "" for v in values]), np.array([v is not None for v in values], dtype=bool)
    )


def fitted(name: str, data: ModalityData) -> Any:
    made = preprocessor(name)()
    made.fit(data)
    return made


def test_its_name_is_that_of_an_encoder_and_a_preprocessor_though_neither_is_listed() -> None:
    register("embedding", "letters", letters)
    assert encoder("letters") is VectorEncoder
    assert preprocessor_for("letters") == "letters"
    assert "letters" not in ENCODERS
    register("embedding", "each", Embedding(letters, tokens=True))
    assert encoder("each") is EmbeddedTokensEncoder
    with pytest.raises(UnknownNameError, match="encoder='lettres'"):
        encoder("lettres")


def test_rows_have_mean_0_and_mean_square_1_in_training_and_keep_their_proportions() -> None:
    register("embedding", "letters", letters)
    data = texts("aaa e", None, "ei", "oua", "aei")
    made = fitted("letters", data)
    raw = made.transform(data)
    assert raw.mask.tolist() == [True, False, True, True, True]
    known = raw.values[raw.mask]
    torch.testing.assert_close(known.mean(0), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(known.square().mean(), torch.tensor(1.0))
    counts = letters(["aaa e", "ei", "oua", "aei"])
    np.testing.assert_allclose(known[0] - known[1], (counts[0] - counts[1]) / made._scale, rtol=1e-5)
    assert not raw.values[1].any()


def test_tokens_are_padded_and_cut_to_what_training_rows_have() -> None:
    def each(texts: list[str]) -> list[np.ndarray]:
        return [np.array([[ord(c), 1.0] for c in text]) for text in texts]

    register("embedding", "each", Embedding(each, tokens=True))
    made = fitted("each", texts("abc", "d", None))
    assert (made.spec.kind, made.spec.n_channels, made.spec.max_length) == ("series", 2, 3)
    raw = made.transform(texts("abcdefgh", "z", None))
    assert raw.mask.tolist() == [[True, True, True], [True, False, False], [False, False, False]]
    assert not raw.values[~raw.mask].any()


KINDS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("text", ["some words", "others", None, "a b c"], {}),
    ("image", [np.full((4, 5, 3), i, np.uint8) for i in range(4)], {}),
    ("audio", [np.sin(np.arange(900.0) * i) for i in range(1, 5)], {"rates": {"x": 8000}}),
    ("series", [np.ones((3 + i, 2)) for i in range(4)], {}),
    ("vector", np.arange(12.0).reshape(4, 3), {}),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("kind", "values", "more"), KINDS, ids=[k for k, _, _ in KINDS])
def test_it_gets_the_cells_of_any_kind_as_they_are(kind: str, values: Any, more: dict[str, Any]) -> None:
    seen: list[Any] = []

    def note(cells: list[Any]) -> np.ndarray:
        seen.extend(cells)
        return np.ones((len(cells), 2))

    register("embedding", "note", note)
    data = profuse.from_tensors({"x": values}, [0, 1, 0, 1], kinds={"x": kind}, **more)
    fitted("note", with_encoders(data, {"x": "note"}, who="test").modalities["x"])
    there = [v for v in values if v is not None]
    assert len(seen) == len(there)
    assert {type(cell) for cell in seen} == {{"text": str, "audio": Sound}.get(kind, np.ndarray)}
    if kind == "audio":
        assert {cell.rate for cell in seen} == {8000}


def test_a_kind_that_it_does_not_take_is_told_before_any_fit() -> None:
    register("embedding", "letters", Embedding(letters, kinds=("text",)))
    data = profuse.from_tensors({"x": np.ones((4, 3)), "t": ["a", "b", "c", "d"]}, [0, 1, 0, 1])
    with pytest.raises(ConfigError, match="encoder of 'x' must take kind 'vector'; got 'letters', which does not"):
        with_encoders(data, {"x": "letters"}, who="fit")
    assert with_encoders(data, {"t": "letters"}, who="fit").modalities["t"].preprocess == "letters"


def test_other_numbers_of_channels_later_are_told() -> None:
    width = [5]
    register("embedding", "lengths", lambda cells: np.ones((len(cells), width[0])) * [[len(c)] for c in cells])
    made = fitted("lengths", texts("a", "bb"))
    width[0] = 4
    with pytest.raises(DataError, match="all cells must have 5 channels, as in training; got 4"):
        made.transform(texts("ccc"))


@pytest.mark.parametrize("name", ["letters", "words+letters", "each"])
def test_a_preprocessor_survives_pickle_and_saving(name: str) -> None:
    register("embedding", "letters", letters)
    register("embedding", "each", Embedding(lambda cells: [letters(list(c)) for c in cells], tokens=True))
    data = texts("aaa e", None, "ei", "oua")
    made = fitted(name, data)
    expected = made.transform(data)
    for again in (pickle.loads(pickle.dumps(made)), preprocessor(name).from_state(made.state())):
        assert again.spec == made.spec
        assert torch.equal(again.transform(data).values, expected.values)
        assert type(again) is preprocessor(name)


def test_a_changed_revision_is_told_when_a_saved_one_is_made() -> None:
    register("embedding", "letters", Embedding(letters, revision="1"))
    state = fitted("letters", texts("a", "e")).state()
    register("embedding", "letters", Embedding(letters, revision="2"))
    with pytest.raises(CheckpointError, match="embedding 'letters': it must be the one that the model was fitted with"):
        preprocessor("letters").from_state(state)


MODULE = '''
import numpy as np
from profuse import register

def vowels(texts):
    """How often vowels stand in a text."""
    with open("calls.txt", "a") as calls:
        calls.write(f"{len(texts)}\\n")
    return np.array([[t.count(c) for c in "aeiou"] for t in texts], dtype=float)

register("embedding", "vowels", vowels)
'''


LOADED = """
import mine, profuse, pandas as pd, numpy as np
np.save("loaded", profuse.FusionClassifier.load("model").predict_proba(pd.read_csv("t.csv")[["t"]]))
"""


@pytest.mark.slow
def test_a_model_of_it_predicts_alike_in_a_new_process_and_a_second_run_encodes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("mine")
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("aeioubcdfg"), 12)) for _ in range(80)]
    frame = pd.DataFrame({"t": words, "y": [w.count("a") > 1 for w in words]})
    frame.to_csv("t.csv", index=False)
    for _ in range(2):
        made = FusionClassifier(encoders={"t": "vowels"}, epochs=1, width=8, schema={"columns": {"t": "text"}})
        made.fit(frame[["t"]], frame["y"]).save("model")
    subprocess.run([sys.executable, "-c", LOADED], check=True)
    np.testing.assert_array_equal(np.load("loaded.npy"), made.predict_proba(frame[["t"]]))
    assert sum(map(int, Path("calls.txt").read_text().split())) == len(set(words))
    table("embedding").remove("vowels")
    with pytest.raises(CheckpointError, match="import the module that registers it"):
        FusionClassifier.load("model")


def test_a_column_of_a_table_names_it_in_the_schema() -> None:
    register("embedding", "letters", letters)
    frame = pd.DataFrame({"t": [f"{'a' * (i % 4)} {'e' * (i % 3)} x{i}" for i in range(40)], "n": np.arange(40.0)})
    schema = {"modalities": {"t": {"columns": ["t"], "kind": "text", "encoder": "letters"}}}
    model = FusionClassifier(epochs=1, width=8, schema=schema).fit(frame, np.arange(40) % 4 > 1)
    assert model.predictor_.pipeline.names["t"] == "letters"
    assert model.predictor_.pipeline.specs["t"].n_channels == 5
