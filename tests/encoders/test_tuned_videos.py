"""Pretrained models of videos, and of pictures frame by frame, that are tuned: held against transformers."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image

from profuse import from_tensors
from profuse.data.dataset import ModalityData, object_array
from profuse.data.embeddings.frozen import frozen
from profuse.data.embeddings.inputs import levels_of, scales_bytes
from profuse.data.embeddings.trunks import FramesTrunk
from profuse.data.embeddings.videos import _LAYOUTS
from profuse.data.preprocess import preprocessor, unfitted
from profuse.data.preprocess.trunk import TrunkPreprocessor
from profuse.encoders import _trunks
from profuse.encoders.tuned import LastLayersEncoder, LoraEncoder, WholeEncoder
from profuse.errors import CheckpointError, ConfigError, DataError, ShapeError
from profuse.inputs import with_encoders
from profuse.kinds import kind_named
from profuse.schema import Spec
from profuse.testing import ENCODER_CHECKS, check_encoder
from profuse.tokens import Raw

# transformers takes seconds to import
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("offline_hub")]

OF_VIDEOS = {"videomae": (4, 2), "vivit": (6, 3), "timesformer": (3, 3)}
"""Frames that each reads, and times that its tokens stand for."""
OF_PICTURES = ("vit", "clip", "dinov2", "convnext")
CLASSES = (LoraEncoder, LastLayersEncoder, WholeEncoder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.saved(tmp_path_factory.mktemp("models"), *OF_VIDEOS, *OF_PICTURES)


def video(n_frames: int, seed: int = 0, channels: int = 3, size: tuple[int, int] = (20, 24)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n_frames, *size, channels)).astype(np.uint8)


def rows(*cells: np.ndarray | None) -> ModalityData:
    there = np.array([cell is not None for cell in cells])
    return ModalityData("video", object_array([video(1) if cell is None else cell for cell in cells]), there)


def fitted(folder: Path, data: ModalityData) -> tuple[TrunkPreprocessor, Raw]:
    made = preprocessor(f"hf-lora:{folder}")()
    made.fit(data)
    assert isinstance(made, TrunkPreprocessor)
    return made, made.transform(data)


def by_transformers(folder: Path, clip: np.ndarray) -> torch.Tensor:
    """What transformers makes of a clip, `[time, channel]`: means over places, or the vector of each frame."""
    from transformers import AutoImageProcessor, AutoModel

    model, n_frames = AutoModel.from_pretrained(folder).eval(), OF_VIDEOS.get(folder.name, (min(16, len(clip)), 0))[0]
    chosen = [Image.fromarray(clip[i]) for i in np.linspace(0, len(clip) - 1, n_frames).round().astype(int)]
    made = AutoImageProcessor.from_pretrained(folder)
    values: torch.Tensor
    last: torch.Tensor
    with torch.no_grad():
        if folder.name == "clip":
            values = model.get_image_features(**made(chosen, return_tensors="pt")).pooler_output
            return values
        if folder.name in OF_PICTURES:
            last = model(**made(chosen, return_tensors="pt")).last_hidden_state
            return (last.flatten(2).transpose(1, 2) if last.ndim == 4 else last).mean(1)
        values = model(**made([chosen], return_tensors="pt")).last_hidden_state[0]
    n_times, n_places = OF_VIDEOS[folder.name][1], 4
    places = values[len(values) - n_times * n_places :]
    if folder.name == "timesformer":  # the times of one place stand together
        return places.reshape(n_places, n_times, -1).mean(0)
    return places.reshape(n_times, n_places, -1).mean(1)


@pytest.mark.parametrize("name", [*OF_VIDEOS, *OF_PICTURES])
def test_it_begins_as_transformers_has_it_and_as_the_frozen_model(models: Path, name: str) -> None:
    clips = [video(10), video(2, 1), video(40, 2, size=(30, 17))]
    made, raw = fitted(models / name, rows(clips[0], None, *clips[1:]))
    expected = [by_transformers(models / name, clip) for clip in clips]
    assert (expected[0].mean(0) - expected[2].mean(0)).abs().max() > 1e-3  # else all would be alike
    for cls in CLASSES:
        encoder = cls(made.spec, 8).eval()
        read = encoder._read(raw, encoder._changes())
        assert read.mask.sum(1).tolist() == [len(expected[0]), 0, len(expected[1]), len(expected[2])]
        for i, tokens in zip((0, 2, 3), expected, strict=True):
            torch.testing.assert_close(read.values[i][read.mask[i]], tokens, atol=1e-5, rtol=0)
        means = torch.stack([tokens.mean(0) for tokens in expected])
        torch.testing.assert_close(encoder.linear(raw)[[0, 2, 3]], means, atol=1e-5, rtol=0)
        assert not encoder.linear(raw)[1].any()
    for tokens, same in zip(expected, frozen(models / name, clips, tokens=True), strict=True):
        np.testing.assert_allclose(tokens, same, atol=1e-5)


@pytest.mark.parametrize("name", [*OF_VIDEOS, *OF_PICTURES])
def test_frames_are_kept_as_bytes_of_the_size_of_the_model_and_as_many_as_it_reads(models: Path, name: str) -> None:
    made, raw = fitted(models / name, rows(video(10), None, video(40, 1)))
    n_frames = OF_VIDEOS.get(name, (16, 0))[0]
    size = raw.values.shape[3:]
    assert (made.spec.kind, made.spec.n_channels, made.spec.max_length) == ("video", 3, n_frames)
    assert (raw.values.dtype, tuple(raw.values.shape)) == (torch.uint8, (3, n_frames, 3, *made.spec.image_size))
    assert not raw.values[1].any()
    if name in OF_VIDEOS:
        assert raw.mask.tolist() == [True, False, True]
    else:
        assert raw.mask.sum(1).tolist() == [10, 0, 16]
    assert f"up to {n_frames} frames of {size[0]} x {size[1]} pixels" in kind_named("video").describe(made.spec)


@pytest.mark.parametrize(
    "options", [{"do_normalize": False}, {"offset": False}, {"do_rescale": False, "offset": False}]
)
def test_levels_of_a_vivit_are_scaled_as_its_processor_does(tmp_path: Path, options: dict[str, Any]) -> None:
    from transformers import AutoImageProcessor, VivitImageProcessor

    folder = tiny_models.vivit(tmp_path / "vivit")
    sizes: dict[str, Any] = {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}
    VivitImageProcessor(**sizes, **options).save_pretrained(folder)
    clip = video(6)
    made, raw = fitted(folder, rows(clip))
    images = [[Image.fromarray(frame) for frame in clip]]
    expected = torch.as_tensor(AutoImageProcessor.from_pretrained(folder)(images, return_tensors="pt")["pixel_values"])
    assert raw.values.dtype == torch.uint8
    found = _trunks._scaling(made.spec, raw, torch.zeros(()))(raw.values)
    torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=1e-5)


def test_levels_that_a_processor_does_not_scale_last_are_kept_as_it_makes_them(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = video(9)
    for name in ("videomae", "vit"):
        factor, mean, deviation = levels_of(models / name, "")
        _, as_bytes = fitted(models / name, rows(clip))
        with monkeypatch.context() as patch:
            patch.setattr("profuse.data.embeddings.inputs.scales_bytes", lambda *given: False)
            made, raw = fitted(models / name, rows(clip))
        assert raw.values.dtype == torch.float32
        scaled = (factor * as_bytes.values.numpy() - mean[:, None, None]) / deviation[:, None, None]
        np.testing.assert_allclose(raw.values, scaled, atol=1e-5)
        encoder = LoraEncoder(made.spec, 8).eval()
        expected = torch.from_numpy(frozen(models / name, [clip], tokens=True)[0])
        torch.testing.assert_close(encoder._read(raw, {}).values[0], expected, atol=1e-5, rtol=0)
    scales_bytes.cache_clear()


def batch(models: Path, name: str) -> tuple[Spec, Raw]:
    """Returns ten videos of which one is missing, as checks of encoders want them."""
    made, raw = fitted(models / name, rows(*[video(1 + i, i) for i in range(10)]))
    return made.spec, raw.without(torch.arange(10) == 3)


@pytest.mark.parametrize("check", ENCODER_CHECKS)
@pytest.mark.parametrize("name", ["videomae", "vivit", "timesformer", "vit", "clip"])
def test_it_keeps_the_contract(models: Path, name: str, check: str) -> None:
    spec, raw = batch(models, name)
    check_encoder(LoraEncoder, spec, raw, checks=[check])


def test_which_weights_are_tuned(models: Path) -> None:
    specs = {name: batch(models, name)[0] for name in (*OF_VIDEOS, *OF_PICTURES)}
    n_matrices = {"videomae": 12, "vivit": 12, "vit": 12, "dinov2": 12, "clip": 6, "convnext": 6}
    for name, n in n_matrices.items():
        lora = LoraEncoder(specs[name], 8, rank=3)
        assert len(lora.first) == n
        assert {len(p) for p in lora.first.values()} == {3}
        assert not any("embed" in key or "text" in key or "projection" in key for key in lora.first)
    # in time and in space: queries, keys and values together, what comes out of them, and what joins the two
    layers = LoraEncoder(specs["timesformer"], 8).first
    assert {key.split("/")[3] for key in layers} == {"0", "1"}
    assert any("temporal_attention" in key for key in layers)
    last = LastLayersEncoder(specs["videomae"], 8, n_layers=1)
    assert {key.split("/")[3] for key in last.first} == {"1"}
    for name, called in (("clip", "CLIPModel"), ("videomae", "VideoMAEModel")):
        n_layers = 1 if name == "clip" else 2
        with pytest.raises(ConfigError, match=f"n_layers must be at most {n_layers}, the layers of a {called}; got"):
            LastLayersEncoder(specs[name], 8, n_layers=9)


@pytest.mark.parametrize("name", [*OF_VIDEOS, *OF_PICTURES])
def test_a_gradient_reaches_all_changes_and_nothing_of_the_pretrained_model(models: Path, name: str) -> None:
    spec, raw = batch(models, name)
    for cls in (LoraEncoder, LastLayersEncoder):
        made = cls(spec, 8).eval()
        with torch.no_grad():
            for p in (*made.first.values(), *made.second.values()):
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * 0.1)
        (made(raw).values * torch.randn(8)).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters() if p.ndim >= 2)
        trunk = _trunks.trunk_of(spec.source, made.reader.tower, "cpu")
        assert not any(p.requires_grad or p.grad is not None for p in trunk.parameters())


@pytest.mark.parametrize("name", ["videomae", "vit"])
def test_where_all_rows_are_missing_the_changes_have_gradients_all_the_same(models: Path, name: str) -> None:
    spec, raw = batch(models, name)
    made = LoraEncoder(spec, 8)
    none = torch.zeros_like(raw.mask)
    for values in (raw.values, torch.full(raw.values.shape, torch.nan)):
        made.zero_grad()
        made(Raw(values, none)).values.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in made.second.values())
    assert len(made(raw.rows(torch.zeros(0, dtype=torch.long)))) == 0


@pytest.mark.parametrize("name", ["videomae", "vit"])
def test_a_batch_is_read_in_parts_and_the_gradient_is_that_of_the_whole(
    models: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spec, raw = batch(models, name)
    made = LoraEncoder(spec, 8).eval()
    with torch.no_grad():
        for p in made.second.values():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * 0.1)
    trunk, read = _trunks.trunk_of(spec.source, "frames", "cpu"), []
    trunk.register_forward_pre_hook(
        lambda module, given, named: read.append(len(named["pixel_values"])), with_kwargs=True
    )
    n_frames = OF_VIDEOS.get(name, (1, 0))[0]
    n_items = 9 if name == "videomae" else int(raw.mask.sum())
    gradients = []
    for most in (10**6, 8):
        monkeypatch.setattr(_trunks, "_FRAMES_AT_ONCE", most)
        read.clear()
        made.zero_grad()
        made(raw).values.square().sum().backward()
        gradients.append([p.grad.clone() for p in (*made.first.values(), *made.second.values())])
    assert max(read) * n_frames <= 8
    assert sum(read) == 2 * n_items  # once forwards, and once more for the gradient
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)
    read.clear()
    made.linear(raw)
    assert (max(read) * n_frames <= 8, sum(read)) == (True, n_items)


def kept_for_the_gradient(made: LoraEncoder, raw: Raw) -> int:
    """Returns the bytes that one pass keeps until the gradient, the largest tensors counted once."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        made._read(raw, made._changes())
    return sum(kept.values())


