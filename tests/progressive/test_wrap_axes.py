"""Axes of wrapped modules: whose word counts, that nothing but the module decides, and batches that are odd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from profuse.errors import ShapeError
from profuse.progressive import ProgressiveFusion, WrappedProgressive
from profuse.progressive.wrap._layout import layout_of
from profuse.progressive.wrap._state import StateReader

N = 4


class ChannelsFirst(nn.LayerNorm):
    """As of a ConvNeXt: a norm over channels that come first."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Mixes(nn.Linear):
    """A linear map of channels that come first."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Pictures(nn.Module):
    """Pictures beside a vector, with a layer of somebody's before the second convolution."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.first, self.layer, self.second = nn.Conv2d(3, 5, 3), layer, nn.Conv2d(5, 6, 3)
        self.other, self.fusion = nn.Linear(3, 4), nn.Linear(10, 6)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        seen = self.second(self.layer(self.first(x).relu()).relu()).mean((2, 3))
        fused: Tensor = self.fusion(torch.cat([seen, self.other(other)], 1).tanh())
        return fused


def pictures(height: int = 9) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(N, 3, height, 12), torch.randn(N, 3)


class TestAxesThatTypesDoNotSay:
    @pytest.mark.parametrize("height", [9, 7])  # with 7 the pictures are as high as they have channels
    @pytest.mark.parametrize("at", ["input", "output"])
    @pytest.mark.parametrize("layer", [ChannelsFirst(5), Mixes(5, 5), nn.Tanh()])
    def test_a_layer_derived_from_one_of_torchs_does_not_turn_columns_into_channels(
        self, layer: nn.Module, at: Any, height: int
    ) -> None:
        inputs, module = pictures(height), Pictures(layer)
        options: dict[str, Any] = {"into": {"x": "layer"}, "at": at, "state": "fusion", "feedback": "add"}
        message = rf"got shape=\(4, 5, {height - 2}, 10\), the batch on axis 0, channels on axis None. Give channel_"
        with pytest.raises(ShapeError, match=message):
            ProgressiveFusion.wrap(module, example=inputs, **options)
        wrapped = ProgressiveFusion.wrap(module, example=inputs, channel_axis={"x": 1}, **options)
        assert wrapped.entries[0].n_channels == 5
        (weight,) = wrapped.feedbacks.parameters()
        nn.init.normal_(weight)
        back = (module(*inputs) @ weight.T)[..., None, None]
        if at == "input":
            seen = layer(module.first(inputs[0]).relu() + back)
        else:
            seen = layer(module.first(inputs[0]).relu()) + back
        seen = module.second(seen.relu()).mean((2, 3))
        expected = module.fusion(torch.cat([seen, module.other(inputs[1])], 1).tanh())
        torch.testing.assert_close(wrapped(*inputs), expected)

    def test_nor_where_it_gives_the_state(self) -> None:
        inputs, module = pictures(), Pictures(ChannelsFirst(5))
        options: dict[str, Any] = {"into": {"x": "first"}, "state": "layer", "example": inputs}
        message = (
            r"the state of 'layer' must have an axis for.*got shape=\(4, 5, 7, 10\).*channels on axis None. Give state_"
        )
        with pytest.raises(ShapeError, match=message):
            ProgressiveFusion.wrap(module, **options)
        assert ProgressiveFusion.wrap(module, state_axis=1, **options).state_width == 5

    def test_weights_that_are_parametrised_leave_torchs_layers_what_they_are(self) -> None:
        inputs, module = pictures(), Pictures(nn.Identity())
        nn.utils.parametrizations.spectral_norm(module.second)
        wrapped = ProgressiveFusion.wrap(module, into={"x": "second"}, state="fusion", example=inputs)
        assert wrapped.entries[0].n_channels == 5

    @pytest.mark.parametrize(
        ("layer", "side", "layout"),
        [
            (nn.Conv1d(3, 5, 3), "input", (0, 1)),
            (nn.GroupNorm(1, 3), "output", (0, 1)),
            (nn.AdaptiveAvgPool2d(1), "output", (0, 1)),
            (nn.Linear(3, 5), "input", (0, -1)),
            (nn.Embedding(3, 5), "output", (0, -1)),
            (nn.GRU(3, 5), "input", (1, -1)),
            (nn.LSTM(3, 5, batch_first=True), "output", (0, -1)),
            (nn.MultiheadAttention(4, 2), "input", (1, -1)),
            (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), "input", (0, -1)),
            (nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 1), "output", (1, -1)),
            (nn.Transformer(4, 2, 1, 1, 8, batch_first=True), "output", (0, -1)),
            (nn.Sequential(nn.Linear(3, 5), nn.Conv2d(3, 5, 3)), "output", (0, 1)),
            (nn.Sequential(nn.Linear(3, 5), nn.Conv2d(3, 5, 3)), "input", (0, -1)),
            (nn.Sequential(), "input", None),
            (nn.ReLU(), "input", None),
        ],
    )
    def test_torchs_own_layers_say_them(self, layer: nn.Module, side: Any, layout: Any) -> None:
        assert layout_of(layer, side) == layout

    @pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
    @pytest.mark.slow
    def test_every_layer_of_a_convnext_gets_one_map_a_channel(self) -> None:
        transformers = pytest.importorskip("transformers")
        config = transformers.ConvNextConfig(
            hidden_sizes=[8, 12], depths=[1, 1], num_stages=2, image_size=32, patch_size=2
        )

        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = transformers.ConvNextModel(config)
                self.other, self.fusion = nn.Linear(3, 4), nn.Linear(16, 6)

            def forward(self, x: Tensor, other: Tensor) -> Tensor:
                seen = self.net(x).last_hidden_state.mean((2, 3))
                fused: Tensor = self.fusion(torch.cat([seen, self.other(other)], 1))
                return fused

        module, example = Both(), (torch.randn(2, 3, 32, 40), torch.randn(2, 3))
        names = {
            name: 8 if ".stages.0." in name or ".downsampling_layer" in name else 12
            for name, _ in module.named_modules()
            if name.endswith((".layers.0", ".dwconv", ".layernorm", ".pwconv1", ".downsampling_layer.0"))
        }
        names = {name: 8 if ".embeddings." in name else width for name, width in names.items()}
        del names["net.layernorm"]  # behind the pooling, whose output nobody uses
        assert len(names) == 10
        for name, width in names.items():
            last = name.endswith((".pwconv1", ".layers.0.layernorm"))
            wrapped = ProgressiveFusion.wrap(
                module, into={"x": name}, state="fusion", example=example, channel_axis=-1 if last else 1
            )
            assert wrapped.entries[0].n_channels == width, name


