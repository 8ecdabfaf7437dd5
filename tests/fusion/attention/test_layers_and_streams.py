"""What the operators are built of, against torch's own attention and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from profuse.fusion.attention._streams import Merge, Pool, Streams, share
from profuse.layers.attention import CrossLayer, Transformer, TransformerLayer
from profuse.tokens import Tokens


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module.double().eval()


def crossed(n_heads: int = 2) -> CrossLayer:
    return shaken(CrossLayer(8, n_heads))  # type: ignore[return-value]


def torchs_attention(layer: CrossLayer) -> nn.MultiheadAttention:
    """torch's attention with a learned key and value added at the end, with the same weights."""
    other = nn.MultiheadAttention(8, layer.n_heads, add_bias_kv=True, batch_first=True).double()
    null_key, null_value = layer.null.view(2, 1, 1, 8)
    other.load_state_dict(
        {
            "in_proj_weight": torch.cat([layer.query.weight, layer.kv.weight]),
            "in_proj_bias": torch.cat([layer.query.bias, layer.kv.bias]),
            "bias_k": null_key,
            "bias_v": null_value,
            "out_proj.weight": layer.out.weight,
            "out_proj.bias": layer.out.bias,
        }
    )
    return other


Y_MASK = torch.arange(6) < torch.tensor([6, 1, 0, 4])[:, None]


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_looking_at_others_is_torchs_attention_with_a_learned_key_added(n_heads: int) -> None:
    layer, x, y = crossed(n_heads), normal(4, 3, 8), normal(4, 6, 8, seed=1)
    others = layer.norm_y(y)
    seen, attention = torchs_attention(layer)(layer.norm_1(x), others, others, key_padding_mask=~Y_MASK)
    wanted = x + seen
    wanted = wanted + layer.mlp(layer.norm_2(wanted))
    torch.testing.assert_close(layer(x, y, Y_MASK), wanted)
    got, looks = layer.explained(x, y, Y_MASK)
    assert torch.equal(got, layer(x, y, Y_MASK))
    torch.testing.assert_close(looks, attention.detach()[..., :-1])


def test_looking_at_padding_alone_is_as_looking_at_nothing_and_finite() -> None:
    layer, x, y = crossed(), normal(4, 3, 8), normal(4, 6, 8, seed=1)
    nothing = layer(x, y[:, :0], Y_MASK[:, :0])
    torch.testing.assert_close(layer(x, y, torch.zeros_like(Y_MASK)), nothing)
    assert nothing.isfinite().all()


def test_masked_keys_are_as_good_as_cut_off_and_the_order_of_keys_is_irrelevant() -> None:
    layer, x, y = crossed(), normal(4, 3, 8), normal(4, 6, 8, seed=1)
    whole = layer(x, y, Y_MASK)
    for row, length in enumerate([6, 1, 0, 4]):
        cut = layer(x[[row]], y[[row], :length], Y_MASK[[row], :length])
        torch.testing.assert_close(cut[0], whole[row])
    order = torch.tensor([3, 1, 0, 2, 5, 4])
    torch.testing.assert_close(layer(x, y[:, order], Y_MASK[:, order]), whole)


def test_a_single_key_is_copied_by_plain_attention_and_gated_by_the_null_key() -> None:
    layer, x, y = crossed(), normal(4, 3, 8), normal(4, 1, 8, seed=1)
    last: Any = layer.mlp[2]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    mask = torch.ones(4, 1).bool()
    added = layer(x, y, mask) - x
    assert (added[:, 0] - added[:, 1]).abs().max() > 1e-3
    row_0 = layer.kv(layer.norm_y(y))[0, 0].detach()
    layer.null.data = row_0  # key and null key alike: all attention goes to one and the same value
    added = (layer(x, y, mask) - x)[0]
    torch.testing.assert_close(added, layer.out(row_0[8:]).expand(3, -1))


def test_a_mask_of_queries_and_keys_is_torchs_attention_mask() -> None:
    layer = shaken(TransformerLayer(8, 2))
    assert isinstance(layer, TransformerLayer)
    x = normal(3, 5, 8)
    mask = (normal(3, 5, 5, seed=1) > 0) | torch.eye(5).bool()
    other = nn.MultiheadAttention(8, 2, batch_first=True).double()
    other.load_state_dict(
        {
            "in_proj_weight": layer.qkv.weight,
            "in_proj_bias": layer.qkv.bias,
            "out_proj.weight": layer.out.weight,
            "out_proj.bias": layer.out.bias,
        }
    )
    normed = layer.norm_1(x)
    seen, attention = other(normed, normed, normed, attn_mask=~mask.repeat_interleave(2, 0))
    wanted = x + seen
    torch.testing.assert_close(layer(x, mask), wanted + layer.mlp(layer.norm_2(wanted)))
    got, looks = layer.explained(x, mask, 2)
    assert torch.equal(got, layer(x, mask))
    torch.testing.assert_close(looks, attention.detach()[:, :2].mean(1))


