"""Frozen Hugging Face models: what they make of texts, pictures and sounds, held against transformers itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_models
import torch

from profuse import FusionClassifier
from profuse.data.embeddings import Sound
from profuse.data.embeddings.frozen import frozen
from profuse.data.embeddings.vectors import vectors_of
from profuse.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.slow  # transformers takes seconds to import

TEXTS = ["a good film", "bad", "the film is not very good", "it was it was it was it was it was it was it was it was"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROFUSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for make in (tiny_models.text_model, tiny_models.vit, tiny_models.clip, tiny_models.wav2vec2, tiny_models.whisper):
        make(folder / make.__name__)
    return folder


def alone(model: Any, tokens: Any, text: str) -> torch.Tensor:
    """The last layer of one text, without padding."""
    with torch.no_grad():
        read = tokens(text, return_tensors="pt", truncation=True, max_length=16)
        last: torch.Tensor = model(**read).last_hidden_state[0]
        return last


def test_a_text_is_the_mean_of_its_tokens_whatever_stands_beside_it(models: Path) -> None:
    from transformers import AutoTokenizer, BertModel

    folder = models / "text_model"
    model, tokens = BertModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    expected = [alone(model, tokens, text) for text in TEXTS]
    for found, last in zip(frozen(folder, TEXTS, tokens=False), expected, strict=True):
        np.testing.assert_allclose(found, last.mean(0), atol=2e-6)
    for found, last in zip(frozen(folder, TEXTS, tokens=True), expected, strict=True):
        np.testing.assert_allclose(found, last, atol=2e-6)
    assert len(expected[3]) == 16  # cut


@pytest.mark.parametrize("how", ["cls", "max", "mean"])
def test_a_folder_of_sentence_transformers_says_how_tokens_become_a_vector(
    models: Path, tmp_path: Path, how: str
) -> None:
    folder = shutil.copytree(models / "text_model", tmp_path / "m")
    names = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens"}
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {"path": p, "type": f"sentence_transformers.models.{k}"} for p, k in zip(("", "1", "2"), kinds, strict=True)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1").mkdir()
    modes = {f"pooling_mode_{name}": mode == how for mode, name in names.items()}
    (folder / "1" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))
    tokens = torch.from_numpy(frozen(folder, TEXTS[:1], tokens=True)[0])
    expected = {"cls": tokens[0], "max": tokens.amax(0), "mean": tokens.mean(0)}[how]
    np.testing.assert_allclose(frozen(folder, TEXTS, tokens=False)[0], expected / expected.norm(), atol=1e-5)
    modules[1]["type"] = "sentence_transformers.models.Dense"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ConfigError, match="must name Transformer, Pooling, Normalize only; got Dense"):
        frozen(folder, TEXTS, tokens=False)


def picture(seed: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 24, channels)).astype(np.uint8)


def test_a_picture_is_the_mean_of_its_tokens_or_what_the_model_calls_its_features(models: Path) -> None:
    from PIL import Image
    from transformers import AutoImageProcessor, CLIPModel, ViTModel

    pictures = [picture(0), picture(1)]
    images = [Image.fromarray(p) for p in pictures]
    with torch.no_grad():
        read = AutoImageProcessor.from_pretrained(models / "vit")(images, return_tensors="pt")
        last = ViTModel.from_pretrained(models / "vit").eval()(**read).last_hidden_state
        read = AutoImageProcessor.from_pretrained(models / "clip")(images, return_tensors="pt")
        features = CLIPModel.from_pretrained(models / "clip").eval().get_image_features(**read)
    np.testing.assert_allclose(np.stack(frozen(models / "vit", pictures, tokens=False)), last.mean(1), atol=1e-5)
    np.testing.assert_allclose(np.stack(frozen(models / "vit", pictures, tokens=True)), last, atol=1e-5)
    vectors = features if isinstance(features, torch.Tensor) else features.pooler_output
    np.testing.assert_allclose(np.stack(frozen(models / "clip", pictures, tokens=False)), vectors, atol=1e-5)
    assert vectors.shape == (2, 8)


def test_grey_transparent_and_float_pictures_are_read_as_colours(models: Path) -> None:
    colour = picture(0)
    expected = frozen(models / "vit", [colour], tokens=False)[0]
    opaque = np.concatenate([colour, np.full((20, 24, 1), 255, np.uint8)], axis=2)
    for same in (opaque, colour / 255):
        np.testing.assert_array_equal(frozen(models / "vit", [same], tokens=False)[0], expected)
    grey = picture(0, 1)
    one, other = frozen(models / "vit", [grey, np.repeat(grey, 3, axis=2)], tokens=False)
    np.testing.assert_array_equal(one, other)


def test_texts_and_pictures_of_one_clip_lie_in_one_space(models: Path) -> None:
    (text,), (image,) = (
        frozen(models / "clip", ["a film"], tokens=False),
        frozen(models / "clip", [picture(0)], tokens=False),
    )
    assert text.shape == image.shape == (8,)


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_a_sound_is_read_alone_at_the_rate_of_the_model_and_padding_does_not_count(models: Path, name: str) -> None:
    time = np.arange(8000) / 16000
    low, high = np.sin(2 * np.pi * 300 * time), np.sin(2 * np.pi * 2000 * time)
    both = frozen(models / name, [Sound(low, 16000), Sound(high[:3000], 16000)], tokens=False)
    np.testing.assert_array_equal(frozen(models / name, [Sound(high[:3000], 16000)], tokens=False)[0], both[1])
    halved = frozen(models / name, [Sound(low[::2], 8000)], tokens=False)[0]
    assert np.abs(halved - both[0]).max() < 0.3 * np.abs(both[1] - both[0]).max()
    tokens = frozen(models / name, [Sound(low, 16000)], tokens=True)[0]
    np.testing.assert_allclose(tokens.mean(0), both[0], atol=1e-5)
    if name == "whisper":
        assert len(tokens) == 25  # half a second of the two seconds that 100 tokens stand for
    assert frozen(models / name, [Sound(low[:10], 16000)], tokens=False)[0].shape == (16,)


def test_what_the_model_has_no_reader_for_is_told_with_what_to_do(models: Path) -> None:
    with pytest.raises(ConfigError, match="vit must hold a tokenizer that transformers loads without code") as told:
        frozen(models / "vit", ["a film"], tokens=False)
    assert str(told.value).endswith("Name a model of texts, or save its tokenizer in the folder (save_pretrained).")
    with pytest.raises(ConfigError, match="text_model must hold a processor of pictures") as told:
        frozen(models / "text_model", [picture(0)], tokens=False)
    message = str(told.value)
    assert message.endswith("Name a model of pictures, or save its image processor in the folder (save_pretrained).")
    assert "Otherwise" not in message  # of what transformers says the first sentence, whole


def test_a_model_whose_weights_are_cut_off_is_to_be_copied_again(models: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(models / "text_model", tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:1000])
    with pytest.raises(ConfigError, match=r"m must hold a model that .*invalid header.*\. Copy the folder again, or"):
        frozen(folder, TEXTS, tokens=False)


def test_a_folder_with_code_of_its_own_runs_none_of_it(models: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(models / "text_model", tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "strange", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(ConfigError, match="transformers loads without code from the folder"):
        frozen(folder, TEXTS, tokens=False)
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_not_there_are_not_made_up(models: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(models / "text_model", tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match="must hold all weights of a BertModel; it lacks 1, encoder.layer.1"):
        frozen(folder, TEXTS, tokens=False)


LOADED = """
import sys, numpy as np, pandas as pd, profuse
m = profuse.FusionClassifier.load("model")
np.save("loaded", m.predict_proba(pd.read_csv("t.csv")[["t"]]))
print("transformers" in sys.modules)
"""


def test_a_second_run_and_a_loaded_model_encode_nothing_and_a_changed_model_is_told(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(models / "text_model", tmp_path / "m")
    words = tiny_models.WORDS[4:]
    texts = [" ".join(np.random.default_rng(i).choice(words, 5)) for i in range(60)]
    frame = pd.DataFrame({"t": texts, "y": ["good" in t for t in texts]})
    frame.to_csv(tmp_path / "t.csv", index=False)

    def fit() -> FusionClassifier:
        made = FusionClassifier(encoders={"t": f"hf:{folder}"}, epochs=1, width=8, schema={"columns": {"t": "text"}})
        return made.fit(frame[["t"]], frame["y"])

    first = fit()
    monkeypatch.setattr("profuse.data.embeddings.frozen._of_texts", lambda *given: pytest.fail("it encodes again"))
    expected = fit().predict_proba(frame[["t"]])
    np.testing.assert_array_equal(first.predict_proba(frame[["t"]]), expected)
    first.save(tmp_path / "model")
    done = subprocess.run([sys.executable, "-c", LOADED], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    np.testing.assert_array_equal(np.load(tmp_path / "loaded.npy"), expected)
    weights = (folder / "model.safetensors").stat().st_size
    assert weights not in {f.stat().st_size for f in (tmp_path / "model").iterdir()}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-3}))
    with pytest.raises(CheckpointError, match="it must be the one that the model was fitted with"):
        FusionClassifier.load(tmp_path / "model")
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="there is no such folder") as caught:
        FusionClassifier.load(tmp_path / "model")
    assert "the pretrained model that it reads must be where it was when it was fitted" in str(caught.value)
    assert "Save it again" not in str(caught.value)


def test_a_real_model_knows_what_texts_mean(tmp_path: Path) -> None:
    folder = tiny_models.minilm(tmp_path / "minilm")
    texts = ["a joyful film", "a happy movie", "a broken tractor", "", "x" * 5000]
    vectors = np.stack(vectors_of(f"hf:{folder}", texts))
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    # the first numbers that the model's own card tells of this sentence
    known = [0.0676, 0.0635, 0.0487, 0.0793, 0.0374]
    found = vectors_of(f"hf:{folder}", ["This is an example sentence"])[0][:5]
    np.testing.assert_allclose(found, known, atol=1e-3)
