"""`max_length` of pretrained models that are tuned: how many tokens of a text or a sound are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

from profuse.data.dataset import ModalityData, object_array
from profuse.data.embeddings import Sound
from profuse.data.embeddings.frozen import frozen
from profuse.data.preprocess import preprocessor
from profuse.encoders.tuned import LoraEncoder
from profuse.errors import DataError

pytestmark = pytest.mark.slow  # transformers takes seconds to import


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.text_model(tmp_path_factory.mktemp("model"))


def texts(*values: str) -> ModalityData:
    return ModalityData("text", object_array(list(values)), np.ones(len(values), dtype=bool))


def test_a_bound_says_how_many_tokens_of_a_text_are_read(folder: Path) -> None:
    words = " ".join(tiny_models.WORDS[4:14])  # 12 tokens with the two ends
    data = texts(words, "a good film")
    made = preprocessor(f"hf-lora:{folder}")
    free, four, many = (made(max_length=most) for most in (None, 4, 1000))  # type: ignore[call-arg]
    lengths = []
    for reader in (free, four, many):
        reader.fit(data)
        lengths.append((reader.spec.max_length, reader.transform(data).mask.sum(1).tolist()))
    assert lengths == [(12, [12, 5]), (4, [4, 4]), (12, [12, 5])]
    assert torch.equal(four.transform(data).values[:, :4], free.transform(data).values[:, :4])
    assert four.notes == ("2 of 2 texts are longer than 4 tokens: cut.",)


def test_a_bound_above_the_usual_one_reads_as_many_tokens_as_the_model_has_places(folder: Path, tmp_path: Path) -> None:
    long = shutil.copytree(folder, tmp_path / "long")
    for name, key, n in (("config", "max_position_embeddings", 300), ("tokenizer_config", "model_max_length", 1000)):
        said = json.loads((long / f"{name}.json").read_text()) | {key: n}
        (long / f"{name}.json").write_text(json.dumps(said))
    made = preprocessor(f"hf-lora:{long}")
    for most, n_read in ((None, 256), (270, 270), (1000, 300)):
        reader = made(max_length=most)  # type: ignore[call-arg]
        reader.fit(texts("good " * 500))
        assert (reader.spec.max_length, int(reader.transform(texts("good " * 500)).mask.sum())) == (n_read, n_read)


@pytest.mark.parametrize(("name", "shortest"), [("wav2vec2", 78), ("whisper", 5)])
def test_a_bound_says_how_many_tokens_of_a_sound_are_read(tmp_path: Path, name: str, shortest: int) -> None:
    """`shortest`: tokens of a tenth of a second, as shorter sounds are not read."""
    folder = getattr(tiny_models, name)(tmp_path / name)
    wave = 0.3 * np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    data = ModalityData("audio", object_array([wave, wave]), np.array([True, True]), rate=16000)
    (whole,) = frozen(folder, [Sound(wave, 16000)], tokens=True)
    for most in (1, shortest + 2, 1000):
        made = preprocessor(f"hf-lora:{folder}")(max_length=most)  # type: ignore[call-arg]
        made.fit(data)
        raw = made.transform(data)
        assert raw.values.shape[1] <= made.spec.max_length
        n_tokens = LoraEncoder(made.spec, 8)._read(raw, {}).mask.sum(1)
        assert n_tokens.tolist() == [min(max(most, shortest), len(whole))] * 2


def test_a_picture_has_nothing_to_bound(tmp_path: Path) -> None:
    picture = np.zeros((20, 24, 3), dtype=np.uint8)
    data = ModalityData("image", object_array([picture]), np.array([True]), max_length=3)
    made = preprocessor(f"hf-lora:{tiny_models.vit(tmp_path / 'vit')}")()
    with pytest.raises(DataError, match="must go without max_length, as a picture is read whole; got max_length=3. L"):
        made.fit(data)