def test_a_row_without_tokens_leaves_the_transformer_finite_and_the_others_as_they_were() -> None:
    layers = shaken(Transformer(8, 2, 2))
    x, mask = normal(4, 6, 8), Y_MASK
    whole = layers(x, mask)
    assert whole.isfinite().all()
    torch.testing.assert_close(layers(x[[3], :4], mask[[3], :4])[0], whole[3, :4])


# -- streams


def streams(n_tokens: int = 4, positions: bool = True) -> Streams:
    made = Streams({"a": 5, "b": 3}, 7, n_tokens=n_tokens, positions=positions)
    return shaken(made)  # type: ignore[return-value]


def waves(place: float) -> np.ndarray:
    angle = place / 1e4 ** (np.arange(4) / 4)
    return np.concatenate([np.sin(angle), np.cos(angle)])[:7]


def test_streams_are_linear_maps_of_segment_means_with_their_name_and_place() -> None:
    made = streams()
    assert made.gate is not None
    mask = torch.tensor([[True] * 8, [False, True, False, True, True] + [False] * 3])
    tokens = {"a": Tokens(normal(2, 8, 5), mask).zeroed(), "b": Tokens.vector(normal(2, 3, seed=1))}
    first, second = made(tokens)
    normed = made.norms[0](tokens["a"].values)
    segments = {(0, k): [2 * k, 2 * k + 1] for k in range(4)} | {(1, 0): [1], (1, 1): [3], (1, 2): [4]}
    for (row, k), members in segments.items():
        place = torch.from_numpy(waves(float(np.mean(members))))
        wanted = made.maps[0](normed[row, members].mean(0)) + made.modality[0] + made.gate * place
        torch.testing.assert_close(first.values[row, k], wanted, rtol=1e-6, atol=1e-6)  # frequencies are float32
    assert first.mask.tolist() == [[True] * 4, [True] * 3 + [False]]
    place = torch.from_numpy(waves(0.0))
    wanted = made.maps[1](made.norms[1](tokens["b"].values)) + made.modality[1] + made.gate * place
    torch.testing.assert_close(second.values, wanted)


def test_a_hole_moves_no_other_token() -> None:
    made, values = streams(n_tokens=16), normal(1, 6, 5)
    b = Tokens.vector(normal(1, 3))
    whole, _ = made({"a": Tokens(values, torch.ones(1, 6).bool()), "b": b})
    holed, _ = made({"a": Tokens(values, torch.tensor([[True, False, True, True, True, True]])), "b": b})
    torch.testing.assert_close(holed.values[:, 2:], whole.values[:, 2:])


def test_without_positions_equal_tokens_stay_equal() -> None:
    values = normal(1, 1, 5).expand(1, 3, 5)
    for positions in (False, True):
        first, _ = streams(positions=positions)({"a": Tokens(values, torch.ones(1, 3).bool()), "b": TOKEN})
        assert torch.allclose(first.values[:, 0], first.values[:, 1]) is not positions


TOKEN = Tokens.vector(normal(1, 3))


def test_pooling_is_a_softmax_over_real_tokens_in_each_slice_of_channels() -> None:
    pool = shaken(Pool(8, 2))
    assert isinstance(pool, Pool)
    x = normal(4, 6, 8)
    pooled = pool(x, Y_MASK).detach().numpy()
    y, queries = pool.norm(x).detach().numpy(), pool.queries.weight.detach().numpy()
    for row, length in enumerate([6, 1, 0, 4]):
        real = y[row, :length]
        if length == 0:
            assert not pooled[row].any()
            continue
        scores = np.exp(real @ queries.T)
        attention = scores / scores.sum(0)
        wanted = [attention[:, h] @ real[:, 4 * h : 4 * h + 4] for h in range(2)]
        np.testing.assert_allclose(pooled[row], np.concatenate(wanted), atol=1e-12)


def test_a_merge_reads_the_learned_vector_of_what_is_missing_and_nothing_else() -> None:
    merge = shaken(Merge(2, 3, 4, dropout=0.0))
    assert isinstance(merge, Merge)
    vectors, present = normal(3, 2, 3), torch.tensor([[True, True], [True, False], [False, False]])
    filled = vectors.clone()
    filled[1, 1] = merge.absent[1].detach()
    filled[2] = merge.absent.detach()
    torch.testing.assert_close(merge(vectors, present), merge.mlp(filled.flatten(1)))


def test_shares_are_sums_by_modality_over_their_total() -> None:
    parts = [Tokens(normal(2, n, 1), torch.ones(2, n).bool()) for n in (2, 3)]
    attention = torch.tensor([[0.1, 0.1, 0.1, 0.05, 0.05], [0.0] * 5]).double()
    torch.testing.assert_close(share(attention, parts), torch.tensor([[0.5, 0.5], [0.0, 0.0]]).double())
