"""Fits of pretrained models that are tuned to videos: what is learned, kept and saved; files, and streams of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_models
import torch
from made_videos import write_video

from profuse import FusionClassifier, from_tensors
from profuse.data.preprocess import preprocessor
from profuse.data.preprocess.trunk import FORMS
from profuse.encoders import _trunks
from profuse.encoders.tuned import LoraEncoder
from profuse.errors import DataError
from profuse.inputs import open_data
from profuse.models.options import ModelOptions
from profuse.progressive._entry import entry_of
from profuse.streaming.fit import fit_streamed
from profuse.streaming.options import StreamOptions
from profuse.training.options import TrainOptions

# transformers takes seconds to import
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("offline_hub")]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.saved(tmp_path_factory.mktemp("models"), "videomae", "timesformer", "vit")


def two_classes(n_rows: int) -> tuple[list[Any], np.ndarray]:
    """Returns videos that are darker or lighter than grey, of several lengths."""
    draw, target = np.random.default_rng(0), np.arange(n_rows) % 2
    levels = [draw.integers(60, 90, (2 + i % 3, 16, 16, 3)) for i in range(n_rows)]
    return [np.where(t, 128 + of, 127 - of).astype(np.uint8) for of, t in zip(levels, target, strict=True)], target


@pytest.mark.parametrize(("name", "form"), [("videomae", "hf-lora"), ("timesformer", "hf-last"), ("vit", "hf-whole")])
def test_training_changes_what_is_tuned_and_a_saved_model_holds_only_that(
    models: Path, tmp_path: Path, name: str, form: str
) -> None:
    cells, target = two_classes(30)
    data = from_tensors({"x": ("video", [None, *cells[1:]])}, target)
    model = FusionClassifier(
        encoders={"x": f"{form}:{models / name}"}, encoder_options={"x": {"linear_path": False}}, epochs=2, width=8,
        refit=False, rounds=2,
    )  # fmt: skip
    model.fit(data)
    (made,) = model.predictor_.model.plain.encoders
    assert isinstance(made, LoraEncoder)
    assert entry_of(made, "input") == "early"  # feedback enters behind the model
    learned = made.second if form == "hf-lora" else made.first
    assert all(bool(torch.count_nonzero(p)) for p in learned.parameters() if p.ndim >= 2)
    model.save(tmp_path / "m")
    _trunks._on.cache_clear()  # as in a new process
    again = FusionClassifier.load(tmp_path / "m")
    expected = model.predict_proba(data)
    np.testing.assert_allclose(again.predict_proba(data), expected, atol=1e-6)
    np.testing.assert_allclose(again.predict_proba(data.rows(np.array([5])))[0], expected[5], atol=1e-5)
    state = model.predictor_.model.state_dict()
    kept = {key.split("first.")[1].replace("/", ".") for key in state if "first." in key}
    trunk = _trunks.trunk_of(str(models / name), made.reader.tower, "cpu")
    assert kept == set(_trunks.tuned_weights(trunk, made.which, None))
    own, whole = (sum(p.numel() for p in of.parameters()) for of in (made, trunk))
    assert sum(of.numel() for of in state.values()) < own + min(
        whole, 2000
    )  # what is beside it, and no pretrained model


def files(folder: Path) -> pd.DataFrame:
    """Writes MP4 files of two classes, one missing."""
    cells, target = two_classes(24)
    paths = [None if i == 3 else write_video(folder / f"{i}.mp4", clip).name for i, clip in enumerate(cells)]
    return pd.DataFrame({"clip": paths, "y": np.where(target == 1, "light", "dark")})


def test_files_are_read_and_a_stream_reads_them_alike(models: Path, tmp_path: Path) -> None:
    path, named = tmp_path / "d.csv", {"clip": f"hf-lora:{models / 'vit'}"}
    files(tmp_path).to_csv(path, index=False)
    opened = open_data(path, "y", who="test")
    made = preprocessor(named["clip"])()
    made.fit(opened.dataset.modalities["clip"])
    raw = made.transform(opened.dataset.modalities["clip"])
    assert raw.mask.sum(1).tolist() == [0 if i == 3 else 2 + i % 3 for i in range(24)]
    streamed, _ = fit_streamed(
        path, "y", model=ModelOptions(width=8, encoders=named), train=TrainOptions(epochs=1, refit=False),
        stream=StreamOptions(chunk_rows=7, sample_rows=1000),
    )  # fmt: skip
    whole = FusionClassifier(epochs=1, width=8, refit=False, encoders=named, schema=opened.schema).fit(opened.dataset)
    assert streamed.pipeline.specs["clip"] == made.spec
    np.testing.assert_array_equal(
        streamed.predict_proba(opened.dataset), whole.predictor_.predict_proba(opened.dataset)
    )


def test_a_broken_file_is_one_error_that_names_its_row(models: Path, tmp_path: Path) -> None:
    frame = files(tmp_path)
    (tmp_path / "5.mp4").write_bytes(b"no video")
    model = FusionClassifier(encoders={"clip": f"hf-lora:{models / 'vit'}"}, epochs=1, width=8, base_dir=tmp_path)
    with pytest.raises(
        DataError, match=r"row 5 \(counted from 0\), column 'clip': videos must be readable; got '5\.mp4'"
    ):
        model.fit(frame[["clip"]], frame["y"])


def test_a_tuned_model_learns_what_a_frozen_one_does_not_see(tmp_path: Path) -> None:
    """The layers do nothing, and the last norm shows channels that only layers could fill."""
    from transformers import AutoModel

    folder, seen = tiny_models.vivit(tmp_path / "blind", n_layers=1), [4, 5, 6, 7, 12, 13, 14, 15]
    hidden = [i for i in range(16) if i not in seen]
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if any(word in key for word in ("o_proj", "fc2", "projection.bias", "position_embeddings", "cls_token")):
                p.zero_()
        weight = model.embeddings.patch_embeddings.projection.weight
        weight[seen] = 0
        weight[8:12] = -weight[:4]  # their mean is 0: norms tell nothing by it
        model.layernorm.weight[hidden] = 0
    model.save_pretrained(folder)
    cells, target = two_classes(100)
    data = from_tensors({"x": ("video", cells)}, target)
    learn, new = data.rows(np.arange(60)), data.rows(np.arange(60, 100))
    right = {}
    for called in ("hf-tokens", *FORMS):
        options = {} if called == "hf-tokens" else {"x": {"scale": 0.1}}
        model = FusionClassifier(
            encoders={"x": f"{called}:{folder}"}, encoder_options=options, epochs=12, width=8, refit=False,
            learning_rate=0.01, batch_size=16,
        )  # fmt: skip
        right[called] = float((model.fit(learn).predict(new) == new.target).mean())
    assert right.pop("hf-tokens") == 0.5
    assert min(right.values()) > 0.9, right
