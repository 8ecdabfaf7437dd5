"""Pretrained models of pictures and sounds that are tuned to the target: what they read, and what is learned."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

from profuse import FusionClassifier
from profuse.data.dataset import Dataset, ModalityData, object_array
from profuse.data.embeddings import Sound
from profuse.data.embeddings.frozen import frozen
from profuse.data.embeddings.inputs import scales_bytes
from profuse.data.preprocess import preprocessor
from profuse.data.preprocess.trunk import FORMS, TrunkPreprocessor
from profuse.encoders import _trunks
from profuse.encoders.tuned import LastLayersEncoder, LoraEncoder, WholeEncoder
from profuse.errors import CheckpointError, ConfigError, DataError, ShapeError
from profuse.kinds import kind_named
from profuse.progressive._entry import entry_of
from profuse.schema import Spec
from profuse.testing import ENCODER_CHECKS, check_encoder
from profuse.tokens import Raw

pytestmark = pytest.mark.slow  # transformers takes seconds to import

PICTURES = ("vit", "clip", "dinov2", "resnet", "convnext")
SOUNDS = ("wav2vec2", "whisper")
CLASSES = (LoraEncoder, LastLayersEncoder, WholeEncoder)
RATE = 16000


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFUSE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in (*PICTURES, *SOUNDS):
        getattr(tiny_models, name)(folder / name)
    return folder


def pictures(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def sounds(*lengths: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [0.3 * draw.standard_normal(n).astype(np.float32) for n in lengths]


def rows(kind: str, *cells: np.ndarray | None) -> ModalityData:
    some = next(cell for cell in cells if cell is not None)
    values = object_array([some if cell is None else cell for cell in cells])
    there = np.array([cell is not None for cell in cells])
    return ModalityData(kind, values, there, rate=RATE if kind == "audio" else None)


def some_rows(name: str) -> tuple[ModalityData, list[object]]:
    """Returns four rows, the second of which is missing, and the cells of the others as a frozen model takes them."""
    if name in PICTURES:
        cells = pictures((20, 24, 3), (16, 16, 1), (30, 17, 3))
        return rows("image", cells[0], None, *cells[1:]), list(cells)
    waves = sounds(4000, 2500, 4000)
    return rows("audio", waves[0], None, *waves[1:]), [Sound(wave, RATE) for wave in waves]


def fitted(folder: Path, data: ModalityData) -> tuple[TrunkPreprocessor, Raw]:
    made = preprocessor(f"hf-lora:{folder}")()
    made.fit(data)
    assert isinstance(made, TrunkPreprocessor)
    return made, made.transform(data)


def suited(folder: Path, spec: Spec, cls: type[LoraEncoder]) -> LoraEncoder:
    """Returns an encoder of that class; of one whose layers have no matrices, one that tunes whole weights."""
    return (WholeEncoder if folder.name == "resnet" and cls is LoraEncoder else cls)(spec, 8).eval()


@pytest.mark.parametrize("name", [*PICTURES, *SOUNDS])
def test_it_begins_as_the_frozen_model(models: Path, name: str) -> None:
    data, cells = some_rows(name)
    made, raw = fitted(models / name, data)
    expected = frozen(models / name, cells, tokens=True)
    assert np.abs(expected[0].mean(0) - expected[1].mean(0)).max() > 1e-3  # else all would be alike
    for cls in CLASSES:
        encoder = suited(models / name, made.spec, cls)
        read = encoder._read(raw, encoder._changes())
        assert read.mask.sum(1).tolist() == [len(expected[0]), 0, *(len(tokens) for tokens in expected[1:])]
        for i, tokens in zip((0, 2, 3), expected, strict=True):
            np.testing.assert_allclose(read.values[i][read.mask[i]].detach(), tokens, atol=2e-5, rtol=1e-5)
        means = np.stack([tokens.mean(0) for tokens in expected])
        np.testing.assert_allclose(encoder.linear(raw)[[0, 2, 3]], means, atol=2e-5, rtol=1e-5)
        assert not encoder.linear(raw)[1].any()


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_kept_as_bytes_of_the_size_of_the_model(models: Path, name: str) -> None:
    made, raw = fitted(models / name, some_rows(name)[0])
    assert (made.spec.image_size, made.spec.n_channels, raw.values.dtype) == ((16, 16), 3, torch.uint8)
    assert tuple(raw.values.shape) == (4, 3, 16, 16)
    assert raw.mask.tolist() == [True, False, True, True]


def test_levels_that_a_processor_does_not_scale_last_are_kept_as_it_makes_them(models: Path, tmp_path: Path) -> None:
    from transformers import ViTImageProcessorPil

    class Squared(ViTImageProcessorPil):
        def normalize(self, image, *args, **kwargs):  # type: ignore[no-untyped-def]
            return super().normalize(image, *args, **kwargs) ** 2

    data, cells = some_rows("vit")
    folder = models / "vit"
    odd = Squared.from_pretrained(folder)
    scales_bytes.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        for module in ("inputs", "frozen"):
            patch.setattr(f"profuse.data.embeddings.{module}.picture_processor", lambda *given: odd)
        made, raw = fitted(folder, data)
        expected = frozen(folder, cells, tokens=True)
        encoder = LoraEncoder(made.spec, 8).eval()
        read = encoder._read(raw, {})
    scales_bytes.cache_clear()
    assert raw.values.dtype == torch.float32
    np.testing.assert_allclose(read.values[[0, 2, 3]], np.stack(expected), atol=2e-5)


def test_which_weights_are_tuned(models: Path) -> None:
    from transformers import SwinConfig, SwinModel

    def names(encoder: LoraEncoder) -> set[str]:
        return {key.replace("/", ".") for key in encoder.first}

    specs = {name: fitted(models / name, some_rows(name)[0])[0].spec for name in (*PICTURES, *SOUNDS)}
    for name in ("vit", "clip", "dinov2", "wav2vec2", "whisper"):
        lora = LoraEncoder(specs[name], 8)
        assert len(lora.first) == 6 * (
            1 if name in ("clip", *SOUNDS) else 2
        )  # query, key, value, output, two of the MLP
        assert not any("embed" in key or "conv" in key for key in names(lora))
    last = names(LastLayersEncoder(specs["resnet"], 8, n_layers=1))
    assert last
    assert all(key.startswith("encoder.stages.1.layers.1.") for key in last)
    two = names(LastLayersEncoder(specs["convnext"], 8))
    assert {key.rpartition(".layers.")[0] for key in two} == {"encoder.stages.1"}
    assert all("pwconv" in key for key in names(LoraEncoder(specs["convnext"], 8)))
    swin = SwinModel(
        SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 2], num_heads=[2, 2], window_size=4)
    )
    assert {key[:25] for key in _trunks.tuned_weights(swin, "last", 2)} == {
        "encoder.layers.1.blocks.0",
        "encoder.layers.1.blocks.1",
    }
    assert not any("table" in key for key in _trunks.tuned_weights(swin, "lora", 2))
    with pytest.raises(ConfigError, match="hf-lora: a ResNetModel must have matrices in its layers"):
        LoraEncoder(specs["resnet"], 8)


def batch(models: Path, name: str) -> tuple[Spec, Raw]:
    """Returns ten rows of which one is missing, as checks of encoders want them."""
    if name in PICTURES:
        made, raw = fitted(models / name, rows("image", *pictures(*[(16, 16, 3)] * 10)))
        return made.spec, raw.without(torch.arange(10) == 3)
    made, _ = fitted(models / name, rows("audio", *sounds(*[2900] * 4)))
    raw = made.transform(rows("audio", *sounds(*[2000, 1700, 2200, 2000, 1900, 2200, 1700, 1601, 2100, 2200])))
    return made.spec, raw.without(torch.arange(10) == 3)


@pytest.mark.parametrize("check", ENCODER_CHECKS)
@pytest.mark.parametrize("name", ["vit", "whisper", "wav2vec2"])
def test_it_keeps_the_contract(models: Path, name: str, check: str) -> None:
    spec, raw = batch(models, name)
    if name == "wav2vec2" and check in ("exports", "linear_exports"):  # a limit that is told
        with pytest.raises(Exception, match="a model that reads samples cannot be exported with any length"):
            check_encoder(LoraEncoder, spec, raw, checks=[check])
    else:
        check_encoder(LoraEncoder, spec, raw, checks=[check])


@pytest.mark.parametrize("name", ["resnet", "convnext"])
@pytest.mark.parametrize("check", ["float64_agrees", "rows_independent", "all_missing_finite", "exports"])
def test_convolutional_models_keep_it_too(models: Path, name: str, check: str) -> None:
    spec, raw = batch(models, name)
    check_encoder(LastLayersEncoder, spec, raw, checks=[check])


@pytest.mark.parametrize("name", [*PICTURES, *SOUNDS])
def test_a_gradient_reaches_all_changes_and_nothing_of_the_pretrained_model(models: Path, name: str) -> None:
    spec, raw = batch(models, name)
    for cls in (LoraEncoder, LastLayersEncoder):
        made = suited(models / name, spec, cls)
        with torch.no_grad():
            for p in (*made.first.values(), *made.second.values()):
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) * 0.1)
        (made(raw).values * torch.randn(8)).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in made.parameters() if p.ndim >= 2)
        trunk = _trunks.trunk_of(spec.source, made.reader.tower, "cpu")
        assert not any(p.requires_grad or p.grad is not None for p in trunk.parameters())


@pytest.mark.parametrize("name", ["vit", "whisper", "wav2vec2"])
def test_where_all_rows_are_missing_the_changes_have_gradients_all_the_same(models: Path, name: str) -> None:
    spec, raw = batch(models, name)
    made = LoraEncoder(spec, 8)
    none = torch.zeros_like(raw.mask)
    for values in (raw.values, torch.full(raw.values.shape, torch.nan)):
        made.zero_grad()
        made(Raw(values, none)).values.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in made.second.values())
    assert len(made(raw.rows(torch.zeros(0, dtype=torch.long)))) == 0


def test_a_sound_keeps_what_99_of_100_have_and_no_more_tokens_than_256(models: Path) -> None:
    made, raw = fitted(models / "wav2vec2", rows("audio", *sounds(*[3000] * 199, 9000)))
    assert made.spec.max_length == raw.values.shape[1] == 3000
    assert made.notes == ("1 of 200 sounds are longer than 0.188 seconds: cut.",)
    made, raw = fitted(models / "wav2vec2", rows("audio", *sounds(9000, 2000)))
    encoder = LoraEncoder(made.spec, 8)
    assert encoder._read(raw, {}).values.shape[1] == 256
    assert frozen(models / "wav2vec2", [Sound(sounds(made.spec.max_length)[0], RATE)], tokens=True)[0].shape[0] == 256
    made, raw = fitted(models / "whisper", rows("audio", *sounds(40000, 30000)))  # it reads two seconds
    assert (raw.mask.sum(1) - 3).tolist() == [200, 188]
    assert made.notes == ("1 of 2 sounds are longer than 2 seconds: cut.",)
    long, short = frozen(models / "whisper", [Sound(wave, RATE) for wave in sounds(40000, 30000)], tokens=True)
    read = LoraEncoder(made.spec, 8)._read(raw, {})
    np.testing.assert_allclose(read.values[0], long, atol=2e-5)
    np.testing.assert_allclose(read.values[1, : len(short)], short, atol=2e-5)


def test_sounds_of_another_rate_and_very_short_ones_are_read(models: Path) -> None:
    for name in SOUNDS:
        wave = sounds(2400)[0]
        made, raw = fitted(models / name, ModalityData("audio", object_array([wave]), np.array([True]), rate=8000))
        (expected,) = frozen(models / name, [Sound(wave, 8000)], tokens=True)
        np.testing.assert_allclose(LoraEncoder(made.spec, 8)._read(raw, {}).values[0], expected, atol=2e-5)
        short = made.transform(rows("audio", wave[:10]))
        (expected,) = frozen(models / name, [Sound(wave[:10], RATE)], tokens=True)
        np.testing.assert_allclose(LoraEncoder(made.spec, 8)._read(short, {}).values[0], expected, atol=2e-5)


@pytest.mark.parametrize("name", ["vit", "wav2vec2"])
def test_a_reader_is_kept_and_a_changed_model_is_told(models: Path, name: str) -> None:
    data, _ = some_rows(name)
    made, raw = fitted(models / name, data)
    state = json.loads(json.dumps(made.state()))
    for again in (type(made).from_state(state), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert (again.spec, again.takes) == (made.spec, made.takes)
        assert torch.equal(again.transform(data).values, raw.values)
    assert len(made.transform(data.rows(np.array([1])))) == 1  # none is there
    with pytest.raises(CheckpointError, match="must be the one that was tuned"):
        type(made).from_state(state | {"digest": "0"})


@pytest.mark.parametrize(("name", "said"), [("vit", "16 x 16 pixels"), ("wav2vec2", "up to 4000 samples")])
def test_feedback_enters_behind_the_model_and_its_input_is_described(models: Path, name: str, said: str) -> None:
    data, _ = some_rows(name)
    spec = fitted(models / name, data)[0].spec
    assert entry_of(LoraEncoder(spec, 8), "input") == "early"
    assert said in kind_named(data.kind).describe(spec)


def test_what_cannot_be_read_is_told(models: Path, tmp_path: Path) -> None:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel, BitImageProcessorPil

    picture, wave = pictures((20, 24, 3))[0], sounds(3000)[0]
    with pytest.raises(ConfigError, match="vit must hold a feature extractor of sounds"):
        fitted(models / "vit", rows("audio", wave))
    with pytest.raises(ConfigError, match="whisper must hold a processor of pictures"):
        fitted(models / "whisper", rows("image", picture))
    with pytest.raises(DataError, match="TrunkPreprocessor: sounds must have a rate; got rate=None"):
        fitted(models / "whisper", ModalityData("audio", object_array([wave]), np.array([True])))
    with pytest.raises(DataError, match="TrunkPreprocessor: row 0 must be a picture"):
        fitted(models / "vit", rows("image", np.full((4, 4, 3), np.nan, dtype=np.float32)))
    small = ASTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, max_length=64, num_mel_bins=16
    )
    for part in (ASTModel(small), ASTFeatureExtractor(num_mel_bins=16, max_length=64)):
        part.save_pretrained(tmp_path / "ast")
    with pytest.raises(ConfigError, match="must read samples, as wav2vec 2.0, or frames, as Whisper, to be tuned"):
        fitted(tmp_path / "ast", rows("audio", wave))
    spec = fitted(models / "vit", rows("image", picture))[0].spec
    with pytest.raises(ShapeError, match=r"LoraEncoder: values must be \[batch, 3, height, width\] of the model's"):
        LoraEncoder(spec, 8)(Raw(torch.zeros(2, 3, 8, 8), torch.ones(2, dtype=torch.bool)))
    with pytest.raises(ShapeError, match="LoraEncoder: the modality's kind must be 'text'; got kind='series'"):
        LoraEncoder(Spec(kind="series", n_channels=3, max_length=5, source="x"), 8)
    of_any_size = tmp_path / "sizes"
    tiny_models.resnet(of_any_size)
    BitImageProcessorPil(size={"shortest_edge": 16}, do_center_crop=False).save_pretrained(of_any_size)
    with pytest.raises(ConfigError, match="must make one picture .3, height, width. of each, all of one size"):
        fitted(of_any_size, rows("image", picture, pictures((20, 40, 3))[0]))


def two_classes(kind: str, n_rows: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns pictures that are darker or lighter than grey; or low or high tones, of several lengths."""
    draw = np.random.default_rng(0)
    target = np.arange(n_rows) % 2
    if kind == "image":
        levels = draw.integers(60, 90, (n_rows, 16, 16, 3))
        return list(np.where(target[:, None, None, None] == 1, 128 + levels, 127 - levels).astype(np.uint8)), target
    times = [np.arange(n) / RATE for n in draw.choice([1700, 2400], n_rows)]
    pitch = np.where(target == 1, 2000, 300) * draw.uniform(0.9, 1.1, n_rows)
    return [np.sin(2 * np.pi * p * t).astype(np.float32) for p, t in zip(pitch, times, strict=True)], target


