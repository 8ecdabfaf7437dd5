"""Bottleneck, Perceiver and Zorro: what can reach what, and what cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from profuse.fusion import Fused, Fusion
from profuse.fusion.attention.bottleneck import Bottleneck
from profuse.fusion.attention.perceiver import Perceiver
from profuse.fusion.attention.zorro import Zorro
from profuse.tokens import Tokens

CHANNELS = {"a": 5, "b": 3, "c": 4}
LONG = {"a": 6, "b": 2, "c": 1}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(cls: Any, channels: dict[str, int] = CHANNELS, **options: Any) -> Any:
    torch.manual_seed(0)
    operator: Fusion = cls(channels, 8, **options).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


def batch(channels: dict[str, int] = CHANNELS) -> dict[str, Tokens]:
    """Row 0 has all, row 1 lacks b, row 2 has b alone."""
    there = {"a": [True, True, False], "b": [True, False, True], "c": [True, True, False]}
    return {
        name: Tokens(normal(3, LONG[name], c, seed=i), torch.tensor(there[name])[:, None].expand(3, LONG[name]))
        for i, (name, c) in enumerate(channels.items())
    }


def changed(tokens: dict[str, Tokens], *names: str) -> dict[str, Tokens]:
    return {n: Tokens(normal(*t.values.shape, seed=99), t.mask) if n in names else t for n, t in tokens.items()}


def without(tokens: dict[str, Tokens], *names: str) -> dict[str, Tokens]:
    return {n: Tokens(t.values, torch.zeros_like(t.mask)) if n in names else t for n, t in tokens.items()}


def joint(fused: Fused) -> Tensor:
    assert fused.tokens is not None
    return fused.tokens.values


# -- bottleneck


def cls_alone(operator: Bottleneck, tokens: dict[str, Tokens], m: int, row: int) -> Tensor:
    """The cls token of one modality, one row, through its own layers without any bottleneck."""
    stream = operator.streams(tokens)[m]
    x = torch.cat([(operator.cls[m] + stream.values[row].mean(0))[None], stream.values[row]])[None]
    for layer in operator.layers[m * operator.n_layers : (m + 1) * operator.n_layers]:
        x = layer(x, torch.ones(x.shape[:2]).bool())
    return operator.norm(x[0, 0])  # type: ignore[no-any-return]


def test_without_bottlenecks_the_modalities_are_separate_encoders() -> None:
    operator, tokens = made(Bottleneck, n_bottlenecks=0), batch()
    cls = joint(operator(tokens))
    for m in range(3):
        torch.testing.assert_close(cls[0, m], cls_alone(operator, tokens, m, 0))


@pytest.mark.parametrize(
    ("n_layers", "fusion_layer", "crosses"),
    [(1, 0, False), (2, 0, True), (2, 1, False), (3, 1, True), (3, 2, False), (4, 3, False)],
)
def test_nothing_crosses_in_one_layer_of_fusion_and_something_in_two(
    n_layers: int, fusion_layer: int, crosses: bool
) -> None:
    operator, tokens = made(Bottleneck, n_layers=n_layers, fusion_layer=fusion_layer), batch()
    before, after = joint(operator(tokens)), joint(operator(changed(tokens, "b", "c")))
    difference = (before - after)[0].abs().amax(1)
    assert difference[1] > 1e-3  # they were changed indeed
    assert difference[0] > 1e-4 if crosses else difference[0] == 0


def test_all_that_crosses_goes_through_the_bottlenecks() -> None:
    operator, tokens = made(Bottleneck), batch()
    before = joint(operator(tokens))
    for m in range(3):  # whatever the first layers say into them is replaced by the same numbers
        layer = operator.layers[m * operator.n_layers]
        layer.register_forward_hook(
            lambda _m, _i, out: torch.cat([out[:, : -operator.n_bottlenecks], normal(3, 4, 8, seed=5)], 1)
        )
    fixed = joint(operator(tokens))
    assert (fixed - before)[0].abs().max() > 1e-4
    torch.testing.assert_close(joint(operator(changed(tokens, "b", "c")))[0, 0], fixed[0, 0], rtol=0, atol=0)


def test_the_bottlenecks_are_averaged_over_the_modalities_that_are_there() -> None:
    operator, tokens = made(Bottleneck), batch()
    said: dict[int, Tensor] = {}
    given: dict[int, Tensor] = {}
    for m in range(3):
        first, second = operator.layers[2 * m], operator.layers[2 * m + 1]
        first.register_forward_hook(lambda _m, _i, out, m=m: said.__setitem__(m, out[:, -4:]))
        second.register_forward_pre_hook(lambda _m, args, m=m: given.__setitem__(m, args[0][:, -4:]))
    operator(tokens)
    for row, there in enumerate([[0, 1, 2], [0, 2], [1]]):
        wanted = sum(said[m][row] for m in there) / len(there)
        for m in range(3):
            torch.testing.assert_close(given[m][row], wanted)


def test_a_missing_modality_says_nothing_to_the_others() -> None:
    operator, tokens = made(Bottleneck), batch()
    pair = made(Bottleneck, {"a": 5, "c": 4})
    state = operator.state_dict()
    kept = [0, 2]
    for key, value in pair.state_dict().items():
        parts = key.split(".")
        if parts[:2] in (["streams", "maps"], ["streams", "norms"]):
            parts[2] = str(kept[int(parts[2])])
        elif parts[0] == "layers":
            i = int(parts[1])
            parts[1] = str(kept[i // 2] * 2 + i % 2)
        if parts[0] != "merge":
            ours = state[".".join(parts)]
            value.copy_(ours[kept] if key in ("cls", "streams.modality") else ours)
    cls = joint(pair({"a": tokens["a"], "c": tokens["c"]}))
    torch.testing.assert_close(joint(operator(tokens))[1, kept], cls[1])
    assert not joint(operator(tokens))[1, 1].any()


def test_equal_modalities_with_equal_layers_stay_equal() -> None:
    operator = made(Bottleneck, {"a": 5, "b": 5}, n_layers=3)
    for i in range(3):
        operator.layers[3 + i].load_state_dict(operator.layers[i].state_dict())
    for kind in (operator.streams.maps, operator.streams.norms):
        kind[1].load_state_dict(kind[0].state_dict())
    operator.streams.modality.data[1] = operator.streams.modality.data[0]
    operator.cls.data[1] = operator.cls.data[0]
    x, y = (Tokens(normal(2, 4, 5, seed=seed), torch.ones(2, 4).bool()) for seed in (0, 1))
    cls = joint(operator({"a": x, "b": x}))
    torch.testing.assert_close(cls[:, 0], cls[:, 1])
    cls, turned = joint(operator({"a": x, "b": y})), joint(operator({"a": y, "b": x}))
    torch.testing.assert_close(cls, turned.flip(1))


# -- Perceiver


def torchs(layer: Any) -> nn.MultiheadAttention:
    other = nn.MultiheadAttention(8, layer.n_heads, add_bias_kv=True, batch_first=True).double()
    state = {"in_proj_weight": torch.cat([layer.query.weight, layer.kv.weight])}
    state |= {"in_proj_bias": torch.cat([layer.query.bias, layer.kv.bias])}
    state |= {"bias_k": layer.null[:8].view(1, 1, 8), "bias_v": layer.null[8:].view(1, 1, 8)}
    other.load_state_dict(state | {"out_proj.weight": layer.out.weight, "out_proj.bias": layer.out.bias})
    return other


def looked(layer: Any, x: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    y = layer.norm_y(y)
    seen, attention = torchs(layer)(layer.norm_1(x), y, y, key_padding_mask=~mask)
    x = x + seen
    return x + layer.mlp(layer.norm_2(x)), attention


def test_a_perceiver_is_torchs_attention_into_latents_among_them_and_out() -> None:
    operator, tokens = made(Perceiver, n_latents=5), batch()
    streams = operator.streams(tokens)
    y, mask = torch.cat([s.values for s in streams], 1), torch.cat([s.mask for s in streams], 1)
    x, attention = looked(operator.encode, operator.latents.expand(3, -1, -1), y, mask)
    for layer in operator.layers:
        other = nn.MultiheadAttention(8, 4, batch_first=True).double()
        state = {"in_proj_weight": layer.qkv.weight, "in_proj_bias": layer.qkv.bias}
        other.load_state_dict(state | {"out_proj.weight": layer.out.weight, "out_proj.bias": layer.out.bias})
        normed = layer.norm_1(x)
        x = x + other(normed, normed, normed)[0]
        x = x + layer.mlp(layer.norm_2(x))
    fused = operator(tokens)
    torch.testing.assert_close(joint(fused), x)
    answer, _ = looked(operator.decode, operator.query.expand(3, -1, -1), x, torch.ones(3, 5).bool())
    torch.testing.assert_close(fused.vector, operator.norm(answer)[:, 0])
    sums = torch.stack([part.sum(-1).mean(1) for part in attention[..., :-1].split([6, 2, 1], -1)], 1).detach()
    torch.testing.assert_close(fused.weights["attention"], sums / sums.sum(1, keepdim=True))


@pytest.mark.parametrize("n", [1, 10, 100])
def test_the_latents_are_as_many_however_many_tokens_there_are(n: int) -> None:
    operator = made(Perceiver, {"a": 5}, n_latents=6)
    fused = operator({"a": Tokens(normal(2, n, 5), torch.ones(2, n).bool())})
    assert joint(fused).shape == (2, 6, 8)
    assert fused.vector.shape == (2, 8)


# -- Zorro


def stream_of(fused: Fused, name: str) -> Tensor:
    parts: tuple[Tensor, ...] = joint(fused).split(list(LONG.values()), 1)
    return dict(zip(LONG, parts, strict=True))[name]


@pytest.mark.parametrize("n_layers", [1, 2, 3, 5])
@pytest.mark.parametrize("name", list(CHANNELS))
def test_a_stream_is_its_own_at_every_depth_whatever_the_others_hold(name: str, n_layers: int) -> None:
    operator, tokens = made(Zorro, n_layers=n_layers), batch()
    others = [n for n in CHANNELS if n != name]
    fused = operator(tokens)
    for asked in (changed(tokens, *others), without(tokens, *others)):
        got = operator(asked)
        torch.testing.assert_close(stream_of(got, name), stream_of(fused, name), rtol=0, atol=1e-14)
        assert (got.vector - fused.vector)[0].abs().max() > 1e-3  # the fusion tokens do see the others


def test_the_fusion_tokens_leave_the_streams_as_they_are() -> None:
    operator, tokens = made(Zorro), batch()
    before = joint(operator(tokens))
    operator.fusion_tokens.data = normal(4, 8, seed=3)
    torch.testing.assert_close(joint(operator(tokens)), before, rtol=0, atol=1e-14)


def test_a_stream_is_the_transformer_on_that_modality_alone() -> None:
    operator, tokens = made(Zorro, n_layers=3), batch()
    for m, name in enumerate(CHANNELS):
        stream = operator.streams(tokens)[m]
        x = stream.values[stream.present]
        for layer in [*operator.layers, operator.last]:
            x = layer(x, stream.mask[stream.present])
        torch.testing.assert_close(stream_of(operator(tokens), name)[stream.present], operator.norm(x))


def test_the_fusion_tokens_are_in_one_layer_what_unmasked_attention_gives_them() -> None:
    operator, tokens = made(Zorro, n_layers=1), batch()
    streams = operator.streams(tokens)
    x = torch.cat([operator.fusion_tokens.expand(3, -1, -1), *(s.values for s in streams)], 1)
    mask = torch.cat([torch.ones(3, 4).bool(), *(s.mask for s in streams)], 1)
    x, attention = operator.last.explained(x, mask, 4)
    fused = operator(tokens)
    torch.testing.assert_close(fused.vector, operator.norm(x[:, :4].mean(1)))
    sums = torch.stack([part.sum(1) for part in attention[:, 4:].split([6, 2, 1], 1)], 1)
    torch.testing.assert_close(fused.weights["attention"], sums / sums.sum(1, keepdim=True))
