"""Similarity network fusion: the diffusion against the published equations in NumPy, and the rows on its graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from profuse.errors import ConfigError
from profuse.fusion.graph.similarity_network import SimilarityNetwork, fuse_networks
from profuse.tokens import Tokens

CHANNELS = {"a": 5, "b": 3, "c": 4}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def views(n_views: int, n_rows: int, seed: int = 0) -> Tensor:
    """Symmetric affinities without ties, 1 on the diagonal."""
    x = normal(n_views, n_rows, n_rows, seed=seed)
    return torch.exp(-(x + x.mT).abs()).diagonal_scatter(torch.ones(n_views, n_rows).double(), dim1=1, dim2=2)


def numpys_fusion(affinities: np.ndarray, k: int, n_iterations: int, present: np.ndarray) -> np.ndarray:
    """Equations 1 to 5, entry by entry, with the rule for rows that lack a view."""
    n_views, n, _ = affinities.shape
    rows = [np.flatnonzero(p) for p in present]

    def normalised(w: np.ndarray, members: np.ndarray) -> np.ndarray:
        p = np.zeros((n, n))
        for i in members:
            total = sum(w[i, j] for j in members if j != i)
            for j in members:
                p[i, j] = 0.5 if i == j else (w[i, j] / (2 * total) if total > 0 else 0)
        return p

    s, p = [], []
    for w, members in zip(affinities, rows, strict=True):
        local = np.zeros((n, n))
        for i in members:
            near = sorted(members, key=lambda j: -w[i, j])[:k]
            local[i, near] = w[i, near] / w[i, near].sum()
        s.append(local)
        p.append(normalised(w, members))
    for _ in range(n_iterations):
        q = []
        for v in range(n_views):
            mean = np.zeros((n, n))
            for i in rows[v]:
                for j in rows[v]:
                    others = [p[u][i, j] for u in range(n_views) if u != v and present[u, i] and present[u, j]]
                    mean[i, j] = np.mean(others) if others else p[v][i, j]
            q.append(normalised(s[v] @ mean @ s[v].T, rows[v]))
        p = q
    fused = np.zeros((n, n))
    for a in range(n):
        for b in range(n):
            found = [p[v][a, b] for v in range(n_views) if present[v, a] and present[v, b]]
            fused[a, b] = np.mean(found) if found else 0
    return (fused + fused.T) / 2


# -- the diffusion


@pytest.mark.parametrize(("n_views", "k", "n_iterations"), [(1, 3, 5), (2, 3, 1), (3, 4, 20), (3, 50, 3), (2, 3, 0)])
def test_the_diffusion_is_numpys(n_views: int, k: int, n_iterations: int) -> None:
    affinities = views(n_views, 9)
    wanted = numpys_fusion(affinities.numpy(), k, n_iterations, np.ones((n_views, 9), dtype=bool))
    np.testing.assert_allclose(fuse_networks(affinities, k, n_iterations), wanted, atol=1e-12)


def test_the_diffusion_is_numpys_where_rows_lack_views() -> None:
    affinities, present = views(3, 10), normal(3, 10, seed=1) > -0.4
    present[:, 4] = False
    present[:, 5] = torch.tensor([True, False, False])
    wanted = numpys_fusion(affinities.numpy(), 3, 6, present.numpy())
    np.testing.assert_allclose(fuse_networks(affinities, 3, 6, present), wanted, atol=1e-12)
    assert not wanted[4].any()


def test_the_network_is_symmetric_with_one_half_at_each_rows_own_entry() -> None:
    network = fuse_networks(views(3, 12), 4, 20)
    torch.testing.assert_close(network, network.T)
    torch.testing.assert_close(network.diagonal(), torch.full((12,), 0.5).double())
    assert (network >= 0).all()
    assert float(network.sum()) == pytest.approx(12)  # every view's rows sum to 1


@pytest.mark.parametrize("n", [2, 5])
def test_views_that_agree_are_as_good_as_one(n: int) -> None:
    one = views(1, 10)
    torch.testing.assert_close(fuse_networks(one.expand(n, -1, -1), 4, 7), fuse_networks(one, 4, 7))


def test_the_network_turns_with_the_rows_and_not_with_the_views() -> None:
    affinities, present = views(3, 10), normal(3, 10, seed=1) > -0.7
    network, order = (
        fuse_networks(affinities, 3, 8, present),
        torch.from_numpy(np.random.default_rng(0).permutation(10)),
    )
    turned = fuse_networks(affinities[:, order][:, :, order], 3, 8, present[:, order])
    torch.testing.assert_close(turned, network[order][:, order])
    torch.testing.assert_close(fuse_networks(affinities[[2, 0, 1]], 3, 8, present[[2, 0, 1]]), network)


def test_a_view_that_no_row_has_is_as_good_as_left_out() -> None:
    affinities, present = views(3, 10), torch.tensor([True, False, True])[:, None].expand(-1, 10)
    torch.testing.assert_close(fuse_networks(affinities, 3, 8, present), fuse_networks(affinities[[0, 2]], 3, 8))


def test_groups_that_all_views_see_stand_out_of_each_ones_noise() -> None:
    group = torch.arange(20) // 10
    same = group == group[:, None]
    off = ~torch.eye(20, dtype=torch.bool)
    affinities = torch.where(same, 1.0, 0.4).double() * views(3, 20, seed=3)

    def contrast(network: Tensor) -> float:
        return float(network[same & off].mean() / network[~same].mean())

    assert contrast(fuse_networks(affinities, 5, 20)) > 2 * contrast(fuse_networks(affinities, 5, 0))


# -- the rows


def made(**options: float) -> SimilarityNetwork:
    torch.manual_seed(0)
    operator = SimilarityNetwork(CHANNELS, 8, n_remembered=24, n_neighbours=4, **options).double().eval()  # type: ignore[arg-type]
    for parameter in operator.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return operator


def rows(n: int, seed: int = 0) -> dict[str, Tokens]:
    return {
        name: Tokens.vector(normal(n, c, seed=seed + i), normal(n, seed=seed + 10 + i) > -0.5)
        for i, (name, c) in enumerate(CHANNELS.items())
    }


def kernel(x: np.ndarray, y: np.ndarray, scale_x: float, scale_y: float, width: float) -> float:
    distance = np.sqrt(((x - y) ** 2).sum())
    return float(np.exp(-((distance / (width * (scale_x + scale_y + distance) / 3)) ** 2) / 2))


def mean_nearest(x: np.ndarray, others: np.ndarray, k: int) -> float:
    return float(np.sort(np.sqrt(((others - x) ** 2).sum(1)))[:k].mean())


def by_hand(operator: SimilarityNetwork, old: dict[str, Tokens], new: dict[str, Tokens]) -> tuple[Tensor, np.ndarray]:
    """Each new row in turn, on lists of the rows that have a modality."""
    n, k, width = len(old["a"]), operator.n_neighbours, operator.kernel_width
    has = np.stack([t.present.numpy() for t in old.values()])
    features = [t.values[:, 0].numpy() for t in old.values()]
    scales = [
        {i: mean_nearest(x[i], x[[j for j in np.flatnonzero(h) if j != i]], k) for i in np.flatnonzero(h)}
        for x, h in zip(features, has, strict=True)
    ]
    affinities = np.zeros((len(features), n, n))
    for x, s, w in zip(features, scales, affinities, strict=True):
        for i in s:
            for j in s:
                w[i, j] = kernel(x[i], x[j], s[i], s[j], width)
    network = numpys_fusion(affinities, k, operator.n_iterations, has)
    edges = network - np.diag(network.diagonal())
    total = edges.sum(1, keepdims=True)
    walk = np.where(total > 0, edges / np.where(total > 0, 2 * total, 1), 0)
    walk += np.diag(np.where(total[:, 0] > 0, 0.5, 1))

    def embedded(means: list[Tensor], present: list[bool]) -> np.ndarray:
        parts = zip(means, present, operator.norms, operator.absent, strict=True)
        return torch.cat([norm(x) if p else absent for x, p, norm, absent in parts]).detach().numpy()

    known = [embedded([t.values[i, 0] for t in old.values()], list(has[:, i])) for i in range(n)]
    result = []
    for row in range(len(new["a"])):
        shares = []
        for m, t in enumerate(new.values()):
            if t.present[row]:
                x, members = t.values[row, 0].numpy(), list(scales[m])
                scale = mean_nearest(x, features[m][members], k)
                weights = {j: kernel(x, features[m][j], scale, scales[m][j], width) for j in members}
                near = sorted(members, key=lambda j: -weights[j])[:k]
                share = np.zeros(n)
                share[near] = [weights[j] / sum(weights[j] for j in near) for j in near]
                shares.append(share)
        whole = np.zeros((n + 1, n + 1))
        whole[:n, :n] = walk
        whole[n] = np.append(np.mean(shares, axis=0) @ walk / 2, 0.5) if shares else np.eye(n + 1)[n]
        here = embedded([t.values[row, 0] for t in new.values()], [bool(t.present[row]) for t in new.values()])
        h = np.stack([*known, here])
        linear: Any
        for linear in operator.graph.maps:
            h = whole @ h @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
            h = np.where(h > 0, h, 0.25 * h)
        result.append(operator.out(torch.from_numpy(h[-1])))
    return torch.stack(result), network


@pytest.mark.parametrize("options", [{}, {"n_layers": 1, "n_iterations": 0}, {"n_layers": 3, "kernel_width": 0.8}])
def test_new_rows_are_attached_to_the_fused_network(options: dict[str, float]) -> None:
    operator, old, new = made(**options), rows(18, seed=50), rows(7)
    operator.remember(old)
    wanted, network = by_hand(operator, old, new)
    np.testing.assert_allclose(operator.network[:18, :18], network, atol=1e-12)
    assert not operator.network[18:].any()
    torch.testing.assert_close(operator(new).vector, wanted)


def test_the_unit_of_the_features_plays_no_part_in_the_network() -> None:
    one, other, old = made(), made(), rows(18)
    one.remember(old)
    other.remember({name: Tokens(1000 * t.values, t.mask) for name, t in old.items()})
    torch.testing.assert_close(one.network, other.network)


def test_rows_that_are_all_the_same_make_an_even_network() -> None:
    operator = made()
    operator.remember({name: Tokens.vector(normal(1, c).expand(6, -1)) for name, c in CHANNELS.items()})
    wanted = torch.full((6, 6), 0.1).double().fill_diagonal_(0.5)
    torch.testing.assert_close(operator.network[:6, :6], wanted)


@pytest.mark.parametrize("wrong", [{"n_iterations": -1}, {"kernel_width": 0.0}, {"kernel_width": float("nan")}])
def test_wrong_options_are_told(wrong: dict[str, float]) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ConfigError, match=f"^SimilarityNetwork: n_iterations .* got .*{name}={value}"):
        SimilarityNetwork(CHANNELS, 8, **wrong)  # type: ignore[arg-type]
