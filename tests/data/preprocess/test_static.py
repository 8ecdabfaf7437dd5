"""Word pieces with vectors that are known beforehand: rows, saving, and that nothing is fetched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import profuse._optional
from profuse import FusionClassifier
from profuse.data.dataset import ModalityData, object_array
from profuse.data.preprocess import static
from profuse.data.preprocess.static import N_PIECES, StaticPreprocessor, static_vectors
from profuse.errors import CheckpointError, ConfigError, DataError, MissingDependencyError
from profuse.predictor import load_model


def texts(*values: str | None) -> ModalityData:
    return ModalityData(
        "text", object_array([v or "" for v in values]), np.array([v is not None and bool(v.strip()) for v in values])
    )


def fitted(*values: str | None) -> StaticPreprocessor:
    made = StaticPreprocessor()
    made.fit(texts(*values))
    return made


def mean(text: str) -> torch.Tensor:
    """The mean vector of a text, of length 1."""
    ids = fitted(text).transform(texts(text)).values[0, :, 0] - 1
    return torch.nn.functional.normalize(static_vectors()[ids].mean(0), dim=0)


def test_words_of_like_meaning_have_like_vectors() -> None:
    for near, word, far in (
        ("king", "queen", "carrot"),
        ("dog", "puppy", "invoice"),
        ("a joyful film", "a happy movie", "a broken tractor"),
    ):
        assert mean(word) @ mean(near) > mean(word) @ mean(far) + 0.2


def test_there_is_a_vector_for_each_piece_and_case_does_not_count() -> None:
    assert static_vectors().shape == (N_PIECES, 256)
    made = fitted("A wonderful film", "IT WAS REALLY GOOD")
    assert made.spec.vocabulary == 1 + N_PIECES
    one, other = (made.transform(texts(t)).values for t in ("A WONDERFUL FILM", "a wonderful film"))
    assert torch.equal(one, other)


def test_any_script_has_pieces_and_masked_ones_are_0() -> None:
    rows = ("東京 ☃ 😀", None, "", "straße", "one two three four")
    raw = fitted(*rows).transform(texts(*rows))
    assert raw.present.tolist() == [True, False, False, True, True]
    assert (raw.values[raw.mask] > 0).all()
    assert (raw.values[raw.mask] <= N_PIECES).all()
    assert not raw.values[~raw.mask].any()


def test_a_row_does_not_depend_on_the_others() -> None:
    made = fitted("a b c", "a long sentence about many small things")
    together = made.transform(texts("a b c", "a long sentence about many small things"))
    alone = made.transform(texts("a b c"))
    n = alone.values.shape[1]
    assert torch.equal(together.values[:1, :n], alone.values)
    assert not together.mask[0, n:].any()


def test_long_texts_are_cut_and_counted() -> None:
    made = fitted(*["word " * 300] * 3)
    assert made.spec.max_length == 256
    assert made.notes == ("3 of 3 texts are longer than 256 word pieces: cut.",)
    assert made.transform(texts("word " * 400)).values.shape == (1, 256, 1)
    assert fitted("a b").notes == ()


def test_the_state_holds_no_vector_and_makes_an_equal_one() -> None:
    made = fitted("some words here", "others there")
    state = json.loads(json.dumps(made.state()))
    assert len(json.dumps(state)) < 1_000
    again = StaticPreprocessor.from_state(state)
    assert again.spec == made.spec
    assert torch.equal(again.transform(texts("unseen words")).values, made.transform(texts("unseen words")).values)


def test_other_vectors_than_those_of_training_are_refused() -> None:
    state = fitted("some words").state() | {"vectors": "0" * 64}
    with pytest.raises(
        CheckpointError, match="must be those that the model was fitted with.*Install the version of then"
    ):
        StaticPreprocessor.from_state(state)


def test_no_word_at_all_and_what_is_no_text_are_told() -> None:
    with pytest.raises(DataError, match="StaticPreprocessor: at least one training row must hold a word"):
        fitted(None, " ")
    with pytest.raises(DataError, match="every present row must be a str; got int in row 1"):
        fitted("a").transform(ModalityData("text", object_array(["a", 3]), np.ones(2, dtype=bool)))


FRESH = """
import logging, socket, sys
def refused(*args, **options): raise AssertionError("the network was asked for")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
from profuse.data.preprocess.static import StaticPreprocessor
StaticPreprocessor()
import profuse.data.preprocess.static as static
static._tokenizer(), static._digest()
assert "wordllama" not in sys.modules and not logging.getLogger().handlers
"""


@pytest.mark.slow
def test_nothing_is_fetched_and_the_logging_of_the_process_stays_as_it_was(tmp_path: Path) -> None:
    asked = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(profuse.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", FRESH], check=True, env=asked)
    assert not list(tmp_path.rglob("*"))


def test_a_saved_model_needs_the_package_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["red apple", "green pear", "fast car", "slow train"] * 10
    model = FusionClassifier(encoders={"text": "static"}, epochs=1)
    model.fit({"text": words}, [0, 0, 1, 1] * 10)
    model.save(tmp_path / "m")
    assert sum(f.stat().st_size for f in (tmp_path / "m").iterdir()) < 600_000
    again = load_model(tmp_path / "m")
    assert again.pipeline.names == {"text": "static"}
    monkeypatch.setattr(profuse._optional, "find_spec", lambda name: None)
    static.static_vectors.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"'wordllama' must be installed.*'profuse\[pretrained\]'"):
        load_model(tmp_path / "m")


def test_the_encoder_brings_its_preprocessor_and_refuses_another() -> None:
    schema = {"modalities": {"text": {"kind": "text", "columns": ["text"], "preprocess": "subwords"}}}
    model = FusionClassifier(encoders={"text": "static"}, schema=schema)
    frame = pd.DataFrame({"text": ["some long words of a text", "and other words again"] * 10})
    with pytest.raises(ConfigError, match="the encoder 'static' of 'text' needs the preprocessor 'static'; got"):
        model.fit(frame, [0, 1] * 10)
