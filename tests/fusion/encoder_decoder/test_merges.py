"""Merges of features against NumPy, and the identities that tell them apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from profuse.fusion import Fusion
from profuse.fusion.encoder_decoder.concat import Concat
from profuse.fusion.encoder_decoder.gated import Gated
from profuse.fusion.encoder_decoder.max import Max
from profuse.fusion.encoder_decoder.mean import Mean
from profuse.fusion.encoder_decoder.product import Product
from profuse.fusion.encoder_decoder.sum import Sum
from profuse.tokens import Tokens

Array = NDArray[np.float64]
CHANNELS = {"a": 4, "b": 3, "c": 1}
WIDTH = 5
N_ROWS = 6
Operator = TypeVar("Operator", bound=Fusion)


def made(cls: type[Operator], channels: dict[str, int] = CHANNELS, width: int = WIDTH) -> Operator:
    torch.manual_seed(0)
    operator = cls(channels, width).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


def batch() -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(1)
    tokens = {}
    for i, (name, width) in enumerate(CHANNELS.items()):
        mask = torch.rand(N_ROWS, 4, generator=generator) > 0.3
        mask[:, 0] = True
        mask[i] = False  # row i lacks modality i
        mask[5] = False  # row 5 lacks all
        tokens[name] = Tokens(torch.randn(N_ROWS, 4, width, generator=generator).double(), mask)
    return tokens


def numbers(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy()


def normal_mean(x: Array, mask: Array, weight: Array | None, bias: Array | None) -> Array:
    mean: Array = x[mask].mean(0)
    if weight is None:
        return mean
    return np.asarray((mean - mean.mean()) / np.sqrt(mean.var() + 1e-5) * weight + bias)


def projected(operator: Any, tokens: dict[str, Tokens], row: int) -> list[Array]:
    """u_m of the modalities that the row has, in NumPy."""
    us = []
    for linear, t in zip(operator.project.maps, tokens.values(), strict=True):
        if not t.mask[row].any():
            continue
        norm, last = linear[0], linear[1]
        has = hasattr(norm, "weight")
        v = normal_mean(
            numbers(t.values[row]),
            numbers(t.mask[row]),
            numbers(norm.weight) if has else None,
            numbers(norm.bias) if has else None,
        )
        us.append(numbers(last.weight) @ v + numbers(last.bias))
    return us


ORACLES: dict[type[Fusion], Callable[[Array], Array]] = {
    Sum: lambda us: us.sum(0),
    Mean: lambda us: us.mean(0),
    Max: lambda us: us.max(0),
    Product: lambda us: np.prod(1 + np.tanh(us) / np.sqrt(3), axis=0) - 1,
}


@pytest.mark.parametrize("cls", ORACLES)
def test_the_merge_is_numpys_over_the_present_modalities(cls: type[Fusion]) -> None:
    operator, tokens = made(cls), batch()
    fused = numbers(operator(tokens).vector)
    for row in range(N_ROWS):
        us = projected(operator, tokens, row)
        wanted = ORACLES[cls](np.stack(us)) if us else np.zeros(WIDTH)
        np.testing.assert_allclose(fused[row], wanted, atol=1e-9)


@pytest.mark.parametrize("cls", [Sum, Mean, Max])
def test_dropping_a_modality_by_its_mask_is_fusing_the_others(cls: type[Fusion]) -> None:
    operator: Any = made(cls)
    tokens = batch()
    gone = {**tokens, "b": Tokens(tokens["b"].values, torch.zeros_like(tokens["b"].mask))}
    fewer: Any = cls({"a": 4, "c": 1}, WIDTH).double().eval()
    fewer.project.maps[0].load_state_dict(operator.project.maps[0].state_dict())
    fewer.project.maps[1].load_state_dict(operator.project.maps[2].state_dict())
    wanted = fewer({name: tokens[name] for name in ("a", "c")}).vector
    torch.testing.assert_close(operator(gone).vector, wanted)


@pytest.mark.parametrize("cls", [Sum, Mean, Max, Product])
def test_with_one_map_for_all_the_order_of_the_modalities_is_irrelevant(cls: type[Fusion]) -> None:
    operator: Any = made(cls, {"a": 4, "b": 4, "c": 4})
    for linear in operator.project.maps[1:]:
        linear.load_state_dict(operator.project.maps[0].state_dict())
    x = [Tokens.vector(torch.randn(3, 4, generator=torch.Generator().manual_seed(i)).double()) for i in range(3)]
    forth = operator(dict(zip("abc", x, strict=True))).vector
    back = operator(dict(zip("cab", x, strict=True))).vector
    torch.testing.assert_close(forth, back)


def test_the_sum_is_one_linear_map_of_the_concatenation() -> None:
    operator: Any = made(Sum)
    tokens = {name: Tokens(t.values, torch.ones_like(t.mask)) for name, t in batch().items()}
    joined = torch.cat([m[0](t.mean()) for m, t in zip(operator.project.maps, tokens.values(), strict=True)], 1)
    weight = torch.cat([m[1].weight for m in operator.project.maps], 1)
    bias = sum(m[1].bias for m in operator.project.maps)
    torch.testing.assert_close(operator(tokens).vector, joined @ weight.T + bias)


def test_max_tells_the_share_of_channels_that_each_modality_won() -> None:
    operator, tokens = made(Max), batch()
    fused = operator(tokens)
    for row in range(N_ROWS):
        there = operator.present(tokens)[row].tolist()
        us = projected(operator, tokens, row)
        winners = np.argmax(np.stack(us), 0) if us else []
        share = [float(np.mean(winners == i)) for i in range(len(us))]
        wanted = [share.pop(0) if here else 0.0 for here in there]
        np.testing.assert_allclose(numbers(fused.weights["won"][row]), wanted, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 10, 40])
def test_the_product_stays_within_its_bound_however_many_modalities(n: int) -> None:
    operator: Any = made(Product, {f"m{i:02}": 2 for i in range(n)})
    x = {name: Tokens.vector(100 * torch.randn(50, 2).double()) for name in operator.names}
    for linear in operator.project.maps:
        linear[1].weight.data *= 100
    assert operator(x).vector.abs().max() <= (1 + n**-0.5) ** n - 1 + 1e-9


def test_gates_sum_to_one_and_the_result_lies_in_the_hull_of_what_they_gate() -> None:
    operator, tokens = made(Gated), batch()
    fused = operator(tokens)
    present = operator.present(tokens)
    torch.testing.assert_close(fused.weights["gates"].sum(1), present.any(1).double())
    v = [n(t.mean()).masked_fill(~t.present[:, None], 0) for n, t in zip(operator.norms, tokens.values(), strict=True)]
    hidden = torch.stack([m(x) for m, x in zip(operator.maps, v, strict=True)], 1).tanh()
    for row in range(N_ROWS - 1):
        us = hidden[row][present[row]]
        assert (fused.vector[row] <= us.amax(0) + 1e-9).all()
        assert (fused.vector[row] >= us.amin(0) - 1e-9).all()
    assert not fused.vector[-1].any()


def test_a_single_modality_passes_the_gate_whole() -> None:
    operator = made(Gated, {"a": 4})
    t = Tokens.vector(torch.randn(3, 4).double())
    wanted = operator.maps[0](operator.norms[0](t.mean())).tanh()
    torch.testing.assert_close(operator({"a": t}).vector, wanted)
    assert torch.equal(operator({"a": t}).weights["gates"], torch.ones(3, 1).double())


def test_concatenation_tells_a_missing_modality_from_every_value_it_may_have() -> None:
    operator, tokens = made(Concat), batch()
    t = tokens["b"]
    zeros = Tokens(torch.zeros_like(t.values), torch.ones_like(t.mask))
    missing = Tokens(torch.zeros_like(t.values), torch.zeros_like(t.mask))
    there, gone = operator({**tokens, "b": zeros}).vector, operator({**tokens, "b": missing}).vector
    assert ((there - gone).abs().amax(1) > 1e-3).all()


def test_concatenation_is_a_perceptron_on_the_joined_vectors() -> None:
    operator, tokens = made(Concat), batch()
    row = 4  # has all
    parts = []
    norm: Any
    for norm, t in zip(operator.norms, tokens.values(), strict=True):
        has = hasattr(norm, "weight")
        w, b = (numbers(norm.weight), numbers(norm.bias)) if has else (None, None)
        parts.append(normal_mean(numbers(t.values[row]), numbers(t.mask[row]), w, b))
    layers: Iterable[Any] = operator.mlp
    first, _, _, last = layers
    hidden = torch.from_numpy(numbers(first.weight) @ np.concatenate(parts) + numbers(first.bias))
    gelu = numbers(hidden) * 0.5 * (1 + numbers(torch.erf(hidden / 2**0.5)))
    wanted = numbers(last.weight) @ gelu + numbers(last.bias)
    np.testing.assert_allclose(numbers(operator(tokens).vector[row]), wanted, atol=1e-9)
