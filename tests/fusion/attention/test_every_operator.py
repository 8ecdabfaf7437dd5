"""What holds for every operator on streams of tokens: what masks, order, numbers and options may change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion import Fusion
from profuse.fusion.attention.bottleneck import Bottleneck
from profuse.fusion.attention.co_attention import CoAttention
from profuse.fusion.attention.cross_attention import CrossAttention
from profuse.fusion.attention.mult import MulT
from profuse.fusion.attention.perceiver import Perceiver
from profuse.fusion.attention.self_attention import SelfAttention
from profuse.fusion.attention.zorro import Zorro
from profuse.tokens import Tokens

CHANNELS = {"a": 5, "b": 3, "c": 1}
OPERATORS: list[Any] = [SelfAttention, CrossAttention, CoAttention, MulT, Bottleneck, Perceiver, Zorro]
every = pytest.mark.parametrize("cls", OPERATORS)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(cls: Any, channels: dict[str, int] = CHANNELS, **options: Any) -> Fusion:
    torch.manual_seed(0)
    operator: Fusion = cls(channels, 8, **options).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


LENGTHS = [9, 3, 0, 5, 0, 1]


def batch() -> dict[str, Tokens]:
    mask = torch.arange(9) < torch.tensor(LENGTHS)[:, None]
    there = torch.tensor([True, True, True, False, False, True])
    return {
        "a": Tokens(normal(6, 9, 5), mask),
        "b": Tokens(normal(6, 2, 3, seed=1), torch.ones(6, 2).bool() & there[:, None]),
        "c": Tokens.vector(normal(6, 1, seed=2), there),
    }


@every
@pytest.mark.parametrize("n_tokens", [4, 16])
def test_masked_tokens_are_as_good_as_cut_off(cls: Any, n_tokens: int) -> None:
    operator, tokens = made(cls, n_tokens=n_tokens), batch()
    whole = operator(tokens)
    for row, length in enumerate(LENGTHS):
        cut = {name: Tokens(t.values[[row]], t.mask[[row]]) for name, t in tokens.items()}
        cut["a"] = Tokens(cut["a"].values[:, : max(length, 1)], cut["a"].mask[:, : max(length, 1)])
        torch.testing.assert_close(operator(cut).vector[0], whole.vector[row])


@every
def test_order_counts_by_positions_alone(cls: Any) -> None:
    tokens, order = batch(), torch.randperm(9, generator=torch.Generator().manual_seed(0))
    turned = {**tokens, "a": Tokens(tokens["a"].values[:, order], tokens["a"].mask[:, order])}
    without, told = made(cls, positions=False), made(cls)
    torch.testing.assert_close(without(turned).vector, without(tokens).vector)
    assert not torch.allclose(told(turned).vector[0], told(tokens).vector[0], atol=1e-3)


@every
def test_two_modalities_of_one_kind_are_told_apart(cls: Any) -> None:
    operator = made(cls, {"a": 4, "b": 4})
    x, y = (Tokens(normal(3, 5, 4, seed=seed), torch.ones(3, 5).bool()) for seed in (0, 1))
    assert not torch.allclose(operator({"a": x, "b": y}).vector, operator({"a": y, "b": x}).vector, atol=1e-3)


@every
def test_many_tokens_cost_no_more_than_n_tokens(cls: Any) -> None:
    operator: Any = made(cls, {"a": 4, "b": 4}, n_tokens=3)
    seen: list[int] = []
    operator.streams.register_forward_hook(lambda _m, _i, out: seen.extend(t.mask.shape[1] for t in out))
    many = Tokens(normal(2, 500, 4), torch.ones(2, 500).bool())
    assert operator({"a": many, "b": Tokens.vector(normal(2, 4))}).vector.isfinite().all()
    assert seen == [3, 1]


@every
def test_one_modality_is_enough_and_learns(cls: Any) -> None:
    operator: Any = made(cls, {"a": 5})
    operator({"a": batch()["a"]}).vector.square().sum().backward()
    gradient = operator.streams.maps[0].weight.grad
    assert gradient.isfinite().all()
    assert gradient.any()


@every
def test_with_nothing_present_every_row_gets_the_same_finite_vector(cls: Any) -> None:
    tokens = {name: Tokens(t.values, torch.zeros_like(t.mask)) for name, t in batch().items()}
    vector = made(cls)(tokens).vector
    assert vector.isfinite().all()
    torch.testing.assert_close(vector, vector[:1].expand(6, -1))


@every
def test_training_drops_and_eval_does_not(cls: Any) -> None:
    operator, tokens = made(cls, dropout=0.5), batch()
    assert torch.equal(operator(tokens).vector, operator(tokens).vector)
    operator.train()
    assert not torch.allclose(operator(tokens).vector, operator(tokens).vector)


@pytest.mark.parametrize("cls", [CrossAttention, Perceiver, Zorro])
def test_attention_is_shared_out_among_those_who_can_be_seen(cls: Any) -> None:
    operator, tokens = made(cls), batch()
    weights, present = operator(tokens).weights["attention"], operator.present(tokens)
    least = 2 if cls is CrossAttention else 1  # a lone modality has nobody to look at it
    seen = present.sum(1) >= least
    torch.testing.assert_close(weights.sum(1), seen.double())
    assert not weights[~present].any()
    assert (weights[present & seen[:, None]] > 0).all()
    assert not weights.requires_grad


@pytest.mark.parametrize("cls", [Perceiver, Zorro])
def test_a_missing_modality_is_as_good_as_one_that_was_never_declared(cls: Any) -> None:
    operator, tokens = made(cls), batch()
    fewer = made(cls, {"a": 5, "c": 1})
    state, kept = operator.state_dict(), [0, 2]
    for key, value in fewer.state_dict().items():
        head, _, rest = key.partition(".")
        kind, _, end = rest.partition(".")
        if head == "streams" and kind in ("maps", "norms"):
            i, _, name = end.partition(".")
            value.copy_(state[f"streams.{kind}.{kept[int(i)]}.{name}"])
        else:
            value.copy_(state[key][kept] if key == "streams.modality" else state[key])
    gone = {**tokens, "b": Tokens(tokens["b"].values, torch.zeros_like(tokens["b"].mask))}
    torch.testing.assert_close(operator(gone).vector, fewer({"a": tokens["a"], "c": tokens["c"]}).vector)


@every
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_heads": 3}, r"width must be a multiple of n_heads; got (token_)?width=(8|32), n_heads=3\. Change"),
        ({"n_tokens": 0}, r"must be at least 1; got .*n_tokens=0"),
        ({"n_heads": 0}, r"must be at least 1; got .*n_heads=0"),
        ({"dropout": 1.0}, r"dropout must be at least 0 and below 1; got dropout=1\.0"),
    ],
)
def test_wrong_options_are_told(cls: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{cls.__name__}: .*{message}"):
        cls(CHANNELS, 8, **options)


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (SelfAttention, {"n_layers": 0}, "n_layers=0"),
        (CrossAttention, {"n_layers": 0}, "n_layers=0"),
        (MulT, {"n_self_layers": 0}, "n_self_layers=0"),
        (MulT, {"token_width": 0}, "token_width=0"),
        (Bottleneck, {"n_bottlenecks": -1}, "n_bottlenecks=-1"),
        (Bottleneck, {"fusion_layer": 2}, "fusion_layer=2, n_layers=2"),
        (Bottleneck, {"fusion_layer": -1}, "fusion_layer=-1"),
        (Perceiver, {"n_latents": 0}, "n_latents=0"),
        (Zorro, {"n_fusion_tokens": 0}, "n_fusion_tokens=0"),
    ],
)
def test_a_wrong_option_of_ones_own_is_told(cls: Any, options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{cls.__name__}: .*got .*{message}"):
        cls(CHANNELS, 8, **options)
