"""Pretrained models of texts that are tuned to the target: the contract, what is learned, and what is saved of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_models
import torch

from profuse import FusionClassifier, from_tensors
from profuse.data.dataset import ModalityData, object_array
from profuse.data.embeddings.frozen import frozen
from profuse.data.preprocess import preprocessor
from profuse.data.preprocess.trunk import FORMS
from profuse.encoders import _trunks, encoder
from profuse.encoders.tuned import LastLayersEncoder, LoraEncoder, WholeEncoder
from profuse.errors import CheckpointError, ConfigError, ShapeError
from profuse.schema import Spec
from profuse.testing import ENCODER_CHECKS, check_encoder
from profuse.tokens import Raw

pytestmark = pytest.mark.slow  # transformers takes seconds to import


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.text_model(tmp_path_factory.mktemp("model"))


def texts(*values: str | None) -> ModalityData:
    return ModalityData("text", object_array([v or "" for v in values]), np.array([v is not None for v in values]))


SOME = ("a good film", None, "it was not very good", "bad bad bad")


def fitted(folder: Path) -> tuple[Spec, Raw]:
    made = preprocessor(f"hf-lora:{folder}")()
    made.fit(texts(*SOME))
    return made.spec, made.transform(texts(*SOME))


@pytest.mark.parametrize("cls", [LoraEncoder, LastLayersEncoder, WholeEncoder])
def test_it_begins_as_the_frozen_model(folder: Path, cls: type[LoraEncoder]) -> None:
    spec, raw = fitted(folder)
    made = cls(spec, 8).eval()
    read = made._read(raw, made._changes())
    expected = frozen(folder, [t for t in SOME if t], tokens=True)
    for i, values in zip((0, 2, 3), expected, strict=True):
        n = int(raw.mask[i].sum())
        np.testing.assert_allclose(read.values[i, :n].detach(), values[:n], atol=2e-6)
    means = torch.stack([torch.from_numpy(v[: spec.max_length]).mean(0) for v in expected])
    torch.testing.assert_close(made.linear(raw)[[0, 2, 3]], means, atol=2e-6, rtol=0)


def test_which_weights_are_tuned(folder: Path) -> None:
    spec, _ = fitted(folder)
    last = LastLayersEncoder(spec, 8, n_layers=1)
    assert {key.split("/")[2] for key in last.first} == {"1"}
    whole = WholeEncoder(spec, 8)
    assert {key.split("/")[2] for key in whole.first} == {"0", "1"}
    assert any(p.ndim == 1 for p in whole.first.values())
    lora = LoraEncoder(spec, 8, rank=3)
    assert {len(p) for p in lora.first.values()} == {3}
    assert len(lora.first) == 2 * 6
    assert {key.split("/")[2] for key in LoraEncoder(spec, 8, n_layers=1).first} == {"1"}
    assert set(WholeEncoder(spec, 8, n_layers=1).first) == set(last.first)
    assert sum(p.numel() for p in lora.parameters()) < sum(p.numel() for p in whole.parameters())


@pytest.mark.parametrize("check", ENCODER_CHECKS)
def test_it_keeps_the_contract(folder: Path, check: str) -> None:
    mask = torch.arange(12) < torch.tensor([5, 12, 1, 0, 3, 7, 2, 11, 4, 12])[:, None]
    ids = torch.randint(1, len(tiny_models.WORDS), (10, 12, 1), generator=torch.Generator().manual_seed(0))
    spec = Spec(kind="text", vocabulary=1 + len(tiny_models.WORDS), max_length=20, source=str(folder))
    check_encoder(LoraEncoder, spec, Raw(ids * mask[..., None], mask), checks=[check])


@pytest.mark.parametrize("form", FORMS)
def test_training_changes_what_is_tuned_and_a_saved_model_holds_only_that(
    folder: Path, tmp_path: Path, form: str
) -> None:
    rng = np.random.default_rng(0)
    words = [" ".join(rng.choice(tiny_models.WORDS[4:], 5)) for _ in range(60)]
    frame, target = pd.DataFrame({"t": words}), ["good" in t for t in words]
    schema = {"columns": {"t": "text"}}
    options = {"t": {"linear_path": False}}  # beside it nothing may be left to learn
    encoders = {"t": f"{form}:{folder}"}
    model = FusionClassifier(encoders=encoders, encoder_options=options, epochs=4, width=8, schema=schema, refit=False)
    model.fit(frame, target)
    (made,) = model.predictor_.model.plain.encoders
    assert type(made) is encoder(f"{form}:{folder}")
    model.save(tmp_path / "m")
    _trunks._on.cache_clear()  # as in a new process
    again = FusionClassifier.load(tmp_path / "m")
    np.testing.assert_allclose(again.predict_proba(frame), model.predict_proba(frame), atol=1e-6)
    names = list(model.predictor_.model.state_dict())
    assert any("first.encoder/layer/1" in name for name in names)
    assert isinstance(made, LoraEncoder)
    learned = made.second if form == "hf-lora" else made.first
    assert all(bool(torch.count_nonzero(p)) for p in learned.parameters() if p.ndim == 2)
    assert not any("embeddings" in name for name in names)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(json.dumps(json.loads(config) | {"layer_norm_eps": 1e-3}))
    try:
        with pytest.raises(CheckpointError, match="must be the one that was tuned"):
            FusionClassifier.load(tmp_path / "m")
    finally:
        (folder / "config.json").write_text(config)


def test_a_gradient_reaches_all_changes_once_they_have_left_0(folder: Path) -> None:
    spec, raw = fitted(folder)
    for cls in (LoraEncoder, LastLayersEncoder):
        made = cls(spec, 8)
        with torch.no_grad():
            for p in (*made.first.values(), *made.second.values()):
                p.add_(torch.randn_like(p) * 0.1)
        (made(raw).values * torch.randn(8)).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters() if p.ndim == 2)


def test_odd_options_and_other_rows_are_told(folder: Path) -> None:
    spec, _ = fitted(folder)
    with pytest.raises(ConfigError, match="rank and n_layers must be at least 1, and scale above 0; got rank=0.*Leave"):
        LoraEncoder(spec, 8, rank=0)
    for cls, called in ((LoraEncoder, "lora"), (LastLayersEncoder, "last"), (WholeEncoder, "whole")):
        with pytest.raises(
            ConfigError, match=f"hf-{called}: n_layers must be at most 2, the layers of a BertModel; got"
        ):
            cls(spec, 8, n_layers=3)
    with pytest.raises(ShapeError, match="the spec must name the folder of a model"):
        LoraEncoder(Spec(kind="text", vocabulary=5, max_length=4), 8)
    with pytest.raises(ShapeError, match="WholeEncoder: values must be long"):
        WholeEncoder(spec, 8)(Raw(torch.zeros(2, 8, 1), torch.ones(2, 8, dtype=torch.bool)))


def test_an_odd_option_is_told_with_its_modality(folder: Path) -> None:
    data = from_tensors({"note": ("text", ["a good film", "bad"] * 8)}, [True, False] * 8)
    for option, message in (
        ({"rank": 0}, "got rank=0.*Leave out"),
        ({"n_layers": 9}, "at most 2.*got n_layers=9. Set"),
    ):
        model = FusionClassifier(
            encoders={"note": f"hf-lora:{folder}"}, encoder_options={"note": option}, epochs=1, width=8
        )
        with pytest.raises(ConfigError, match=f"encoder_options of 'note': .*{message}"):
            model.fit(data)
