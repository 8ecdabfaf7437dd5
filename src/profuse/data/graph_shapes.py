"""What graphs look like, in numbers: degrees, triangles, walks, and what neighbours have. Nothing in it is learned."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["N_WALKS", "adjacency", "closed_walks", "graph_shapes", "n_shape_numbers"]

_DEGREES = 8  # nodes of degree 0, 1, ..., and of so many or more
N_WALKS = 7
"""Closed walks: of 2, 3, ..., 8 steps."""
_MOST_PAIRED = 16  # channels of nodes that are paired with those of neighbours


def n_shape_numbers(n_attributes: int, n_relations: int) -> int:
    """Returns how many numbers `graph_shapes` gives."""
    paired = min(n_attributes, _MOST_PAIRED)
    return 8 + _DEGREES + 1 + 2 * N_WALKS + 3 * n_attributes + n_relations + paired * (paired + 1) // 2


def adjacency(values: Tensor, mask: Tensor, n_attributes: int, n_relations: int) -> tuple[Tensor, Tensor]:
    """Returns what a `GraphPreprocessor` has put into one row a node: attributes, and matrices.

    Args:
        values: `[row, node, n_attributes + n_relations * most nodes]`, 0 where masked.
        mask: `[row, node]` bool.
        n_attributes: Channels of attributes.
        n_relations: Matrices.

    Returns:
        Attributes `[row, node, n_attributes]`, and matrices `[row, n_relations, node, node]`, 0 in columns of masked
        nodes. A position beyond the most nodes, which is padding, has none either.
    """
    n = values.shape[1]
    matrices = torch.unflatten(values[..., n_attributes:], 2, (n_relations, -1)).transpose(1, 2)
    matrices = torch.nn.functional.pad(matrices, (0, n))[..., :n]
    return values[..., :n_attributes], matrices.masked_fill(~mask[:, None, None], 0.0)


def closed_walks(joined: Tensor) -> Tensor:
    """Returns `[row, node, step]`: how likely a walk is back where it began after 2, ..., 8 steps.

    A step goes to each of d neighbours, joined by an edge, with probability 1 / (1 + d); else the walk ends.

    Args:
        joined: `[row, node, node]`, weights of edges of either direction.

    Reference:
        Dwivedi et al. 2022, Graph neural networks with learnable structural and positional representations, section
        3.1.

    *Differs from the paper*: the walk can end, so that a node without an edge is like any other.
    """
    step = joined / (1.0 + joined.abs().sum(2, keepdim=True))
    found, power = [], step
    for _ in range(N_WALKS):
        power = power @ step
        found.append(power.diagonal(dim1=1, dim2=2))
    return torch.stack(found, 2)


def graph_shapes(values: Tensor, mask: Tensor, n_attributes: int, n_relations: int) -> Tensor:
    """Returns `[row, number]`: what describes a graph, whatever the order in which its nodes were given.

    In order: logs of 1 + nodes and 1 + edges; edges and triangles a node, and the log of 1 + triangles; the share of
    pairs of neighbours that are joined (transitivity); mean and deviation of the degrees; shares of nodes of degree
    0, ..., 7 and above; mean and deviation of `closed_walks`; mean, deviation and a tenth of the sum of each attribute;
    the sum of each matrix a node; means of products x_i y_j over edges (i, j) of each two of the first 16 attributes.

    Args:
        values: `[row, node, channel]` of a `GraphPreprocessor`, 0 where masked.
        mask: `[row, node]` bool.
        n_attributes: As its spec says.
        n_relations: As its spec says.
    """
    x, matrices = adjacency(values, mask, n_attributes, n_relations)
    real = mask.to(values.dtype)
    n = real.sum(1, keepdim=True)
    share = real / n.clamp(min=1)
    weights = matrices[:, 0] + matrices[:, 0].transpose(1, 2)
    joined = (weights != 0).to(values.dtype)
    joined = joined - torch.diag_embed(joined.diagonal(dim1=1, dim2=2))
    degree = joined.sum(2)
    n_edges = degree.sum(1, keepdim=True) / 2
    square = joined @ joined
    triangles = (square * joined).sum((1, 2))[:, None] / 6
    pairs = (degree * (degree - 1)).sum(1, keepdim=True) / 2
    mean = (degree * share).sum(1, keepdim=True)
    steps = torch.arange(_DEGREES, device=degree.device)
    counts = torch.cat([degree[..., None] == steps, degree[..., None] >= _DEGREES], 2)
    walks = closed_walks(joined)
    walk = (walks * share[..., None]).sum(1)
    middle = (x * share[..., None]).sum(1)
    some = x[..., :_MOST_PAIRED]
    products = some.transpose(1, 2) @ joined @ some / (2 * n_edges[..., None]).clamp(min=1)
    upper = torch.triu_indices(some.shape[2], some.shape[2], device=degree.device)
    numbers = [
        n.log1p(),
        n_edges.log1p(),
        n_edges / n.clamp(min=1),
        triangles / n.clamp(min=1),
        triangles.log1p(),
        3 * triangles / pairs.clamp(min=1),
        mean,
        ((degree - mean).square() * share).sum(1, keepdim=True).sqrt(),
        (counts * share[..., None]).sum(1),
        walk,
        ((walks - walk[:, None]).square() * share[..., None]).sum(1).sqrt(),
        middle,
        ((x - middle[:, None]).square() * share[..., None]).sum(1).sqrt(),
        (x * real[..., None]).sum(1) / 10,
        matrices.sum((2, 3)) / n.clamp(min=1),
        products[:, upper[0], upper[1]],
    ]
    return torch.cat(numbers, 1) * (n > 0)
