"""Mixtures of experts against NumPy in float64, closed forms, and what each penalty must do."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erf, softmax
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion import Fusion
from profuse.fusion.mixture._experts import Experts, Gate, balance, top_k_softmax
from profuse.fusion.mixture.interaction_experts import InteractionExperts
from profuse.fusion.mixture.missing_experts import MissingExperts
from profuse.fusion.mixture.sparse_experts import SparseExperts
from profuse.testing import check_fusion
from profuse.tokens import Tokens

Array = NDArray[np.float64]
CHANNELS = {"a": 4, "b": 3, "c": 1}
WIDTH = 5
N_ROWS = 9
ALL = [SparseExperts, MissingExperts, InteractionExperts]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(cls: type[Fusion], n: int = 3, **options: Any) -> Any:
    torch.manual_seed(0)
    operator = cls(dict(list(CHANNELS.items())[:n]), WIDTH, **options).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


def batch(n: int = 3) -> dict[str, Tokens]:
    """Rows 0 to 2 lack a modality each, row 3 has only the first, row 4 has none, the rest have all."""
    tokens = {}
    for i, (name, width) in enumerate(list(CHANNELS.items())[:n]):
        mask = normal(N_ROWS, 4, seed=i) > -0.5
        mask[:, 0] = True
        mask[i] = False
        mask[4] = False
        mask[3] &= i == 0
        tokens[name] = Tokens(normal(N_ROWS, 4, width, seed=10 + i), mask)
    return tokens


def rows_of(tokens: dict[str, Tokens], rows: Any) -> dict[str, Tokens]:
    return {name: Tokens(t.values[rows], t.mask[rows]) for name, t in tokens.items()}


def without(tokens: dict[str, Tokens], gone: str) -> dict[str, Tokens]:
    return {m: Tokens(t.values, torch.zeros_like(t.mask) if m == gone else t.mask) for m, t in tokens.items()}


def numbers(tensor: Tensor) -> Array:
    return tensor.detach().numpy()


def projected(operator: Any, tokens: dict[str, Tokens]) -> Array:
    """u_m in NumPy, `[row, modality, width]`, 0 where the modality is missing."""
    us = []
    for (norm, linear), t in zip(operator.project.maps, tokens.values(), strict=True):
        rows = []
        for x, mask in zip(numbers(t.values), numbers(t.mask), strict=True):
            v = x[mask].mean(0) if mask.any() else np.zeros(x.shape[1])
            if hasattr(norm, "weight"):
                v = (v - v.mean()) / np.sqrt(v.var() + 1e-5) * numbers(norm.weight) + numbers(norm.bias)
            rows.append((numbers(linear.weight) @ v + numbers(linear.bias)) * mask.any())
        us.append(np.stack(rows))
    return np.stack(us, axis=1)


def answers(experts: Experts, x: Array) -> Array:
    """y_e in NumPy, `[row, expert, width]`, one expert after the other."""
    ys = []
    for a, a0, b, b0 in zip(experts.first, experts.first_bias, experts.second, experts.second_bias, strict=True):
        hidden = x @ numbers(a) + numbers(a0)
        ys.append(hidden * (1 + erf(hidden / 2**0.5)) / 2 @ numbers(b) + numbers(b0))
    return np.stack(ys, axis=1)


def few(logits: Array, k: int) -> Array:
    """The softmax over the k largest logits, in NumPy."""
    gates = np.zeros_like(logits)
    for row, values in enumerate(logits):
        best = np.argsort(values)[-k:]
        gates[row, best] = softmax(values[best])
    return gates


def check(operator: Fusion, tokens: dict[str, Tokens], wanted: Array) -> None:
    np.testing.assert_allclose(numbers(operator(tokens).vector), wanted, atol=1e-11)


# -- gates


@pytest.mark.parametrize("kind", ["softmax", "gaussian", "laplace"])
def test_the_logits_are_products_or_distances(kind: Any) -> None:
    gate, x = Gate(7, 4, kind=kind).double(), normal(6, 7)
    x[0] = gate.centres[2]
    wanted = {
        "softmax": numbers(x) @ numbers(gate.centres).T,
        "gaussian": -(np.linalg.norm(numbers(x)[:, None] - numbers(gate.centres), axis=2) ** 2),
        "laplace": -np.linalg.norm(numbers(x)[:, None] - numbers(gate.centres), axis=2),
    }[kind]
    np.testing.assert_allclose(numbers(gate(x)), wanted, atol=1e-12)


@pytest.mark.parametrize("kind", ["softmax", "gaussian", "laplace"])
@pytest.mark.parametrize("n_inputs", [16, 512])
def test_a_new_gate_neither_decides_all_nor_nothing(kind: Any, n_inputs: int) -> None:
    torch.manual_seed(0)
    logits = Gate(n_inputs, 8, kind=kind)(torch.randn(200, n_inputs))
    assert 0.3 < logits.std(1).mean() < 3


@pytest.mark.parametrize("k", [2, 5])
def test_exactly_k_gates_are_open_and_sum_to_one(k: int) -> None:
    logits = normal(20, 5)
    gates = top_k_softmax(logits, k)
    assert torch.equal((gates > 0).sum(1), torch.full((20,), k))
    np.testing.assert_allclose(numbers(gates), few(numbers(logits), k), atol=1e-12)


def test_a_single_open_gate_is_the_largest_entry_of_the_whole_softmax() -> None:
    logits = normal(20, 5)
    whole = softmax(numbers(logits), axis=1)
    wanted = np.where(whole == whole.max(1, keepdims=True), whole, 0)
    np.testing.assert_allclose(numbers(top_k_softmax(logits, 1)), wanted, atol=1e-12)
    everyone = torch.ones(20, dtype=torch.bool)
    shares = wanted.sum(0) / wanted.sum()
    found = float(balance(top_k_softmax(logits, 1), everyone))
    assert found == pytest.approx((shares.std() / shares.mean()) ** 2)


@pytest.mark.parametrize("cls", [SparseExperts, MissingExperts])
def test_with_one_open_gate_every_gate_learns_from_what_comes_out(cls: type[Fusion]) -> None:
    operator, tokens = made(cls, n_experts=5, top_k=1), batch()
    operator(tokens).vector.square().sum().backward()
    gates = {n: p.grad for n, p in operator.named_parameters() if "centres" in n}
    assert gates
    assert all(g is not None and bool(g.abs().sum() > 0) for g in gates.values())


def test_equal_logits_still_open_exactly_k_gates() -> None:
    gates = top_k_softmax(torch.zeros(3, 6), 2)
    assert torch.equal((gates > 0).sum(1), torch.full((3,), 2))


def test_balance_is_the_squared_coefficient_of_variation_of_the_shares() -> None:
    gates, rows = normal(12, 5).softmax(1), normal(12, seed=1) > 0
    shares = numbers(gates[rows]).mean(0)
    assert float(balance(gates, rows)) == pytest.approx((shares.std() / shares.mean()) ** 2, abs=1e-12)


def test_balance_is_zero_of_even_shares_and_largest_where_one_expert_has_all() -> None:
    everyone = torch.ones(4, dtype=torch.bool)
    assert float(balance(torch.eye(4), everyone)) == pytest.approx(0)
    assert float(balance(torch.eye(4)[[1, 1, 1, 1]], everyone)) == pytest.approx(3)


@pytest.mark.parametrize("n_rows", [0, 1])
def test_balance_of_fewer_than_two_rows_is_zero(n_rows: int) -> None:
    assert float(balance(torch.eye(4), torch.arange(4) < n_rows)) == 0


# -- sparse_experts


@pytest.mark.parametrize("top_k", [2, 4])
@pytest.mark.parametrize("n", [1, 3])
def test_sparse_experts_are_the_mixture_of_the_k_best(n: int, top_k: int) -> None:
    operator, tokens = made(SparseExperts, n, n_experts=4, top_k=top_k), batch(n)
    x = projected(operator, tokens).reshape(N_ROWS, -1)
    logits = -np.linalg.norm(x[:, None] - numbers(operator.routers[0].centres), axis=2)
    gates = softmax(logits, axis=1) if top_k == 4 else few(logits, top_k)  # k = E: the dense mixture
    check(operator, tokens, np.einsum("re,rew->rw", gates, answers(operator.experts[0], x)))
    np.testing.assert_allclose(numbers(operator.gates(tokens)), gates, atol=1e-12)


@pytest.mark.parametrize("router", ["modality", "disjoint"])
def test_a_gate_a_modality_gives_the_mean_of_the_present_modalities_mixtures(router: str) -> None:
    operator, tokens = made(SparseExperts, n_experts=4, router=router, gate="softmax"), batch()
    pools = list(operator.experts) * (3 if router == "modality" else 1)
    assert len(pools) == 3
    u, wanted, count = projected(operator, tokens), np.zeros((N_ROWS, WIDTH)), np.zeros((N_ROWS, 1))
    for m, (gate, t) in enumerate(zip(operator.routers, tokens.values(), strict=True)):
        gates = few(u[:, m] @ numbers(gate.centres).T, 2)
        there = numbers(t.present)[:, None]
        wanted += there * np.einsum("re,rew->rw", gates, answers(pools[m], u[:, m]))
        count += there
    check(operator, tokens, wanted / np.maximum(count, 1))
    assert operator.gates(tokens).shape == (N_ROWS, 3, 4)


@pytest.mark.parametrize("router", ["modality", "disjoint"])
def test_of_one_modality_all_routers_are_the_same(router: str) -> None:
    joint, single = made(SparseExperts, 1, router="joint"), made(SparseExperts, 1, router=router)
    single.load_state_dict(joint.state_dict())
    tokens = rows_of(batch(1), [1, 2, 5])
    torch.testing.assert_close(joint(tokens).vector, single(tokens).vector)


def test_disjoint_experts_with_the_same_weights_are_shared_ones() -> None:
    shared, disjoint = (made(SparseExperts, router=router) for router in ("modality", "disjoint"))
    weights = shared.state_dict()
    for name, value in list(weights.items()):
        if name.startswith("experts.0."):
            weights |= {name.replace("experts.0.", f"experts.{i}."): value for i in (1, 2)}
    disjoint.load_state_dict(weights)
    torch.testing.assert_close(disjoint(batch()).vector, shared(batch()).vector)


def test_disjoint_experts_hear_their_own_modality_alone_and_are_balanced_each() -> None:
    operator, tokens = made(SparseExperts, router="disjoint", balance_weight=2.0), batch()
    before = operator(tokens).vector
    for parameter in operator.experts[1].parameters():
        parameter.data += normal(*parameter.shape)
    moved = (operator(tokens).vector - before).abs().amax(1) > 1e-6
    assert moved.tolist() == tokens["b"].present.tolist()
    gates, there = operator.gates(tokens), operator.present(tokens)
    wanted = 2 * np.mean([float(balance(gates[:, m], there[:, m])) for m in range(3)])
    assert operator(tokens).penalties["balance"].item() == pytest.approx(wanted)
    wanted = 2 * np.mean([float(balance(gates[:, m], there[:, m])) for m in (0, 2)])  # a modality that no row has
    assert operator(without(tokens, "b")).penalties["balance"].item() == pytest.approx(wanted)


def make_alike(experts: nn.Module) -> None:
    for parameter in experts.parameters():
        parameter.data[:] = parameter.data[:1].clone()


@pytest.mark.parametrize("cls", ALL)
def test_where_all_experts_are_alike_the_gate_does_not_matter(cls: type[Fusion]) -> None:
    operator, tokens = made(cls), batch()
    before = operator(tokens).vector
    make_alike(operator.experts)
    alike = operator(tokens).vector
    assert not torch.allclose(alike, before)
    for name, parameter in operator.named_parameters():
        if any(part in name for part in ("routers", "gate", "reweight")):
            parameter.data += torch.randn_like(parameter)
    torch.testing.assert_close(operator(tokens).vector, alike)


def test_noise_moves_the_gates_in_training_only() -> None:
    operator, tokens = made(SparseExperts, noise=1.0, dropout=0.0), batch()
    torch.testing.assert_close(operator(tokens).vector, operator(tokens).vector, atol=0, rtol=0)
    operator.train()
    assert not torch.allclose(operator(tokens).vector, operator(tokens).vector)
    operator.noise = 0.0
    torch.testing.assert_close(operator(tokens).vector, operator(tokens).vector, atol=0, rtol=0)


def test_the_penalty_makes_shares_even() -> None:
    operator, tokens = made(SparseExperts, n_experts=4, balance_weight=1.0), rows_of(batch(), slice(5, None))
    optimizer = torch.optim.Adam(operator.routers.parameters(), lr=0.1)
    first = operator(tokens).penalties["balance"].item()
    for _ in range(40):
        optimizer.zero_grad()
        operator(tokens).penalties["balance"].backward()
        optimizer.step()
    assert operator(tokens).penalties["balance"].item() < first / 4


@pytest.mark.parametrize("router", ["modality", "disjoint"])
@pytest.mark.parametrize(
    "check",
    ["shape", "limits_hold", "padding_invisible", "all_missing_finite", "gradient_reaches_everything", "repr_rebuilds"],
)
def test_the_contract_holds_with_every_router(router: Literal["modality", "disjoint"], check: str) -> None:
    check_fusion(partial(SparseExperts, router=router), checks=[check])


# -- missing_experts


def codes(tokens: dict[str, Tokens]) -> Array:
    return np.asarray(np.sum([2**m * numbers(t.present) for m, t in enumerate(tokens.values())], axis=0))


@pytest.mark.parametrize("n", [1, 3])
def test_missing_experts_put_the_vector_of_what_is_there_in_the_place_of_what_is_not(n: int) -> None:
    operator, tokens = made(MissingExperts, n, n_experts=6, top_k=3), batch(n)
    u, code = projected(operator, tokens), codes(tokens)
    present = np.stack([numbers(t.present) for t in tokens.values()], axis=1)
    x = np.where(present[..., None], u, numbers(operator.bank)[code]).reshape(N_ROWS, -1)
    full, other = (x @ numbers(g.centres).T for g in (operator.complete_gate, operator.incomplete_gate))
    gates = few(np.where(present.all(1, keepdims=True), full, other), 3)
    check(operator, tokens, np.einsum("re,rew->rw", gates, answers(operator.experts, x)))
    np.testing.assert_allclose(numbers(operator.gates(tokens)), gates, atol=1e-12)


def test_complete_rows_see_neither_the_bank_nor_the_gate_of_incomplete_ones() -> None:
    operator, tokens = made(MissingExperts), batch()
    before = operator(tokens).vector
    operator.bank.data += normal(*operator.bank.shape)
    operator.incomplete_gate.centres.data += normal(*operator.incomplete_gate.centres.shape)
    after = operator(tokens).vector
    torch.testing.assert_close(after[5:], before[5:])
    assert (after[:5] - before[:5]).abs().amax(1).gt(1e-3).all()


def test_sets_are_numbered_by_how_much_they_lack_and_each_has_an_expert_if_there_are_enough() -> None:
    expert_of = MissingExperts(CHANNELS, WIDTH, n_experts=8).expert_of
    assert expert_of[0b111] == 0
    assert sorted(expert_of[[0b110, 0b101, 0b011]].tolist()) == [1, 2, 3]
    assert sorted(expert_of[[0b001, 0b010, 0b100]].tolist()) == [4, 5, 6]
    few_experts = MissingExperts(CHANNELS, WIDTH, n_experts=4).expert_of
    assert few_experts.tolist() == (expert_of % 4).tolist()


def test_the_combination_penalty_is_the_cross_entropy_to_the_set_s_expert_over_incomplete_rows() -> None:
    operator, tokens = made(MissingExperts, n_experts=8, combination_weight=0.5), batch()
    u, code = projected(operator, tokens), codes(tokens)
    wanted = []
    for row in (0, 1, 2, 3):  # row 4 has nothing, the others have all
        there = np.array([bool(t.present[row]) for t in tokens.values()])
        x = np.where(there[:, None], u[row], numbers(operator.bank)[code[row]]).ravel()
        p = softmax(numbers(operator.incomplete_gate.centres) @ x)
        wanted.append(-np.log(p[int(operator.expert_of[code[row]])]))
    assert operator(tokens).penalties["combination"].item() == pytest.approx(0.5 * np.mean(wanted))


def test_balance_counts_complete_rows_only() -> None:
    operator, tokens = made(MissingExperts, balance_weight=2.0), batch()
    complete = operator.gates(tokens)[5:]
    wanted = 2 * balance(complete, torch.ones(4, dtype=torch.bool))
    torch.testing.assert_close(operator(tokens).penalties["balance"].detach(), wanted)


def test_where_no_row_is_incomplete_or_complete_the_penalty_of_those_rows_is_zero() -> None:
    operator, tokens = made(MissingExperts), batch()
    assert operator(rows_of(tokens, slice(5, None))).penalties["combination"] == 0
    assert operator(rows_of(tokens, slice(0, 5))).penalties["balance"] == 0
    assert operator(rows_of(tokens, [4])).penalties["combination"] == 0


def test_more_than_eight_modalities_are_refused() -> None:
    names = [f"m{i}" for i in range(9)]
    assert MissingExperts(dict.fromkeys(names[:8], 2), 4).bank.shape == (256, 8, 4)
    with pytest.raises(ConfigError, match=r"^MissingExperts: at most 8 modalities must be given; got 9"):
        MissingExperts(dict.fromkeys(names, 2), 4)


# -- interaction_experts


def test_interaction_experts_are_the_mixture_by_the_reweighting_network() -> None:
    operator, tokens = made(InteractionExperts), batch()
    x = projected(operator, tokens).reshape(N_ROWS, -1)
    logits = numbers(operator.reweight(torch.from_numpy(x)))
    logits[:, :3][~operator.present(tokens).numpy()] = -np.inf
    gates = softmax(logits, axis=1)
    check(operator, tokens, np.einsum("re,rew->rw", gates, answers(operator.experts, x)))
    shares = numbers(operator.shares(tokens))
    np.testing.assert_allclose(shares, gates, atol=1e-12)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose(numbers(operator(tokens).weights["uniqueness"]), gates[:, :3], atol=1e-12)


def cosine(x: Array, y: Array) -> float:
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


@pytest.mark.parametrize("n", [2, 3])
def test_the_penalties_compare_each_expert_with_what_it_says_of_rows_that_lack_one_modality_more(n: int) -> None:
    operator, tokens = made(InteractionExperts, n, interaction_weight=0.5, margin=0.7), batch(n)

    def said(of: dict[str, Tokens]) -> Array:
        return answers(operator.experts, projected(operator, of).reshape(N_ROWS, -1))

    y, lacking = said(tokens), [said(without(tokens, name)) for name in tokens]
    unique: list[float] = []
    synergy: list[float] = []
    redundancy: list[float] = []
    for row in range(N_ROWS):
        there = [m for m, t in enumerate(tokens.values()) if bool(t.present[row])]
        if len(there) < 2:
            continue
        for m in there:
            away = [float(np.linalg.norm(y[row, m] - lacking[j][row, m])) for j in range(n)]
            unique += [max(0, away[j] - away[m] + 0.7) for j in there if j != m]
            synergy.append(1 + cosine(y[row, n], lacking[m][row, n]))
            redundancy.append(1 - cosine(y[row, n + 1], lacking[m][row, n + 1]))
    got = {name: p.item() for name, p in operator(tokens).penalties.items()}
    wanted = {"uniqueness": unique, "synergy": synergy, "redundancy": redundancy}
    assert got == pytest.approx({name: 0.5 * np.mean(values) for name, values in wanted.items()})


def test_each_penalty_teaches_its_expert_what_it_is_called_after() -> None:
    operator, tokens = made(InteractionExperts, interaction_weight=1.0), rows_of(batch(), slice(5, None))

    def change(expert: int, gone: str) -> tuple[float, float]:
        """How far an expert's answer moves when a modality is taken away: distance, and 1 - cosine."""
        full, less = (
            operator.experts(operator._project(t).flatten(1))[:, expert] for t in (tokens, without(tokens, gone))
        )
        far, alike = (full - less).norm(dim=1).mean(), torch.cosine_similarity(full, less).mean()
        return far.item(), 1 - alike.item()

    before = {name: [change(e, name) for e in range(5)] for name in tokens}
    optimizer = torch.optim.Adam(operator.experts.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack([*operator(tokens).penalties.values()]).sum().backward()
        optimizer.step()
    after = {name: [change(e, name) for e in range(5)] for name in tokens}
    for i, name in enumerate(tokens):
        assert after[name][3][1] > before[name][3][1]  # synergy: it minds every one
        assert after[name][4][1] < before[name][4][1]  # redundancy: it minds none
        assert all(after[name][i][0] > after[other][i][0] for other in tokens if other != name)  # its own most


@pytest.mark.parametrize("rows", [[3], [4], [3, 4, 3]])
def test_rows_of_fewer_than_two_modalities_have_no_penalty(rows: list[int]) -> None:
    penalties = made(InteractionExperts)(rows_of(batch(), rows)).penalties
    assert [p.item() for p in penalties.values()] == [0, 0, 0]


def test_of_one_modality_there_is_nothing_to_tell_apart() -> None:
    fused = made(InteractionExperts, 1)(batch(1))
    assert [p.item() for p in fused.penalties.values()] == [0, 0, 0]
    assert fused.vector.isfinite().all()


# -- all


@pytest.mark.parametrize("cls", ALL)
def test_a_batch_given_twice_has_the_same_penalties_and_none_without_gradient(cls: type[Fusion]) -> None:
    operator, tokens = made(cls), batch()
    once, twice = operator(tokens).penalties, operator(rows_of(tokens, [*range(N_ROWS)] * 2)).penalties
    assert once
    for name, penalty in once.items():
        assert penalty.item() > 0
        torch.testing.assert_close(twice[name], penalty)
    with torch.no_grad():
        assert not operator(tokens).penalties


@pytest.mark.parametrize("cls", ALL)
def test_twelve_modalities_or_as_many_as_fit_are_all_heard(cls: type[Fusion]) -> None:
    torch.manual_seed(0)
    names = [f"m{i:02d}" for i in range(cls.max_modalities or 12)]
    leaves = {m: normal(50, 8, seed=i).float().requires_grad_() for i, m in enumerate(names)}
    vector = cls(dict.fromkeys(names, 8), 16).eval()({m: Tokens.vector(x) for m, x in leaves.items()}).vector
    assert 0.02 < vector.std(0).mean() < 5
    vector.square().sum().backward()
    slopes = torch.stack([x.grad.norm() for x in leaves.values() if x.grad is not None])
    assert len(slopes) == len(names)
    assert slopes.min() > slopes.max() / 10


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (SparseExperts, {"top_k": 9}, "top_k must be at least 1 and at most n_experts; got top_k=9, n_experts=8"),
        (MissingExperts, {"top_k": 0}, "got top_k=0, n_experts=16"),
        (SparseExperts, {"noise": -1.0}, "noise must be at least 0; got noise=-1.0"),
        (SparseExperts, {"balance_weight": float("nan")}, "balance_weight must be at least 0; got balance_weight=nan"),
        (MissingExperts, {"combination_weight": -0.1}, "combination_weight must be at least 0; got"),
        (InteractionExperts, {"margin": -1.0}, "margin must be at least 0; got margin=-1.0"),
        (InteractionExperts, {"interaction_weight": float("inf")}, "got interaction_weight=inf"),
        (SparseExperts, {"gate": "cosine"}, "gate must be softmax, gaussian or laplace; got gate='cosine'"),
        (SparseExperts, {"router": "each"}, "router must be joint, modality or disjoint; got router='each'"),
    ],
)
def test_wrong_options_are_told(cls: type[Fusion], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{cls.__name__}: .*{message}"):
        cls(CHANNELS, WIDTH, **options)
