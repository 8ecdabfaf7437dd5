"""The token Transformer against torch's own layers, and what masks must not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion.attention.token_transformer import TokenTransformer
from profuse.layers.attention import TransformerLayer
from profuse.layers.sequence import few_tokens
from profuse.tokens import Tokens

CHANNELS = {"a": 5, "b": 3, "c": 1}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(channels: dict[str, int] = CHANNELS, width: int = 8, **options: Any) -> TokenTransformer:
    torch.manual_seed(0)
    operator = TokenTransformer(channels, width, **options).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


def batch() -> dict[str, Tokens]:
    mask = torch.arange(9) < torch.tensor([9, 3, 0, 5, 0, 1])[:, None]
    there = torch.tensor([True, True, True, False, False, True])
    return {
        "a": Tokens(normal(6, 9, 5), mask),
        "b": Tokens(normal(6, 2, 3, seed=1), torch.ones(6, 2).bool() & there[:, None]),
        "c": Tokens.vector(normal(6, 1, seed=2), there),
    }


def torchs_layer(layer: TransformerLayer, width: int, n_heads: int) -> nn.TransformerEncoderLayer:
    """torch's pre-norm layer with the same weights."""
    other = nn.TransformerEncoderLayer(
        width, n_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    pairs = {
        "self_attn.in_proj_weight": layer.qkv.weight,
        "self_attn.in_proj_bias": layer.qkv.bias,
        "self_attn.out_proj.weight": layer.out.weight,
        "self_attn.out_proj.bias": layer.out.bias,
        "linear1.weight": layer.mlp[0].weight,
        "linear1.bias": layer.mlp[0].bias,
        "linear2.weight": layer.mlp[2].weight,
        "linear2.bias": layer.mlp[2].bias,
        "norm1.weight": layer.norm_1.weight,
        "norm1.bias": layer.norm_1.bias,
        "norm2.weight": layer.norm_2.weight,
        "norm2.bias": layer.norm_2.bias,
    }
    other.load_state_dict(pairs)
    return other  # in train mode, without dropout: torch's fast path of eval mode is another algorithm


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_the_layer_is_torchs_pre_norm_layer_with_the_same_weights(n_heads: int) -> None:
    layer = made(n_heads=n_heads).last
    x, mask = normal(4, 7, 8), torch.arange(7) < torch.tensor([7, 1, 3, 6])[:, None]
    wanted = torchs_layer(layer, 8, n_heads)(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(layer(x, mask)[mask], wanted[mask])


def test_the_attention_of_the_first_token_is_torchs() -> None:
    layer = made().last
    x, mask = normal(4, 7, 8), torch.arange(7) < torch.tensor([7, 1, 3, 6])[:, None]
    normed = layer.norm_1(x)
    attention = torchs_layer(layer, 8, 4).self_attn
    _, weights = attention(normed, normed, normed, key_padding_mask=~mask, average_attn_weights=True)
    torch.testing.assert_close(layer.explained(x, mask)[1], weights[:, 0].detach())
    assert torch.equal(layer.explained(x, mask)[0], layer(x, mask))


def test_the_whole_is_torchs_encoder_on_the_joined_tokens() -> None:
    operator, tokens = made(n_layers=3, n_tokens=20), batch()
    parts = [
        linear(norm(t.zeroed().values)) + operator.modality[i]
        for i, (linear, norm, t) in enumerate(zip(operator.maps, operator.norms, tokens.values(), strict=True))
    ]
    x = torch.cat([operator.cls.expand(6, 1, -1), *parts], 1)
    mask = torch.cat([torch.ones(6, 1).bool(), *(t.mask for t in tokens.values())], 1)
    for layer in [*operator.layers, operator.last]:
        x = torchs_layer(layer, 8, 4)(x, src_key_padding_mask=~mask)
    fused = operator(tokens)
    torch.testing.assert_close(fused.vector, operator.norm(x)[:, 0])
    torch.testing.assert_close(fused.tokens.values[mask[:, 1:]], operator.norm(x)[:, 1:][mask[:, 1:]])


def test_masked_tokens_are_as_good_as_cut_off() -> None:
    operator, tokens = made(), batch()
    whole = operator(tokens)
    for row, length in enumerate([9, 3, 0, 5, 0, 1]):
        if length:
            cut = {name: Tokens(t.values[[row]], t.mask[[row]]) for name, t in tokens.items()}
            cut["a"] = Tokens(cut["a"].values[:, :length], cut["a"].mask[:, :length])
            torch.testing.assert_close(operator(cut).vector[0], whole.vector[row])


def test_a_missing_modality_is_as_good_as_one_that_was_never_declared() -> None:
    operator, tokens = made(), batch()
    fewer = made({"a": 5, "c": 1})
    kept = [operator.names.index(name) for name in fewer.names]
    state = operator.state_dict()
    for i, j in enumerate(kept):
        for kind in ("maps", "norms"):
            for key in [k for k in state if k.startswith(f"{kind}.{j}.")]:
                fewer.state_dict()[key.replace(f".{j}.", f".{i}.", 1)].copy_(state[key])
    for key, value in fewer.state_dict().items():
        if not key.startswith(("maps", "norms")):
            value.copy_(state[key][kept] if key == "modality" else state[key])
    gone = {**tokens, "b": Tokens(tokens["b"].values, torch.zeros_like(tokens["b"].mask))}
    wanted = fewer({"a": tokens["a"], "c": tokens["c"]}).vector
    torch.testing.assert_close(operator(gone).vector, wanted)


def test_the_order_of_tokens_is_irrelevant_while_none_are_averaged() -> None:
    operator, tokens = made(n_tokens=9), batch()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    turned = {**tokens, "a": Tokens(tokens["a"].values[:, order], tokens["a"].mask[:, order])}
    torch.testing.assert_close(operator(turned).vector, operator(tokens).vector)


def test_weights_share_out_the_attention_among_the_present_modalities() -> None:
    operator, tokens = made(), batch()
    weights, present = operator(tokens).weights["attention"], operator.present(tokens)
    torch.testing.assert_close(weights.sum(1), present.any(1).double())
    assert not weights[~present].any()
    assert (weights[present] > 0).all()


def test_with_nothing_present_every_row_gets_the_same_finite_vector() -> None:
    tokens = {name: Tokens(t.values, torch.zeros_like(t.mask)) for name, t in batch().items()}
    fused = made()(tokens)
    assert fused.vector.isfinite().all()
    torch.testing.assert_close(fused.vector, fused.vector[:1].expand(6, -1))
    assert not fused.tokens.mask.any()


def test_modalities_that_hold_the_same_are_told_apart() -> None:
    operator = made({"a": 4, "b": 4})
    operator.maps[1].load_state_dict(operator.maps[0].state_dict())
    operator.norms[1].load_state_dict(operator.norms[0].state_dict())
    x, y = Tokens.vector(normal(3, 4)), Tokens.vector(normal(3, 4, seed=1))
    assert not torch.allclose(operator({"a": x, "b": y}).vector, operator({"a": y, "b": x}).vector, atol=1e-3)
    operator.modality.data[1] = operator.modality.data[0]
    torch.testing.assert_close(operator({"a": x, "b": y}).vector, operator({"a": y, "b": x}).vector)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 1000))
