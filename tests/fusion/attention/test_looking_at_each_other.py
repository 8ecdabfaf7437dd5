"""Self-attention, cross-attention, co-attention and MulT, each worked out by other means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from profuse.fusion import Fusion
from profuse.fusion.attention.co_attention import CoAttention
from profuse.fusion.attention.cross_attention import CrossAttention
from profuse.fusion.attention.mult import MulT
from profuse.fusion.attention.self_attention import SelfAttention
from profuse.layers.attention import TransformerLayer
from profuse.tokens import Tokens

CHANNELS = {"a": 5, "b": 3, "c": 4}
THERE = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 0]]).bool()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(cls: Any, channels: dict[str, int] = CHANNELS, **options: Any) -> Any:
    torch.manual_seed(0)
    operator: Fusion = cls(channels, 8, **options).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


def batch(channels: dict[str, int] = CHANNELS) -> dict[str, Tokens]:
    """Three tokens of a, of which the last is padding in some rows; two of b; c is a vector."""
    tokens = {}
    for i, (name, c) in enumerate(channels.items()):
        mask = THERE[:, [i]].expand(5, (3, 2, 1)[i]).clone()
        if i == 0:
            mask[1:, 2] = False
        tokens[name] = Tokens(normal(5, mask.shape[1], c, seed=i), mask)
    return tokens


def changed(tokens: dict[str, Tokens], *names: str) -> dict[str, Tokens]:
    return {n: Tokens(normal(*t.values.shape, seed=99), t.mask) if n in names else t for n, t in tokens.items()}


def torchs_layer(layer: TransformerLayer, width: int) -> nn.TransformerEncoderLayer:
    other = nn.TransformerEncoderLayer(
        width, layer.n_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    ours = {"self_attn.in_proj_": layer.qkv, "self_attn.out_proj.": layer.out, "linear1.": layer.mlp[0]}
    ours |= {"linear2.": layer.mlp[2], "norm1.": layer.norm_1, "norm2.": layer.norm_2}
    other.load_state_dict({k + p: getattr(m, p) for k, m in ours.items() for p in ("weight", "bias")})
    return other  # in train mode, without dropout: torch's fast path of eval mode is another algorithm


# -- self-attention


def test_self_attention_is_torchs_encoder_on_each_modality_alone() -> None:
    operator, tokens = made(SelfAttention, n_layers=2), batch()
    vectors = torch.zeros(5, 3, 8).double()
    for i, (stream, tower) in enumerate(zip(operator.streams(tokens), operator.towers, strict=True)):
        there = stream.present
        x = stream.values[there]
        for layer in tower.layers:
            x = torchs_layer(layer, 8)(x, src_key_padding_mask=~stream.mask[there])
        vectors[there, i] = operator.pool(x, stream.mask[there])
    torch.testing.assert_close(operator(tokens).vector, operator.merge(vectors, THERE))


# -- cross-attention


def test_with_equal_keys_the_attention_that_is_received_goes_by_the_number_of_tokens() -> None:
    operator, tokens = made(CrossAttention), batch()
    for layer in operator.layers:
        layer.kv.weight.data[:8].zero_()  # all keys alike, the null key too
        layer.kv.bias.data[:8].zero_()
        layer.null.data[:8].zero_()
    weights = operator(tokens).weights["attention"]
    a, b, c = 3, 2, 1  # row 0: everything there; a sees b, c and null, and so on
    received = torch.tensor([a / 5 + a / 6, b / 4 + b / 6, c / 4 + c / 5]).double()
    torch.testing.assert_close(weights[0], received / received.sum())
    a = 2  # row 3: c is missing, and one token of a
    received = torch.tensor([a / 3, b / 3, 0]).double()
    torch.testing.assert_close(weights[3], received / received.sum())
    assert not weights[[2, 4]].any()  # b alone; nothing


def test_cross_attention_is_torchs_over_the_tokens_of_the_others() -> None:
    operator, tokens = made(CrossAttention, n_heads=2), batch()
    streams = operator.streams(tokens)
    fused = operator(tokens)
    vectors = []
    for m, (stream, layer) in enumerate(zip(streams, operator.layers, strict=True)):
        other = nn.MultiheadAttention(8, 2, add_bias_kv=True, batch_first=True).double()
        state = {"in_proj_weight": torch.cat([layer.query.weight, layer.kv.weight])}
        state |= {"in_proj_bias": torch.cat([layer.query.bias, layer.kv.bias])}
        state |= {"bias_k": layer.null[:8].view(1, 1, 8), "bias_v": layer.null[8:].view(1, 1, 8)}
        state |= {"out_proj.weight": layer.out.weight, "out_proj.bias": layer.out.bias}
        other.load_state_dict(state)
        rest = [s for j, s in enumerate(streams) if j != m]
        y = layer.norm_y(torch.cat([s.values for s in rest], 1))
        padding = ~torch.cat([s.mask for s in rest], 1)
        x = stream.values + other(layer.norm_1(stream.values), y, y, key_padding_mask=padding)[0]
        x = x + layer.mlp(layer.norm_2(x))
        vectors.append(operator.pool(x, stream.mask))
    torch.testing.assert_close(fused.vector, operator.merge(torch.stack(vectors, 1), THERE))


# -- co-attention


def co_attended(operator: CoAttention, tokens: dict[str, Tokens], row: int) -> tuple[dict[int, Any], dict[int, float]]:
    """The equations of the paper for one row, pair by pair, over real tokens only."""
    arrays = {k: v.detach().numpy() for k, v in operator.state_dict().items()}
    x = {}
    for m, s in enumerate(operator.streams(tokens)):
        if s.present[row]:
            x[m] = s.values[row][s.mask[row]].detach().numpy()
    maps = {m: x[m] @ arrays[f"hidden.{m}.weight"].T + arrays[f"hidden.{m}.bias"] for m in x}
    pooled, gates = {}, {}
    for m in x:
        told = []
        for j in x:
            if j == m:
                continue
            pair = operator.pairs.index((min(m, j), max(m, j)))
            b = arrays[f"affinities.{pair}.weight"]  # the map gives x b^T
            first, second = x[min(m, j)], x[max(m, j)]
            c = np.tanh(first @ b.T @ second.T / np.sqrt(8))
            c = c if m < j else c.T
            told.append(sum(c[:, [t]] * maps[j][t] for t in range(len(x[j]))) / len(x[j]))
        hidden = np.tanh(maps[m] + (np.mean(told, 0) if told else 0))
        scores = hidden @ arrays[f"scores.{m}.weight"].T
        attention = np.exp(scores) / (np.exp(scores).sum(0) + np.exp(arrays["empty"][m]))
        size = 8 // operator.n_heads
        slices = [attention[:, h] @ x[m][:, h * size : (h + 1) * size] for h in range(operator.n_heads)]
        pooled[m], gates[m] = np.concatenate(slices), float(attention.sum(0).mean())
    return pooled, gates


@pytest.mark.parametrize("n_heads", [1, 4])
@pytest.mark.parametrize("n_modalities", [2, 3])
def test_co_attention_is_the_papers_over_all_pairs_that_are_there(n_modalities: int, n_heads: int) -> None:
    channels = dict(list(CHANNELS.items())[:n_modalities])
    operator, tokens = made(CoAttention, channels, n_heads=n_heads), batch(channels)
    fused = operator(tokens)
    for row in range(5):
        pooled, gates = co_attended(operator, tokens, row)
        vectors = operator.merge.absent.detach().clone()
        for m, p in pooled.items():
            vectors[m] = torch.from_numpy(p)
        torch.testing.assert_close(fused.vector[row], operator.merge.mlp(vectors.flatten()))
        wanted = torch.tensor([gates.get(m, 0.0) for m in range(n_modalities)]).double()
        torch.testing.assert_close(fused.weights["gate"][row], wanted)


def test_without_the_empty_place_a_vector_passes_whole_whatever_the_others_say() -> None:
    operator, tokens = made(CoAttention), batch()
    gate = operator(tokens).weights["gate"][:2, 2]
    other = operator(changed(tokens, "a")).weights["gate"][:2, 2]
    assert (gate - other).abs().min() > 1e-4
    operator.empty.data.fill_(-1e4)
    for asked in (tokens, changed(tokens, "a")):
        torch.testing.assert_close(operator(asked).weights["gate"], THERE.double())


def test_a_missing_partner_leaves_no_trace_in_the_attention_of_the_others() -> None:
    operator, tokens = made(CoAttention), batch()
    two = made(CoAttention, {"a": 5, "c": 4})
    for i, m in enumerate([0, 2]):
        for kind in ("streams.maps", "streams.norms", "hidden", "scores"):
            two.get_submodule(f"{kind}.{i}").load_state_dict(operator.get_submodule(f"{kind}.{m}").state_dict())
        two.streams.modality.data[i] = operator.streams.modality.data[m]
        two.empty.data[i] = operator.empty.data[m]
    two.streams.gate.data = operator.streams.gate.data
    two.affinities[0].load_state_dict(operator.affinities[operator.pairs.index((0, 2))].state_dict())
    gates = two({"a": tokens["a"], "c": tokens["c"]}).weights["gate"]
    torch.testing.assert_close(operator(tokens).weights["gate"][1, [0, 2]], gates[1])


# -- MulT


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_mult_has_a_stack_for_each_ordered_pair_and_none_for_a_modality_with_itself(n: int) -> None:
    operator = MulT(dict.fromkeys("abcd"[:n], 2), 8)
    assert len(operator.crossmodal) == n * (n - 1) == len(set(operator.pairs))
    assert all(m != j for m, j in operator.pairs)


def test_mult_is_its_stacks_put_together_by_name() -> None:
    operator, tokens = made(MulT, token_width=12), batch()
    streams = dict(zip("abc", operator.streams(tokens), strict=True))
    stack = {("abc"[m], "abc"[j]): f for (m, j), f in zip(operator.pairs, operator.crossmodal, strict=True)}
    vectors = []
    for name, linear, tower in zip("abc", operator.maps, operator.towers, strict=True):
        told = []
        for other in sorted(set("abc") - {name}):
            x = streams[name].values
            for layer in stack[name, other].layers:
                x = layer(x, streams[other].values, streams[other].mask)
            told.append(x)
        x = linear(torch.cat(told, -1))
        there = streams[name].present
        seen = torch.zeros_like(x)
        seen[there] = torchs_layer(tower.layers[0], 12)(x[there], src_key_padding_mask=~streams[name].mask[there])
        vectors.append(operator.pool(seen, streams[name].mask))
    torch.testing.assert_close(operator(tokens).vector, operator.merge(torch.stack(vectors, 1), THERE))


def test_a_direction_that_is_silenced_carries_nothing_and_the_other_one_still_does() -> None:
    channels = {"a": 5, "b": 3}
    operator, tokens = made(MulT, channels), batch(channels)
    vectors: list[Tensor] = []
    operator.merge.register_forward_pre_hook(lambda _m, given: vectors.append(given[0]))
    for layer in operator.crossmodal[operator.pairs.index((0, 1))].layers:  # a looks at b
        layer.out.weight.data.zero_()
    operator(tokens)
    operator(changed(tokens, "b"))
    operator(changed(tokens, "a"))
    torch.testing.assert_close(vectors[1][0, 0], vectors[0][0, 0])  # a does not hear b
    assert (vectors[2][0, 1] - vectors[0][0, 1]).abs().max() > 1e-3  # b hears a


def test_every_token_of_a_stream_may_look_at_every_token_of_another() -> None:
    channels = {"a": 5, "b": 3}
    operator, tokens = made(MulT, channels), batch(channels)
    heard: list[Tensor] = []
    operator.crossmodal[0].register_forward_hook(lambda _m, _i, out: heard.append(out))
    operator(tokens)
    late = tokens["b"].values.clone()
    late[:, 1] = normal(5, 3, seed=7)
    operator({**tokens, "b": Tokens(late, tokens["b"].mask)})
    assert (heard[1][0, 0] - heard[0][0, 0]).abs().max() > 1e-4  # the first of a sees the last of b