def data_of(kind: str, cells: list[np.ndarray], target: np.ndarray) -> Dataset:
    return Dataset("made", {"x": rows(kind, *cells)}, target, "binary")


@pytest.mark.parametrize(
    ("name", "form"), [("vit", "hf-lora"), ("resnet", "hf-whole"), ("wav2vec2", "hf-last"), ("whisper", "hf-lora")]
)
def test_training_changes_what_is_tuned_and_a_saved_model_holds_only_that(
    models: Path, tmp_path: Path, name: str, form: str
) -> None:
    kind = "image" if name in PICTURES else "audio"
    cells, target = two_classes(kind, 40)
    data = data_of(kind, [None, *cells[1:]], target)  # type: ignore[list-item]  # one is missing
    model = FusionClassifier(
        encoders={"x": f"{form}:{models / name}"}, encoder_options={"x": {"linear_path": False}}, epochs=3, width=8,
        refit=False,
    )  # fmt: skip
    model.fit(data)
    (made,) = model.predictor_.model.plain.encoders
    assert isinstance(made, LoraEncoder)
    learned = made.second if form == "hf-lora" else made.first
    assert all(bool(torch.count_nonzero(p)) for p in learned.parameters() if p.ndim >= 2)
    model.save(tmp_path / "m")
    _trunks._on.cache_clear()  # as in a new process
    again = FusionClassifier.load(tmp_path / "m")
    expected = model.predict_proba(data)
    np.testing.assert_allclose(again.predict_proba(data), expected, atol=1e-6)
    np.testing.assert_allclose(again.predict_proba(data.rows(np.array([5])))[0], expected[5], atol=1e-5)
    kept = {key.split("first.")[1].replace("/", ".") for key in model.predictor_.model.state_dict() if "first." in key}
    assert kept == set(
        _trunks.tuned_weights(_trunks.trunk_of(str(models / name), made.reader.tower, "cpu"), made.which, None)
    )
    size = sum(of.numel() for of in model.predictor_.model.state_dict().values())
    own = sum(p.numel() for p in made.parameters())
    assert size < own + 1000  # the head and the fusion beside it, and not the pretrained model


