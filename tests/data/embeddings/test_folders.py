"""Folders of Hugging Face models: which may be used, and what makes one another; nothing heavy is loaded for it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from profuse import from_tensors
from profuse.data.embeddings import EMBEDDINGS, embedding
from profuse.data.embeddings.folders import digest_of, folder_of, lacking
from profuse.encoders import encoder
from profuse.encoders.beside import StaticBesideEncoder, WordsBesideEncoder
from profuse.encoders.embedded_tokens import EmbeddedTokensEncoder
from profuse.encoders.tuned import LastLayersEncoder, LoraEncoder, WholeEncoder
from profuse.encoders.vector import VectorEncoder
from profuse.errors import ConfigError, NotHereError, UnknownNameError
from profuse.inputs import with_encoders
from profuse.models.options import ModelOptions


def a_model(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("hf:anything", VectorEncoder),
        ("hf-tokens:anything", EmbeddedTokensEncoder),
        ("hf-lora:anything", LoraEncoder),
        ("hf-last:anything", LastLayersEncoder),
        ("hf-whole:anything", WholeEncoder),
        ("words+hf:a/b@c", WordsBesideEncoder),
        ("static+hf:/x+y", StaticBesideEncoder),
    ],
)
def test_a_name_says_the_encoder_before_any_model_is_looked_for(name: str, cls: type) -> None:
    assert encoder(name) is cls
    assert ModelOptions(encoders={"t": name}).encoders == {"t": name}


@pytest.mark.parametrize(
    "name", ["hf:", "hg:x", "cnn+hf:x", "words+hg:x", "words+", "hf", "hf-lora:", "words+hf-lora:x"]
)
def test_other_names_are_unknown(name: str) -> None:
    with pytest.raises(UnknownNameError, match="encoder must be a known name"):
        encoder(name)


@pytest.mark.parametrize("name", ["hf-lora:", "hflora:models/vit", "hf", "hugging:x"])
def test_a_name_that_may_mean_a_pretrained_model_is_told_how_these_are_named(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"hf:FOLDER, hf-tokens:FOLDER, hf-lora:FOLDER, hf-last:FOLDER"):
        encoder(name)
    with pytest.raises(UnknownNameError, match=r"Did you mean 'vit'\?$"):
        encoder("vitt")


def test_no_such_name_is_listed() -> None:
    assert not any(":" in name for name in EMBEDDINGS)
    assert embedding("hf:x") is embedding("hf:x")


def test_what_is_no_folder_and_no_name_of_a_hub_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="must name a folder on this machine, or OWNER/NAME .* there is no such folder"
    ):
        folder_of(str(tmp_path / "not" / "there"))
    with pytest.raises(ConfigError, match="must name a folder that holds config.json"):
        folder_of(str(tmp_path))


def test_weights_that_can_hold_code_are_refused(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m")
    assert folder_of(str(folder)) == folder
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"as \*.safetensors; got pytorch_model.bin, which can hold code"):
        folder_of(str(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt", "pooling/config.json"])
def test_the_digest_is_of_all_that_makes_the_model_and_of_nothing_else(tmp_path: Path, name: str) -> None:
    folder = a_model(tmp_path / "m")
    (folder / "vocab.txt").write_text("a")
    (folder / "pooling").mkdir()
    (folder / "pooling" / "config.json").write_text("{}")
    before = digest_of(folder)
    (folder / "README.md").write_text("about it")
    moved = folder.rename(tmp_path / "elsewhere")
    assert digest_of(moved) == before
    (moved / name).write_bytes(b"other content")
    assert digest_of(moved) != before


OFFLINE = """
import os
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME={home!r})
from profuse.data.embeddings.folders import folder_of
from profuse.errors import ConfigError
try:
    folder_of("somebody/small-model")
except ConfigError as error:
    print(error)
"""


def test_a_model_that_is_not_here_is_told_in_one_message_where_the_hub_may_not_be_asked(tmp_path: Path) -> None:
    code = OFFLINE.format(home=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("hf: 'somebody/small-model' must name a folder, or a model on this machine already")
    assert "and the hub is not asked, as HF_HUB_OFFLINE is set. Correct the path" in done.stdout
    assert "download the model where there is a network, and give its folder" in done.stdout


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Returns what has the hub answer with an error."""

    def answers(error: Exception) -> None:
        def snapshot_download(*_: object, **__: object) -> str:
            raise error

        made = SimpleNamespace(snapshot_download=snapshot_download, constants=SimpleNamespace(HF_HUB_OFFLINE=False))
        monkeypatch.setattr("profuse.data.embeddings.folders.need", lambda *_: made)

    return answers


class RepositoryNotFoundError(Exception):
    """As the hub's client has it."""


class LocalEntryNotFoundError(Exception):
    """As the hub's client has it."""


class GatedRepoError(RepositoryNotFoundError):
    """As the hub's client has it."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RepositoryNotFoundError("404 Client Error"), "the hub has none of that name that you may read"),
        (GatedRepoError("403 Client Error"), "the hub shows it to those alone who have asked for it"),
        (LocalEntryNotFoundError("Got: ConnectError"), "the hub could not be reached"),
        (OSError("the disk is full."), "the hub answered OSError: the disk is full. Correct"),
    ],
)
def test_what_the_hub_answers_is_told_in_words(
    hub: Callable[[Exception], None], error: Exception, message: str
) -> None:
    hub(error)
    with pytest.raises(NotHereError, match=f"^hf: 'some/where' must name .* no such folder here, and {message}"):
        folder_of("some/where")
    assert lacking("some/where").startswith("must name a folder")
    assert "NotFoundError" not in lacking("some/where")


FORMS_OF_NAMES = ("hf", "hf-tokens", "hf-lora", "hf-last", "hf-whole")


@pytest.mark.parametrize("form", [*FORMS_OF_NAMES, "words+hf"])
def test_a_model_that_is_not_here_is_told_by_modality_before_anything_is_read(
    hub: Callable[[Exception], None], form: str
) -> None:
    hub(LocalEntryNotFoundError("Got: ConnectError"))
    name = f"{form}:nowhere"
    cells = ["a b"] * 4 if "words" in form else [np.zeros((4, 4, 3), np.uint8)] * 4
    data = from_tensors({"photo": ("text" if "words" in form else "image", cells)}, [True, False] * 2)
    message = f"fit: the encoder {name!r} of 'photo' must name a folder, .* could not be reached. Correct the path"
    with pytest.raises(ConfigError, match=re.escape(message).replace(r"\.\*", ".*")):
        with_encoders(data, {"photo": name}, who="fit")
    named = replace(data, modalities={"photo": replace(data.modalities["photo"], preprocess=name)})
    with pytest.raises(ConfigError, match=f"the preprocessor '{re.escape(name)}' of 'photo' must name a folder"):
        with_encoders(named, {}, who="fit")


def test_a_model_that_is_here_lacks_nothing_and_one_without_weights_does(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m")
    assert lacking(str(folder)) == ""
    (folder / "model.safetensors").unlink()
    assert lacking(str(folder)).startswith(
        "must name a folder that holds its weights as *.safetensors; got no weights."
    )


@pytest.mark.slow
def test_naming_a_model_loads_no_library(tmp_path: Path) -> None:
    folder = a_model(tmp_path / "m")
    code = (
        "import sys\nfrom profuse.models.options import ModelOptions\n"
        f"ModelOptions(encoders={{'t': 'hf:{folder}'}})\n"
        "print([m for m in ('transformers', 'huggingface_hub', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
