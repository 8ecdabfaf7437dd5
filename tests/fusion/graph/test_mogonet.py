"""MOGONET: its graph against NumPy and scikit-learn, new rows against a graph that holds them, the views' product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor, nn

from profuse.errors import ConfigError
from profuse.fusion.graph.mogonet import Mogonet, cosine, threshold_graph
from profuse.tokens import Tokens

CHANNELS = {"a": 5, "b": 3, "c": 4}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(**options: int) -> Mogonet:
    torch.manual_seed(0)
    operator = Mogonet(CHANNELS, 8, n_remembered=24, n_neighbours=4, **options).double().eval()
    for parameter in operator.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return operator


def rows(n: int, seed: int = 0) -> dict[str, Tokens]:
    return {
        name: Tokens.vector(normal(n, c, seed=seed + i), normal(n, seed=seed + 10 + i) > -0.7)
        for i, (name, c) in enumerate(CHANNELS.items())
    }


def numpys_graph(x: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """The graph of present rows only, and its threshold."""
    similarity = cosine_similarity(x)
    n = len(x)
    ranked = np.sort(similarity[~np.eye(n, dtype=bool)])[::-1]
    threshold = ranked[min(k * n, len(ranked)) - 1]
    weights = np.where(similarity >= threshold, np.maximum(similarity, 0), 0)
    np.fill_diagonal(weights, 1)
    return weights / np.abs(weights).sum(1, keepdims=True), float(threshold)


# -- the graph


def test_the_cosine_is_scikit_learns_and_0_for_a_row_of_zeros() -> None:
    x, y = normal(6, 4), normal(5, 4, seed=1)
    x[2] = 0
    np.testing.assert_allclose(cosine(x, y), cosine_similarity(x, y), atol=1e-12)


@pytest.mark.parametrize("k", [1, 3, 8, 100])
def test_the_graph_is_numpys_on_the_rows_that_are_there(k: int) -> None:
    x, present = normal(20, 4), normal(20, seed=1) > -0.7
    graph, threshold = threshold_graph(cosine(x, x), present, k)
    wanted, wanted_threshold = numpys_graph(x[present].numpy(), k)
    np.testing.assert_allclose(graph[present][:, present], wanted, atol=1e-12)
    assert float(threshold) == pytest.approx(wanted_threshold)
    assert not graph[~present].any()
    assert not graph[:, ~present].any()


@pytest.mark.parametrize("k", [2, 4])
def test_a_row_has_k_neighbours_on_average_and_its_weights_sum_to_1(k: int) -> None:
    x = normal(30, 6)
    graph, _ = threshold_graph(cosine(x, x), torch.ones(30).bool(), k)
    assert float((graph > 0).sum(1).double().mean()) == k + 1  # and itself
    torch.testing.assert_close(graph.sum(1), torch.ones(30).double())


def test_the_graph_turns_with_the_rows() -> None:
    x, present, order = (
        normal(20, 4),
        normal(20, seed=1) > -0.7,
        torch.from_numpy(np.random.default_rng(0).permutation(20)),
    )
    graph, threshold = threshold_graph(cosine(x, x), present, 3)
    turned, same = threshold_graph(cosine(x[order], x[order]), present[order], 3)
    torch.testing.assert_close(turned, graph[order][:, order])
    torch.testing.assert_close(same, threshold)


@pytest.mark.parametrize("n", [0, 1])
def test_a_row_without_others_has_itself_and_no_edge_can_be_reached(n: int) -> None:
    x = normal(5, 4)
    graph, threshold = threshold_graph(cosine(x, x), torch.arange(5) < n, 3)
    torch.testing.assert_close(graph, torch.diag((torch.arange(5) < n).double()))
    assert threshold == torch.inf


# -- the rows


def nodes_by_hand(operator: Mogonet, old: dict[str, Tokens], new: dict[str, Tokens]) -> list[Tensor]:
    """Each new row in turn: one graph of the old rows and it, in which it hears them and they do not hear it."""
    result = []
    for m, name in enumerate(CHANNELS):
        x = old[name].values[:, 0][old[name].present]
        middle = x.mean(0)
        graph, threshold = numpys_graph((x - middle).numpy(), operator.n_neighbours)
        found = []
        for row in new[name].values[:, 0]:
            similarity = cosine_similarity(row[None] - middle, x - middle)[0]
            edges = np.where(similarity >= threshold, np.maximum(similarity, 0), 0)
            whole = np.zeros((len(x) + 1, len(x) + 1))
            whole[:-1, :-1] = graph
            whole[-1] = np.append(edges, 1) / (edges.sum() + 1)
            h = operator.norms[m](torch.cat([x, row[None]])).detach().numpy()
            graph_maps: Any = operator.graphs[m].maps
            for linear in graph_maps:
                h = whole @ (h @ linear.weight.detach().numpy().T) + linear.bias.detach().numpy()
                h = np.where(h > 0, h, 0.25 * h)
            found.append(torch.from_numpy(h[-1]))
        result.append(torch.stack(found).masked_fill(~new[name].present[:, None], 0.0))
    return result


def joined(operator: Mogonet, nodes: list[Tensor], present: Tensor) -> Tensor:
    x = torch.cat(nodes, 1) @ operator.first.weight.T + operator.first.bias
    if operator.correlations is not None:
        views = [v(n).sigmoid() for v, n in zip(operator.views, nodes, strict=True)]
        a, b, c = (torch.where(present[:, m, None], v, torch.full_like(v, 0.5)) for m, v in enumerate(views))
        x = x + operator.correlations(torch.einsum("ni,nj,nk->nijk", a, b, c).flatten(1))
    y: Tensor = operator.mlp(x)
    return y


@pytest.mark.parametrize("options", [{}, {"n_layers": 1}, {"n_layers": 3, "vcdn_width": 0}, {"vcdn_width": 2}])
def test_new_rows_are_nodes_that_hear_the_old_ones_and_the_views_product_is_einsums(options: dict[str, int]) -> None:
    operator, old, new = made(**options), rows(20, seed=50), rows(6)
    operator.remember(old)
    wanted = joined(operator, nodes_by_hand(operator, old, new), operator.present(new))
    torch.testing.assert_close(operator(new).vector, wanted)


def test_before_anything_is_remembered_it_is_an_mlp() -> None:
    operator, new = made(n_layers=3), rows(6)
    nodes = []
    graph: Any
    for name, norm, graph in zip(CHANNELS, operator.norms, operator.graphs, strict=True):
        mlp = nn.Sequential(norm, *(layer for linear in graph.maps for layer in (linear, nn.LeakyReLU(0.25))))
        nodes.append(mlp(new[name].values[:, 0]).masked_fill(~new[name].present[:, None], 0.0))
    torch.testing.assert_close(operator(new).vector, joined(operator, nodes, operator.present(new)))


def test_a_row_that_is_remembered_itself_counts_twice() -> None:
    operator, alone = made(n_layers=1), made(n_layers=1)
    row = {name: Tokens.vector(t.values[:2, 0]) for name, t in rows(2).items()}
    opposite = {name: Tokens(torch.cat([t.values[:1], -t.values[:1]]), t.mask) for name, t in row.items()}
    operator.remember(opposite)  # the only edge has a negative similarity, hence no weight
    torch.testing.assert_close(operator(row).vector[0], alone(row).vector[0])  # the mean of a row and its copy


def test_rows_under_dropout_have_as_many_neighbours_in_training_as_rows_in_use() -> None:
    """Where clusters are clear, rows whose channels are dropped are less alike than those that are remembered."""
    operator = made()
    clear = (5 * normal(3, 5, seed=2)).repeat(8, 1) + 0.1 * normal(24, 5)
    old = {name: Tokens.vector(clear[:, :c]) for name, c in CHANNELS.items()}
    operator.remember(old)
    noisy = clear * (normal(24, 5, seed=3) > -0.5)
    there = torch.ones(24, dtype=torch.bool)
    assert (operator.edges(0, clear, there) > 0).sum(1).double().mean() == 5  # 4, and its own copy
    assert (operator.edges(0, noisy, there) > 0).sum(1).double().mean() < 3
    assert (operator.train().edges(0, noisy, there) > 0).sum(1).double().mean() == 4
    assert not operator.edges(0, noisy, ~there).any()


# -- the size of the product


@pytest.mark.parametrize(("n", "size"), [(1, 4), (3, 64), (5, 1024), (6, 729), (10, 1024), (11, 0)])
def test_the_product_has_the_largest_size_that_fits(n: int, size: int) -> None:
    operator = Mogonet(dict.fromkeys("abcdefghijk"[:n], 2), 4, n_remembered=6)
    assert (operator.correlations.in_features if operator.correlations is not None else 0) == size


@pytest.mark.parametrize(("n", "width"), [(3, 11), (6, 4), (2, -1)])
def test_a_product_that_is_too_large_is_refused(n: int, width: int) -> None:
    with pytest.raises(ConfigError, match=f"^Mogonet: vcdn_width .* at most 1024; got vcdn_width={width} for {n} mod"):
        Mogonet(dict.fromkeys("abcdef"[:n], 2), 4, vcdn_width=width)