def test_few_tokens_are_the_means_of_equal_segments_of_the_real_ones(n_tokens: int, n_few: int, seed: int) -> None:
    mask = torch.rand(5, n_tokens, generator=torch.Generator().manual_seed(seed)) > 0.4
    tokens = Tokens(normal(5, n_tokens, 2, seed=seed).masked_fill(~mask[..., None], float("nan")), mask)
    few = few_tokens(tokens, n_few)
    assert few.values.shape[1] <= max(n_few, 1)
    for row in range(5):
        real = tokens.values[row][mask[row]].numpy()
        n = len(real)
        segments = [real[[r for r in range(n) if r * n_few // n == k]] for k in range(n_few)] if n > n_few else real
        wanted = np.stack([s.mean(0) for s in segments]) if n > n_few else real
        np.testing.assert_allclose(few.values[row][few.mask[row]].numpy(), wanted, atol=1e-12)
        if n > n_few:
            sizes = [len(s) for s in segments]
            assert max(sizes) - min(sizes) <= 1


def test_training_drops_and_eval_does_not() -> None:
    operator, tokens = made(dropout=0.5), batch()
    assert torch.equal(operator(tokens).vector, operator(tokens).vector)
    operator.train()
    assert not torch.allclose(operator(tokens).vector, operator(tokens).vector)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_heads": 3}, "width must be a multiple of n_heads; got width=8, n_heads=3"),
        ({"n_layers": 0}, "must be at least 1; got n_layers=0"),
        ({"n_tokens": 0}, "n_tokens=0"),
        ({"n_heads": 0}, "n_heads=0"),
    ],
)
def test_wrong_options_are_told(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^TokenTransformer: .*{message}"):
        TokenTransformer(CHANNELS, 8, **options)
