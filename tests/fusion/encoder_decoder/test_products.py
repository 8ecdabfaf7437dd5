"""Merges that multiply: the outer product, FiLM and multiplicative interaction, against NumPy and closed forms."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from profuse.errors import ConfigError
from profuse.fusion import Fusion
from profuse.fusion.encoder_decoder.film import FiLM
from profuse.fusion.encoder_decoder.multiplicative import MultiplicativeInteraction
from profuse.fusion.encoder_decoder.outer import Outer
from profuse.layers.projection import Projection
from profuse.testing import check_fusion
from profuse.tokens import Tokens

CHANNELS = {"a": 4, "b": 3, "c": 2}
WIDTH = 5
N_ROWS = 6
Form = Literal["matrix", "vector", "scalar"]
FORMS = ("matrix", "vector", "scalar")
Operator = TypeVar("Operator", bound=torch.nn.Module)


def made(operator: Operator) -> Operator:
    """The operator in float64 and eval mode, its parameters moved away from where they begin."""
    generator = torch.Generator().manual_seed(0)
    operator = operator.double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator).double()
    return operator


def batch(channels: dict[str, int] = CHANNELS, seed: int = 1) -> dict[str, Tokens]:
    """Four tokens of each modality, some masked; row i lacks modality i."""
    generator = torch.Generator().manual_seed(seed)
    tokens = {}
    for i, (name, width) in enumerate(channels.items()):
        mask = torch.rand(N_ROWS, 4, generator=generator) > 0.3
        mask[:, 0] = True
        mask[i] = False
        tokens[name] = Tokens(torch.randn(N_ROWS, 4, width, generator=generator).double(), mask)
    return tokens


def part(projection: Projection, i: int) -> Any:
    """The normalisation and the linear map of modality i."""
    return projection.maps[i]


def without(tokens: dict[str, Tokens], *names: str) -> dict[str, Tokens]:
    return {n: Tokens(t.values, t.mask & (n not in names)) for n, t in tokens.items()}


def whole(tokens: dict[str, Tokens]) -> dict[str, Tokens]:
    return {n: Tokens(t.values, torch.ones_like(t.mask)) for n, t in tokens.items()}


def normal(x: NDArray[np.float64], layer: Any) -> NDArray[np.float64]:
    if len(x) <= 2:  # too few to normalise
        return x
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    return np.asarray((x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias)


def linear(x: NDArray[np.float64], layer: Any) -> NDArray[np.float64]:
    return np.asarray(layer.weight.detach().numpy() @ x + layer.bias.detach().numpy())


def projected(maps: Iterable[Any], tokens: dict[str, Tokens], row: int) -> list[Any]:
    """u_m of a row by NumPy, None where the row lacks m."""
    found: list[Any] = []
    for (norm, last), t in zip(maps, tokens.values(), strict=True):
        real = t.values[row][t.mask[row]].numpy()
        found.append(linear(normal(real.mean(0), norm), last) if len(real) else None)
    return found


# -- the outer product


def test_the_outer_product_is_numpys_with_ones_for_a_missing_modality() -> None:
    operator, tokens = made(Outer(CHANNELS, WIDTH, n_channels=3)), batch()
    fused = operator(tokens).vector.detach().numpy()
    for row in range(N_ROWS):
        factors = [
            np.ones(3) if u is None else u * np.sqrt(4 / (u @ u + 1))
            for u in projected(operator.project.maps, tokens, row)
        ]
        wanted = linear(np.einsum("i,j,k->ijk", *factors).ravel(), operator.out)
        np.testing.assert_allclose(fused[row], wanted, atol=1e-9)


def test_without_a_modality_the_outer_product_is_that_of_the_others_its_weights_added_up() -> None:
    operator, tokens = made(Outer(CHANNELS, WIDTH, n_channels=3)), whole(batch())
    fewer = made(Outer({"a": 4, "c": 2}, WIDTH, n_channels=3))
    for ours, theirs in ((0, 0), (1, 2)):
        fewer.project.maps[ours].load_state_dict(operator.project.maps[theirs].state_dict())
    fewer.out.weight.data = operator.out.weight.data.view(WIDTH, 3, 3, 3).sum(2).flatten(1)
    fewer.out.bias.data = operator.out.bias.data
    wanted = fewer({name: tokens[name] for name in ("a", "c")}).vector
    torch.testing.assert_close(operator(without(tokens, "b")).vector, wanted)


def test_the_outer_product_holds_products_of_all_modalities_and_no_others() -> None:
    operator, tokens = made(Outer(CHANNELS, WIDTH, n_channels=3)), whole(batch())
    before = operator(tokens).vector - operator.out.bias
    _, linear_of_b = part(operator.project, 1)
    for p in linear_of_b.parameters():
        p.data.neg_()  # a part that did not hold b, such as tensor fusion's, would not change its sign
    torch.testing.assert_close(operator(tokens).vector - operator.out.bias, -before)


def tensor_of(operator: Outer, tokens: dict[str, Tokens]) -> Tensor:
    seen: list[Tensor] = []
    hook = operator.out.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    operator(tokens)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("n", [1, 2, 4, 8, 12])
def test_the_entries_of_the_outer_product_neither_vanish_nor_explode_with_modalities(n: int) -> None:
    torch.manual_seed(n)
    channels = {f"m{i:02}": 20 for i in range(n)}
    operator = Outer(channels, 4).double().eval()
    tokens = {name: Tokens.vector(torch.randn(30, 20).double()) for name in channels}
    assert 0.03 < tensor_of(operator, tokens).square().mean() < 3
    layers: Any
    for layers in operator.project.maps:
        layers[1].weight.data *= 1000
    size = part(operator.project, 0)[1].out_features
    assert tensor_of(operator, tokens).square().mean(1).max() <= (1 + 1 / size) ** n + 1e-9


@pytest.mark.parametrize(("n", "size"), [(1, 32), (2, 32), (3, 16), (4, 8), (6, 4), (8, 2), (12, 2), (13, 1), (40, 1)])
def test_the_default_number_of_channels_keeps_the_outer_product_small(n: int, size: int) -> None:
    operator = Outer({f"m{i}": 2 for i in range(n)}, 4)
    assert operator.out.in_features == size**n <= 4096


@pytest.mark.parametrize("n_channels", [0, 41])
def test_an_outer_product_that_does_not_fit_is_refused(n_channels: int) -> None:
    with pytest.raises(ConfigError, match=rf"^Outer: n_channels must .* got n_channels={n_channels}, M=3 .*low_rank"):
        Outer(CHANNELS, WIDTH, n_channels=n_channels)


# -- FiLM


@pytest.mark.parametrize("conditioner", [None, "b"])
def test_film_is_the_formula_token_by_token(conditioner: str | None) -> None:
    operator, tokens = made(FiLM(CHANNELS, WIDTH, conditioner=conditioner)), batch()
    fused = operator(tokens)
    films: dict[str, Any] = dict(zip(operator.conditioned, operator.films, strict=True))
    assert set(films) == {"a", "b", "c"} - {conditioner}
    for row in range(N_ROWS):
        s = {}
        for norm, last, (name, t) in zip(operator.norms, operator.maps, tokens.items(), strict=True):
            real = t.values[row][t.mask[row]].numpy()
            s[name] = [linear(normal(x, norm), last) for x in real]
        means = {name: np.mean(x, 0) for name, x in s.items() if x}
        told: list[NDArray[np.float64]] = []
        parts: list[NDArray[np.float64]] = []
        for name, x in s.items():
            given = [m for n, m in means.items() if (n != name if conditioner is None else n == conditioner)]
            change = np.zeros(2 * WIDTH)
            if name in films and given:
                change = films[name].weight.detach().numpy() @ np.mean(given, 0)
            y = [(1 + change[:WIDTH]) * v + change[WIDTH:] for v in x]
            y = [functional.gelu(torch.from_numpy(v)).numpy() for v in y]
            told += y
            parts += [np.mean(y, 0)] if y else []
        np.testing.assert_allclose(fused.vector[row].detach().numpy(), np.mean(parts, 0), atol=1e-9)
        np.testing.assert_allclose(fused.tokens.values[row][fused.tokens.mask[row]].detach().numpy(), told, atol=1e-9)


def test_film_leaves_tokens_as_they_are_before_training() -> None:
    torch.manual_seed(0)
    operator, tokens = FiLM(CHANNELS, WIDTH).double().eval(), whole(batch())
    wanted = [
        functional.gelu(last(norm(t.values)))
        for norm, last, t in zip(operator.norms, operator.maps, tokens.values(), strict=True)
    ]
    torch.testing.assert_close(operator(tokens).tokens.values, torch.cat(wanted, 1))


def test_the_conditioner_moves_the_others_tokens_and_nothing_moves_its_own() -> None:
    operator, tokens = made(FiLM(CHANNELS, WIDTH, conditioner="b")), whole(batch())
    before = dict(zip(CHANNELS, operator(tokens).tokens.values.split(4, 1), strict=True))
    for changed, moved in (("a", {"a"}), ("b", {"a", "b", "c"}), ("c", {"c"})):
        other = {**tokens, changed: whole(batch(seed=2))[changed]}
        after = dict(zip(CHANNELS, operator(other).tokens.values.split(4, 1), strict=True))
        assert {n for n in CHANNELS if not torch.allclose(after[n], before[n], atol=1e-6)} == moved


def test_film_with_each_modality_as_conditioner_of_two_is_symmetric_in_them() -> None:
    operator = made(FiLM({"a": 4, "b": 4}, WIDTH))
    for pair in (operator.norms, operator.maps, operator.films):
        pair[1].load_state_dict(pair[0].state_dict())
    x, y = (whole(batch({"a": 4}, seed=seed))["a"] for seed in (1, 2))
    torch.testing.assert_close(operator({"a": x, "b": y}).vector, operator({"a": y, "b": x}).vector)


def test_an_unknown_conditioner_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"one of image, text, or None; got conditioner='txt'. Did you mean 'text'"):
        FiLM({"image": 3, "text": 3}, 4, conditioner="txt")


# -- multiplicative interaction


def test_the_matrix_form_is_one_linear_map_of_the_outer_product_with_leading_ones() -> None:
    operator = made(MultiplicativeInteraction({"a": 4, "b": 3}, WIDTH, n_channels=4))
    tokens = whole(batch({"a": 4, "b": 3}))
    a, b = (part(operator.linear, i)[1] for i in (0, 1))
    z_a, z_b = (part(operator.narrow, i)[1] for i in (0, 1))
    for i, z in enumerate((z_a, z_b)):  # z_m: the normalised mean itself, with a zero after three channels
        part(operator.narrow, i)[0].load_state_dict(part(operator.linear, i)[0].state_dict())
        z.weight.data, z.bias.data = torch.eye(4, z.in_features).double(), torch.zeros(4).double()
    big = np.zeros((WIDTH, 5, 4))
    big[:, 0, 0] = (operator.bias + a.bias + b.bias).detach().numpy()
    big[:, 1:, 0], big[:, 0, 1:] = a.weight.detach().numpy(), b.weight.detach().numpy()
    big[:, 1:, 1:] = operator.weight[0, :, :3].permute(2, 0, 1).detach().numpy()
    fused = operator(tokens).vector.detach().numpy()
    for row in range(N_ROWS):
        v = [
            np.append(1.0, normal(t.values[row].numpy().mean(0), part(operator.linear, i)[0]))
            for i, t in enumerate(tokens.values())
        ]
        np.testing.assert_allclose(fused[row], big.reshape(WIDTH, -1) @ np.kron(*v), atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_without_products_it_is_a_linear_map_of_the_joined_modalities(form: Form) -> None:
    operator, tokens = made(MultiplicativeInteraction(CHANNELS, WIDTH, form=form)), whole(batch())
    operator.weight.data.zero_()
    joined = torch.cat([part(operator.linear, i)[0](t.mean()) for i, t in enumerate(tokens.values())], 1)
    linears = [part(operator.linear, i)[1] for i in range(3)]
    weight = torch.cat([linear.weight for linear in linears], 1)
    bias = operator.bias + sum(linear.bias for linear in linears)
    torch.testing.assert_close(operator(tokens).vector, joined @ weight.T + bias)


def test_the_vector_form_in_one_direction_is_film() -> None:
    channels = {"a": 4, "b": 3}
    operator, tokens = made(MultiplicativeInteraction(channels, WIDTH, form="vector")), whole(batch(channels))
    operator.weight.data[1].zero_()  # of the pair (b, a)
    for row in range(N_ROWS):
        a, b = projected(operator.linear.maps, tokens, row)
        scale, shift = 1 + a @ operator.weight[0].detach().numpy(), a
        wanted = scale * b + shift + operator.bias.detach().numpy()
        np.testing.assert_allclose(operator(tokens).vector[row].detach().numpy(), wanted, atol=1e-9)


def test_the_scalar_form_is_numpys() -> None:
    operator, tokens = made(MultiplicativeInteraction(CHANNELS, WIDTH, form="scalar")), whole(batch())
    fused = operator(tokens).vector.detach().numpy()
    for row in range(N_ROWS):
        u = projected(operator.linear.maps, tokens, row)
        wanted = sum(u) + operator.bias.detach().numpy()
        for (i, j), w in zip(operator.pairs, operator.weight[..., 0].detach().numpy(), strict=True):
            wanted = wanted + (w @ u[i]) * u[j]
        np.testing.assert_allclose(fused[row], wanted, atol=1e-9)
    assert sorted(operator.pairs) == [(i, j) for i in range(3) for j in range(3) if i != j]


@pytest.mark.parametrize("form", FORMS)
def test_three_modalities_are_told_by_their_pairs(form: Form) -> None:
    operator, tokens = made(MultiplicativeInteraction(CHANNELS, WIDTH, form=form)), whole(batch())

    def of(present: str) -> Tensor:
        fused: Tensor = operator(without(tokens, *(set("abc") - set(present)))).vector
        return fused

    pairs = of("ab") + of("ac") + of("bc") - of("a") - of("b") - of("c") + of("")
    torch.testing.assert_close(of("abc"), pairs)
    assert not torch.allclose(of("ab"), of("a") + of("b") - of(""), atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_a_single_modality_has_no_products(form: Form) -> None:
    operator = made(MultiplicativeInteraction({"a": 4}, WIDTH, form=form))
    tokens = whole(batch({"a": 4}))
    wanted = operator.linear(tokens)[:, 0] + operator.bias
    torch.testing.assert_close(operator(tokens).vector, wanted)


@pytest.mark.parametrize("wrong", [{"form": "cube"}, {"n_channels": 0}])
def test_wrong_options_of_multiplicative_interaction_are_told(wrong: dict[str, Any]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigError, match=f"^MultiplicativeInteraction: form must be .* got .*{name}={value!r}"):
        MultiplicativeInteraction(CHANNELS, WIDTH, **wrong)


OTHERS = [
    partial(MultiplicativeInteraction, form="vector"),
    partial(MultiplicativeInteraction, form="scalar"),
    partial(FiLM, conditioner="b.c"),
    partial(Outer, n_channels=1),
]


@pytest.mark.parametrize("make", OTHERS, ids=["vector", "scalar", "conditioner", "one channel"])
@pytest.mark.parametrize(
    "check",
    ["shape", "limits_hold", "padding_invisible", "all_missing_finite", "gradient_reaches_everything", "repr_rebuilds"],
)
def test_the_contract_holds_with_other_options(make: partial[Fusion], check: str) -> None:
    check_fusion(make, checks=[check])
