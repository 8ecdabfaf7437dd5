"""Tensor fusion and its decompositions against NumPy's einsum on the whole tensor, in float64."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from profuse.errors import ConfigError
from profuse.fusion import Fusion, fusion
from profuse.fusion.constraint._factors import power_norm
from profuse.fusion.constraint.block import Block
from profuse.fusion.constraint.compact_bilinear import CompactBilinear, _sketch
from profuse.fusion.constraint.factorized_bilinear import FactorizedBilinear
from profuse.fusion.constraint.low_rank import LowRank
from profuse.fusion.constraint.mutan import Mutan
from profuse.fusion.constraint.tensor import TensorFusion
from profuse.tokens import Tokens

Array = NDArray[np.float64]
CHANNELS = {"a": 4, "b": 3, "c": 1, "d": 2}
WIDTH = 5
N_ROWS = 7


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(cls: type[Fusion], n: int = 3, **options: Any) -> Any:
    torch.manual_seed(0)
    operator = cls(dict(list(CHANNELS.items())[:n]), WIDTH, **options).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


def batch(n: int = 3) -> dict[str, Tokens]:
    tokens = {}
    for i, (name, width) in enumerate(list(CHANNELS.items())[:n]):
        mask = normal(N_ROWS, 4, seed=i) > -0.5
        mask[:, 0] = True
        mask[i] = False  # row i lacks modality i
        mask[N_ROWS - 1] = False  # the last row lacks all
        tokens[name] = Tokens(normal(N_ROWS, 4, width, seed=10 + i), mask)
    return tokens


def numbers(tensor: Tensor) -> Array:
    return tensor.detach().numpy()


def normed(norm: Any, t: Tokens) -> Array:
    """v_m in NumPy: the normalised mean, 0 where the modality is missing."""
    rows = []
    for x, mask in zip(numbers(t.values), numbers(t.mask), strict=True):
        v = x[mask].mean(0) if mask.any() else np.zeros(x.shape[1])
        if hasattr(norm, "weight"):
            v = (v - v.mean()) / np.sqrt(v.var() + 1e-5) * numbers(norm.weight) + numbers(norm.bias)
        rows.append(v * mask.any())
    return np.stack(rows)


def projected(project: Any, tokens: dict[str, Tokens]) -> list[Array]:
    """u_m in NumPy, 0 where the modality is missing."""
    us = []
    for (norm, linear), t in zip(project.maps, tokens.values(), strict=True):
        u = normed(norm, t) @ numbers(linear.weight).T + numbers(linear.bias)
        us.append(u * numbers(t.mask).any(1, keepdims=True))
    return us


def ones_first(us: list[Array]) -> list[Array]:
    return [np.concatenate([np.ones((len(u), 1)), u], axis=1) for u in us]


def whole_tensor(zs: list[Array]) -> Array:
    """The outer product of all z_m, `[row, z_1, ..., z_M]`."""
    axes = string.ascii_lowercase[: len(zs)]
    return np.asarray(np.einsum(",".join(f"R{a}" for a in axes) + f"->R{axes}", *zs))


def numpy_power_norm(x: Array) -> Array:
    y = np.sign(x) * np.abs(x) / np.sqrt(np.abs(x) + 1e-3)
    return np.asarray(y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-6))


def check(operator: Fusion, tokens: dict[str, Tokens], wanted: Array, atol: float = 1e-11) -> None:
    np.testing.assert_allclose(numbers(operator(tokens).vector), wanted, atol=atol)


# -- tensor


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_tensor_fusion_is_the_linear_map_of_the_whole_tensor(n: int) -> None:
    operator, tokens = made(TensorFusion, n, n_channels=3), batch(n)
    tensor = whole_tensor(ones_first(projected(operator.project, tokens)))
    weight = numbers(operator.weight).reshape(*tensor.shape[1:], WIDTH)
    check(operator, tokens, np.tensordot(tensor, weight, n) + numbers(operator.bias))


@pytest.mark.parametrize("n_left", [1, 2, 3, 4])
def test_where_the_tensor_is_parted_changes_nothing(n_left: int) -> None:
    operator, tokens = made(TensorFusion, 4, n_channels=3), batch(4)
    wanted = operator(tokens).vector
    operator.n_left = n_left
    torch.testing.assert_close(operator(tokens).vector, wanted)


def test_the_weights_at_the_ones_see_each_modality_alone_and_each_pair() -> None:
    operator, tokens = made(TensorFusion, 3, n_channels=2), batch()
    a, b, c = projected(operator.project, tokens)
    weight = torch.zeros(3, 3, 3, WIDTH, dtype=torch.float64)
    alone, pair = normal(2, WIDTH, seed=5), normal(2, 2, WIDTH, seed=6)
    weight[0, 1:, 0], weight[1:, 0, 1:] = alone, pair
    operator.weight.data = weight.view(27, WIDTH)
    wanted = b @ numbers(alone) + np.einsum("ri,rj,ijw->rw", a, c, numbers(pair)) + numbers(operator.bias)
    check(operator, tokens, wanted)


def test_without_a_modality_tensor_fusion_is_that_of_the_others() -> None:
    operator, tokens = made(TensorFusion, 3, n_channels=2), batch()
    tokens["b"] = Tokens(tokens["b"].values, torch.zeros_like(tokens["b"].mask))
    smaller = TensorFusion({"a": 4, "c": 1}, WIDTH, n_channels=2).double().eval()
    smaller.project.maps[0], smaller.project.maps[1] = operator.project.maps[0], operator.project.maps[2]
    smaller.weight.data = operator.weight.data.view(3, 3, 3, WIDTH)[:, 0].reshape(9, WIDTH)
    smaller.bias.data = operator.bias.data
    torch.testing.assert_close(operator(tokens).vector, smaller({"a": tokens["a"], "c": tokens["c"]}).vector)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that is made."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and "view" not in func.__name__:
            self.size = max(self.size, result.numel())
        return result


def test_the_whole_tensor_is_never_made() -> None:
    n_rows, names = 256, "abcdef"
    operator = TensorFusion(dict.fromkeys(names, 8), 64).eval()
    assert operator.weight.shape == (5**6, 64)
    tokens = {m: Tokens.vector(normal(n_rows, 8, seed=i).float()) for i, m in enumerate(names)}
    with torch.no_grad(), Largest() as made:
        operator(tokens)
    assert made.size <= n_rows * 5**2 * 64  # the whole tensor has n_rows * 5**6, ten times as many


@pytest.mark.parametrize(("n", "n_channels"), [(1, 32), (2, 32), (3, 24), (4, 10), (6, 4), (9, 1), (14, 1), (16, 1)])
def test_the_default_number_of_channels_falls_with_the_number_of_modalities(n: int, n_channels: int) -> None:
    operator = TensorFusion({f"m{i}": 2 for i in range(n)}, 64)
    assert operator.weight.shape == ((n_channels + 1) ** n, 64)


def test_a_tensor_that_is_too_large_is_refused_with_what_to_do() -> None:
    many = {f"m{i}": 2 for i in range(17)}
    with pytest.raises(
        ConfigError, match=r"^TensorFusion: .* at most 4194304 weights; got n_channels=1, M=17 .* low_rank"
    ):
        TensorFusion(many, 64)
    with pytest.raises(ConfigError, match=r"got n_channels=20, M=4 .*, or fewer n_channels\.$"):
        TensorFusion(dict.fromkeys("abcd", 2), 64, n_channels=20)


# -- low_rank


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_low_rank_is_the_tensor_contracted_with_a_sum_of_outer_products(n: int) -> None:
    operator, tokens = made(LowRank, n, rank=3), batch(n)
    parts = operator.factors
    tensor = whole_tensor(ones_first([normed(*pair) for pair in zip(parts.norms, tokens.values(), strict=True)]))
    factors = [  # F_m: [rank, width, 1 + d_m]
        np.concatenate([numbers(f.bias)[:, None], numbers(f.weight)], axis=1).reshape(3, WIDTH, -1) for f in parts.maps
    ]
    axes = "abcd"[:n]
    weight = np.einsum("R," + ",".join(f"RW{a}" for a in axes) + f"->{axes}W", numbers(operator.weight), *factors)
    check(operator, tokens, np.tensordot(tensor, weight, n) + numbers(operator.bias))


def test_low_rank_is_any_map_of_the_tensor_once_its_rank_is_large_enough() -> None:
    operator, tokens = made(LowRank, 3, rank=8), batch()  # the tensor is 5 x 4 x 2, so 40 / 5 = 8
    parts, weight = operator.factors, normal(5, 4, 2, WIDTH, seed=9)
    a = weight.view(5, 8, WIDTH).permute(1, 2, 0)  # product r is entry r of [b, c], times a row of weights for a
    b = torch.eye(4).double()[:, None, :].expand(4, 2, 4).reshape(8, 1, 4).expand(8, WIDTH, 4)
    c = torch.eye(2).double()[None].expand(4, 2, 2).reshape(8, 1, 2).expand(8, WIDTH, 2)
    for linear, factor in zip(parts.maps, (a, b, c), strict=True):
        flat = factor.reshape(8 * WIDTH, -1)
        linear.bias.data, linear.weight.data = flat[:, 0].clone(), flat[:, 1:].clone()
    operator.weight.data.fill_(1.0)
    tensor = whole_tensor(ones_first([normed(*pair) for pair in zip(parts.norms, tokens.values(), strict=True)]))
    check(operator, tokens, np.tensordot(tensor, numbers(weight), 3) + numbers(operator.bias))


def test_low_rank_of_one_modality_is_a_linear_layer() -> None:
    operator, tokens = made(LowRank, 1, rank=3), batch(1)
    linear, weight = operator.factors.maps[0], operator.weight
    merged = torch.nn.Linear(4, WIDTH).double()
    merged.weight.data = torch.einsum("r,rwi->wi", weight, linear.weight.view(3, WIDTH, 4)).detach()
    merged.bias.data = (weight @ linear.bias.view(3, WIDTH) + operator.bias).detach()
    v = torch.from_numpy(normed(operator.factors.norms[0], tokens["a"]))
    torch.testing.assert_close(operator(tokens).vector, merged(v))


@pytest.mark.parametrize("name", ["tensor", "low_rank", "compact_bilinear", "factorized_bilinear", "mutan", "block"])
@pytest.mark.parametrize("n", [2, 12])
def test_a_new_operator_neither_vanishes_nor_explodes_with_the_number_of_modalities(name: str, n: int) -> None:
    torch.manual_seed(0)
    names = [f"m{i:02d}" for i in range(n)]
    operator = fusion(name)(dict.fromkeys(names, 8), 16).eval()
    leaves = {m: normal(200, 8, seed=i).float().requires_grad_() for i, m in enumerate(names)}
    vector = operator({m: Tokens.vector(x) for m, x in leaves.items()}).vector
    assert 0.05 < vector.std(0).mean() < 20
    vector.square().sum().backward()
    slopes = torch.stack([x.grad.norm() for x in leaves.values() if x.grad is not None])
    assert len(slopes) == n
    assert slopes.min() > slopes.max() / 20  # every modality is heard


# -- compact_bilinear


def test_compact_bilinear_is_the_count_sketch_of_the_outer_product() -> None:
    size = 16
    operator, tokens = made(CompactBilinear, 3, sketch_size=size, seed=4), batch()
    vs = [normed(n, t) / np.sqrt(3 * t.n_channels) for n, t in zip(operator.norms, tokens.values(), strict=True)]
    tensor, sizes = whole_tensor(ones_first(vs)), [4, 3, 1]
    places = [np.r_[0, p] for p in np.split(operator.places.numpy(), np.cumsum(sizes)[:-1])]
    signs = [np.r_[1, s] for s in np.split(operator.signs.numpy(), np.cumsum(sizes)[:-1])]
    sketch = np.zeros((N_ROWS, size))
    for i, j, k in np.ndindex(*tensor.shape[1:]):
        place = (places[0][i] + places[1][j] + places[2][k]) % size
        sketch[:, place] += signs[0][i] * signs[1][j] * signs[2][k] * tensor[:, i, j, k]
    check(operator, tokens, numpy_power_norm(sketch) @ numbers(operator.out.weight).T + numbers(operator.out.bias))


def test_inner_products_of_sketches_estimate_those_of_the_tensors() -> None:
    x, x2, y, y2 = normal(4, 5, seed=3) / 5**0.5
    generator, size, estimates = torch.Generator().manual_seed(0), 16, []
    for _ in range(400):
        spectra = []
        for pair in (torch.stack([x, x2]), torch.stack([y, y2])):
            places = torch.randint(size, (5,), generator=generator)
            signs = torch.randint(2, (5,), generator=generator) * 2 - 1
            spectra.append(torch.fft.rfft(_sketch(pair, places, signs, size)))
        one, two = torch.fft.irfft(spectra[0] * spectra[1], n=size)
        estimates.append(float(one @ two))
    wanted = float((1 + x @ x2) * (1 + y @ y2))
    assert abs(np.mean(estimates) - wanted) < 4 * np.std(estimates) / 400**0.5
    assert np.std(estimates) / 400**0.5 < 0.1


def test_hashes_come_from_the_seed_and_not_from_the_global_generator() -> None:
    torch.manual_seed(0)
    one = CompactBilinear(CHANNELS, WIDTH, seed=3)
    torch.manual_seed(1)
    two, other = CompactBilinear(CHANNELS, WIDTH, seed=3), CompactBilinear(CHANNELS, WIDTH, seed=4)
    assert torch.equal(one.places, two.places)
    assert torch.equal(one.signs, two.signs)
    assert not torch.equal(one.places, other.places)


def test_loaded_hashes_replace_those_of_the_seed() -> None:
    one, other = made(CompactBilinear, seed=3), made(CompactBilinear, seed=4)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(other(batch()).vector, one(batch()).vector)


def test_half_precision_goes_through_the_transform() -> None:
    operator = CompactBilinear({"a": 4}, WIDTH, sketch_size=16).eval().to(torch.bfloat16)
    vector = operator({"a": Tokens.vector(normal(3, 4).bfloat16())}).vector
    assert vector.dtype == torch.bfloat16
    assert vector.isfinite().all()


# -- factorized_bilinear, mutan, block


@pytest.mark.parametrize("n_factors", [1, 4])
def test_factorized_bilinear_is_the_tamed_sum_of_products(n_factors: int) -> None:
    operator, tokens = made(FactorizedBilinear, 3, n_factors=n_factors), batch()
    parts = operator.factors
    products = np.ones((N_ROWS, n_factors * WIDTH))
    for norm, linear, t in zip(parts.norms, parts.maps, tokens.values(), strict=True):
        products *= normed(norm, t) @ numbers(linear.weight).T + numbers(linear.bias)
    wanted = numpy_power_norm(products.reshape(N_ROWS, n_factors, WIDTH).sum(1))
    check(operator, tokens, wanted)


def test_one_factor_without_biases_is_low_rank_bilinear_pooling() -> None:
    operator, tokens = made(FactorizedBilinear, 2, n_factors=1), batch(2)
    u, v = (f.weight for f in operator.factors.maps)
    for linear in operator.factors.maps:
        linear.bias.data.zero_()
    x, y = (torch.from_numpy(normed(*p)) for p in zip(operator.factors.norms, tokens.values(), strict=True))
    bilinear = torch.nn.functional.bilinear(x, y, u[:, :, None] * v[:, None])  # x^T (u v^T) y for each channel
    torch.testing.assert_close(operator(tokens).vector, power_norm(bilinear))


def test_mutan_of_full_rank_is_the_tucker_decomposition_with_any_core() -> None:
    operator, tokens, core = made(Mutan, 2, n_channels=6, rank=6), batch(2), normal(6, 6, 6, seed=8)
    operator.term.bias.data.zero_()
    first = torch.eye(6).double()[:, :, None].expand(6, 6, 6)  # input i, rank r, output k: 1 where i = r
    operator.term.weight.data = torch.stack([first, core.permute(1, 0, 2)])[:, None].clone()
    x, y = projected(operator.term.project, tokens)
    tucker = np.einsum("ri,rj,ijk->rk", x, y, numbers(core))
    out = operator.term.out
    check(operator, tokens, tucker @ numbers(out.weight).T + numbers(out.bias))


def test_mutan_of_three_modalities_is_the_tucker_decomposition_with_slices_of_low_rank() -> None:
    operator, tokens = made(Mutan, 3, n_channels=4, rank=2), batch()
    term = operator.term
    factors = np.concatenate([numbers(term.bias)[:, 0, None], numbers(term.weight)[:, 0]], axis=1)  # m, 1 + i, r, k
    core = np.einsum("ark,brk,crk->abck", *factors)
    y = np.tensordot(whole_tensor(ones_first(projected(term.project, tokens))), core, 3)
    check(operator, tokens, y @ numbers(term.out.weight).T + numbers(term.out.bias))


@pytest.mark.parametrize("normalise", [False, True])
def test_block_multiplies_chunks_of_the_same_number(normalise: bool) -> None:
    operator, tokens = made(Block, 3, n_channels=6, n_chunks=3, rank=2, normalise=normalise), batch()
    term, chunks = operator.term, []
    us = projected(term.project, tokens)
    for c in range(3):
        factors = np.concatenate([numbers(term.bias)[:, c, None], numbers(term.weight)[:, c]], axis=1)
        core = np.einsum("ark,brk,crk->abck", *factors)
        y = np.tensordot(whole_tensor(ones_first([u[:, 2 * c : 2 * c + 2] for u in us])), core, 3)
        chunks.append(numpy_power_norm(y) if normalise else y)
    wanted = np.concatenate(chunks, axis=1) @ numbers(term.out.weight).T + numbers(term.out.bias)
    check(operator, tokens, wanted)


def test_block_of_one_chunk_is_mutan() -> None:
    mutan, tokens = made(Mutan, 3, n_channels=6, rank=2), batch()
    block = made(Block, 3, n_channels=6, n_chunks=1, rank=2, normalise=False)
    block.load_state_dict(mutan.state_dict())
    torch.testing.assert_close(block(tokens).vector, mutan(tokens).vector)


# -- the power norm, training, options


def test_the_power_norm_keeps_signs_and_order_and_has_length_root_n() -> None:
    x = normal(4, 50).requires_grad_()
    y = power_norm(x)
    assert torch.equal(y.sign(), x.sign())
    assert torch.equal(y.argsort(1), x.argsort(1))
    torch.testing.assert_close(y.norm(dim=1), torch.full((4,), 50**0.5).double(), atol=1e-4, rtol=0)


def test_the_power_norm_has_a_finite_slope_where_all_is_zero() -> None:
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(power_norm(x).sum(), x)
    assert slope.isfinite().all()
    assert torch.equal(power_norm(x), x)


@pytest.mark.parametrize("cls", [TensorFusion, LowRank, CompactBilinear, FactorizedBilinear, Mutan, Block])
def test_training_drops_channels_and_evaluation_does_not(cls: type[Fusion]) -> None:
    operator, tokens = made(cls, dropout=0.5), batch()
    assert torch.equal(operator(tokens).vector, operator(tokens).vector)
    operator.train()
    assert not torch.allclose(operator(tokens).vector, operator(tokens).vector)


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (TensorFusion, {"n_channels": 0}, "n_channels must be at least 1; got n_channels=0"),
        (LowRank, {"rank": 0}, "rank must be at least 1; got rank=0"),
        (FactorizedBilinear, {"n_factors": 0}, "n_factors must be at least 1; got n_factors=0"),
        (Mutan, {"rank": 0}, "n_channels and rank must be at least 1; got n_channels=32, rank=0"),
        (Block, {"n_chunks": 0}, "must be at least 1; got n_channels=64, n_chunks=0, rank=5"),
        (Block, {"n_chunks": 5}, "n_channels must be a multiple of n_chunks; got n_channels=64, n_chunks=5"),
        (CompactBilinear, {"sketch_size": 100}, "a power of two and seed at least 0; got sketch_size=100, seed=0"),
        (CompactBilinear, {"sketch_size": 0}, "sketch_size must be at least 1; got sketch_size=0"),
        (CompactBilinear, {"seed": -1}, "got sketch_size=1024, seed=-1"),
    ],
)
def test_wrong_options_are_told(cls: type[Fusion], options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{cls.__name__}: .*{message}"):
        cls(CHANNELS, WIDTH, **options)
