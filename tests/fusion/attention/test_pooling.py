"""Attention pooling against NumPy and torch's scaled dot product."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from profuse.errors import ConfigError
from profuse.fusion.attention.pooling import AttentionPooling
from profuse.tokens import Tokens

CHANNELS = {"a": 5, "b": 3}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(n_queries: int = 4) -> AttentionPooling:
    torch.manual_seed(0)
    return AttentionPooling(CHANNELS, 8, n_queries=n_queries).double().eval()


def batch() -> dict[str, Tokens]:
    mask = torch.arange(6) < torch.tensor([6, 2, 0, 0, 4])[:, None]
    return {
        "a": Tokens(normal(5, 6, 5), mask),
        "b": Tokens.vector(normal(5, 3, seed=1), torch.tensor([True, True, True, False, False])),
    }


@pytest.mark.parametrize("n_queries", [1, 2, 8])
def test_it_is_torchs_attention_of_the_queries_over_all_tokens(n_queries: int) -> None:
    operator, tokens = made(n_queries), batch()
    x = torch.cat(
        [m(t.values) + e for m, e, t in zip(operator.maps, operator.modality, tokens.values(), strict=True)], 1
    )
    mask = torch.cat([t.mask for t in tokens.values()], 1)
    keys, values = (f(x).view(5, 7, n_queries, -1).transpose(1, 2) for f in (operator.keys, operator.values))
    queries = operator.queries[None, :, None].expand(5, -1, -1, -1)
    rows = mask.any(1)
    seen = scaled_dot_product_attention(queries[rows], keys[rows], values[rows], attn_mask=mask[rows][:, None, None])
    torch.testing.assert_close(operator(tokens).vector[rows], operator.out(seen[:, :, 0].flatten(1)))


def test_with_nothing_present_only_the_last_bias_is_left() -> None:
    operator = made()
    torch.testing.assert_close(operator(batch()).vector[3], operator.out.bias)


def test_weights_are_attention_by_modality() -> None:
    operator, tokens = made(), batch()
    weights, present = operator(tokens).weights["attention"], operator.present(tokens)
    torch.testing.assert_close(weights.sum(1), present.any(1).double())
    assert not weights[~present].any()
    torch.testing.assert_close(weights[4], torch.tensor([1.0, 0.0]).double())


def test_equal_tokens_share_attention_equally() -> None:
    operator, tokens = made(), batch()
    operator.keys.weight.data.zero_()
    weights = operator(tokens).weights["attention"]
    torch.testing.assert_close(weights[0], torch.tensor([6 / 7, 1 / 7]).double())


def test_the_order_of_tokens_is_irrelevant_and_masked_ones_are_as_good_as_cut_off() -> None:
    operator, tokens = made(), batch()
    order = torch.tensor([3, 1, 0, 2, 5, 4])
    turned = {**tokens, "a": Tokens(tokens["a"].values[:, order], tokens["a"].mask[:, order])}
    torch.testing.assert_close(operator(turned).vector, operator(tokens).vector)
    cut = {name: Tokens(t.values[[1]], t.mask[[1]]) for name, t in tokens.items()}
    cut["a"] = Tokens(cut["a"].values[:, :2], cut["a"].mask[:, :2])
    torch.testing.assert_close(operator(cut).vector[0], operator(tokens).vector[1])


@pytest.mark.parametrize("n_queries", [0, 3, -1])
def test_queries_that_do_not_divide_the_width_are_told(n_queries: int) -> None:
    with pytest.raises(ConfigError, match=rf"^AttentionPooling: n_queries .* got n_queries={n_queries}, width=8"):
        AttentionPooling(CHANNELS, 8, n_queries=n_queries)
