"""The dynamic fusion graph: its counts, and its vertices worked out set by set."""

from __future__ import annotations

from itertools import chain, combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion.graph.dynamic_fusion_graph import DynamicFusionGraph
from profuse.tokens import Tokens

CHANNELS = {"a": 5, "b": 3, "c": 4}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(channels: dict[str, int] = CHANNELS) -> DynamicFusionGraph:
    torch.manual_seed(0)
    operator = DynamicFusionGraph(channels, 8, vertex_width=6).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return operator


def batch() -> dict[str, Tokens]:
    there = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False] * 3])
    sizes = zip(CHANNELS.items(), there.T, range(3), strict=True)
    return {name: Tokens.vector(normal(4, c, seed=i), t) for (name, c), t, i in sizes}


def subsets(of: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(of, k) for k in range(1, len(of) + 1)))


@torch.no_grad()
def by_hand(operator: DynamicFusionGraph, tokens: dict[str, Tokens], row: int) -> tuple[Tensor, dict[str, float]]:
    """One row, by names and sets: absent vertices are never made, and 0 stands where they would be read."""
    names = operator.names
    present = [n for n in names if tokens[n].present[row]]
    zero = torch.zeros(operator.vertex_width).double()
    vertex: dict[tuple[str, ...], Tensor] = {
        (n,): operator.projection.maps[names.index(n)](tokens[n].values[row, 0]) for n in present
    }
    efficacy = iter(operator.efficacy(torch.cat([vertex.get((n,), zero) for n in names])).sigmoid())
    mlps = iter(operator.maps)
    for s in subsets(names):
        if len(s) > 1:
            heard = torch.cat([next(efficacy) * vertex.get(t, zero) for t in subsets(s)[:-1]])
            mlp = next(mlps)
            if set(s) <= set(present):
                vertex[s] = mlp(heard)
    last = {s: next(efficacy) for s in subsets(names)}
    assert next(efficacy, None) is None
    held = {n: [float(last[s]) for s in vertex if n in s] for n in names}
    weights = {n: sum(e) / len(e) if e else 0.0 for n, e in held.items()}
    return operator.out(torch.cat([e * vertex.get(s, zero) for s, e in last.items()])), weights


@pytest.mark.parametrize(("n", "n_edges"), [(1, 1), (2, 5), (3, 19), (4, 65), (5, 211)])
def test_it_has_the_papers_vertices_and_edges(n: int, n_edges: int) -> None:
    operator = DynamicFusionGraph(dict.fromkeys("abcde"[:n], 2), 4, vertex_width=2)
    assert len(operator.vertices) == 2**n - 1 == len(set(operator.vertices))
    assert sum(len(sources) for sources in operator.sources) == n_edges
    assert operator.efficacy[-1].out_features == n_edges


def test_every_vertex_is_what_its_subsets_say_and_absent_ones_are_never_made() -> None:
    operator, tokens = made(), batch()
    fused = operator(tokens)
    for row in range(4):
        vector, weights = by_hand(operator, tokens, row)
        torch.testing.assert_close(fused.vector[row], vector)
        torch.testing.assert_close(fused.weights["efficacy"][row], torch.tensor(list(weights.values())).double())


def test_the_networks_of_all_vertices_are_registered() -> None:
    operator = made()
    assert len(operator.maps) == 4
    assert sum(key.startswith("maps.") for key in operator.state_dict()) == 4 * 4


def test_an_edge_that_is_shut_carries_nothing() -> None:
    operator, tokens = made(), batch()
    whole = operator(tokens).vector
    last: Any = operator.efficacy[-1]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -1e4)
    torch.testing.assert_close(operator(tokens).vector, operator.out(torch.zeros(42).double()).expand(4, -1))
    nn.init.constant_(last.bias, 1e4)
    assert not torch.allclose(operator(tokens).vector, whole, atol=1e-3)
    torch.testing.assert_close(operator(tokens).weights["efficacy"], operator.present(tokens).double())


def test_efficacies_differ_from_row_to_row() -> None:
    tokens = {name: Tokens.vector(normal(5, c, seed=i)) for i, (name, c) in enumerate(CHANNELS.items())}
    assert (made()(tokens).weights["efficacy"].std(0) > 1e-3).all()


def test_more_than_six_modalities_are_refused_and_six_are_not() -> None:
    assert len(DynamicFusionGraph(dict.fromkeys("abcdef", 2), 4, vertex_width=2).vertices) == 63
    with pytest.raises(ConfigError, match="^DynamicFusionGraph: at most 6 modalities must be given; got 7"):
        DynamicFusionGraph(dict.fromkeys("abcdefg", 2), 4)


def test_wrong_options_are_told() -> None:
    with pytest.raises(ConfigError, match="^DynamicFusionGraph: vertex_width must be at least 1; got vertex_width=0"):
        DynamicFusionGraph(CHANNELS, 8, vertex_width=0)