SEEN, HIDDEN = [4, 5, 6, 7, 12, 13, 14, 15], [0, 1, 2, 3, 8, 9, 10, 11]


def blind(folder: Path, name: str) -> Path:
    """Saves a model whose layers do nothing, and whose last norm shows channels that only layers could fill."""
    from transformers import AutoModel

    getattr(tiny_models, name)(folder)
    model = AutoModel.from_pretrained(folder)
    silent = (
        "o_proj",
        "fc2",
        "position",
        "cls_token",
        "out_proj",
        "output_dense",
        "conv.bias",
        "original0",
        "projection.bias",
    )
    with torch.no_grad():
        for key, p in model.named_parameters():
            if any(word in key for word in silent):
                p.zero_()
        of_picture = name == "vit"
        first = model.embeddings.patch_embeddings if of_picture else model.feature_projection
        first.projection.weight[SEEN] = 0
        first.projection.weight[8:12] = -first.projection.weight[:4]  # their mean is 0: norms tell nothing by it
        (model.layernorm if of_picture else model.encoder.layers[0].final_layer_norm).weight[HIDDEN] = 0
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("name", "forms"), [("vit", FORMS), ("wav2vec2", ("hf-lora",))])
def test_a_tuned_model_learns_what_a_frozen_one_does_not_see(tmp_path: Path, name: str, forms: tuple[str, ...]) -> None:
    folder, kind = blind(tmp_path / "blind", name), "image" if name == "vit" else "audio"
    cells, target = two_classes(kind, 120)
    data = data_of(kind, cells, target)
    learn, new = data.rows(np.arange(80)), data.rows(np.arange(80, 120))
    right = {}
    for form in ("hf-tokens", *forms):
        options = {} if form == "hf-tokens" else {"x": {"scale": 0.1}}
        model = FusionClassifier(
            encoders={"x": f"{form}:{folder}"}, encoder_options=options, epochs=20, width=8, refit=False,
            learning_rate=0.01, batch_size=16,
        )  # fmt: skip
        right[form] = float((model.fit(learn).predict(new) == new.target).mean())
    assert right.pop("hf-tokens") == 0.5
    assert min(right.values()) > 0.9, right