class Reads(nn.Module):
    """A padded series, fused by a Transformer."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.embed, self.fuse, self.head = nn.Linear(3, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 2)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        read = self.fuse(self.embed(x), src_key_padding_mask=padding)
        read = nn.functional.pad(read, (0, 0, 0, padding.shape[1] - read.shape[1]))
        outputs: Tensor = self.head(read.masked_fill(padding[..., None], 0.0).sum(1))
        return outputs


def reads(lengths: tuple[int, ...] = (3, 4, 2, 5), **options: Any) -> tuple[WrappedProgressive, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    padding = torch.arange(6) >= torch.tensor(lengths)[:, None]
    inputs = (torch.randn(N, 6, 3), padding)
    wrapped = ProgressiveFusion.wrap(
        Reads(), into={"x": "embed"}, state="fuse.layers.1", mask={"x": real}, example=inputs, **options
    ).eval()
    for weight in wrapped.feedbacks.parameters():
        nn.init.normal_(weight, std=0.1)
    return wrapped, inputs


def real(x: Tensor, padding: Tensor) -> Tensor:
    return ~padding


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
class TestNestedState:
    @pytest.mark.parametrize("rounds", [3, "equilibrium"])
    @pytest.mark.parametrize("feedback", ["scale_shift", "attend"])
    def test_it_gives_what_a_masked_state_gives_where_nothing_is_nested(self, feedback: str, rounds: Any) -> None:
        wrapped, inputs = reads(feedback=feedback, rounds=rounds, state_mask=real)
        expected = wrapped(*inputs).detach()  # with gradients torch nests nothing
        with torch.no_grad():
            torch.testing.assert_close(wrapped(*inputs), expected, atol=1e-4, rtol=1e-3)
        assert not torch.allclose(expected, wrapped.module(*inputs), atol=1e-2)

    def test_lengths_are_its_mask(self) -> None:
        wrapped, inputs = reads(rounds=3)
        masked, _ = reads(rounds=3, state_mask=real)
        first, _ = reads(rounds=3, state_mask=lambda x, padding: ~padding & (torch.arange(6) < 2))
        with torch.no_grad():
            assert torch.equal(wrapped(*inputs), masked(*inputs))
            assert not torch.allclose(first(*inputs), masked(*inputs))
        gradients_on = first(*inputs)
        with torch.no_grad():
            torch.testing.assert_close(first(*inputs), gradients_on.detach(), atol=1e-4, rtol=1e-3)

    def test_in_equilibrium_a_state_of_fewer_positions_where_gradients_are_off_is_refused(self) -> None:
        wrapped, inputs = reads(rounds="equilibrium", feedback="attend")
        with pytest.raises(
            ShapeError, match="got one of 48 numbers per row with gradients on, and of 40 with.*state_mask"
        ):
            wrapped(*inputs)

    def test_one_of_more_axes_is_refused(self) -> None:
        nested = torch.nested.as_nested_tensor([torch.randn(2, 3, 4), torch.randn(3, 3, 4)])
        with pytest.raises(ShapeError, match="'fuse' gives a tensor of 4 axes, nested, torch.float32. Name another"):
            StateReader(nn.Identity(), "fuse", None, None, False).pick(nested)


class TestNoRows:
    @pytest.mark.parametrize(("rounds", "start"), [(3, "zero"), (2, "learned"), ("equilibrium", "zero")])
    @pytest.mark.parametrize("feedback", ["scale_shift", "attend"])
    def test_a_batch_of_none_gives_none(self, feedback: str, rounds: Any, start: Any) -> None:
        example, module = pictures(), Pictures(nn.Identity())
        wrapped = ProgressiveFusion.wrap(
            module,
            into={"x": "second", "other": "other"},
            state="fusion",
            example=example,
            feedback=feedback,
            rounds=rounds,
            start=start,
        )
        found = wrapped(*(x[:0] for x in example))
        assert found.shape == (0, 6)
        found.sum().backward()