@pytest.mark.parametrize("name", ["videomae", "vit"])
def test_what_is_kept_for_the_gradient_does_not_grow_with_the_frames(models: Path, name: str) -> None:
    made_by, _ = fitted(models / name, rows(video(10)))
    made = LoraEncoder(made_by.spec, 8)
    some, many = (made_by.transform(rows(*[video(8, i) for i in range(n)])) for n in (8, 32))
    small, large = kept_for_the_gradient(made, some), kept_for_the_gradient(made, many)
    assert large - small < 4 * (many.values.numel() - some.values.numel())  # bytes a pixel; else hundreds


@pytest.mark.parametrize("name", ["videomae", "vit"])
def test_a_reader_is_kept_and_a_changed_model_is_told(models: Path, name: str) -> None:
    data = rows(video(3), None, video(7, 1))
    made, raw = fitted(models / name, data)
    state = json.loads(json.dumps(made.state()))
    for again in (type(made).from_state(state), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert (again.spec, again.takes) == (made.spec, made.takes)
        assert torch.equal(again.transform(data).values, raw.values)
    assert len(made.transform(data.rows(np.array([1])))) == 1  # none is there
    with pytest.raises(CheckpointError, match="must be the one that was tuned"):
        type(made).from_state(state | {"digest": "0"})


def test_a_bound_says_how_many_frames_a_model_of_pictures_reads_and_belongs_to_no_other(models: Path) -> None:
    data = replace(rows(video(3), video(40, 1)), max_length=5)
    made = unfitted(f"hf-lora:{models / 'vit'}", data)
    made.fit(data)
    raw = made.transform(data)
    assert (made.spec.max_length, raw.mask.sum(1).tolist()) == (5, [3, 5])
    chosen = rows(video(40, 1)[[0, 10, 20, 29, 39]])
    assert torch.equal(raw.values[1], made.transform(chosen).values[0])
    many = unfitted(f"hf-lora:{models / 'vit'}", replace(data, max_length=1000))
    many.fit(data)
    assert (many.spec.max_length, many.transform(data).mask.sum(1).tolist()) == (40, [3, 40])
    dataset = from_tensors({"clip": ("video", [video(4)] * 4)}, [True, False] * 2)
    dataset = replace(dataset, modalities={"clip": replace(dataset.modalities["clip"], max_length=5)})
    assert with_encoders(dataset, {"clip": f"hf-lora:{models / 'vit'}"}, who="fit").modalities["clip"].max_length == 5
    with pytest.raises(ConfigError, match="of 'clip' must go without max_length, as a model of videos reads 4 frames"):
        with_encoders(dataset, {"clip": f"hf-lora:{models / 'videomae'}"}, who="fit")


def test_what_cannot_be_read_is_told(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BitImageProcessorPil, VideoMAEImageProcessorPil

    text = tiny_models.text_model(tmp_path / "text")
    with pytest.raises(ConfigError, match="processor of videos or pictures .*text holds none. Name a model of videos"):
        fitted(text, rows(video(4)))
    with pytest.raises(DataError, match=r"TrunkPreprocessor: row 1 must be a video .*got float64\(2, 4, 4, 3\)"):
        fitted(models / "vit", rows(video(2), np.full((2, 4, 4, 3), np.nan)))
    spec = fitted(models / "videomae", rows(video(4)))[0].spec
    for shape in ((2, 4, 3, 8, 8), (2, 3, 3, 16, 16)):
        with pytest.raises(ShapeError, match=r"LoraEncoder: values must be \[batch, frame, 3, height, width\] of the"):
            LoraEncoder(spec, 8)(Raw(torch.zeros(shape), torch.ones(2, dtype=torch.bool)))
    picture = ModalityData("image", object_array([video(1)[0]]), np.array([True]))
    with pytest.raises(ConfigError, match="holds a videomae, which reads videos. Name a model of pictures"):
        fitted(models / "videomae", picture)
    for name, made in (("vit", BitImageProcessorPil), ("videomae", VideoMAEImageProcessorPil)):
        folder = getattr(tiny_models, name)(tmp_path / name)
        made(size={"shortest_edge": 16}, do_center_crop=False).save_pretrained(folder)
        with pytest.raises(ConfigError, match="of one.*size.* for a model that is tuned; it makes .*16, 22.* Use"):
            fitted(folder, rows(video(2)))
    reader, _ = fitted(models / "vit", rows(video(2)))
    reader.spec = reader.spec.model_copy(update={"image_size": (1, 1)})
    with pytest.raises(
        DataError, match=r"must make pictures of one size, .*\(1, 1\); it makes \(16, 16\) of row 1. Use"
    ):
        reader.transform(rows(None, video(2)))
    of_many = SimpleNamespace(get_image_features=None, config=None)
    with pytest.raises(
        ConfigError, match="must have a vision_model to be tuned to the frames of videos; a SimpleNames"
    ):
        FramesTrunk(of_many)
    monkeypatch.delitem(_LAYOUTS, "videomae")
    with pytest.raises(ConfigError, match="one of vivit, timesformer, whose tokens are in a known order.*got videomae"):
        fitted(models / "videomae", rows(video(4)))
